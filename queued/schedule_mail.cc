// The part of Schedule that keeps recipients: what comes in, goes off, is held, becomes ready.
//
// A message stands in its queue's line once, however many of its recipients are ready: one of them
// carries its turn, the others only say that they are behind it.
#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/check.h"
#include "queued/schedule.h"

namespace postern::queued {
namespace {

constexpr auto kLastNumber = std::numeric_limits<std::uint32_t>::max();
constexpr auto kLastMessage = base::MessageId(std::numeric_limits<std::uint64_t>::max());
// The rank of a ready recipient behind another of its message.
constexpr std::uint64_t kBehind = Backlog::kMaxRank;
constexpr std::size_t kWokenAtOnce = 5'000;

using Key = Backlog::Key;

struct Range {  // the end is not in it, and no recipient has that number
  Key from, to;
};
Range of_message(std::uint32_t queue, base::MessageId message) {
  return {{queue, message, 0}, {queue, message, kLastNumber}};
}
Range of_queue(std::uint32_t queue) {
  return {{queue, base::MessageId(), 0}, {queue, kLastMessage, kLastNumber}};
}

std::uint64_t rank_of(QueueTime due) {
  return std::min(static_cast<std::uint64_t>(std::max(due, QueueTime(0)).count()), kBehind - 1);
}

bool leads(const Backlog::Entry& entry) {
  return entry.stage == Stage::kReady && entry.rank != kBehind;
}

}  // namespace

// --- One recipient ----------------------------------------------------------------------------------

std::uint32_t& Schedule::count_of(Queue& queue, Stage stage) {
  switch (stage) {
    case Stage::kReady:
      return queue.counts.ready;
    case Stage::kWaiting:
      return queue.counts.waiting;
    case Stage::kHeld:
      return queue.counts.held;
    case Stage::kLeased:
      break;
  }
  return queue.counts.leased;
}

std::optional<Schedule::Entry> Schedule::any_of(const Queue& queue, base::MessageId message) const {
  const auto [from, to] = of_message(queue.number_, message);
  auto found = backlog_.at_or_after(from);
  if (found && found->key >= to) found.reset();
  return found;
}

// `alone`: the message has no other recipient here.
void Schedule::set_rank(Queue& queue, Entry& entry, QueueTime due, bool alone) {
  switch (entry.stage) {
    case Stage::kReady: {
      const auto [from, to] = of_message(queue.number_, entry.key.message);
      if (!alone && backlog_.first(Stage::kReady, from, to)) {
        entry.rank = kBehind;
      } else {
        entry.rank = queue.turns_.next(entry.sender, entry.size, queue.lines_);
        ++queue.lines_;
      }
      return;
    }
    case Stage::kWaiting:
    case Stage::kHeld:
      entry.rank = rank_of(due);
      return;
    case Stage::kLeased:
      entry.rank = 0;
      return;
  }
}

void Schedule::insert(Queue& queue, Entry entry, const std::optional<Entry>& other, QueueTime due) {
  if (other) {
    entry.size = other->size;
    entry.sender = other->sender;
  } else {
    if (const auto twin = elsewhere(queue, entry.key.message)) {
      entry.size = twin->size;
      note_twin(queue, entry.size);
    }
    ++queue.messages_;
    queue.bytes += entry.size;
  }
  set_rank(queue, entry, due, !other);
  ++count_of(queue, entry.stage);
  backlog_.insert(entry);
}

std::optional<Schedule::Entry> Schedule::move(Queue& queue, Entry entry, Stage stage,
                                              QueueTime due, bool had_turn) {
  const Entry left = entry;
  entry.stage = stage;
  set_rank(queue, entry, due, false);
  --count_of(queue, left.stage);
  ++count_of(queue, stage);
  backlog_.update(entry);
  return pass_on(queue, left, had_turn);
}

std::optional<Schedule::Entry> Schedule::remove(Queue& queue, const Entry& entry) {
  --count_of(queue, entry.stage);
  backlog_.erase(entry.key);
  if (!any_of(queue, entry.key.message)) {
    --queue.messages_;
    queue.bytes -= entry.size;
    if (elsewhere(queue, entry.key.message)) forget_twin(queue, entry.size);
  }
  return pass_on(queue, entry, false);
}

std::optional<Schedule::Entry> Schedule::pass_on(Queue& queue, const Entry& left, bool had_turn) {
  if (!leads(left)) return std::nullopt;
  const auto [from, to] = of_message(queue.number_, left.key.message);
  auto next = backlog_.first(Stage::kReady, from, to);
  if (next) {
    next->rank = left.rank;
    backlog_.update(*next);
  } else {
    --queue.lines_;
    if (!had_turn) queue.turns_.left(left.rank, left.sender, left.size);
  }
  return next;
}

std::vector<Schedule::Entry> Schedule::entries(const Queue& queue, base::MessageId message) const {
  std::vector<Entry> found;
  auto [from, to] = of_message(queue.number_, message);
  for (auto at = backlog_.at_or_after(from); at && at->key < to; at = backlog_.at_or_after(from)) {
    found.push_back(*at);
    from = at->key;
    ++from.number;
  }
  return found;
}

// --- Mail -------------------------------------------------------------------------------------------

void Schedule::add(const std::string& queue_name, const Destination& destination, const Mail& mail,
                   QueueTime now) {
  now_ = std::max(now_, now);
  Queue& queue = path_of(make(queue_name, destination), destination, mail);
  const Key key{queue.number_, mail.message, mail.number};
  const auto stage = mail.held         ? Stage::kHeld
                     : mail.due <= now_ ? Stage::kReady
                                        : Stage::kWaiting;
  const auto other = any_of(queue, mail.message);
  const auto known = other ? backlog_.find(key) : std::nullopt;
  if (!known) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
    const auto size = static_cast<std::uint32_t>(std::min(mail.size, kMost));
    insert(queue, {key, stage, 0, size, mail.sender}, other, mail.due);
  } else if (known->stage == Stage::kLeased ||
             (known->stage == Stage::kReady && stage == Stage::kReady)) {
    return;  // in line already
  } else {
    (void)move(queue, *known, stage, mail.due);
  }
  review(queue);
}

