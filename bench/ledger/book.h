// Book: what the ledgers of load generators and sinks say together. For each recipient of each
// message:
//
//   the client heard                      it arrived, or a notice came    neither
//   2yz after the dot                     once: right; more: duplicate    lost, unless still queued
//   4yz or 5yz                            phantom                         right
//   nothing, before the dot had left      phantom                         right
//   nothing after the dot, or what it     once: right; more: duplicate    right
//     heard was not written down
//   (the message was never begun)         phantom                         right
//
// A message whose content is not what was sent is changed, and counts as arrived too. What came for
// a recipient that the message never had is a phantom. Takes 7 bytes of memory for each message and
// one for each recipient.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "bench/ledger/lines.h"
#include "bench/ledger/template.h"

namespace postern::bench {

// All figures are of recipients, where nothing else is said.
struct Verdict {
  static constexpr std::size_t kExamples = 10;
  struct Kind {
    std::uint64_t count = 0;
    std::vector<std::string> examples;  // "RUN-N RECIPIENT", the first of them
  };
  std::uint64_t acknowledged = 0, refused = 0, unsent = 0, unknown = 0;
  std::uint64_t delivered = 0;          // acknowledged and arrived
  std::uint64_t noticed = 0;            // acknowledged, and only a notice came
  std::uint64_t unknown_delivered = 0;  // of unknown fate, and arrived
  std::uint64_t strange = 0;            // messages without a name, or of a run that is not here
  std::uint64_t bad_lines = 0;          // of ledgers, that cannot be read
  Kind lost, phantom, changed, duplicate, queued;

  // Nothing is lost, phantom or changed, and every line could be read.
  [[nodiscard]] bool good() const noexcept;
};

class Book {
 public:
  struct Options {
    std::unordered_set<std::string>
        queued;                  // ids, as the server's replies say them: "queued as ID"
    bool any_recipient = false;  // recipients were rewritten on the way: only their number counts
  };
  explicit Book(Options options) : options_(std::move(options)) {}

  // One line of a ledger without its end. Those of load generators have to come first.
  void add(std::string_view line);
  // One message that was found where it was delivered. One whose recipient is not known counts for
  // the first of its recipients to whom none has come yet.
  void add_found(const Evidence& evidence, std::optional<std::string_view> recipient);
  [[nodiscard]] Verdict decide() const;

 private:
  enum class State : std::uint8_t { kNeverBegun, kOpen, kAcknowledged, kQueued, kRefused, kUnsent };
  // By the message's number, and by slot: `slots` of message n begin at first[n].
  struct Run {
    std::string name;
    Template recipient;
    std::vector<State> state;
    std::vector<std::uint32_t> first;
    std::vector<std::uint16_t> count;
    std::vector<std::uint8_t> slots;  // see book.cc
  };
  void add_run(const LoadRun& title);
  void add_begun(const Begun& begun);
  void add_ended(const Ended& ended);
  void add_refused(const RefusedRecipient& refused);
  void add_taken(const Taken& taken);
  void arrived(const MessageName& name, Evidence::Kind kind,
               std::optional<std::string_view> recipient);
  [[nodiscard]] std::optional<std::size_t> slot_of(const Run& run, std::uint64_t number,
                                                   std::optional<std::string_view> recipient) const;
  // The run whose lines are read, if it has this message.
  [[nodiscard]] Run* current(std::uint64_t number) noexcept;
  [[nodiscard]] Run* find(std::string_view name) noexcept;
  void judge(const Run& run, std::uint64_t number, Verdict& verdict) const;

  Options options_;
  std::vector<Run> runs_;
  bool in_run_ = false;         // lines of a load generator belong to the last of runs_
  std::size_t last_found_ = 0;  // of runs_
  Verdict so_far_;              // what is certain as soon as its line is read
};

}  // namespace postern::bench
