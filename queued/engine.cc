#include "queued/engine.h"

#include <algorithm>
#include <utility>

#include "common/base/text.h"
#include "common/log/log.h"
#include "queued/listings.h"

namespace postern::queued {
namespace {

constexpr base::Millis kOldRights{15 * 60 * 1000};
constexpr base::Millis kLongestSleep{3'600'000};
constexpr std::size_t kPlaced = 512;  // messages in one turn
constexpr base::Millis kEndDueAgain{60'000};
constexpr base::Millis kFollowAgain{60'000};

void log_end(const Freeze& freeze) {
  log::warning(freeze.hop ? "hop.unfrozen" : "queue.unfrozen")
      .field(freeze.hop ? "hop" : "queue", freeze.queue)
      .field("reason", "its time is over")
      .field("until", base::iso8601(freeze.until));
}

}  // namespace

Engine::Engine(event::Loop& loop, Store& store, config::QueuedConfig config)
    : loop_(loop),
      store_(store),
      config_(std::move(config)),
      retry_tables_(config_.retry),
      router_(std::make_unique<Router>(config_)),
      asking_(store.clock()),
      schedule_({.lease_recipients = ipc::kLeaseRecipients}, store.epoch(),
                {.blocked = [this](const std::string& queue, const Destination& destination) {
                   return blocks_.blocked(queue, destination);
                 },
                 .hop_frozen =
                     [this](const std::string& hop) { return blocks_.hop_frozen(hop) != nullptr; },
                 .wait = [this](const std::string& name) { return remembered(name); },
                 .others =
                     [this](base::MessageId id, std::uint32_t number, const Schedule::Visit& visit) {
                       return tell_others(id, number, visit);
                     }}),
      slices_(loop),
      throttle_(loop, [this] { return counters_.messages(); }),
      wake_(loop, [this]() noexcept { poke(); }) {}

Engine::~Engine() { *alive_ = false; }

void Engine::start() {
  hops_forgotten_ = now();
  read_blocks();
  store_.tell_all([this](const Batch& batch) noexcept { place_batch(batch); });
  poke();
}

void Engine::read_blocks() {
  const auto& text = store_.blocks_text();
  OutboundSwitch off{.disabled = true, .who = "recovery", .since = store_.clock().wall(),
                     .from = now()};
  bool save = false;
  if (text) {
    auto read = Blocks::from_text(*text);
    if (read) {
      blocks_ = *std::move(read);
      for (const auto& ended : blocks_.end_due(store_.clock().wall(), now())) {
        log_end(ended);
        save = true;
      }
    } else {
      log::error("blocks.damaged").field("reason", read.error());
      off.reason = "control.json was damaged and is kept in damaged/: its freezes are lost";
      store_.set_blocks_aside();
      (void)blocks_.disable_outbound(off);
      save = true;
    }
  } else {
    save = true;
    if (store_.used_before()) {
      log::error("blocks.missing").field("file", "control.json");
      off.reason = "control.json is missing: its freezes are lost";
      (void)blocks_.disable_outbound(off);
    }
  }
  if (config_.start_disabled && !blocks_.outbound().disabled) {
    off.who = "configuration";
    off.reason = "delivery.start is \"disabled\"";
    (void)blocks_.disable_outbound(off);
    save = true;
  }
  if (save)
    store_.save_blocks(blocks_.to_text(), [](os::Result<void> saved) noexcept {
      if (!saved) log::error("blocks.unsaved").field("reason", saved.error().text());
    });
  schedule_.review_blocks(now());
}

void Engine::configure(config::QueuedConfig config) {
  config_ = std::move(config);
  retry_tables_ = RetryTables(config_.retry);
  previous_router_ = std::move(router_);
  previous_until_ = store_.clock().steady() + kOldRights;
  router_ = std::make_unique<Router>(config_);
  asking_.forget();
  schedule_.clear();
  shorten_waits();
  hops_forgotten_ = now();
  told_upto_.clear();
  ++placings_;
  place_again({});
  schedule_.review_blocks(now());
  poke();
}

config::Decision Engine::decide(base::ListenerIndex listener, const config::Origin& origin,
                                const mail::Address& recipient, bool logged_in) const {
  auto decision = router_->decide(listener, origin, recipient, logged_in);
  const bool good = decision.verdict == config::Verdict::kLocal ||
                    decision.verdict == config::Verdict::kRelay;
  if (good || !previous_router_ || store_.clock().steady() > previous_until_) return decision;
  auto before = previous_router_->decide(listener, origin, recipient, logged_in);
  return before.verdict == config::Verdict::kLocal || before.verdict == config::Verdict::kRelay
             ? before
             : decision;
}

// --- Into the schedule ------------------------------------------------------------------------------

void Engine::admit(base::MessageId id) {
  if (const Message* message = store_.find(id)) place(*message);
  poke();
}

// From earlier lives. place() may end a message, but only this one.
void Engine::place_batch(const Batch& batch) {
  for (const Message* message : batch.messages) place(*message);
  poke();
  if (batch.more) return;
  loaded_ = true;
  log::info("queue.loaded").field("messages", store_.count()).field("bytes", store_.bytes());
  for (auto& loaded : std::exchange(when_loaded_, {})) loaded();
}

void Engine::when_loaded(Done loaded) {
  if (loaded_) return loaded();
  when_loaded_.push_back(std::move(loaded));
}

// All mail by the rules that hold now, a batch at a time; a newer run makes this one needless.
void Engine::place_again(base::MessageId after) {
  store_.scan(after, kPlaced, [this, run = placings_](const Batch& batch) noexcept {
    if (run != placings_) return;
    for (const Message* message : batch.messages) place(*message);
    poke();
    if (batch.more) place_again(batch.last);
  });
}

// Adds every open recipient that is not in delivery; some end here and now.
void Engine::place(const Message& message) {
  std::vector<RecipientAttempt> refused;
  // Where nothing arrived nobody is told that it did.
  const auto end = [&](const Recipient& recipient, ipc::Result result, ipc::ReplyText reply,
                       ipc::Arrival arrival = ipc::Arrival::kAnswerable) {
    refused.push_back(
        {recipient.number, {result, ipc::FailureClass::kPolicy, std::move(reply), arrival}});
  };
  const bool held = !message.held.empty();
  if (message.origin.value != 0) last_import_ = std::max(last_import_, message.id);
  for (const auto& recipient : message.recipients) {
    if (!recipient.open() || schedule_.leased(message.id, recipient.number) ||
        concluding_.contains({message.id, recipient.number}))
      continue;
    if (recipient.expanded != Expanded::kNo) {
      end(recipient, ipc::Result::kDelivered, our_reply(2, 0, 0, "replaced by the recipients that it stands for"),
          ipc::Arrival::kFinal);
      continue;
    }
    const auto route = router_->route(recipient.address);
    const auto kind = route.destination.via.front().kind;
    const bool stays = held || blocks_.blocked(route.queue, route.destination) != Blocked::kNo;
    if (!stays && kind == config::HopKind::kRefuse)
      end(recipient, ipc::Result::kFailed, our_reply(5, 7, 1, "a route refuses this destination"));
    else if (!stays && kind == config::HopKind::kDiscard)
      end(recipient, ipc::Result::kDelivered, our_reply(2, 0, 0, "discarded by a route"));
    else if (!stays && route.destination.local && !router_->mailbox(recipient.address))
      end(recipient, ipc::Result::kFailed, our_reply(5, 1, 1, "no such user here"));
    else
      add(route, message, recipient.number, due(message, recipient, route.queue));
  }
  if (!refused.empty()) conclude(message.id, std::move(refused), "", {});
}

void Engine::put_back(base::MessageId id, const std::vector<std::uint32_t>& numbers,
                      QueueTime due, const Passage& by) {
  store_.fetch({id}, [this, id, numbers, due, by]() noexcept {
    const Message* message = store_.find(id);
    if (message == nullptr) return;
    for (const auto number : numbers) {
      const Recipient* recipient = find_recipient(*message, number);
      if (recipient == nullptr || !recipient->open() || recipient->expanded != Expanded::kNo) continue;
      const auto route = router_->route(recipient->address);
      const bool second = by.refused != 0 && by.destination != nullptr &&
                          *by.destination == second_path(route.destination, by.refused - 1U);
      add(route, *message, number, due, second ? by.refused : std::uint8_t{0});
    }
    poke();
  });
}

void Engine::add(const Route& route, const Message& message, std::uint32_t number, QueueTime due,
                 std::uint8_t refused) {
  schedule_.add(route.queue, route.destination,
                {.message = message.id,
                 .number = number,
                 .size = message.size(),
                 .sender = sender_hash(message),
                 .due = due,
                 .held = !message.held.empty(),
                 .refused = refused},
                now());
}

// From that recipient on and around, for what the last lease left of the message stands there; no more are looked at
// than fill a few leases. A transaction has one sender. What REQUIRETLS demands of a host is a question of the domains
// (RFC 8689 2): one that cannot have the message must not keep it from others.
bool Engine::tell_others(base::MessageId id, std::uint32_t number, const Schedule::Visit& visit) const {
  constexpr std::size_t kLooks = 4 * ipc::kLeaseRecipients;
  const Message* message = store_.find(id);
  if (message == nullptr) return false;
  const Recipient* first = find_recipient(*message, number);
  if (first == nullptr || message->open < 2 || message->tls_wish == mail::TlsWish::kRequired) return true;
  const auto& all = message->recipients;
  const auto at = static_cast<std::size_t>(first - all.data());
  for (std::size_t n = 1; n < std::min(all.size(), kLooks); ++n) {
    const auto& one = all[(at + n) % all.size()];
    if (!one.open() || one.expanded != Expanded::kNo || one.sender != first->sender) continue;
    if (!visit(router_->queue(one.address), one.number)) break;
  }
  return true;
}

// What is known of a next hop that no queue led to lately.
HopWait Engine::remembered(const std::string& name) const {
  const auto wait = store_.waits().find(name);
  if (wait == store_.waits().end()) return {};
  return {due_by(retry_tables_, wait->second), wait->second.failures};
}

QueueTime Engine::due(const Message& message, const Recipient& recipient,
                      std::string_view queue) const {
  return due_by(retry_tables_, queue, message.id, recipient);
}

// Next hops that are dead, by tables that may want them tried earlier.
void Engine::shorten_waits() {
  for (const auto& [name, wait] : store_.waits()) {
    const auto* hop = schedule_.find_hop(name);
    const auto until = due_by(retry_tables_, wait);
    if (hop != nullptr && until < hop->until) schedule_.defer(name, {until, wait.failures}, now());
  }
}

std::string Engine::standing_hold(const MessageRecord& record) const {
  if (blocks_.holds().empty()) return {};
  const auto message = to_message(MessageRecord(record), {});
  for (const auto& hold : blocks_.holds())
    if (selects(*this, hold.what, message)) return held_by(hold.who, hold.reason);
  return {};
}

void Engine::hold(base::MessageId id, std::string why) {
  store_.fetch({id}, [this, id, why = std::move(why)]() mutable noexcept {
    if (store_.find(id) == nullptr) return;
    log::warning("message.held").field("id", id).field("reason", why);
    apply_hold(id, std::move(why));
  });
}

void Engine::end_hold(base::MessageId id) {
  store_.fetch({id}, [this, id]() noexcept {
    const Message* message = store_.find(id);
    if (message == nullptr || message->damaged || message->held.empty()) return;
    log::info("message.released").field("id", id);
    apply_hold(id, {});
    poke();
  });
}

void Engine::apply_hold(base::MessageId id, std::string why) {
  const bool held = !why.empty();
  store_.note(HoldRecord{id, std::move(why), now()});
  const Message* message = store_.find(id);
  for (const auto& recipient : message->recipients)
    if (recipient.open())
      schedule_.hold(router_->route(recipient.address).queue, id, held, now());
  if (held) tell_alone_of(id);
}

void Engine::recall(base::MessageId id) {
  schedule_.recall(id);
  poke();
}

bool Engine::in_delivery(const Message& message) const {
  return std::any_of(message.recipients.begin(), message.recipients.end(),
                     [&](const Recipient& recipient) {
                       return schedule_.leased(message.id, recipient.number) ||
                              concluding_.contains({message.id, recipient.number});
                     });
}

void Engine::retry(const std::vector<base::MessageId>& messages) {
  store_.fetch(messages, [this, messages]() noexcept { retry_found(messages); });
}

void Engine::retry_queue(std::string name) {
  constexpr std::size_t kSlice = 50;  // messages in one turn
  if (!retrying_.insert(name).second) return;
  slices_.add([this, name = std::move(name), after = base::MessageId()]() mutable noexcept {
    const auto slice = schedule_.all_messages(name, after, kSlice);
    if (slice.empty()) return retrying_.erase(name), false;
    retry(slice);
    after = slice.back();
    return true;
  });
}

void Engine::retry_found(const std::vector<base::MessageId>& messages) {
  RetryRecord record;
  record.clock = now();
  std::vector<std::string> queues;
  for (const auto id : messages) {
    const Message* message = store_.find(id);
    if (message == nullptr) continue;
    record.messages.push_back(id);
    for (const auto& recipient : message->recipients)
      if (recipient.open()) queues.push_back(router_->route(recipient.address).queue);
  }
  std::sort(queues.begin(), queues.end());
  queues.erase(std::unique(queues.begin(), queues.end()), queues.end());
  for (const auto& queue : queues)
    for (auto& name : schedule_.end_wait(queue, now()))
      if (store_.waits().contains(name) && record.queues.size() < kMaxRetried)
        record.queues.push_back(std::move(name));
  std::sort(record.queues.begin(), record.queues.end());
  record.queues.erase(std::unique(record.queues.begin(), record.queues.end()),
                      record.queues.end());
  store_.note(record, {});
  for (const auto id : record.messages) {
    for (const auto& recipient : store_.find(id)->recipients)
      if (recipient.open())
        schedule_.expedite(router_->route(recipient.address).queue, id, now());
  }
  poke();
}

// --- Blocks -----------------------------------------------------------------------------------------

void Engine::change_blocks(Change change, Changed changed) {
  changes_.push_back({std::move(change), std::move(changed)});
  if (!changing_) next_change();
}

// One after the other: durable first, then in force, then reported.
void Engine::next_change() {
  if (changes_.empty()) return;
  auto pending = std::move(changes_.front());
  changes_.pop_front();
  auto blocks = blocks_;
  auto said = pending.change(blocks);
  if (!said) {
    pending.changed(std::move(said));
    return next_change();
  }
  changing_ = true;
  auto text = blocks.to_text();
  store_.save_blocks(std::move(text), [this, blocks = std::move(blocks), said = std::move(said),
                                       changed = std::move(pending.changed)](
                                          os::Result<void> saved) mutable noexcept {
    changing_ = false;
    if (saved) {
      blocks_ = std::move(blocks);
      schedule_.review_blocks(now());
      tell_alone();
      poke();
      if (blocks_changed_) blocks_changed_();
      changed(std::move(said));
    } else {
      changed(std::unexpected("not saved, nothing is changed: " + saved.error().text()));
    }
    if (!changing_) next_change();
  });
}

void Engine::end_due_freezes() {
  const auto wall = store_.clock().wall();
  if (ending_due_ || !blocks_.any_due(wall) || store_.clock().steady() < end_due_again_) return;
  ending_due_ = true;
  auto ended = std::make_shared<std::vector<Freeze>>();
  change_blocks(
      [ended, wall, now = now()](Blocks& blocks) noexcept {
        *ended = blocks.end_due(wall, now);
        return Blocks::Said("ended");
      },
      [this, ended](Blocks::Said said) noexcept {
        ending_due_ = false;
        if (said) {
          for (const auto& freeze : *ended) log_end(freeze);
        } else {
          log::error("blocks.unsaved").field("reason", said.error());
          end_due_again_ = store_.clock().steady() + kEndDueAgain;
        }
      });
}

void Engine::follow_dns() {
  const auto steady = store_.clock().steady();
  if (!blocks_.any_hop() || steady < follow_again_) return;
  follow_again_ = steady + kFollowAgain;
  schedule_.seek_anew(now());
  poke();
}

// --- Breaking off -----------------------------------------------------------------------------------

std::shared_ptr<const Engine::BrokenOff> Engine::break_off(const Stopped& stopped) {
  auto broken = std::make_shared<BrokenOff>();
  for (const auto& [key, lease] : schedule_.leases()) {
    if (!schedule_.any_queue(lease, [&](const auto& queue) { return stopped(lease, queue); })) continue;
    broken->open.insert(key);
    if (break_) break_(lease);
  }
  std::erase_if(broken_off_, [](const auto& earlier) { return earlier.expired(); });
  broken_off_.push_back(broken);
  return broken;
}

std::uint64_t Engine::concluding(const Stopped& stopped) const {
  const auto is_stopped = [&](base::MessageId id, const std::string& name) {
    const auto* queue = schedule_.find(name);
    return queue != nullptr && stopped(LeaseInfo{.message = id, .queue = name}, *queue);
  };
  auto others = concluding_;
  std::uint64_t count = 0;
  for (const auto& [key, gathered] : gathered_)
    for (const auto& part : gathered.occasion.parts)
      for (const auto& fate : part.fates) {
        others.erase({key.message, fate.number});
        const auto other = gathered.elsewhere.find(fate.number);
        count += is_stopped(key.message, other == gathered.elsewhere.end() ? key.queue : other->second) ? 1 : 0;
      }
  for (const auto& [id, number] : others) {
    const Message* message = store_.find(id);
    const Recipient* recipient = message != nullptr ? find_recipient(*message, number) : nullptr;
    // One that is being read this moment may be of them.
    if (recipient == nullptr || is_stopped(id, router_->route(recipient->address).queue)) ++count;
  }
  return count;
}

std::uint64_t Engine::concluding(base::MessageId id) const {
  const auto from = concluding_.lower_bound({id, 0});
  const auto to = concluding_.lower_bound({id.next(), 0});
  return static_cast<std::uint64_t>(std::distance(from, to));
}

void Engine::lease_over(const LeaseInfo& lease, bool unknown) {
  for (const auto& one : broken_off_)
    if (const auto broken = one.lock(); broken && broken->open.erase(lease.key) > 0 && unknown)
      broken->may_repeat.insert(lease.message);
}

// --- Turning the wheel ------------------------------------------------------------------------------

void Engine::poke() {
  if (std::exchange(poked_, true)) return;
  loop_.defer([this, alive = alive_]() noexcept {
    if (*alive) run();
  });
}

void Engine::run() {
  poked_ = false;
  tell_gathered_before(now() - kGatherTime);
  end_waits_before(now() - kGatherTime);
  for (auto& action : schedule_.decide(now())) perform_(std::move(action));
  end_closed_paths();
  auto wake = schedule_.next_wake();
  for (const auto& [key, gathered] : gathered_) {
    const auto due = gathered.since + kGatherTime;
    wake = std::min(wake.value_or(due), due);
  }
  for (const auto since : {late_.oldest(), early_.oldest()})
    if (since) wake = std::min(wake.value_or(*since + kGatherTime), *since + kGatherTime);
  if (wake)
    wake_.start(std::clamp(*wake - now(), base::Millis(1), kLongestSleep));
  else
    wake_.cancel();
}

}  // namespace postern::queued