std::vector<std::uint32_t> Schedule::take(Queue& queue, base::MessageId message) {
  std::vector<std::uint32_t> taken;
  for (const auto& entry : entries(queue, message)) {
    if (entry.stage == Stage::kLeased) continue;
    taken.push_back(entry.key.number);
    // As it stands now: the turn may have come to it from one before.
    (void)remove(queue, *backlog_.find(entry.key));
  }
  review(queue);
  drop_if_empty(queue);
  return taken;
}

std::vector<std::uint32_t> Schedule::take_first(const std::string& queue_name, base::MessageId message) {
  Queue* queue = look(queue_name);
  return queue == nullptr ? std::vector<std::uint32_t>() : take(*queue, message);
}

std::vector<std::uint32_t> Schedule::take(const std::string& queue_name, base::MessageId message) {
  std::vector<std::uint32_t> taken;
  for (Queue* queue : paths(queue_name)) {
    const auto some = take(*queue, message);
    taken.insert(taken.end(), some.begin(), some.end());
  }
  return taken;
}

std::vector<Schedule::Taken> Schedule::take_second(const std::string& queue, std::uint8_t refused, std::size_t most) {
  std::vector<Taken> taken;
  Queue* path = look(queue, refused);
  if (path == nullptr) return taken;
  const auto [from, to] = of_queue(path->number_);
  for (const auto stage : {Stage::kReady, Stage::kWaiting})
    for (; most > 0; --most) {
      const auto entry = backlog_.first(stage, from, to);
      if (!entry) break;
      if (taken.empty() || taken.back().message != entry->key.message) taken.push_back({entry->key.message, {}});
      taken.back().recipients.push_back(entry->key.number);
      (void)remove(*path, *entry);
    }
  review(*path);
  drop_if_empty(*path);
  return taken;
}

