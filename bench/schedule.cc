// What the schedule's steps cost at a depth of 1,000 and of 1,000,000 recipients, in one queue and
// in many: one message added, asked for and handed out, settled, put back for later, taken off; a
// queue deferred and run again. Steps are measured a few at a time, in CPU time of the thread, with
// nothing else between the two looks at the clock; `median` and `p99` are of these samples, for one
// step.
#include "queued/schedule.h"

#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "common/base/check.h"

namespace postern::bench {
namespace {

using namespace queued;

constexpr DelivererId kRelay(1);
constexpr base::Epoch kEpoch(1);
// Steps of a sample: so many that two looks at the clock, 0.5 us, are little beside them.
constexpr std::size_t kBatch = 25;
// Given, not found out by trial: what lies between samples costs more than they do.
constexpr benchmark::IterationCount kSamples = 4'000;

struct Connection {
  base::GrantId grant;
  std::size_t queue = 0;
};

// A schedule that is `depth` deep, two thirds of each queue ready, with as many connections as it
// may have.
class Rig {
 public:
  Rig(std::size_t depth, std::size_t queues) {
    for (std::size_t q = 0; q < queues; ++q) {
      names_.push_back("mail-domain-" + std::to_string(q) + ".example");
      numbers_[names_.back()] = q;
    }
    schedule.deliverer_up(kRelay, false);
    schedule.set_open(true);
    for (std::size_t m = 0; m < depth; ++m)
      add(names_[next_queue()], new_id(), m % 3 != 0 ? now : later());
    perform(schedule.decide(now));
    while (!opened_.empty()) {
      const auto connection = opened_.back();
      opened_.pop_back();
      ask(connection);
      perform(schedule.decide(now));
      ready_.push_back(connection);  // whatever it was told: see hand_out()
    }
    while (!handed_.empty()) settle_back(take_handed());
  }
  std::size_t next_queue() { return last_queue_ = (last_queue_ + 7919) % names_.size(); }
  [[nodiscard]] const std::string& name(std::size_t queue) const { return names_[queue]; }
  base::MessageId new_id() { return base::MessageId((std::uint64_t{1} << 50) + ++last_message_); }
  void add(const std::string& queue, base::MessageId id, QueueTime due) {
    schedule.add(queue, by_mx, {id, 0, 4096, 0, due, false}, now);
  }
  QueueTime later() { return now + base::Millis(1'000'000 + last_message_ % 3'600'000); }
  void ask(const Connection& connection) {
    schedule.ask(kRelay, base::RequestId(++last_request_), connection.grant);
    asked_[last_request_] = connection;
  }
  void perform(std::vector<Action> actions) {
    for (auto& action : actions) {
      if (const auto* grant = std::get_if<OpenGrant>(&action)) opened(*grant);
      if (auto* out = std::get_if<HandOut>(&action)) handed_.push_back(std::move(*out));
      if (const auto* away = std::get_if<SendAway>(&action)) away_.push_back(away->request.value);
    }
  }
  // Each queue has an MX host of its own.
  void opened(const OpenGrant& grant) {
    (void)schedule.hop_found(kRelay, grant.grant, "mx." + grant.queue + ":25",
                             base::Millis(86'400'000), now);
    opened_.push_back({grant.grant, numbers_.at(grant.queue)});
  }
  HandOut take_handed() {
    auto out = std::move(handed_.back());
    handed_.pop_back();
    return out;
  }
  // The message is as if it came anew.
  void settle_back(const HandOut& out) {
    CHECK(schedule.settle(kRelay, {kEpoch, out.lease}));
    asked_.erase(out.request.value);
    add(out.queue, out.message, now);
  }
  // Connections that do not ask, of queues with ready mail: at most `count`.
  std::vector<Connection> connections(std::size_t count) {
    for (const auto request : away_) {
      (void)schedule.grant_ended(kRelay, asked_.at(request).grant);
      ended_.insert(asked_.at(request).grant);
      asked_.erase(request);
    }
    std::erase_if(ready_, [&](const Connection& c) { return ended_.contains(c.grant); });
    away_.clear();
    perform(schedule.decide(now));
    ready_.insert(ready_.end(), opened_.begin(), opened_.end());
    opened_.clear();
    return {ready_.begin(),
            ready_.begin() + static_cast<std::ptrdiff_t>(std::min(count, ready_.size()))};
  }

