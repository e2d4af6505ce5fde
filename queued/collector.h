// Collector: has relays call the hosts that keep mail for us, one call of each at a time, and hands sessions that were
// turned round to an smtpd. Nothing of it is durable: whatever ends, the next call mends it. While no mail is taken,
// nobody is called.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/unique_fd.h"
#include "common/event/loop.h"
#include "common/ipc/collect.h"
#include "common/ipc/control.h"
#include "queued/call_plan.h"

namespace postern::queued {

class Collector {
 public:
  static constexpr base::Millis kRetry{1'000};  // while nobody can call, or nobody could serve

  struct Outlets {
    std::move_only_function<bool() const noexcept> ready;               // somebody could serve a session
    std::move_only_function<bool(const ipc::Collect&) noexcept> call;   // false: there is no relay
    std::move_only_function<void(const ipc::EndCollect&) noexcept> end;
    std::move_only_function<bool(const ipc::ServeTurned&, base::UniqueFd) noexcept> serve;  // false: nobody does
  };

  // `clock` outlives the collector.
  Collector(event::Loop& loop, const base::Clock& clock, Outlets outlets);

  // What is new is called at once; what is gone is ended.
  void configure(const std::vector<config::CollectConfig>& collects);
  // No further calls.
  void stop();
  // From the relays.
  void turned(const ipc::TurnedRound& turned, base::UniqueFd fd);
  void collected(const ipc::Collected& collected);
  // At most `most` rows.
  [[nodiscard]] std::vector<ipc::CollectRow> rows(std::size_t most) const;

 private:
  struct Host {
    config::CollectConfig config;
    CallPlan plan;
    base::SteadyTime due;                 // while not calling
    std::optional<base::RequestId> call;  // that is under way
    bool serving = false;
    base::WallTime last;
    std::string result;
  };

  void check() noexcept;
  void call(Host& host);
  void schedule();
  [[nodiscard]] Host* find(base::RequestId request);

  const base::Clock& clock_;
  Outlets outlets_;
  std::vector<Host> hosts_;
  base::RequestId last_request_;
  bool stopped_ = false;
  event::Timer timer_;
};

}  // namespace postern::queued
