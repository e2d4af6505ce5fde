// The lines of a ledger. A ledger is text, one line for each event, fields separated by one space,
// times in milliseconds since 1970:
//
//   postern-ledger 1 load RUN SENDER RECIPIENT      begins a run of the load generator: templates
//   begun N TIME RECIPIENTS                         its transaction begins
//   acknowledged N TIME REPLY                       2yz after the final dot
//   refused N TIME REPLY                            4yz or 5yz, at whatever stage, for all of it
//   refused-recipient N TIME INDEX REPLY            4yz or 5yz for one recipient of several
//   unknown N TIME WHY                              no reply, and the final dot may have arrived
//   unsent N TIME WHY                               the connection broke before the final dot had
//   left
//
//   postern-ledger 1 sink                           begins a run of the sink
//   delivered RUN-N TIME RECIPIENT...               taken whole
//   changed RUN-N TIME RECIPIENT...                 taken, and not what was sent
//   notice RUN-N TIME RECIPIENT...                  a notice came: these recipients failed
//   strange TIME RECIPIENT...                       taken, and without a name
//
// What it proves, even if its writer was killed: lines are only appended, each by the time that it
// is needed. "begun" is in the file before the final dot leaves, so a message that was begun and
// has no other line is unknown, and one that was never begun cannot have been sent. "delivered" is
// in the file before the sink acknowledges. A last line without its end was being written when its
// writer was killed and counts as nothing. (The file is not flushed: a ledger survives the death of
// its writer, not that of the host.)
//
// Names and times are written by appending to a string; what is read is checked field by field.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bench/ledger/content.h"
#include "bench/ledger/name.h"
#include "common/base/clock.h"

namespace postern::bench {

inline constexpr std::size_t kMaxLine = 1 << 20;
inline constexpr std::size_t kMaxLedgerText = 512;  // of a reply or a reason, escaped

struct LoadRun {
  std::string_view run, sender, recipient;
};
struct SinkRun {};
struct Begun {
  std::uint64_t number = 0;
  std::uint32_t recipients = 0;
};
enum class Fate : std::uint8_t { kAcknowledged, kRefused, kUnknown, kUnsent };
struct Ended {
  Fate fate = Fate::kUnknown;
  std::uint64_t number = 0;
  std::string_view text;  // reply or reason
};
struct RefusedRecipient {
  std::uint64_t number = 0;
  std::uint32_t index = 0;
};
struct Taken {
  Evidence::Kind kind = Evidence::Kind::kStrange;
  MessageName name;             // but for kStrange
  std::string_view recipients;  // separated by spaces
};
using LedgerLine = std::variant<LoadRun, SinkRun, Begun, Ended, RefusedRecipient, Taken>;

// Without its line end; nullopt for what is none of the above.
[[nodiscard]] std::optional<LedgerLine> parse_line(std::string_view line) noexcept;

void append_load_run(std::string& out, std::string_view run, std::string_view sender,
                     std::string_view recipient);
void append_sink_run(std::string& out);
void append_begun(std::string& out, std::uint64_t number, base::WallTime when,
                  std::size_t recipients);
void append_ended(std::string& out, Fate fate, std::uint64_t number, base::WallTime when,
                  std::string_view text);
void append_refused_recipient(std::string& out, std::uint64_t number, base::WallTime when,
                              std::size_t index, std::string_view reply);
// `recipients`: of the transaction; a notice's line names those that it speaks of instead.
void append_taken(std::string& out, const Evidence& evidence, base::WallTime when,
                  const std::vector<std::string>& recipients);

// As an address stands in a ledger: printable, and no space in it.
[[nodiscard]] std::string ledger_address(std::string_view address);

}  // namespace postern::bench
