// What a selector selects.
#include <algorithm>

#include "common/base/text.h"
#include "queued/listings.h"
#include "queued/obstacles.h"

namespace postern::queued {
namespace {

bool any_open(const Message& message, auto test) {
  return std::any_of(message.recipients.begin(), message.recipients.end(),
                     [&](const Recipient& r) { return r.open() && test(r); });
}

}  // namespace

Leads leads_to(const Schedule& schedule, const Route& route, const Recipient& recipient, const std::string& name) {
  const auto is = [&](const std::string& hop) { return hop == name || fit_hop(name, hop) != 0; };
  const auto* queue = schedule.find(route.queue);
  const auto* hop = queue == nullptr ? nullptr : queue->hop();
  const bool known = hop != nullptr && hop->known();
  const auto& via = route.destination.via;
  if (known && is(hop->name())) return Leads::kYes;
  if (std::ranges::any_of(via, [&](const auto& way) { return is_named(way) && is(hop_name(way, route.queue)); }))
    return Leads::kYes;
  if (known || std::ranges::none_of(via, is_found_by_dns)) return Leads::kNo;
  // What it was tried at last is one of them.
  const auto host = recipient.trouble ? hop_of_remote(recipient.trouble->remote) : std::string();
  return !host.empty() && is(base::to_lower(host)) ? Leads::kYes : Leads::kUnknown;
}

bool selects(const Engine& engine, const ipc::Selector& s, const Message& message) {
  if (s.empty()) return false;
  if (!s.ids.empty() && std::find(s.ids.begin(), s.ids.end(), message.id) == s.ids.end())
    return false;
  if (s.from == "<>" ? !message.from.is_null() : !message.from.mentions(s.from)) return false;
  if (s.client && !s.client->contains(message.client)) return false;
  if (s.bounces && !message.notice) return false;
  const auto age = engine.now() - message.born;
  if ((s.older && age <= *s.older) || (s.newer && age >= *s.newer)) return false;
  if ((s.larger && message.size() <= *s.larger) || (s.smaller && message.size() >= *s.smaller))
    return false;
  // What is said of recipients must hold for one and the same.
  if (s.queue.empty() && s.hop.empty() && s.to.empty() && s.error.empty() && !s.state) return true;
  return any_open(message, [&](const Recipient& recipient) {
    if (!s.to.empty() && !recipient.address.mentions(s.to)) return false;
    if (!s.queue.empty() && !matches(s.queue, engine.router().route(recipient.address).queue))
      return false;
    if (!s.hop.empty() &&
        leads_to(engine.schedule(), engine.router().route(recipient.address), recipient, s.hop) != Leads::kYes)
      return false;
    if (s.state && standing(engine, message, recipient).state != *s.state) return false;
    if (s.error.empty()) return true;
    return base::contains_ignoring_case(reply_of(recipient), s.error) ||
           base::contains_ignoring_case(standing(engine, message, recipient).why, s.error);
  });
}

}  // namespace postern::queued