  const Destination by_mx{.connections = 0, .via = {{config::HopKind::kMx, "", 25}}};
  static inline const Schedule::Rules kNoRules{
      .blocked = [](const auto&, const auto&) { return Blocked::kNo; },
      .hop_frozen = {},
      .wait = {}};
  Schedule schedule{{}, kEpoch, kNoRules};
  QueueTime now{1'000'000};
  std::vector<HandOut> handed_;

 private:
  std::vector<std::string> names_;
  std::map<std::string, std::size_t> numbers_;
  std::vector<Connection> opened_, ready_;
  std::map<std::uint64_t, Connection> asked_;
  std::vector<std::uint64_t> away_;
  std::unordered_set<base::GrantId> ended_;
  std::uint64_t last_message_ = 0, last_request_ = 0;
  std::size_t last_queue_ = 0;
};

// Filling takes longer than measuring, so rigs are kept while they fit.
Rig& rig(const benchmark::State& state) {
  static std::map<std::pair<std::int64_t, std::int64_t>, std::unique_ptr<Rig>> rigs;
  const std::pair wanted(state.range(0), state.range(1));
  auto& known = rigs[wanted];
  if (!known)
    known = std::make_unique<Rig>(static_cast<std::size_t>(wanted.first),
                                  static_cast<std::size_t>(wanted.second));
  return *known;
}

// CPU time of this thread, in seconds.
double cpu_seconds() {
  timespec now{};
  CHECK(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// The samples of one benchmark.
class Samples {
 public:
  explicit Samples(benchmark::State& state) : state_(state) {}
  // `work` takes that many steps.
  template <typename Work>
  void take(std::size_t steps, Work work) {
    const auto begun = cpu_seconds();
    work();
    const auto seconds = cpu_seconds() - begun;
    state_.SetIterationTime(seconds);
    if (steps != 0) each_.push_back(seconds / static_cast<double>(steps));
  }
  ~Samples() {
    if (each_.empty()) {
      state_.SkipWithError("no step was taken");
      return;
    }
    std::sort(each_.begin(), each_.end());
    state_.counters["median"] = each_[each_.size() / 2];
    state_.counters["p99"] = each_[each_.size() * 99 / 100];
  }

 private:
  benchmark::State& state_;
  std::vector<double> each_;
};

// New mail for queues here and there, as a router would name them; every third recipient is due
// later.
struct Mail {
  std::string queue;
  base::MessageId id;
  QueueTime due;
};
std::vector<Mail> make_mail(Rig& r) {
  std::vector<Mail> mail;
  for (std::size_t n = 0; n < kBatch; ++n)
    mail.push_back({r.name(r.next_queue()), r.new_id(), n % 3 != 0 ? r.now : r.later()});
  return mail;
}
void add_all(Rig& r, const std::vector<Mail>& mail) {
  for (const auto& one : mail) r.add(one.queue, one.id, one.due);
}
void take_all(Rig& r, const std::vector<Mail>& mail) {
  for (const auto& one : mail) benchmark::DoNotOptimize(r.schedule.take(one.queue, one.id));
}

// As many connections ask as may; what they are given is in handed_.
void ask_all(Rig& r, const std::vector<Connection>& connections) {
  for (const auto& connection : connections) {
    r.ask(connection);
    r.perform(r.schedule.decide(r.now));
  }
}

void add(benchmark::State& state) {
  Rig& r = rig(state);
  Samples samples(state);
  for (auto _ : state) {
    const auto mail = make_mail(r);
    samples.take(kBatch, [&] { add_all(r, mail); });
    take_all(r, mail);
  }
}

void take(benchmark::State& state) {
  Rig& r = rig(state);
  Samples samples(state);
  for (auto _ : state) {
    const auto mail = make_mail(r);
    add_all(r, mail);
    for (std::size_t n = 0; n < 4 * kBatch; ++n)  // others come in between
      (void)r.schedule.messages(r.name(r.next_queue()), base::MessageId(), 1);
    samples.take(kBatch, [&] { take_all(r, mail); });
  }
}

void hand_out(benchmark::State& state) {
  Rig& r = rig(state);
  Samples samples(state);
  for (auto _ : state) {
    const auto connections = r.connections(kBatch);
    samples.take(connections.size(), [&] { ask_all(r, connections); });
    while (!r.handed_.empty()) r.settle_back(r.take_handed());
  }
}

void settle(benchmark::State& state) {
  Rig& r = rig(state);
  Samples samples(state);
  for (auto _ : state) {
    ask_all(r, r.connections(kBatch));
    samples.take(r.handed_.size(), [&] {
      for (const auto& out : r.handed_)
        benchmark::DoNotOptimize(r.schedule.settle(kRelay, {kEpoch, out.lease}));
    });
    while (!r.handed_.empty()) {
      const auto out = r.take_handed();
      r.add(out.queue, out.message, r.now);
    }
  }
}

// What was handed out and settled comes back for a later time.
void put_back(benchmark::State& state) {
  Rig& r = rig(state);
  Samples samples(state);
  for (auto _ : state) {
    ask_all(r, r.connections(kBatch));
    std::vector<Mail> mail;
    while (!r.handed_.empty()) {
      const auto out = r.take_handed();
      CHECK(r.schedule.settle(kRelay, {kEpoch, out.lease}));
      mail.push_back({out.queue, out.message, r.later()});
    }
    samples.take(mail.size(), [&] { add_all(r, mail); });
    for (const auto& one : mail) r.add(one.queue, one.id, r.now);
  }
}

void defer(benchmark::State& state) {
  Rig& r = rig(state);
  Samples samples(state);
  for (auto _ : state) {
    const auto mail = make_mail(r);
    std::vector<std::string> hops;
    for (const auto& one : mail) hops.push_back(r.schedule.find(one.queue)->hop()->name());
    const auto until = r.later();
    samples.take(kBatch, [&] {
      for (const auto& hop : hops) r.schedule.defer(hop, {until, 1}, r.now);
    });
    for (const auto& one : mail) (void)r.schedule.end_wait(one.queue, r.now);
  }
}

void depths(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"depth", "queues"});
  benchmark->Args({1'000, 1})->Args({1'000, 100})->Args({1'000'000, 1})->Args({1'000'000, 100'000});
  benchmark->UseManualTime()->Iterations(kSamples);
}
BENCHMARK(add)->Apply(depths);
BENCHMARK(take)->Apply(depths);
BENCHMARK(hand_out)->Apply(depths);
BENCHMARK(settle)->Apply(depths);
BENCHMARK(put_back)->Apply(depths);
BENCHMARK(defer)->Apply(depths);

// Of what happens once and to all: the mean of its steps.
void report(benchmark::State& state, std::size_t steps) {
  state.counters["step"] = benchmark::Counter(
      static_cast<double>(steps), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// All that a restart adds, in the order of its numbers.
void fill(benchmark::State& state) {
  for (auto _ : state) {
    Rig r(static_cast<std::size_t>(state.range(0)), static_cast<std::size_t>(state.range(1)));
    benchmark::DoNotOptimize(r.schedule.next_wake());
  }
  report(state, state.iterations() * static_cast<std::size_t>(state.range(0)));
}
BENCHMARK(fill)
    ->ArgNames({"depth", "queues"})
    ->Args({1'000'000, 1})
    ->Args({1'000'000, 100'000})
    ->Unit(benchmark::kMillisecond)
    ->Iterations(1);

// A message for each of so many queues, whose routes all name hosts of their own.
void routes(benchmark::State& state) {
  const auto queues = static_cast<std::uint64_t>(state.range(0));
  for (auto _ : state) {
    Schedule schedule({}, kEpoch, Rig::kNoRules);
    for (std::uint64_t q = 1; q <= queues; ++q) {
      const auto name = "mail-domain-" + std::to_string(q) + ".example";
      schedule.add(name, {.via = {{config::HopKind::kHost, "mx." + name, 25}}},
                   {base::MessageId(q), 0, 4096, 0, QueueTime(1), false}, QueueTime(1));
    }
    benchmark::DoNotOptimize(schedule.next_wake());
  }
  report(state, state.iterations() * queues);
}
BENCHMARK(routes)
    ->ArgName("queues")
    ->Arg(1'000)
    ->Arg(100'000)
    ->Unit(benchmark::kMillisecond)
    ->Iterations(1);

// Everything becomes due at one moment.
void wake(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    Rig r(static_cast<std::size_t>(state.range(0)), static_cast<std::size_t>(state.range(1)));
    state.ResumeTiming();
    r.now += base::Millis(100'000'000);
    while (const auto next = r.schedule.next_wake()) {
      if (*next > r.now) break;
      benchmark::DoNotOptimize(r.schedule.decide(r.now));
    }
  }
  report(state, state.iterations() * static_cast<std::size_t>(state.range(0)) / 3);
}
BENCHMARK(wake)
    ->ArgNames({"depth", "queues"})
    ->Args({1'000'000, 1})
    ->Args({1'000'000, 100'000})
    ->Unit(benchmark::kMillisecond)
    ->Iterations(1);

}  // namespace
}  // namespace postern::bench

BENCHMARK_MAIN();
