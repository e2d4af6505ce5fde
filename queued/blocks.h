// Blocks: what the operator stopped: freezes of queues, standing holds, and the outbound switch. Kept as
// one small text (control.json) that is replaced whole before a change is reported. Pure.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "queued/schedule.h"
#include "queued/standing_hold.h"

namespace postern::queued {

struct Freeze {
  std::string queue;  // a name, or a pattern: "*.example.org", "*"
  std::string reason;
  std::string who;
  base::WallTime since;
  QueueTime from{0};
};

// A member of a frozen pattern that is not frozen.
struct FreezeException {
  std::string queue;
  std::string who;
  base::WallTime since;
};

struct OutboundSwitch {
  bool disabled = false;
  bool all = false;  // internal routes too
  std::string reason;
  std::string who;
  base::WallTime since;
  QueueTime from{0};
};

// A block that is over, for the expiry clocks: they stood still meanwhile.
struct Pause {
  std::string queue;  // as in Freeze; "" for outbound
  bool all = false;   // outbound: internal routes too
  QueueTime from{0};
  QueueTime to{0};
};

[[nodiscard]] bool is_pattern(std::string_view queue);
// Does "*.example.org" stand for "mx.example.org"? "*" stands for everything.
[[nodiscard]] bool matches(std::string_view pattern, std::string_view queue);

class Blocks {
 public:
  static constexpr std::size_t kMax = 10'000;  // freezes, and as many exceptions
  static constexpr std::size_t kMaxHolds = 200;  // each is asked about each message that comes

  static constexpr int kVersion = 2;  // of the text; 1: without standing holds
  // Everything as text, and back; the error says what is wrong with it.
  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] static std::expected<Blocks, std::string> from_text(std::string_view text);
  // Whose version an undamaged text is; 0: it is none.
  [[nodiscard]] static int version_of(std::string_view text);

  // The freeze that holds this queue: an exact name beats a pattern, a longer pattern a shorter one, an
  // exception beats all patterns.
  [[nodiscard]] const Freeze* frozen(std::string_view queue) const;
  [[nodiscard]] Blocked blocked(const std::string& queue, const Destination& destination) const;
  // How long the clocks of mail for this queue stood still since `born`.
  [[nodiscard]] base::Millis paused(const std::string& queue, const Destination& destination,
                                    QueueTime born, QueueTime now) const;

  [[nodiscard]] const std::vector<Freeze>& freezes() const { return freezes_; }
  [[nodiscard]] const std::vector<FreezeException>& exceptions() const { return exceptions_; }
  [[nodiscard]] const OutboundSwitch& outbound() const { return outbound_; }
  [[nodiscard]] const std::vector<StandingHold>& holds() const { return holds_; }

  // Each answers with a sentence for the operator; an error changes nothing.
  using Said = std::expected<std::string, std::string>;
  Said freeze(Freeze freeze);
  Said unfreeze(const std::string& queue, const std::string& who, base::WallTime when,
                QueueTime now);
  Said disable_outbound(OutboundSwitch outbound);
  Said enable_outbound(QueueTime now);
  Said hold(StandingHold hold);
  Said end_hold(const ipc::Selector& what);

 private:
  void add_pause(Pause pause);

  std::vector<Freeze> freezes_;
  std::vector<FreezeException> exceptions_;
  std::vector<Pause> pauses_;
  std::vector<StandingHold> holds_;
  OutboundSwitch outbound_;
};

}  // namespace postern::queued
