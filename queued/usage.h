// Usage: what each account has sent in the last hour and the last day, and whether it may send more
// ([[account]]). Time is cut into slots; the one that a period begins in counts whole, so that no time of
// that length ever sees more than the limit. On the queue clock, so a clock that jumps gives nobody more,
// and a restart changes nothing. As text it is kept in the spool (usage_file.h). Pure.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/config/roles.h"
#include "common/mail/reply.h"
#include "queued/clock.h"

namespace postern::queued {

class Usage {
 public:
  static constexpr std::size_t kMostAccounts = config::kMaxAccounts;  // of further ones nothing is counted
  static constexpr std::size_t kMaxText = 1U << 30;
  static constexpr std::string_view kName = "postern accounts ";  // in front of the text's version
  static constexpr std::uint64_t kVersion = 1;

  // The reply to a message of this account to so many recipients; nothing: it may be sent. 4yz: later.
  [[nodiscard]] std::optional<mail::Reply> refusal(const config::AccountLimits& limits,
                                                   const std::string& account, std::uint32_t recipients,
                                                   QueueTime now) const;
  void add(const std::string& account, std::uint32_t recipients, QueueTime now);
  // What was added at `when` was not sent after all.
  void take_back(const std::string& account, std::uint32_t recipients, QueueTime when);

  // What is counted behind this time: a queue that was lost began its clock anew.
  void forget_behind(QueueTime now);

  // It is not as it was when it was last asked.
  [[nodiscard]] bool take_changed() { return std::exchange(changed_, false); }
  // Without what is too old to count.
  [[nodiscard]] std::string text(QueueTime now);
  // On failure what is wrong.
  [[nodiscard]] static std::expected<Usage, std::string> from_text(std::string_view text);

 private:
  struct Period {
    std::int64_t length;  // milliseconds
    std::int64_t slot;
  };
  static constexpr std::array<Period, 2> kPeriods{{{3'600'000, 60'000}, {24 * 3'600'000, 1'800'000}}};
  struct Slot {
    std::int64_t number = 0;
    std::uint64_t messages = 0;
    std::uint64_t recipients = 0;
  };
  using Slots = std::array<std::vector<Slot>, kPeriods.size()>;  // each in order of time

  [[nodiscard]] static bool counts(const Slot& slot, const Period& period, QueueTime now);
  [[nodiscard]] Slot sum(const std::string& account, std::size_t period, QueueTime now) const;
  static void forget_old(Slots& slots, QueueTime now);

  std::unordered_map<std::string, Slots> accounts_;
  bool changed_ = false;
};

}  // namespace postern::queued