// Looks at those only that change, for callers come here once for each recipient of a message.
void Schedule::hold(const std::string& queue_name, base::MessageId message, bool held,
                    QueueTime now) {
  now_ = std::max(now_, now);
  for (Queue* queue : paths(queue_name)) {
    const auto [from, to] = of_message(queue->number_, message);
    if (held) {
      while (const auto entry = backlog_.first(Stage::kReady, from, to))
        (void)move(*queue, *entry, Stage::kHeld, now_);
      while (const auto entry = backlog_.first(Stage::kWaiting, from, to))
        (void)move(*queue, *entry, Stage::kHeld, QueueTime(entry->rank));
    } else {
      while (const auto entry = backlog_.first(Stage::kHeld, from, to)) {
        const QueueTime due(entry->rank);
        (void)move(*queue, *entry, due <= now_ ? Stage::kReady : Stage::kWaiting, due);
      }
    }
    review(*queue);
  }
}

void Schedule::expedite(const std::string& queue_name, base::MessageId message, QueueTime now) {
  now_ = std::max(now_, now);
  for (Queue* queue : paths(queue_name)) {
    auto [from, to] = of_message(queue->number_, message);
    while (const auto entry = backlog_.first(Stage::kWaiting, from, to))
      (void)move(*queue, *entry, Stage::kReady, now_);
    while (const auto entry = backlog_.first(Stage::kHeld, from, to)) {  // due when it is let go
      (void)move(*queue, *entry, Stage::kHeld, std::min(QueueTime(entry->rank), now_));
      from = entry->key;
      ++from.number;
    }
    review(*queue);
  }
}

void Schedule::clear() {
  std::vector<Entry> kept;
  for (const auto& [key, lease] : leases_)
    for (const auto& at : keys_of(lease)) kept.push_back(*backlog_.find(at));
  backlog_ = {};
  twins_.clear();
  each_path([this](Queue& queue) {
    queue.counts = {};
    queue.bytes = queue.messages_ = queue.lines_ = 0;
    queue.turns_ = {};
    leave(queue);
    forget_better(queue);
    forget_kept(queue);
    queue.way_ = 0;
    queue.turn_over_ = true;
    queue.deficit_ = Queue::kQuantum;
    return true;
  });
  for (auto& [name, hop] : hops_) hop.forget_limits();
  for (auto& [id, grant] : grants_) grant.outdated = true;
  for (const auto& entry : kept) {
    Queue& queue = *by_number_[entry.key.queue];
    insert(queue, entry, any_of(queue, entry.key.message), {});
  }
}

// --- Time -------------------------------------------------------------------------------------------

// What is due becomes ready. Of very much, the rest comes next time: next_wake() stays in the past.
void Schedule::wake(QueueTime now) {
  now_ = std::max(now_, now);
  wake_mail();
  for (std::size_t n = 0; n < kWokenAtOnce && !wakes_.empty(); ++n) {
    Hop* hop = *wakes_.begin();
    if (hop->wake_ > now_) return;
    set_wake(*hop, QueueTime(0));
    offer(*hop);
    review(*hop);
    drop_if_unused(*hop);
  }
}

void Schedule::wake_mail() {
  for (std::size_t n = 0; n < kWokenAtOnce; ++n) {
    const auto rank = backlog_.least_rank(Stage::kWaiting);
    if (!rank || *rank > rank_of(now_)) return;
    const auto due =
        backlog_.first(Stage::kWaiting, {}, {kLastNumber, kLastMessage, kLastNumber}, *rank);
    Queue& queue = *by_number_[due->key.queue];
    (void)move(queue, *due, Stage::kReady, now_);
    review(queue);
  }
}

std::optional<QueueTime> Schedule::next_wake() const {
  std::optional<QueueTime> next;
  if (const auto due = backlog_.least_rank(Stage::kWaiting)) next = QueueTime(*due);
  if (!wakes_.empty()) next = std::min(next.value_or(QueueTime::max()), (*wakes_.begin())->wake_);
  return next;
}

// --- Leases -----------------------------------------------------------------------------------------

