// Ticket keys: what session tickets are sealed with. Somebody else makes and changes them, the same
// for all processes that serve one address, so that a client may resume with any of them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "common/base/clock.h"

namespace postern::tls {

struct TicketKey {
  std::array<std::uint8_t, 16> name{};    // stands in the ticket
  std::array<std::uint8_t, 32> cipher{};  // AES-256-CBC
  std::array<std::uint8_t, 32> mac{};     // HMAC-SHA-256
  friend bool operator==(const TicketKey&, const TicketKey&) noexcept = default;
};

// A ticket can be used for as long as a key is the newest: that key or the next one is there until
// then.
inline constexpr base::Millis kTicketLife{3'600'000};

[[nodiscard]] TicketKey random_ticket_key();

class TicketKeys {
 public:
  static constexpr std::size_t kKept = 3;
  // `keys`, the newest first, which seals from now on. Those that were here before open tickets for
  // as long as there is room: whoever made them may have lost them.
  void replace(std::vector<TicketKey> keys);
  // Null while there are none.
  [[nodiscard]] const TicketKey* newest() const noexcept {
    return keys_.empty() ? nullptr : &keys_.front();
  }
  [[nodiscard]] const TicketKey* named(std::string_view name) const noexcept;

 private:
  std::vector<TicketKey> keys_;
};

}  // namespace postern::tls
