#include "queued/recipient_cache.h"

#include <utility>

namespace postern::queued {

std::optional<RecipientCache::Said> RecipientCache::find(const std::string& address,
                                                         base::SteadyTime now) const {
  const auto at = said_.find(address);
  if (at == said_.end() || at->second.until <= now) return std::nullopt;
  return at->second.said;
}

void RecipientCache::keep(const std::string& address, Said said, base::SteadyTime now) {
  const bool known = !said.refusal;
  auto& line = known ? known_ : refused_;
  const auto until = now + (known ? limits_.known : limits_.refused);
  make_room(line, known ? limits_.most_known : limits_.most_refused, now);
  said_.insert_or_assign(address, Entry{std::move(said), until});
  line.emplace_back(address, until);
}

// An entry that was replaced meanwhile has another end than its place in the line says.
void RecipientCache::make_room(Line& line, std::size_t most, base::SteadyTime now) {
  while (!line.empty() && (line.size() >= most || line.front().second <= now)) {
    const auto at = said_.find(line.front().first);
    if (at != said_.end() && at->second.until == line.front().second) said_.erase(at);
    line.pop_front();
  }
}

void RecipientCache::clear() {
  said_.clear();
  known_.clear();
  refused_.clear();
}

}  // namespace postern::queued
