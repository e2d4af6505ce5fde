// Sources: the addresses of ours that connections are made from. Chance says which of them the next one
// gets, by their weights. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/random.h"
#include "common/config/roles.h"
#include "deliverd/relay/next_hop.h"

namespace postern::relay {

class Sources {
 public:
  // None: the kernel chooses.
  Sources() = default;
  explicit Sources(std::vector<config::SourceAddress> addresses, Chance chance = &base::random_u64)
      : addresses_(std::move(addresses)), chance_(std::move(chance)) {}

  // The hop's own, where it has some; else these.
  [[nodiscard]] Sources for_hop(const config::HopSpec& hop) const;
  [[nodiscard]] bool empty() const noexcept { return addresses_.empty(); }
  [[nodiscard]] bool has(base::IpFamily family) const noexcept { return shares(family) > 0; }
  // One of this family; nothing: there is none.
  [[nodiscard]] std::optional<base::IpAddress> pick(base::IpFamily family) const;

 private:
  [[nodiscard]] std::uint64_t shares(base::IpFamily family) const noexcept;

  std::vector<config::SourceAddress> addresses_;
  Chance chance_ = &base::random_u64;
};

}  // namespace postern::relay
