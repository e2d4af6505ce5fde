#include "queued/listings.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "common/base/text.h"
#include "queued/message_id.h"
#include "queued/messages.h"
#include "queued/obstacles.h"

namespace postern::queued {
namespace {

constexpr std::size_t kRecipientRows = 20, kBlockRows = 24;
constexpr std::size_t kScannedQueues = 5000;
constexpr std::size_t kSearched = 250;  // headers read for one page
constexpr std::size_t kReplyRoom = mail::Reply::kMaxText + 32;

std::string reply_of(const Recipient& recipient) {
  return recipient.trouble ? cut(text_of(recipient.trouble->reply), kReplyRoom) : std::string();
}

// Of a queue that is blocked: the words for it, and when a freeze ends by itself.
Standing stopped(const Engine& engine, const std::string& queue, const Destination& destination,
                 Blocked blocked) {
  const auto& blocks = engine.blocks();
  if (blocked == Blocked::kOff)
    return {ipc::State::kOff,
            cut("outbound is off: " + blocks.outbound().reason, ipc::kMaxReason),
            {},
            {}};
  const Freeze* freeze = blocks.frozen(queue, destination);
  if (freeze == nullptr) return {ipc::State::kFrozen, "", {}, {}};
  const bool by_itself = freeze->queue == queue && !freeze->hop;
  const auto by = by_itself ? std::string() : typed_name(freeze->queue, freeze->hop) + ": ";
  return {ipc::State::kFrozen, cut(by + freeze->reason, ipc::kMaxReason), {}, freeze->until};
}

// Does its mail go, or wait, by the way where the queue stands, whenever it is due?
bool is_settled(const Engine& engine, const Schedule::Queue& queue) {
  const auto* hop = queue.hop();
  return hop == nullptr || queue.destination().via.size() == 1 || (!hop->frozen && hop->until <= engine.now());
}

// Where mail of the queue that is due then is tried first; null: that is not known, or nobody leads there.
const Schedule::Hop* hop_then(const Engine& engine, const Schedule::Queue& queue, QueueTime due) {
  if (is_settled(engine, queue)) return queue.hop();  // the usual case
  return engine.schedule().prospect(queue, std::max(due, engine.now())).hop;
}

// Likewise of what is due first.
const Schedule::Hop* hop_of(const Engine& engine, const Schedule::Queue& queue) {
  if (is_settled(engine, queue)) return queue.hop();
  const auto next = queue.counts.ready > 0 ? std::nullopt : engine.schedule().next_due(queue);
  return hop_then(engine, queue, next ? next->time : QueueTime(0));
}

// By this next hop; nullopt: it is not frozen.
std::optional<Standing> stopped_by(const Engine& engine, const std::string& hop) {
  const Freeze* freeze = engine.blocks().hop_frozen(hop);
  if (freeze == nullptr) return std::nullopt;
  return Standing{ipc::State::kFrozen,
                  cut(typed_name(freeze->queue, true) + ": " + freeze->reason, ipc::kMaxReason),
                  {},
                  freeze->until};
}

// Of mail that leads there; nullopt: it is not frozen.
std::optional<Standing> stopped_on_the_way(const Engine& engine, const Schedule::Hop* hop) {
  return hop != nullptr && hop->frozen ? stopped_by(engine, hop->name()) : std::nullopt;
}

// Why it is dead; null: it is not.
const QueueRecord* wait_of(const Engine& engine, const Schedule::Hop* hop) {
  if (hop == nullptr || hop->until <= engine.now()) return nullptr;
  const auto wait = engine.store().waits().find(hop->name());
  return wait == engine.store().waits().end() ? nullptr : &wait->second;
}

// Of those recipients of a message that belong to the queue, the first that was told something; null: none was.
const Recipient* told_in(const Engine& engine, const Message& message, const std::string& queue) {
  for (const auto& recipient : message.recipients)
    if (recipient.open() && recipient.trouble &&
        engine.router().route(recipient.address).queue == queue)
      return &recipient;
  return nullptr;
}

// Nothing keeps the queue as a whole, but all its messages wait for their own times.
bool only_its_messages_wait(const Engine& engine, const Schedule::Queue& queue) {
  if (queue.blocked != Blocked::kNo || queue.leases > 0 || queue.counts.ready > 0 || queue.counts.waiting == 0)
    return false;
  const auto* hop = hop_of(engine, queue);
  return (hop == nullptr || !hop->frozen) && wait_of(engine, hop) == nullptr;
}

// Its mail may go, and its host has to call for it.
bool is_uncalled(const Engine& engine, const Schedule::Queue& queue) {
  const auto& way = queue.destination().via.front();
  return queue.counts.ready > 0 && is_called_for(way) && !engine.schedule().is_called(hop_name(way, queue.name()));
}

std::string why_uncalled(const Engine& engine, const std::string& queue) {
  const auto place = engine.router().called_for_by(queue);
  return cut(fmt::format("waits until its host calls: ATRN{}", place.empty() ? "" : " (" + place + ")"), ipc::kMaxReason);
}

// Who goes by a second path is of the queue too.
ipc::QueueRow queue_row(const Engine& engine, const Schedule::Queue& queue) {
  ipc::QueueRow row;
  row.queue = queue.name();
  const auto volume = engine.schedule().volume(queue);
  row.messages = volume.messages;
  row.bytes = volume.bytes;
  std::uint32_t leases = 0;
  for (const auto* each : engine.schedule().paths(queue)) {
    leases += each->leases;
    if (each->hop() != nullptr)
      row.connections += each->hop()->queues() == 1 ? each->hop()->grants : each->leases;
    if (const auto first = engine.schedule().first_message(*each))
      row.oldest = row.oldest.ms == 0 ? arrival_of(*first) : std::min(row.oldest, arrival_of(*first));
  }
  const auto& path = leading_path(engine.schedule(), queue);
  const auto& clock = engine.store().clock();
  const auto* hop = hop_of(engine, path);
  const auto* wait = wait_of(engine, hop);
  if (wait != nullptr) row.last_reply = cut(text_of(wait->reply), kReplyRoom);
  if (path.blocked != Blocked::kNo) {
    auto stands = stopped(engine, path.name(), path.destination(), path.blocked);
    row.state = stands.state;
    row.why = std::move(stands.why);
    row.until = stands.until;
  } else if (auto stands = stopped_on_the_way(engine, hop)) {
    row.state = stands->state;
    row.why = std::move(stands->why);
    row.until = stands->until;
  } else if (wait != nullptr) {
    row.state = ipc::State::kRetry;
    const auto next = path.counts.ready > 0 ? std::nullopt : engine.schedule().next_due(path);
    row.next_try = clock.wall_at(next ? std::max(next->time, hop->until) : hop->until);
    row.why = cut(row.last_reply, ipc::kMaxReason);
  } else if (leases > 0) {
    row.state = ipc::State::kDelivering;
  } else if (only_its_messages_wait(engine, path)) {
    row.state = ipc::State::kRetry;
    if (const auto next = engine.schedule().next_due(path)) row.next_try = clock.wall_at(next->time);
  } else if (path.counts.ready == 0 && path.counts.held > 0) {
    row.state = ipc::State::kHeld;
    row.why = "its messages are held";
  } else if (is_uncalled(engine, path)) {
    row.state = ipc::State::kUncalled;
    row.why = why_uncalled(engine, path.name());
  }
  return row;
}

ipc::MessageRow message_row(const Engine& engine, const Message& message) {
  ipc::MessageRow row;
  row.id = message.id;
  row.arrived = message.arrived;
  row.size = message.size();
  row.from = message.from;
  row.recipients = message.open;
  for (const auto& recipient : message.recipients) {
    if (!recipient.open()) continue;
    row.to = recipient.address.text();
    row.alias = recipient.alias;
    auto stands = standing(engine, message, recipient);
    row.state = stands.state;
    row.next_try = stands.next_try;
    row.until = stands.until;
    row.why = cut(stands.why.empty() ? reply_of(recipient) : stands.why, kReplyRoom);
    break;
  }
  return row;
}

ipc::QueueRow hop_row(const Engine& engine, const Schedule::Hop& hop) {
  ipc::QueueRow row;
  row.queue = hop.name();
  row.hop = true;
  row.queues = hop.queues();
  row.messages = hop.lines();
  row.connections = hop.grants;
  const auto wait = engine.store().waits().find(hop.name());
  if (wait != engine.store().waits().end())
    row.why = row.last_reply = cut(text_of(wait->second.reply), ipc::kMaxReason);
  if (hop.frozen) {
    row.state = ipc::State::kFrozen;
    if (const Freeze* freeze = engine.blocks().hop_frozen(hop.name())) {
      row.why = freeze->reason;
      row.until = freeze->until;
    }
  } else if (hop.until > engine.now()) {
    row.state = ipc::State::kRetry;
    row.next_try = engine.store().clock().wall_at(hop.until);
  } else if (hop.grants > 0) {
    row.state = ipc::State::kDelivering;
  }
  return row;
}

// Frozen next hops by the names that were typed, where none that such a name stands for is known: no mail leads there
// while it is frozen, or none has come yet. Patterns name no hop of their own.
using FrozenHops = std::map<std::string, ipc::QueueRow, std::less<>>;

FrozenHops frozen_hops(const Engine& engine, const std::string& pattern, const std::string& after) {
  FrozenHops rows;
  const auto& hops = engine.schedule().hops();
  for (const auto& freeze : engine.blocks().freezes()) {
    if (!freeze.hop || is_pattern(freeze.queue) || freeze.queue <= after || !matches(pattern, freeze.queue)) continue;
    // Typed without its port, say, it has its row already.
    if (std::ranges::any_of(hops, [&](const auto& hop) { return fit_hop(freeze.queue, hop.first) != 0; })) continue;
    auto& row = rows[freeze.queue];
    row.queue = freeze.queue;
    row.hop = true;
    row.state = ipc::State::kFrozen;
    row.why = freeze.reason;
    row.until = freeze.until;
  }
  if (rows.empty()) return rows;
  for (const auto& [name, queue] : engine.schedule().queues()) {
    if (queue.blocked != Blocked::kFrozen) continue;
    const Freeze* freeze = engine.blocks().frozen(name, queue.destination());
    if (freeze == nullptr || !freeze->hop) continue;
    const auto row = rows.find(freeze->queue);
    if (row == rows.end()) continue;
    ++row->second.queues;
    row->second.messages += queue.messages();
  }
  return rows;
}

bool any_open(const Message& message, auto test) {
  return std::any_of(message.recipients.begin(), message.recipients.end(),
                     [&](const Recipient& r) { return r.open() && test(r); });
}

// Levenshtein's distance, for names of at most 255 characters.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

Standing standing(const Engine& engine, const Message& message, const Recipient& recipient) {
  const auto& clock = engine.store().clock();
  if (engine.schedule().leased(message.id, recipient.number))
    return {ipc::State::kDelivering, "", {}, {}};
  if (!message.held.empty()) return {ipc::State::kHeld, message.held, {}, {}};
  const auto route = engine.router().route(recipient.address);
  const auto blocked = engine.blocks().blocked(route.queue, route.destination);
  if (blocked != Blocked::kNo) return stopped(engine, route.queue, route.destination, blocked);
  auto due = engine.due(message, recipient, route.queue);
  std::string why;
  const auto* queue = engine.schedule().second_of(route.queue, message.id, recipient.number);
  if (queue == nullptr) queue = engine.schedule().find(route.queue);
  const auto* hop = queue == nullptr ? nullptr : hop_then(engine, *queue, due);
  if (auto stands = stopped_on_the_way(engine, hop)) return *std::move(stands);
  if (const auto before = frozen_before(engine, route.destination, hop, due, recipient); !before.empty())
    if (auto stands = stopped_by(engine, before)) return *std::move(stands);
  if (const auto* wait = wait_of(engine, hop); wait != nullptr && hop->until > due) {
    due = hop->until;
    why = cut(text_of(wait->reply), ipc::kMaxReason);
  }
  if (due > engine.now()) return {ipc::State::kRetry, std::move(why), clock.wall_at(due), {}};
  if (queue != nullptr && is_uncalled(engine, *queue))
    return {ipc::State::kUncalled, why_uncalled(engine, route.queue), {}, {}};
  return {};
}

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

namespace {

ipc::QueueRows list_hops(const Engine& engine, const ipc::ListQueues& ask) {
  ipc::QueueRows answer;
  answer.request = ask.request;
  const auto& hops = engine.schedule().hops();
  const auto pattern = ask.pattern.empty() ? std::string("*") : base::to_lower(ask.pattern);
  const auto frozen = frozen_hops(engine, pattern, ask.after);
  auto known = ask.after.empty() ? hops.begin() : hops.upper_bound(ask.after);
  auto stopped = frozen.begin();
  while (!answer.more && (known != hops.end() || stopped != frozen.end())) {  // both are in order of their names
    if (stopped != frozen.end() && (known == hops.end() || stopped->first < known->first)) {
      answer.more = !answer.rows.add(stopped->second);
      ++stopped;
      continue;
    }
    if (matches(pattern, known->first)) answer.more = !answer.rows.add(hop_row(engine, known->second));
    ++known;
  }
  return answer;
}

}  // namespace

namespace {

// A page of queues under way.
struct QueuePage {
  ipc::QueueRows answer;
  std::vector<ipc::QueueRow> rows;
  // Rows of queues that are well themselves: what the first of their messages was told, or why it is held, says more.
  struct Told {
    std::size_t row = 0;
    base::MessageId by;
  };
  std::vector<Told> told;
};

QueuePage gather_queues(const Engine& engine, const ipc::ListQueues& ask) {
  QueuePage page;
  page.answer.request = ask.request;
  const auto& queues = engine.schedule().queues();
  const auto pattern = ask.pattern.empty() ? std::string("*") : base::to_lower(ask.pattern);
  std::size_t looked_at = 0;
  for (auto at = ask.after.empty() ? queues.begin() : queues.upper_bound(ask.after);
       at != queues.end(); ++at) {
    const auto& [name, queue] = *at;
    // A page ends with a row, for its name is the cursor.
    if (page.rows.size() == page.answer.rows.kMostRows ||
        (looked_at >= kScannedQueues && !page.rows.empty())) {
      page.answer.more = true;
      break;
    }
    ++looked_at;
    if (!matches(pattern, name) || !queue.has_mail()) continue;
    if (only_its_messages_wait(engine, queue))
      if (const auto next = engine.schedule().next_due(queue))
        page.told.push_back({page.rows.size(), next->message});
    page.rows.push_back(queue_row(engine, queue));
    if (page.rows.back().state == ipc::State::kHeld)
      if (const auto first = engine.schedule().first_message(queue))
        page.told.push_back({page.rows.size() - 1, *first});
  }
  return page;
}

// What a queue waits for that is well itself. Where it leads may not be known, and frozen (frozen_before()).
void add_told(const Engine& engine, const Message& message, const Recipient& recipient, ipc::QueueRow& row) {
  row.last_reply = reply_of(recipient);
  auto stands = standing(engine, message, recipient);
  if (stands.state != ipc::State::kFrozen) return;
  row.state = stands.state;
  row.why = std::move(stands.why);
  row.until = stands.until;
  row.next_try = {};
}

}  // namespace

void list_queues(Engine& engine, const ipc::ListQueues& ask, Reply<ipc::QueueRows> reply) {
  auto use = std::make_unique<Throttle::Use>(engine.throttle());
  if (ask.hops) return reply(list_hops(engine, ask));
  auto page = gather_queues(engine, ask);
  std::vector<base::MessageId> ids;
  for (const auto& told : page.told) ids.push_back(told.by);
  engine.store().fetch(std::move(ids), [&engine, use = std::move(use), page = std::move(page),
                                        reply = std::move(reply)]() mutable noexcept {
    for (const auto& told : page.told) {
      auto& row = page.rows[told.row];
      const Message* message = engine.store().find(told.by);
      if (message == nullptr) continue;
      if (row.state == ipc::State::kHeld)
        row.why = cut("its messages are held: " + message->held, ipc::kMaxReason);
      else if (const Recipient* recipient = told_in(engine, *message, row.queue))
        add_told(engine, *message, *recipient, row);
    }
    for (auto& row : page.rows) {
      if (page.answer.rows.add(std::move(row))) continue;
      page.answer.more = true;
      break;
    }
    reply(page.answer);
  });
}

namespace {

// A page of messages under way.
struct MessagePage {
  explicit MessagePage(Throttle& throttle) : use(throttle) {}
  Throttle::Use use;
  ipc::ListMessages ask;
  ipc::MessageRows answer;
  std::size_t looked_at = 0;
  Reply<ipc::MessageRows> reply;
};

// Those of `ids` whose headers say so. The next page goes on behind `last`, if there is more.
void list_searched(Engine& engine, std::unique_ptr<MessagePage> page, std::vector<base::MessageId> ids,
                   base::MessageId last, bool more) {
  const auto wanted = page->ask.selector.message_id;
  search_headers(engine, std::move(ids), wanted, [&engine, page = std::move(page), last, more](
                                                     std::vector<base::MessageId> found) mutable noexcept {
    engine.store().fetch(found, [&engine, page = std::move(page), found, last, more]() noexcept {
      auto& answer = page->answer;
      for (const auto id : found) {
        const Message* message = engine.store().find(id);
        if (message == nullptr) continue;  // it ended meanwhile
        if (!answer.rows.add(message_row(engine, *message))) {
          answer.more = true;
          return page->reply(answer);
        }
        answer.next_after = id;
      }
      answer.next_after = last;
      answer.more = more;
      page->reply(answer);
    });
  });
}

void list_named(Engine& engine, std::unique_ptr<MessagePage> page) {
  auto ids = page->ask.selector.ids;
  std::sort(ids.begin(), ids.end());
  std::erase_if(ids, [&](base::MessageId id) { return id <= page->ask.after; });
  auto& answer = page->answer;
  answer.more = ids.size() > answer.rows.kMostRows;
  ids.resize(std::min(ids.size(), answer.rows.kMostRows));
  engine.store().fetch(ids, [&engine, &answer, ids, page = std::move(page)]() mutable noexcept {
    if (!page->ask.selector.message_id.empty()) {
      std::vector<base::MessageId> candidates;
      for (const auto id : ids)
        if (const Message* message = engine.store().find(id); message && selects(engine, page->ask.selector, *message))
          candidates.push_back(id);
      const auto last = ids.empty() ? answer.next_after : ids.back();
      return list_searched(engine, std::move(page), std::move(candidates), last, answer.more);
    }
    for (const auto id : ids) {
      const Message* message = engine.store().find(id);
      if (message != nullptr && selects(engine, page->ask.selector, *message) &&
          !answer.rows.add(message_row(engine, *message))) {
        answer.more = true;
        break;
      }
      answer.next_after = id;
    }
    page->reply(answer);
  });
}

void list_by_header(Engine& engine, std::unique_ptr<MessagePage> page) {
  const auto after = page->answer.next_after;
  engine.store().scan(after, kSearched, [&engine, page = std::move(page)](const Batch& batch) mutable noexcept {
    std::vector<base::MessageId> candidates;
    for (const Message* message : batch.messages)
      if (selects(engine, page->ask.selector, *message)) candidates.push_back(message->id);
    list_searched(engine, std::move(page), std::move(candidates), batch.last, batch.more);
  });
}

// The first look takes as many as the page has rows; if few of them are wanted, the next ones take more.
void list_selected(Engine& engine, std::unique_ptr<MessagePage> page) {
  const auto after = page->answer.next_after;
  const auto limit = page->looked_at == 0 ? page->answer.rows.kMostRows + 1 : kScanned;
  engine.store().scan(after, limit, [&engine, page = std::move(page)](const Batch& batch) mutable noexcept {
    auto& answer = page->answer;
    for (const Message* message : batch.messages) {
      if (selects(engine, page->ask.selector, *message) &&
          !answer.rows.add(message_row(engine, *message))) {
        answer.more = true;
        break;
      }
      ++page->looked_at;
      answer.next_after = message->id;
    }
    if (!answer.more && batch.more) {
      answer.next_after = batch.last;
      if (page->looked_at < kScanned) return list_selected(engine, std::move(page));
      answer.more = true;
    }
    page->reply(answer);
  });
}

}  // namespace

void list_messages(Engine& engine, const ipc::ListMessages& ask, Reply<ipc::MessageRows> reply) {
  auto page = std::make_unique<MessagePage>(engine.throttle());
  page->ask = ask;
  page->answer.request = ask.request;
  page->answer.next_after = ask.after;
  page->reply = std::move(reply);
  // Named ones are looked up, not searched.
  if (!ask.selector.ids.empty()) return list_named(engine, std::move(page));
  if (!ask.selector.message_id.empty()) return list_by_header(engine, std::move(page));
  list_selected(engine, std::move(page));
}

namespace {

ipc::Shown shown(const Engine& engine, const ipc::Show& ask) {
  ipc::Shown answer;
  answer.request = ask.request;
  const Message* message = engine.store().find(ask.id);
  if (message == nullptr) return answer;
  answer.found = true;
  answer.from = message->from;
  answer.hello = message->hello;
  answer.client = message->client;
  answer.arrived = message->arrived;
  for (const auto& recipient : message->recipients) {
    const auto left = recipient.open() ? engine.left(*message, recipient) : std::nullopt;
    if (!left) continue;
    const auto expires = engine.store().clock().wall() + *left;
    if (answer.expires.ms == 0 || expires < answer.expires) answer.expires = expires;
  }
  answer.size = message->size();
  answer.bounce = message->notice;
  answer.requires_tls = message->tls_wish == mail::TlsWish::kRequired;
  answer.origin = message->origin;
  for (std::size_t i = ask.after; i < message->recipients.size(); ++i) {
    if (answer.recipients.size() == kRecipientRows) {
      answer.more = true;
      break;
    }
    const auto& recipient = message->recipients[i];
    ipc::RecipientRow row;
    row.address = recipient.address;
    row.alias = recipient.alias;
    if (recipient.sender) row.sender = recipient.sender->text();
    row.queue = engine.router().route(recipient.address).queue;
    row.end = recipient.end;
    row.tries = recipient.tries;
    row.last_try = recipient.last_try;
    row.last_reply = reply_of(recipient);
    if (recipient.trouble) {
      row.remote = recipient.trouble->remote;
      row.tls = recipient.trouble->tls;
    }
    if (recipient.open()) {
      auto stands = standing(engine, *message, recipient);
      row.state = stands.state;
      row.why = cut(std::move(stands.why), ipc::kMaxReason);
      row.next_try = stands.next_try;
      row.until = stands.until;
    }
    answer.recipients.push_back(std::move(row));
  }
  return answer;
}

}  // namespace

void show(Engine& engine, const ipc::Show& ask, Reply<ipc::Shown> reply) {
  engine.store().fetch({ask.id}, [&engine, ask, reply = std::move(reply)]() mutable noexcept {
    reply(shown(engine, ask));
  });
}

ipc::BlockRow block_row(const Freeze& freeze) {
  return {.kind = ipc::BlockKind::kFreeze,
          .name = freeze.queue,
          .reason = freeze.reason,
          .who = freeze.who,
          .since = freeze.since,
          .until = freeze.until,
          .hop = freeze.hop,
          .keep_clock = freeze.keep_clock};
}

ipc::BlockRows list_blocks(const Engine& engine, const ipc::ListBlocks& ask) {
  std::vector<ipc::BlockRow> all;
  const auto& blocks = engine.blocks();
  const auto& outbound = blocks.outbound();
  if (outbound.disabled)
    all.push_back({.kind = ipc::BlockKind::kOutbound,
                   .reason = outbound.reason,
                   .who = outbound.who,
                   .since = outbound.since,
                   .all = outbound.all});
  if (const auto& intake = blocks.intake(); intake.disabled)
    all.push_back({.kind = ipc::BlockKind::kIntake,
                   .reason = intake.reason,
                   .who = intake.who,
                   .since = intake.since});
  for (const auto& freeze : blocks.freezes()) all.push_back(block_row(freeze));
  for (const auto& exception : blocks.exceptions())
    all.push_back({.kind = ipc::BlockKind::kException,
                   .name = exception.queue,
                   .reason = "not frozen, although it is a member",
                   .who = exception.who,
                   .since = exception.since,
                   .hop = exception.hop});
  for (const auto& hold : blocks.holds())
    all.push_back({.kind = ipc::BlockKind::kHold,
                   .name = conditions_text(hold.what),
                   .reason = hold.reason,
                   .who = hold.who,
                   .since = hold.since});
  for (const auto& lock : blocks.locks())
    all.push_back({.kind = ipc::BlockKind::kLock,
                   .name = lock.account,
                   .reason = lock.reason,
                   .who = lock.who,
                   .since = lock.since});
  ipc::BlockRows answer;
  answer.request = ask.request;
  for (std::size_t i = ask.after; i < all.size() && answer.rows.size() < kBlockRows; ++i)
    answer.rows.push_back(std::move(all[i]));
  answer.more = ask.after + answer.rows.size() < all.size();
  return answer;
}

Totals totals(const Engine& engine) {
  Totals sum;
  const auto& blocks = engine.blocks();
  const auto is_outbound = [&](const Schedule::Queue& queue) {
    const auto& destination = queue.destination();
    return !destination.local && (!blocks.outbound().disabled || blocks.outbound_stops(destination));
  };
  for (const auto& [key, lease] : engine.schedule().leases())
    sum.in_flight += engine.schedule().any_queue(lease, is_outbound) ? 1 : 0;
  const auto add = [&](const Schedule::Queue& queue) {
    const auto& counts = queue.counts;
    if (const auto first = engine.schedule().first_message(queue))
      if (sum.oldest.value == 0 || *first < sum.oldest) sum.oldest = *first;
    const std::uint64_t idle = std::uint64_t{counts.ready} + counts.waiting;
    sum.delivering += counts.leased;
    sum.held += counts.held;
    switch (queue.blocked) {
      case Blocked::kFrozen:
        sum.frozen += idle;
        break;
      case Blocked::kOff:
        sum.off += idle;
        break;
      case Blocked::kNo:
        if (const auto* hop = hop_of(engine, queue); hop != nullptr && hop->frozen) {
          sum.frozen += idle;
        } else if (wait_of(engine, hop) != nullptr) {
          sum.retry += idle;
        } else {
          (is_uncalled(engine, queue) ? sum.uncalled : sum.ready) += counts.ready;
          sum.retry += counts.waiting;
        }
        break;
    }
  };
  for (const auto& [name, queue] : engine.schedule().queues()) add(queue);
  for (const auto& [key, queue] : engine.schedule().seconds()) add(queue);
  return sum;
}

std::vector<std::string> near_names(const Engine& engine, std::string_view name) {
  constexpr std::size_t kNear = 3, kMost = 5;
  std::vector<std::string> near;
  std::size_t looked_at = 0;
  for (const auto& [queue, state] : engine.schedule().queues()) {
    if (near.size() == kMost || ++looked_at > kScannedQueues) break;
    if (queue.find(name) != std::string::npos || distance(queue, name) <= kNear)
      near.push_back(queue);
  }
  return near;
}

}  // namespace postern::queued
