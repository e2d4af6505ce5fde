// A schedule on a clock that the test turns, and what it decided so far.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "queued/schedule.h"

namespace postern::queued {

inline constexpr DelivererId kRelay1(1), kRelay2(2), kLocal(3);

inline config::HopSpec host(const std::string& name) { return {config::HopKind::kHost, name, 25}; }

// A route to a host of its own.
inline Destination outbound(const std::string& queue, std::uint32_t connections = 20) {
  return {.connections = connections, .via = {host(queue)}};
}

class ScheduleTest : public ::testing::Test {
 protected:
  explicit ScheduleTest(Schedule::Limits limits = {}) : s(make(limits)) { s->set_open(true); }
  std::unique_ptr<Schedule> make(Schedule::Limits limits) {
    return std::make_unique<Schedule>(
        limits, base::Epoch(5),
        Schedule::Rules{.blocked =
                            [this](const std::string& queue, const Destination&) {
                              const auto at = blocked.find(queue);
                              return at == blocked.end() ? Blocked::kNo : at->second;
                            },
                        .hop_frozen =
                            [this](const std::string& hop) { return frozen_hops.contains(hop); },
                        .wait = [this](const std::string& name) { return remembered[name]; },
                        .others =
                            [this](base::MessageId message, std::uint32_t number, const Schedule::Visit& visit) {
                              if (!in_memory.contains(message.value)) return false;
                              for (const auto& one : in_memory[message.value])
                                if (one.number != number && !visit(one.queue, one.number)) break;
                              return true;
                            }});
  }
  void limit(Schedule::Limits limits) {
    s = make(limits);
    s->set_open(true);
  }
  void add(const std::string& queue, std::uint64_t message, std::uint32_t number = 0,
           std::int64_t due = 0, bool held = false) {
    s->add(queue, outbound(queue),
           {base::MessageId(message), number, 100, 0, QueueTime(due), held}, now);
  }
  // Due now, by this destination.
  void add(const std::string& queue, const Destination& to, std::uint64_t message,
           std::uint32_t number = 0) {
    s->add(queue, to, {base::MessageId(message), number, 100, 0, now, false}, now);
  }
  void decide() {
    for (auto& action : s->decide(now)) {
      if (auto* grant = std::get_if<OpenGrant>(&action)) {
        opened.push_back(*grant);
        if (auto_ask) pending.push_back(*grant);
      } else if (auto* out = std::get_if<HandOut>(&action)) {
        handed.push_back(*out);
      } else if (auto* away = std::get_if<SendAway>(&action)) {
        sent_away.push_back(*away);
      } else if (auto* close = std::get_if<CloseGrant>(&action)) {
        closed.push_back(*close);
      } else if (auto* go = std::get_if<GoAhead>(&action)) {
        ahead.push_back(*go);
      }
    }
  }
  void ask(const OpenGrant& grant) {
    s->ask(grant.deliverer, base::RequestId(++request), grant.grant);
    grant_of[request] = grant;
  }
  // Everybody who was granted opens and asks until nothing more happens.
  void settle_down() {
    decide();
    while (!pending.empty()) {
      const auto grant = pending.front();
      pending.pop_front();
      ask(grant);
      decide();
    }
  }
  void fail(const OpenGrant& grant, std::int64_t until, std::uint32_t failures = 1) {
    const auto ended = s->grant_ended(grant.deliverer, grant.grant);
    ASSERT_TRUE(ended);
    remembered[ended->hop] = {QueueTime(until), failures};
    s->defer(ended->hop, remembered[ended->hop], now);
  }
  // The last message that was handed out went through; its connection asks again.
  void deliver_last() {
    const auto out = handed.back();
    const auto lease = s->settle(out.deliverer, {base::Epoch(5), out.lease});
    ASSERT_TRUE(lease);
    s->note_success(*lease, "");
    ask(grant_of[out.request.value]);
  }
  // The connections of the first relay that were sent away are closed.
  void close_sent_away() {
    for (const auto& away : std::exchange(sent_away, {}))
      (void)s->grant_ended(kRelay1, grant_of[away.request.value].grant);
  }
  std::map<std::string, Blocked> blocked;
  std::set<std::string> frozen_hops;
  std::map<std::string, HopWait> remembered;
  std::map<std::uint64_t, std::vector<Placed>> in_memory;  // messages, and all recipients of each
  std::unique_ptr<Schedule> s;
  QueueTime now{0};
  std::uint64_t request = 0;
  std::vector<OpenGrant> opened;
  std::deque<OpenGrant> pending;
  std::vector<HandOut> handed;
  std::vector<SendAway> sent_away;
  std::vector<CloseGrant> closed;
  std::vector<GoAhead> ahead;
  std::map<std::uint64_t, OpenGrant> grant_of;
  bool auto_ask = true;
};

}  // namespace postern::queued
