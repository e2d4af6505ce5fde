// The engine through a random life on a clock that the test turns: mail comes, deliverers succeed, fail and
// die, hosts refuse by their policy, call for their mail, hang up and are called, queues and next hops are frozen and let
// go, or come back by themselves, mail is held, let go and tried by the control socket while reads take their time, routes
// with second paths and without, rights and retry tables change, old mail expires, queued is killed and starts again. A
// ledger beside it (engine_model.h) knows what was promised: every recipient ends exactly once, and who sent it is told of
// that exactly once, if he may be (I4), what was acknowledged is never repeated (I3), what is stopped does not move and
// stays stopped (I5), nothing is given up or tried before its time, a second path is for those whom a policy has just
// refused, mail that waits for a call leaves over that call alone, what is told to block a recipient is so, and when all
// is let go and all have called nothing is left. POSTERN_ENGINE_STEPS sets how long, POSTERN_SEED which life.
#include <chrono>
#include <cstdlib>

#include "tests/unit/figures.h"
#include "tests/unit/queued/engine_model.h"

namespace postern::queued {
namespace {

class EngineLife : public EngineModel {
 protected:
  void step() {
    looked_at.clear();
    const auto what = dice(1000);
    if (what < 250) {
      if (store->count() < 300) mail_in();
    } else if (what < 830) {
      deliver();
    } else if (what < 848) {
      (void)any_relay().fail_a_grant(ipc::FailureClass::kConnect);
    } else if (what < 924) {
      operate(what);
    } else if (what < 932) {
      reload();
    } else if (what < 936) {
      relay_dies();
    } else if (what < 941) {
      crash();
    } else if (what < 951) {
      explain_something();
    } else if (what < 983) {
      call(what);
    } else {
      pass_time(base::Millis(dice(90'000)));
    }
    turns(1);
  }
  void operate(std::size_t what) {
    if (what < 866) {
      freeze_or_not(any_name(), false);
    } else if (what < 876) {
      freeze_or_not(any_hop(), true);
    } else if (what < 884) {
      switch_outbound();
    } else if (what < 902) {
      hold_or_release();
    } else if (what < 910) {
      remove();
    } else if (what < 922) {
      dice(3) == 0 ? retry_selected() : engine->retry({any_message()});
    } else {
      stop_while_bodies_are_read();
    }
  }
  void call(std::size_t what) {
    if (what < 968) {
      host_calls(any_account(), dice(2) == 0);
    } else if (what < 973) {
      host_hangs_up();
    } else if (what < 976) {
      lock_or_not(any_account().name);
    } else if (what < 978) {
      start_queue();
    } else {
      collect();
    }
  }
  const config::AccountLimits& any_account() { return config.accounts[dice(config.accounts.size())]; }

  // Without blocks and failures all that is left goes out.
  void drain() {
    draining = true;
    let_all_go();
    for (int n = 0; n < 200'000 && store->count() > 0; ++n) {
      deliver();
      if (n % 20 == 0)
        for (const auto& account : config.accounts) host_calls(account, true);
      if (n % 50 == 0) pass_time(base::Millis(130'000));
      turns(1);
      if (HasFailure()) return;
    }
    expect_all_are_called();
  }
  [[nodiscard]] std::string figures(std::uint64_t steps, double seconds, std::size_t ended) const {
    return std::to_string(steps) + " steps of the engine's life: " + std::to_string(ended) +
           " recipients ended, each once; " + std::to_string(expired) + " expired; " +
           std::to_string(told.notices()) + " notices; leases: " + std::to_string(of_several) +
           " of several queues, " + std::to_string(of_second) + " of second paths, " + std::to_string(of_calls) +
           " over calls; " + std::to_string(collects) + " calls of ours; " + std::to_string(pairs_told.size()) +
           " pairs of blockers told; " +
           std::to_string(static_cast<long long>(static_cast<double>(steps) / seconds)) + " steps a second, seed " +
           std::to_string(seed);
  }
};

TEST_F(EngineLife, KeepsItsPromisesThroughARandomLife) {
  const auto steps = wished("POSTERN_ENGINE_STEPS", 5'000);
  SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
  const auto begun = std::chrono::steady_clock::now();
  live();
  for (std::uint64_t n = 0; n < steps; ++n) {
    step();
    ASSERT_TRUE(fatal.empty()) << fatal << ", step " << n;
    if (n % 200 == 0) find_expired();
    if (n % 1'000 == 0) read_badmail();
    ASSERT_FALSE(HasFailure()) << "step " << n;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  drain();
  ASSERT_FALSE(HasFailure());
  EXPECT_EQ(store->count(), 0U);
  find_expired();
  expect_told();
  std::size_t ended = 0;
  for (const auto& [name, entry] : ledger) {
    EXPECT_TRUE(entry.ended || entry.removed || entry.unsure || entry.expired)
        << base::to_string(name.first);
    ended += entry.ended ? 1 : 0;
  }
  EXPECT_GT(ended, static_cast<std::size_t>(steps) / 10);
  for (const auto some : {of_several, of_second, of_calls}) EXPECT_GT(some, static_cast<std::size_t>(steps) / 10'000);
  EXPECT_GT(collects, 0U);
  note_figures(figures(steps, took.count(), ended));
}

}  // namespace
}  // namespace postern::queued
