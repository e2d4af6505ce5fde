// The part of Engine that gathers failures, so that a message whose many recipients one host refuses
// causes one notice, though they are tried in several leases.
//
// A failure waits while other recipients of its message are in delivery in the same queue, or soon
// will be, but not long. Where a lease was of several queues, its failures are told of together: they wait for what is
// coming in any of these. It waits before its record: nothing of it is durable, and its deliverer keeps
// the outcome until the record is written. So a crash loses no notice; at most the recipients are
// tried, and refused, once more. All that was gathered is one record with its notice. Delays and successes wait
// otherwise (one_notice.cc).
#include <algorithm>
#include <iterator>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "queued/engine.h"

namespace postern::queued {
namespace {

bool is_failure(const Report& report) { return report.action == mail::ReportAction::kFailed; }

event::Callback one_after_the_other(event::Callback first, event::Callback second) {
  if (!first) return second;
  if (!second) return first;
  return [first = std::move(first), second = std::move(second)]() mutable noexcept {
    first();
    second();
  };
}

// Two callbacks, of which the last one that is called calls `done`.
std::pair<event::Callback, event::Callback> when_both(event::Callback done) {
  if (!done) return {};
  auto shared = std::make_shared<std::pair<event::Callback, int>>(std::move(done), 2);
  const auto one = [shared]() noexcept {
    if (--shared->second == 0) shared->first();
  };
  return {one, one};
}

}  // namespace

// Who had a say in it; where several had, all of them.
std::string Engine::remotes_of(const Occasion& occasion) {
  std::string all;
  for (auto part = occasion.parts.begin(); part != occasion.parts.end(); ++part) {
    const bool said = std::any_of(occasion.parts.begin(), part, [&](const Occasion::Part& before) {
      return before.remote == part->remote;
    });
    if (said || part->remote.empty()) continue;
    if (!all.empty()) all += ", ";
    all += part->remote;
  }
  return all;
}

// One for each queue that a recipient of it is in; mostly one. All have one sender.
std::vector<MessageInQueue> Engine::keys_of(const Occasion& occasion, const Message& message) const {
  std::set<std::string_view> queues;
  std::vector<MessageInQueue> keys;
  for (const auto& part : occasion.parts)
    for (const auto& fate : part.fates) {
      const auto* recipient = find_recipient(message, fate.number);
      if (const auto queue = router_->queue(recipient->address); queues.insert(queue).second)
        keys.push_back({message.id, std::string(queue), sender_of(message, *recipient).text()});
    }
  return keys;
}

// An attempt is over. Its failures join those that were kept back, and all are told of if nothing more
// of the message is to come; the rest of it never waits.
void Engine::gather(Occasion occasion, const Message& message) {
  const bool fails = std::any_of(occasion.reports.begin(), occasion.reports.end(), is_failure);
  if (!fails && gathered_.empty()) return settle(std::move(occasion));  // the usual case
  const auto keys = keys_of(occasion, message);
  Occasion kept{occasion.id, {}, {}, {}};
  auto since = now();
  const MessageInQueue* coming = nullptr;
  for (const auto& key : keys) {
    const auto waiting = gathered_.find(key);
    const auto begun = waiting == gathered_.end() ? now() : waiting->second.since;
    if (gathering_ && comes_soon(message, key.queue, begun)) {
      coming = &key;
      continue;
    }
    since = std::min(since, begun);
    join(kept, take_gathered(key));
    tell_gathered_in(key.message, key.queue);
  }
  if (coming == nullptr) {
    join(kept, std::move(occasion));
    return settle(std::move(kept));
  }
  if (!kept.parts.empty()) keep_back(*coming, std::move(kept), message, since);
  if (!fails) return settle(std::move(occasion));
  Occasion failed{occasion.id, {}, {}, {}};
  auto& part = occasion.parts.front();
  auto& apart = failed.parts.emplace_back(part.remote, std::vector<RecipientFate>(), part.tls);
  for (auto& report : occasion.reports) {
    if (!is_failure(report)) continue;
    const auto fate = std::find_if(part.fates.begin(), part.fates.end(), [&](const auto& f) {
      return f.number == report.number;
    });
    apart.fates.push_back(std::move(*fate));
    part.fates.erase(fate);
    failed.reports.push_back(std::move(report));
  }
  std::erase_if(occasion.reports, is_failure);
  if (part.fates.empty()) {
    failed.written = std::move(occasion.written);
    return keep_back(*coming, std::move(failed), message, now());
  }
  std::tie(failed.written, occasion.written) = when_both(std::move(occasion.written));
  keep_back(*coming, std::move(failed), message, now());
  settle(std::move(occasion));
}

void Engine::join(Occasion& all, Occasion more) {
  std::move(more.reports.begin(), more.reports.end(), std::back_inserter(all.reports));
  std::move(more.parts.begin(), more.parts.end(), std::back_inserter(all.parts));
  all.written = one_after_the_other(std::move(all.written), std::move(more.written));
}

// `since`: when the first of it began to wait.
void Engine::keep_back(const MessageInQueue& key, Occasion occasion, const Message& message, QueueTime since) {
  set_concluding(occasion, true);
  auto [at, fresh] = gathered_.try_emplace(key);
  auto& gathered = at->second;
  gathered.since = fresh ? since : std::min(gathered.since, since);
  gathered.occasion.id = key.message;
  for (const auto& part : occasion.parts)
    for (const auto& fate : part.fates)
      if (const auto queue = router_->queue(find_recipient(message, fate.number)->address); queue != key.queue)
        gathered.elsewhere[fate.number] = queue;
  join(gathered.occasion, std::move(occasion));
  ++gathered.attempts;
  if (++attempts_gathered_ > kGatheredAttempts) {
    const auto oldest =
        std::min_element(gathered_.begin(), gathered_.end(), [](const auto& a, const auto& b) {
          return a.second.since < b.second.since;
        });
    tell_gathered_of(MessageInQueue(oldest->first));
  }
  poke();  // so that its time is watched
}

Engine::Occasion Engine::take_gathered(const MessageInQueue& key) {
  const auto at = gathered_.find(key);
  if (at == gathered_.end()) return {key.message, {}, {}, {}};
  auto occasion = std::move(at->second.occasion);
  attempts_gathered_ -= at->second.attempts;
  gathered_.erase(at);
  return occasion;
}

// The message may have left memory meanwhile.
void Engine::tell_gathered_of(const MessageInQueue& key) {
  auto occasion = take_gathered(key);
  store_.fetch({key.message}, [this, occasion = std::move(occasion)]() mutable noexcept {
    if (store_.find(occasion.id) != nullptr) return settle(std::move(occasion));
    set_concluding(occasion, false);
    finish(std::move(occasion), {});
  });
}

// What was kept back for other senders of the same message: nothing more of it is to come.
void Engine::tell_gathered_in(base::MessageId message, const std::string& queue) {
  std::vector<MessageInQueue> over;
  for (auto at = gathered_.lower_bound({message, queue, {}});
       at != gathered_.end() && at->first.message == message && at->first.queue == queue; ++at)
    over.push_back(at->first);
  for (const auto& key : over) tell_gathered_of(key);
}

void Engine::tell_gathered_before(QueueTime time) {
  std::vector<MessageInQueue> over;
  for (const auto& [key, gathered] : gathered_)
    if (gathered.since <= time) over.push_back(key);
  for (const auto& key : over) tell_gathered_of(key);
}

// Nothing more comes of what was stopped, and nothing of it waits for others.
void Engine::tell_alone() {
  std::set<base::MessageId> waiting;
  for (const auto& [key, gathered] : gathered_) waiting.insert(key.message);
  for (const auto& key : early_.begun_by(now())) waiting.insert(key.message);
  for (const auto& key : late_.begun_by(now())) waiting.insert(key.message);
  store_.fetch({waiting.begin(), waiting.end()}, [this, waiting]() noexcept {
    for (const auto id : waiting) tell_alone_of(id);
  });
}

void Engine::tell_alone_of(base::MessageId message) {
  std::vector<MessageInQueue> over;
  const auto is_blocked = [this](const auto& one) {
    const auto* queue = schedule_.find(one.second);
    return queue != nullptr && queue->blocked != Blocked::kNo;
  };
  for (auto at = gathered_.lower_bound({message, {}, {}}); at != gathered_.end() && at->first.message == message; ++at)
    if (!schedule_.coming(at->first.queue, message) || std::ranges::any_of(at->second.elsewhere, is_blocked))
      over.push_back(at->first);
  for (const auto& key : over) tell_gathered_of(key);
  end_waits_of(message);
}

void Engine::tell_gathered() { tell_gathered_before(now()); }

void Engine::stop_gathering() {
  gathering_ = false;
  tell_gathered();
  end_waits_before(now());
}

}  // namespace postern::queued