// The message whose turn it is, up to the limit of a lease; what is left of it goes to the line's
// end.
void Schedule::lease_next(Queue& queue, const Parked& to) {
  const auto [from, end] = of_queue(queue.number_);
  auto next = backlog_.least(Stage::kReady, from, end);
  CHECK(next);
  const auto message = next->key.message;
  const auto turn = *next;
  HandOut out{to.deliverer, to.request, base::LeaseId(++last_lease_), message, queue.name(), {}};
  while (next && out.recipients.size() < limits_.lease_recipients) {
    out.recipients.push_back(next->key.number);
    leased_.emplace(message, next->key.number);
    next = move(queue, *next, Stage::kLeased, {}, true);
  }
  if (next) {
    next->rank = queue.turns_.next(next->sender, next->size, queue.lines_);
    backlog_.update(*next);
  }
  queue.turns_.served(turn.rank, queue.lines_);
  charge(queue, cost_of(turn.size));
  std::sort(out.recipients.begin(), out.recipients.end());
  ++queue.leases;
  auto& grant = grants_.at(to.grant);
  grant.parked = false;
  ++grant.served;
  grant.hop->sent(now_);
  const LeaseKey key{epoch_, out.lease};
  auto& lease = leases_[key];
  lease = {key, to.deliverer, to.grant, message, queue.name(), std::move(out.recipients), {}, now_,
           {queue.destination_, queue.way_, queue.refused_}};
  out.looked = widen(lease, *grant.hop);
  out.recipients = lease.recipients;
  actions_.push_back(std::move(out));
}

bool Schedule::adopt(DelivererId deliverer, LeaseKey key, base::MessageId message,
                     std::span<const Placed> recipients) {
  if (leases_.contains(key)) return false;
  if (key.epoch == epoch_ && key.lease.value > last_lease_) return false;  // not handed out yet
  LeaseInfo lease{key, deliverer, {}, message, {}, {}, {}, now_};
  for (const auto& [name, number] : recipients) {
    Queue* queue = look(name);
    if (queue == nullptr) continue;
    const auto entry = backlog_.find({queue->number_, message, number});
    if (!entry || entry->stage == Stage::kLeased) continue;
    if (lease.recipients.empty()) lease.queue = name;
    join(lease, *queue, *entry);
  }
  if (lease.recipients.empty()) return false;
  std::ranges::sort(lease.recipients);
  std::ranges::sort(lease.along, {}, &Placed::number);
  for (Queue* queue : queues_of(lease)) {
    ++queue->leases;
    review(*queue);
  }
  leases_[key] = std::move(lease);
  return true;
}

// None has come near the half of all numbers; a deliverer that names such a one lies, and must not use them up.
void Schedule::number_behind(base::LeaseId earlier) {
  constexpr auto kHalf = std::numeric_limits<std::uint64_t>::max() / 2;
  if (earlier.value < kHalf) last_lease_ = std::max(last_lease_, earlier.value);
}

std::optional<LeaseInfo> Schedule::settle(DelivererId deliverer, LeaseKey key) {
  const auto at = leases_.find(key);
  if (at == leases_.end() || at->second.deliverer != deliverer) return std::nullopt;
  LeaseInfo lease = std::move(at->second);
  leases_.erase(at);
  for (const auto& place : keys_of(lease)) {
    leased_.erase({place.message, place.number});
    (void)remove(*by_number_[place.queue], *backlog_.find(place));
  }
  for (Queue* queue : queues_of(lease)) {
    --queue->leases;
    drop_if_empty(*queue);
  }
  return lease;
}

// --- Looking ----------------------------------------------------------------------------------------

std::vector<base::MessageId> Schedule::messages(std::string_view queue_name, base::MessageId after,
                                                std::size_t limit) const {
  const Queue* queue = find(queue_name);
  return queue == nullptr ? std::vector<base::MessageId>() : messages(*queue, after, limit);
}

std::vector<base::MessageId> Schedule::messages(const Queue& queue, base::MessageId after, std::size_t limit) const {
  std::vector<base::MessageId> found;
  const auto end = of_queue(queue.number_).to;
  while (found.size() < limit) {
    const auto next = backlog_.at_or_after({queue.number_, after, kLastNumber});
    if (!next || next->key >= end) break;
    after = next->key.message;
    found.push_back(after);
  }
  return found;
}

std::optional<base::MessageId> Schedule::first_message(const Queue& queue) const {
  if (queue.messages_ == 0) return std::nullopt;
  return backlog_.at_or_after(of_queue(queue.number_).from)->key.message;
}

std::optional<base::MessageId> Schedule::last_message(std::string_view queue_name) const {
  const Queue* queue = find(queue_name);
  if (queue == nullptr || queue->messages_ == 0) return std::nullopt;
  return backlog_.before(of_queue(queue->number_).to)->key.message;
}

