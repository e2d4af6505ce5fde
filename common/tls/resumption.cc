#include "common/tls/resumption.h"

#include <openssl/ssl.h>

#include <algorithm>

namespace postern::tls {

void Resumption::Free::operator()(ssl_session_st* session) const noexcept {
  ::SSL_SESSION_free(session);
}

void Resumption::put(const std::string& key, Handle session) {
  if (!sessions_.contains(key) && sessions_.size() >= kMost)
    sessions_.erase(std::min_element(
        sessions_.begin(), sessions_.end(),
        [](const auto& a, const auto& b) { return a.second.number < b.second.number; }));
  sessions_[key] = {std::move(session), ++last_};
}

Resumption::Handle Resumption::take(const std::string& key) {
  const auto at = sessions_.find(key);
  if (at == sessions_.end()) return nullptr;
  if (::SSL_SESSION_get_protocol_version(at->second.session.get()) < TLS1_3_VERSION) {
    ::SSL_SESSION_up_ref(at->second.session.get());
    return Handle(at->second.session.get());
  }
  auto taken = std::move(at->second.session);
  sessions_.erase(at);
  return taken;
}

}  // namespace postern::tls
