// StoreRig: a LocalStore without threads on a FakeDisk, with a clock that the test turns.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>

#include "queued/local_store.h"
#include "tests/unit/mail/spelled.h"
#include "tests/unit/queued/fake_disk.h"
#include "tests/unit/queued/memory_index.h"

namespace postern::queued {

class TestClock final : public base::Clock {
 public:
  base::WallTime wall() const noexcept override { return {wall_ms}; }
  base::SteadyTime steady() const noexcept override { return {steady_ms}; }
  void advance(base::Millis by) {
    wall_ms += by.count();
    steady_ms += by.count();
  }
  std::int64_t wall_ms = 1'780'000'000'000;
  std::int64_t steady_ms = 1'000'000;
};

base::Token token(std::uint8_t n);

struct StoreRig {
  FakeDisk disk;
  TestClock clock;
  std::vector<std::unique_ptr<event::Loop>> old_loops;  // far ends of channels may outlive a life
  std::unique_ptr<event::Loop> loop = std::make_unique<event::Loop>();
  std::unique_ptr<LocalStore> store;
  std::string fatal;
  std::uint64_t segment_size = 64 * 1024;
  bool smtputf8 = false;  // said with what is accepted from now on
  mail::TlsWish tls_wish = mail::TlsWish::kUnsaid;  // likewise
  std::optional<ipc::FirstClient> first_client;  // of what is accepted from now on
  std::uint64_t reserve = 0;
  std::uint64_t cache = 64ULL << 20;
  std::uint64_t life = 0;
  std::unique_ptr<os::Disk> other_disk;  // in place of `disk`
  std::vector<std::unique_ptr<Message>> looked_at;
  std::shared_ptr<MemoryRows> index_rows = std::make_shared<MemoryRows>();
  IndexOpener other_index;  // in place of these rows
  Checkpoint::Pace pace{base::Millis(0), base::Millis(0)};  // as often as possible
  std::size_t most_residents = 0;                           // nothing that has a row stays in memory

  StoreRig();
  ~StoreRig();

  [[nodiscard]] IndexOpener open_index();
  // Begins a life; false if the store refuses.
  bool open(std::unique_ptr<os::Disk> on);
  bool open();
  // The process ends here and now, without a word.
  void kill();

  MessageRecord envelope(std::uint32_t recipients = 1);
  // Appends without waiting; `acknowledged` turns true when it is durable.
  base::MessageId submit(std::string body, bool* acknowledged = nullptr,
                         std::uint32_t recipients = 1);
  base::MessageId accept(std::string body, std::uint32_t recipients = 1);
  // One whose body is a file.
  base::MessageId accept_large_body(const std::string& text);
  OutcomeRecord outcome(base::MessageId id, Fate fate, std::uint32_t number = 0);
  void conclude(base::MessageId id, Fate fate, std::uint32_t number = 0);
  // A message as it is now, in memory or not; null: there is none. Nothing is written by looking.
  const Message* look(base::MessageId id);
  // All of them, in their order.
  std::vector<Message> messages();
  std::string prefix(base::MessageId id);
  // Every message, with its body.
  std::map<base::MessageId, std::string> survey();
  // The body as the store gives it; "(gone)" where it does not.
  std::string body(base::MessageId id);
};

}  // namespace postern::queued
