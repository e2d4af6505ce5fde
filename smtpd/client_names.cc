#include "smtpd/client_names.h"

#include <algorithm>

namespace postern::smtpd {

void ClientNames::look_up(const base::IpAddress& client) {
  if (!wanted_ || client.is_loopback() || client.is_unspecified() || open_ >= kMostOpen) return;
  const auto at = entries_.find(client);
  if (at != entries_.end() && (at->second.open || at->second.expires > clock_.steady())) return;
  if (at == entries_.end() && entries_.size() >= kMostKnown) make_room();
  ++open_;
  entries_[client].open = true;
  link_.ask_name(client, [this, client, weak = std::weak_ptr(alive_)](const ipc::NameKnown& answer) noexcept {
    const auto alive = weak.lock();
    if (alive && *alive) named(client, answer);
  });
}

const ClientNames::Known* ClientNames::find(const base::IpAddress& client) const {
  const auto at = entries_.find(client);
  return at == entries_.end() || !at->second.known ? nullptr : &*at->second.known;
}

void ClientNames::named(const base::IpAddress& client, const ipc::NameKnown& answer) {
  --open_;
  auto& entry = entries_[client];
  entry.open = false;
  const bool unclear = answer.state == ipc::NameState::kUnclear;
  if (!unclear || !entry.known) entry.known = {answer.state, answer.name};
  entry.expires = clock_.steady() + (unclear ? kUnclear : std::clamp(answer.ttl, kLeast, kMost));
}

// All that is answered: it is asked for again when its client comes again.
void ClientNames::make_room() {
  std::erase_if(entries_, [](const auto& entry) { return !entry.second.open; });
}

}  // namespace postern::smtpd
