// The part of explain that is about messages.
#include "queued/explain.h"

#include <algorithm>
#include <utility>

#include "queued/notices.h"
#include "queued/obstacles.h"
#include "queued/whole_message.h"

namespace postern::queued {
namespace {

using ipc::Blocker;
using ipc::Obstacle;

constexpr std::uint32_t kMostAhead = 10'000;  // messages that are counted

// Of one message: how many others come before it is asked once for each queue.
class Explainer {
 public:
  Explainer(const Engine& engine, const Message& message) : engine_(engine), message_(message) {}

  [[nodiscard]] std::vector<Obstacle> obstacles(const Recipient& recipient, const Site& site) {
    const auto& schedule = engine_.schedule();
    std::vector<Obstacle> found;
    if (schedule.leased(message_.id, recipient.number)) {
      found.push_back(lease_of(recipient));
    } else if (engine_.concludes(message_.id, recipient.number)) {
      found.push_back({.blocker = Blocker::kConcluding});
    }
    const bool under_way = !found.empty();
    if (!message_.held.empty() || message_.damaged) found.push_back(hold_of(engine_, message_));
    add_blocks(engine_, site, found, frozen_before(engine_, site.destination, site.hop, site.due, recipient));
    if (under_way) return found;  // all else is asked again when that is over
    add_waits(engine_, site, found);
    add_connections(engine_, site, found);
    const auto stands = schedule.standing(site.queue, message_.id, recipient.number);
    if (stands && stands->stage == Stage::kReady && !site.second) add_turn(site, found);
    return found;
  }

  [[nodiscard]] Site site(const Recipient& recipient) const {
    const auto route = engine_.router().route(recipient.address);
    const auto* second = engine_.schedule().second_of(route.queue, message_.id, recipient.number);
    const auto stands = engine_.schedule().standing(route.queue, message_.id, recipient.number);
    auto site = site_of(engine_, route.queue, second == nullptr ? route.destination : second->destination(),
                        stands ? stands->due : engine_.due(message_, recipient, route.queue), second);
    site.place = engine_.router().routed_by(recipient.address).place;
    return site;
  }

  [[nodiscard]] ipc::Explanation explanation(const Recipient& recipient) {
    const auto site = this->site(recipient);
    ipc::Explanation out;
    out.alias = recipient.alias;
    out.queue = site.queue;
    out.obstacles = obstacles(recipient, site);
    out.state = state_of(out.obstacles);
    out.next = end_of(out.obstacles, engine_.store().clock().wall());
    out.passed = passed(engine_, site, out.obstacles);
    out.way = way_of(site, engine_.router().routed_by(recipient.address));
    if (site.second) place_in_route(engine_.router().route(recipient.address).destination.via, site, out.way);
    out.tries = recipient.tries;
    out.last_try = recipient.last_try;
    if (recipient.trouble) {
      out.last_reply = cut(text_of(recipient.trouble->reply), ipc::kReplyShown);
      out.remote = recipient.trouble->remote;
      out.tls = recipient.trouble->tls;
    }
    add_future(recipient, site, out);
    return out;
  }

 private:
  [[nodiscard]] Obstacle lease_of(const Recipient& recipient) const {
    Obstacle lease{.blocker = Blocker::kDelivering};
    for (const auto& [key, info] : engine_.schedule().leases()) {
      if (info.message != message_.id || std::find(info.recipients.begin(), info.recipients.end(),
                                                   recipient.number) == info.recipients.end())
        continue;
      lease.since = engine_.store().clock().wall_at(info.since);
      if (const auto* hop = engine_.schedule().hop_of(info.grant)) lease.name = hop->name();
    }
    return lease;
  }

