// StoreStory: a life of the store by itself: messages of all kinds begin, are tried, fail or succeed with
// notices, of which later ones take earlier ones in, are held, released and end, queues wait, blocks change; the process dies and comes back.
// What was asked and promised goes into the ledger.
#pragma once

#include <map>
#include <random>

#include "tests/crash/ledger.h"
#include "tests/crash/machine.h"
#include "tests/crash/recorder.h"

namespace postern::crash {

class StoreStory {
 public:
  // The machine's store is open, and the ledger knows what it holds.
  StoreStory(Machine& machine, Ledger& ledger, Recorder& recorder, std::uint64_t seed);

  // Does this many things.
  void run(std::size_t steps);
  // The process dies and starts again; an error is why it did not.
  [[nodiscard]] std::optional<std::string> restart();
  // After a start: takes up what the store holds.
  void take_up();

  // What a spool sees seldom (upkeep.cc).
  // The whole of an export file, large bodies too.
  void import_all();
  // So many recipients come and end that the index's file is mostly empty.
  void swell();
  // The disk is full, for an operation each time: what has a reserve goes on.
  void run_short();
  // The process dies, and its spool is damaged before it starts again, where nothing is lost by it.
  [[nodiscard]] std::optional<std::string> restart_damaged();

 private:
  struct Open {
    std::uint32_t letter, recipient;
  };
  using Record = queued::MessageRecord;
  std::uint64_t draw(std::uint64_t below) { return random_() % below; }
  Record envelope(std::uint32_t recipients);
  void accept();
  void accept(std::uint32_t recipients, std::size_t size);
  void accept_large();
  // Promises what is on its way, with a body that is stored or in its file.
  void accept(Record record, queued::Bytes body);
  void told(std::uint32_t letter, bool yes) noexcept;
  std::string body_text(std::uint64_t number, std::size_t size);
  void conclude();
  void conclude(std::uint32_t letter);
  std::uint32_t attach_notice(queued::OutcomeRecord& record, std::vector<std::uint32_t> causes,
                              queued::Bytes& body);
  void take_in_earlier(queued::OutcomeRecord& record, std::uint32_t letter, std::uint32_t notice,
                       std::vector<std::uint32_t>& given);
  void hold_or_release();
  void hold_or_release(std::uint32_t letter);
  void wait();
  void save_blocks();
  void give_blocks(std::string text);
  void import_large();
  void deface(const std::string& path, std::uint64_t offset, const std::string& bytes);
  void step();

  Machine& machine_;
  Ledger& ledger_;
  Recorder& recorder_;
  std::mt19937_64 random_;
  std::vector<Open> open_;
  std::map<std::uint32_t, std::uint32_t> noticed_;  // the last notice of a letter, in this life
  std::uint64_t counter_ = 0;
  std::uint64_t seed_;
};

}  // namespace postern::crash
