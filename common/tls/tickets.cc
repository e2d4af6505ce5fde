#include "common/tls/tickets.h"

#include <algorithm>
#include <cstring>

#include "common/base/random.h"

namespace postern::tls {

TicketKey random_ticket_key() {
  TicketKey key;
  base::random_bytes(key.name.data(), key.name.size());
  base::random_bytes(key.cipher.data(), key.cipher.size());
  base::random_bytes(key.mac.data(), key.mac.size());
  return key;
}

void TicketKeys::replace(std::vector<TicketKey> keys) {
  for (const auto& former : keys_)
    if (std::find(keys.begin(), keys.end(), former) == keys.end()) keys.push_back(former);
  if (keys.size() > kKept) keys.resize(kKept);
  keys_ = std::move(keys);
}

const TicketKey* TicketKeys::named(std::string_view name) const noexcept {
  for (const auto& key : keys_)
    if (name.size() == key.name.size() &&
        std::memcmp(name.data(), key.name.data(), name.size()) == 0)
      return &key;
  return nullptr;
}

}  // namespace postern::tls
