// ClientDesk: limits over all smtpd processes: how many sessions there are, and of one client how many
// connections it has, how many messages it sends. Each process counts its own, where the others can read it; two that decide at the
// same moment may let one too many in. A client is an address of IPv4, or a network of 64 bits of IPv6.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "common/base/clock.h"
#include "common/base/tally.h"
#include "common/config/policy.h"
#include "common/os/shared_memory.h"

namespace postern::smtpd {

class ClientDesk {
 public:
  // A connection of a client, while it lasts.
  class Place {
   public:
    Place() = default;
    Place(ClientDesk& desk, const base::IpAddress& client) : desk_(&desk), client_(client) {}
    Place(Place&& other) noexcept
        : desk_(std::exchange(other.desk_, nullptr)), client_(other.client_) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(desk_, other.desk_);
      std::swap(client_, other.client_);
      other.leave();
      return *this;
    }
    ~Place() { leave(); }

   private:
    void leave() noexcept {
      if (desk_ != nullptr) std::exchange(desk_, nullptr)->own().leave(client_);
    }
    ClientDesk* desk_ = nullptr;
    base::IpAddress client_;  // as it is counted
  };

  // Counts for itself until it is given memory that others see.
  explicit ClientDesk(const base::Clock& clock);

  // Before the first connection: memory for what this process counts.
  void count_in(os::Mapping memory);
  // What the sibling of this number counts.
  void watch(std::uint32_t sibling, os::Mapping memory);
  void use(std::uint32_t connections, const config::Rate& rate) noexcept;  // 0: no limit

  // This process has so many now.
  void count_sessions(std::size_t sessions) noexcept;
  // Of all of them.
  [[nodiscard]] std::uint64_t sessions() const noexcept;
  // Nothing: it has as many connections as it may.
  [[nodiscard]] std::optional<Place> enter(const base::IpAddress& client);
  // Counted, and never too many: for who speaks for others.
  [[nodiscard]] Place enter_unlimited(const base::IpAddress& client);
  // Whether it may send another message now; if so, that is counted.
  [[nodiscard]] bool may_send(const base::IpAddress& client);

 private:
  [[nodiscard]] base::Tally own() const noexcept { return base::Tally(own_.data()); }
  [[nodiscard]] std::uint64_t period() const noexcept;

  const base::Clock& clock_;
  os::Mapping own_;
  std::map<std::uint32_t, os::Mapping> siblings_;
  std::uint32_t connections_ = 0;
  config::Rate rate_;
};

}  // namespace postern::smtpd