  void add_turn(const Site& site, std::vector<Obstacle>& found) {
    if (!ahead_ || ahead_->first != site.queue)
      ahead_.emplace(site.queue, engine_.schedule().ahead(site.queue, message_.id, kMostAhead));
    const auto ahead = ahead_->second;
    if (ahead == 0) return;
    Obstacle turn{.blocker = Blocker::kTurn, .name = site.queue, .count = ahead};
    // At a rate, and with nobody else there, its turn is a time.
    if (site.hop != nullptr && site.hop->interval() > 0 && site.hop->queues() == 1) {
      const auto first = std::max(site.hop->next_turn(), engine_.now());
      turn.until = engine_.store().clock().wall_at(
          first + base::Millis(static_cast<std::int64_t>(ahead * site.hop->interval() / 1000)));
    }
    found.push_back(std::move(turn));
  }

  // What follows from failures, and when it is over.
  void add_future(const Recipient& recipient, const Site& site, ipc::Explanation& out) const {
    const bool dead = site.dead_until() > engine_.now();
    std::optional<ipc::FailureClass> failure;
    if (recipient.trouble) failure = recipient.trouble->failure;
    if (dead && site.wait != nullptr) failure = site.wait->failure;
    const auto failures = dead && site.wait != nullptr ? site.wait->failures : recipient.tries;
    out.retry = plan_of(engine_, site.queue, failure, failures);
    const auto terms = engine_.retry_tables().terms(
        site.queue, failure.value_or(ipc::FailureClass::kConnect));
    const auto before = frozen_before(engine_, site.destination, site.hop, site.due, recipient);
    const auto age = engine_.age(message_, site.queue, site.destination, before);
    const auto at = [&](base::Millis limit) {
      return engine_.store().clock().wall() + (limit - age);
    };
    if (terms.expire.count() != 0) out.expires = at(terms.expire);
    const bool tells = terms.notify.count() != 0 && has_sender(message_) &&
                       recipient.notify.delay() && !recipient.delay_told &&
                       (terms.expire.count() == 0 || terms.notify < terms.expire);
    if (tells) out.notice = at(terms.notify);
    out.clock_stands = !message_.held.empty() || engine_.clock_stands(site.queue, site.destination, before);
  }

  const Engine& engine_;
  const Message& message_;
  std::optional<std::pair<std::string, std::uint32_t>> ahead_;
};

ipc::Explained explained(const Engine& engine, const ipc::Explain& ask) {
  ipc::Explained answer;
  answer.request = ask.request;
  const Message* message = engine.store().find(ask.id);
  if (message == nullptr) return answer;
  tell_whole(*message, answer);
  const auto& recipients = message->recipients;
  answer.ended = static_cast<std::uint32_t>(recipients.size()) - message->open;
  Explainer explainer(engine, *message);
  std::size_t i = ask.after;
  for (; i < recipients.size(); ++i) {
    if (!recipients[i].open()) continue;
    auto one = explainer.explanation(recipients[i]);
    if (answer.explanations.empty()) {
      answer.explanations.push_back(one);
    } else {
      auto& all = answer.explanations.front().recipients;
      one.recipients = all;
      if (one != answer.explanations.front() || all.size() == ipc::kMaxExplained) break;
    }
    answer.explanations.front().recipients.push_back(recipients[i].address);
  }
  answer.more = i < recipients.size();
  answer.next_after = static_cast<std::uint32_t>(i);
  return answer;
}

}  // namespace

std::vector<Obstacle> obstacles(const Engine& engine, const Message& message,
                                const Recipient& recipient) {
  Explainer explainer(engine, message);
  return explainer.obstacles(recipient, explainer.site(recipient));
}

ipc::Explanation explanation(const Engine& engine, const Message& message,
                             const Recipient& recipient) {
  return Explainer(engine, message).explanation(recipient);
}

void explain(Engine& engine, const ipc::Explain& ask, Reply<ipc::Explained> reply) {
  engine.store().fetch({ask.id}, [&engine, ask, reply = std::move(reply)]() mutable noexcept {
    reply(explained(engine, ask));
  });
}

}  // namespace postern::queued
