// Run: one run of postern-load: its sessions, its ledger, its counts.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/ledger/writer.h"
#include "bench/load/latencies.h"
#include "bench/load/options.h"
#include "bench/load/plan.h"
#include "bench/load/session.h"
#include "common/event/loop.h"

namespace postern::bench {

struct LoadCounts {
  std::uint64_t begun = 0, acknowledged = 0, refused = 0, unknown = 0, unsent = 0;
  std::uint64_t refused_recipients = 0;  // of messages that others got
  std::uint64_t bytes = 0;
  std::uint64_t connections = 0;  // that were greeted
  std::uint64_t failures = 0;     // connections lost, or not made
  friend bool operator==(const LoadCounts&, const LoadCounts&) noexcept = default;
};

class Run final : public SessionOwner {
 public:
  Run(event::Loop& loop, const LoadOptions& options, LedgerWriter ledger);

  // Begins; stops the loop when all is done.
  void start() noexcept;
  // Whoever is told to end gives nothing out any more and waits for what is on its way; who is told
  // twice waits for nothing.
  void end() noexcept;

  // One line for people, or one JSON object.
  [[nodiscard]] std::string summary() const;
  // Why it could not do its work; empty: it did.
  [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }

 private:
  std::optional<std::uint64_t> take() noexcept override;
  [[nodiscard]] bool finished() const noexcept override;
  void begun(std::uint64_t number) noexcept override;
  bool settle() noexcept override;
  void ended(std::uint64_t number, const Outcome& outcome,
             std::optional<std::uint64_t> micros) noexcept override;
  void connected() noexcept override;
  void disconnected(std::string_view why) noexcept override;
  void done() noexcept override;
  [[nodiscard]] std::uint64_t micros() const noexcept override;
  [[nodiscard]] const Text& text(bool eight_bit) const noexcept override;

  void pace() noexcept;
  void watch() noexcept;
  void show() noexcept;
  void fail(std::string trouble) noexcept;
  [[nodiscard]] std::string human() const;
  [[nodiscard]] std::string json() const;

  event::Loop& loop_;
  const LoadOptions& options_;
  LedgerWriter ledger_;
  Plan plan_;
  Text eight_bit_, seven_bit_;
  event::Timer pace_, watch_, progress_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::size_t done_ = 0;
  LoadCounts counts_, shown_;
  Latencies latencies_;
  std::chrono::steady_clock::time_point began_;
  std::uint64_t last_end_ = 0, last_standing_ = 0;  // micros
  bool told_to_end_ = false;
  std::string last_failure_;
  std::string trouble_;
};

}  // namespace postern::bench
