// Listeners: the listening sockets of SMTP over all generations of the configuration. An address
// keeps its index for the life of the server, so that a session's index always means the same
// listener.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "common/base/unique_fd.h"
#include "common/config/config.h"

namespace postern::parent {

class Listeners {
 public:
  static constexpr std::size_t kMaxListeners = 1'000;  // as the roles' configurations can name
  struct Entry {
    config::Listener listener;
    base::UniqueFd fd;  // none: it was taken out of the configuration
  };

  // Binds what is new in `wanted`; nothing changes if one cannot be bound, if an address changes
  // its service, or if more than kMaxListeners addresses were ever listened on. What is gone keeps
  // its socket until commit(), and its index for ever.
  [[nodiscard]] std::expected<void, std::string> prepare(
      const std::vector<config::Listener>& wanted);
  // The listeners in index order for config::cut_*: those taken out stay, without any right.
  [[nodiscard]] std::vector<config::Listener> prepared() const;
  // Makes the prepared state the present one; returns the indexes that were added and removed.
  struct Change {
    std::vector<base::ListenerIndex> added, removed;
  };
  Change commit();
  // Gives up what was prepared: sockets that nobody will serve must not take connections.
  void discard() noexcept;

  [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }

 private:
  [[nodiscard]] std::expected<void, std::string> prepare_one(const config::Listener& listener);

  std::vector<Entry> entries_;
  std::vector<Entry> next_;  // same order; an fd only where it is new
  std::vector<bool> wanted_;
};

}  // namespace postern::parent