bool Schedule::coming(std::string_view queue_name, base::MessageId message) const {
  return std::ranges::any_of(paths(queue_name), [&](const Queue* queue) {
    const auto [from, to] = of_message(queue->number_, message);
    const bool runs = queue->hop_ != nullptr && queue->runs() && may_run(*queue->hop_);
    if (runs && backlog_.first(Stage::kReady, from, to)) return true;
    for (auto at = leased_.lower_bound({message, 0}); at != leased_.end() && at->first == message; ++at)
      if (backlog_.find({queue->number_, message, at->second})) return true;
    return false;
  });
}

std::optional<Schedule::NextTry> Schedule::next_try(std::string_view queue_name,
                                                    base::MessageId message) const {
  std::optional<NextTry> first;
  for (const Queue* queue : paths(queue_name))
    if (const auto next = next_try(*queue, message); next && (!first || next->time < first->time)) first = next;
  return first;
}

std::optional<Schedule::NextTry> Schedule::next_try(const Queue& queue, base::MessageId message) const {
  if (queue.blocked != Blocked::kNo) return std::nullopt;
  const Hop* hop = queue.hop_;
  if (hop != nullptr && hop->frozen) return std::nullopt;
  const auto [from, to] = of_message(queue.number_, message);
  auto next = backlog_.first(Stage::kReady, from, to);
  QueueTime time = now_;
  if (!next) {
    next = backlog_.least(Stage::kWaiting, from, to);
    if (!next) return std::nullopt;
    time = QueueTime(next->rank);
  }
  return NextTry{hop == nullptr ? time : std::max(time, hop->until), next->key.number};
}

bool Schedule::held(std::string_view queue_name, base::MessageId message) const {
  const Queue* queue = find(queue_name);
  if (queue == nullptr) return false;
  const auto [from, to] = of_message(queue->number_, message);
  return backlog_.first(Stage::kHeld, from, to).has_value();
}

std::optional<Schedule::Due> Schedule::next_due(const Queue& queue) const {
  const auto [from, to] = of_queue(queue.number_);
  const auto next = backlog_.least(Stage::kWaiting, from, to);
  return next ? std::optional(Due{QueueTime(next->rank), next->key.message}) : std::nullopt;
}

std::optional<Schedule::Standing> Schedule::standing(std::string_view queue_name,
                                                     base::MessageId message,
                                                     std::uint32_t number) const {
  for (const Queue* queue : paths(queue_name)) {
    const auto entry = backlog_.find({queue->number_, message, number});
    if (!entry) continue;
    const bool timed = entry->stage == Stage::kWaiting || entry->stage == Stage::kHeld;
    return Standing{entry->stage, timed ? QueueTime(entry->rank) : QueueTime(0)};
  }
  return std::nullopt;
}

std::uint32_t Schedule::ahead(std::string_view queue_name, base::MessageId message,
                              std::uint32_t most) const {
  const Queue* queue = find(queue_name);
  if (queue == nullptr) return 0;
  const auto [first, last] = of_message(queue->number_, message);
  const auto turn = backlog_.first(Stage::kReady, first, last, kBehind - 1);
  if (!turn) return 0;
  std::uint32_t found = 0;
  auto [from, to] = of_queue(queue->number_);
  while (found < most) {
    const auto entry = backlog_.first(Stage::kReady, from, to, turn->rank);
    if (!entry) break;
    if (entry->rank < turn->rank || entry->key < turn->key) ++found;
    from = entry->key;
    ++from.number;
  }
  return found;
}

const Schedule::Hop* Schedule::hop_of(base::GrantId grant) const {
  const auto at = grants_.find(grant);
  return at == grants_.end() ? nullptr : at->second.hop;
}

bool Schedule::leaves(base::GrantId grant) const {
  const auto at = grants_.find(grant);
  return at != grants_.end() && at->second.leaving;
}

Schedule::Room Schedule::room(bool local) const {
  const Pool& pool = pools_[local ? 1 : 0];
  return {pool.used, pool.slots, !pool.deliverers.empty()};
}

}  // namespace postern::queued
