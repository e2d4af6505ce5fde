// Acceptor: takes connections from one listening socket, a few per turn, and rests for a moment
// when the process has no descriptor left.
#pragma once

#include <functional>

#include "common/event/loop.h"
#include "common/os/socket.h"

namespace postern::smtpd {

class Acceptor {
 public:
  using OnConnection = std::move_only_function<void(os::Accepted) noexcept>;
  Acceptor(event::Loop& loop, base::UniqueFd listener, OnConnection on_connection);

 private:
  void accept_some() noexcept;

  base::UniqueFd fd_;
  OnConnection on_connection_;
  event::FdEvent event_;
  event::Timer rest_;
};

}  // namespace postern::smtpd
