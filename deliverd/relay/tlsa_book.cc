#include "deliverd/relay/tlsa_book.h"

#include <algorithm>
#include <utility>

namespace postern::relay {

dns::Query TlsaBook::find(const std::string& name, Done done) {
  const auto at = entries_.find(name);
  if (at == entries_.end() || at->second.expires <= clock_.steady())
    return resolver_.tlsa(name, [this, alive = alive_, name, done = std::move(done)](
                                    dns::TlsaAnswer answer) mutable noexcept {
      if (!*alive) return;
      remember(name, answer);
      done(std::move(answer));
    });
  auto interest = std::make_shared<char>();
  loop_.defer([answer = at->second.answer, wanted = std::weak_ptr<char>(interest),
               done = std::move(done)]() mutable noexcept {
    if (!wanted.expired()) done(std::move(answer));
  });
  return dns::Query(std::move(interest));
}

void TlsaBook::remember(const std::string& name, const dns::TlsaAnswer& answer) {
  if (answer.status == dns::Status::kTemporary) return;
  const auto now = clock_.steady();
  if (entries_.size() >= kMaxEntries)
    std::erase_if(entries_, [&](const auto& entry) { return entry.second.expires <= now; });
  if (entries_.size() >= kMaxEntries) entries_.clear();
  const auto ttl = answer.records.empty() ? kNoneTtl : std::clamp(answer.ttl, kMinTtl, kMaxTtl);
  entries_.insert_or_assign(name, Entry{answer, now + ttl});
}

}  // namespace postern::relay
