// Blocks: what the operator stopped: freezes of queues and next hops, standing holds, the switches
// of outbound delivery and of intake. Kept as one small text (control.json) that is replaced whole
// before a change is reported. Pure.
#pragma once

#include <algorithm>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "queued/frozen_name.h"
#include "queued/schedule.h"
#include "queued/standing_hold.h"
#include "queued/standstill.h"

namespace postern::queued {

struct Freeze {
  std::string queue;  // a name or a pattern (frozen_name.h)
  std::string reason;
  std::string who;
  base::WallTime since;
  QueueTime from{0};
  base::WallTime until;     // ends by itself when the wall clock shows this; 0: by unfreeze only
  bool keep_clock = false;  // mail expires, and its senders hear of the delay, all the same
  bool hop = false;         // of next hops
};

// A member of what is frozen by another name, that is not frozen.
struct FreezeException {
  std::string queue;
  std::string who;
  base::WallTime since;
  QueueTime from{0};
  bool hop = false;
};

struct OutboundSwitch {
  bool disabled = false;
  bool all = false;  // internal routes too
  std::string reason;
  std::string who;
  base::WallTime since;
  QueueTime from{0};
};

struct IntakeSwitch {
  bool disabled = false;
  std::string reason;
  std::string who;
  base::WallTime since;
};

// An account that may not log in.
struct AccountLock {
  std::string account;
  std::string reason;
  std::string who;
  base::WallTime since;
};

// A block that is over, for the clocks of mail that was there meanwhile.
struct Past {
  enum class Kind : std::uint8_t {
    kException,
    kKeptClock,
    kStopped
  };                  // of equal fit, the last counts
  std::string queue;  // as in Freeze; "" for outbound
  bool hop = false;
  bool all = false;  // outbound: internal routes too
  Kind kind = Kind::kStopped;
  QueueTime from{0};
  QueueTime to{0};
};

class Blocks {
 public:
  static constexpr std::size_t kMax =
      10'000;  // freezes; and as many exceptions, and blocks that are over
  static constexpr std::size_t kMaxHolds = 200;  // each is asked about each message that comes

  static constexpr std::size_t kMaxLocks = 10'000;

  // Of the text. 1: without standing holds; 2: without times and clocks of freezes, hops, intake; 3: without
  // locks of accounts.
  static constexpr int kVersion = 4;
  // Everything as text, and back; the error says what is wrong with it.
  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] static std::expected<Blocks, std::string> from_text(std::string_view text);
  // Whose version an undamaged text is; 0: it is none.
  [[nodiscard]] static int version_of(std::string_view text);

  // The freeze that stops this queue: an exact name beats a pattern, a longer pattern a shorter
  // one, an exception beats all patterns.
  [[nodiscard]] const Freeze* frozen(std::string_view queue) const;
  // The freeze that stops this next hop, by its key (frozen_name.h), by the same order.
  [[nodiscard]] const Freeze* hop_frozen(std::string_view hop) const;
  // The one of the two that stops mail of this queue; that of a next hop where the queue's route
  // names hosts and each of them is frozen.
  [[nodiscard]] const Freeze* frozen(std::string_view queue, const Destination& destination) const;
  // Outbound is disabled, and this is not spared.
  [[nodiscard]] bool outbound_stops(const Destination& destination) const;
  [[nodiscard]] Blocked blocked(const std::string& queue, const Destination& destination) const;
  // When the clocks of mail for this queue stood still, until `now`; spans may overlap. `hop`: the
  // key of its next hop; empty: it is not known. Then those that its route names count; and of a route by MX every
  // one does, up to `forgotten`, when somebody knew it: better that mail expires late than that it does because it
  // was frozen.
  [[nodiscard]] std::vector<Span> standstills(std::string_view queue,
                                              const Destination& destination, QueueTime now,
                                              std::string_view hop = {},
                                              QueueTime forgotten = QueueTime(0)) const;

  [[nodiscard]] const std::vector<Freeze>& freezes() const { return freezes_; }
  [[nodiscard]] const std::vector<FreezeException>& exceptions() const { return exceptions_; }
  [[nodiscard]] const OutboundSwitch& outbound() const { return outbound_; }
  [[nodiscard]] const IntakeSwitch& intake() const { return intake_; }
  [[nodiscard]] const std::vector<StandingHold>& holds() const { return holds_; }
  [[nodiscard]] const std::vector<AccountLock>& locks() const { return locks_; }
  // Is any next hop frozen?
  [[nodiscard]] bool any_hop() const {
    return std::any_of(freezes_.begin(), freezes_.end(), [](const Freeze& freeze) { return freeze.hop; });
  }
  // Null: it is not locked.
  [[nodiscard]] const AccountLock* locked(std::string_view account) const;

  // Each answers with a sentence for the operator; an error changes nothing.
  using Said = std::expected<std::string, std::string>;
  Said freeze(Freeze freeze);
  Said unfreeze(const std::string& queue, bool hop, const std::string& who, base::WallTime when,
                QueueTime now);
  // The freezes whose time is over end; they.
  std::vector<Freeze> end_due(base::WallTime wall, QueueTime now);
  [[nodiscard]] bool any_due(base::WallTime wall) const;
  Said disable_outbound(OutboundSwitch outbound);
  Said enable_outbound(QueueTime now);
  Said disable_intake(IntakeSwitch intake);
  Said enable_intake();
  Said hold(StandingHold hold);
  Said end_hold(const ipc::Selector& what);
  Said lock(AccountLock lock);
  Said unlock(const std::string& account);

 private:
  [[nodiscard]] const Freeze* frozen_by(std::string_view what, bool hop) const;
  void add_standstills(std::string_view what, bool hop, QueueTime now,
                       std::vector<Span>& spans) const;
  // Of whatever next hops were frozen, until then.
  void add_any_hop_standstills(QueueTime until, std::vector<Span>& spans) const;
  void add_past(Past past);
  void end(std::vector<Freeze>::iterator at, QueueTime now);
  void drop_idle_exceptions(QueueTime now);

  std::vector<Freeze> freezes_;
  std::vector<FreezeException> exceptions_;
  std::vector<Past> past_;
  std::vector<StandingHold> holds_;
  std::vector<AccountLock> locks_;
  OutboundSwitch outbound_;
  IntakeSwitch intake_;
};

// A freeze's name as it is typed: "example.org", "--hop mx1.example.net".
[[nodiscard]] std::string typed_name(std::string_view name, bool hop);

}  // namespace postern::queued
