// Tickets: which sessions are logged in, as auth itself says; what smtpd says of it does not count. And
// the channel to auth.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "common/base/ids.h"
#include "common/event/loop.h"
#include "common/ipc/channel.h"

namespace postern::queued {

class Tickets {
 public:
  static constexpr std::size_t kMost = 300'000;

  // false: there are too many.
  bool give(const base::Token& session, std::uint32_t smtpd, std::string account);
  void drop(const base::Token& session) { sessions_.erase(session); }
  // As whom this session of that smtpd has logged in; null: it has not.
  [[nodiscard]] const std::string* account_of(const base::Token& session, std::uint32_t smtpd) const;
  // How many sessions of the account there were.
  std::size_t drop_account(const std::string& account);

 private:
  struct Ticket {
    std::uint32_t smtpd = 0;
    std::string account;
  };
  std::unordered_map<base::Token, Ticket> sessions_;
};

class TicketDesk {
 public:
  // May this account log in now?
  using MayLogIn = std::function<bool(const std::string& account)>;
  TicketDesk(event::Loop& loop, Tickets& tickets, MayLogIn may_log_in);

  void connect(base::UniqueFd fd);

  // From auth.
  void on(const ipc::Ticket& ticket);
  void on(const ipc::DropTicket& drop) { tickets_.drop(drop.session); }
  void closed() noexcept { connection_.reset(); }

 private:
  using Connection = ipc::Connection<TicketDesk, ipc::Role::kQueued, ipc::Role::kAuth>;
  event::Loop& loop_;
  Tickets& tickets_;
  MayLogIn may_log_in_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace postern::queued
