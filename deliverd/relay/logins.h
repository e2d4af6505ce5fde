// Logins: the accounts of other hosts that a relay process knows, for one generation of the configuration.
#pragma once

#include <expected>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "common/config/roles.h"
#include "deliverd/relay/login.h"
#include "deliverd/relay/next_hop.h"

namespace postern::relay {

class Logins {
 public:
  Logins() = default;
  explicit Logins(const std::vector<config::RelayLogin>& logins);

  // As whom to log in at `hop`; null: not at all. queued names the hop, and is not believed: a password
  // is for its own host, and for verified TLS. The trouble: it is not known.
  [[nodiscard]] std::expected<std::shared_ptr<HopAccount>, Trouble> find(const config::HopSpec& hop) const;

 private:
  std::map<std::tuple<std::string, std::uint16_t, std::string>, std::shared_ptr<HopAccount>> accounts_;
};

}  // namespace postern::relay
