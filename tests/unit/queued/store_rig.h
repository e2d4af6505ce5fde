// StoreRig: a LocalStore without threads on a FakeDisk, with a clock that the test turns.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>

#include "queued/local_store.h"
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

inline mail::Address address(std::string_view text) { return mail::Address::parse(text).value(); }

inline base::Token token(std::uint8_t n) {
  base::Token t;
  t.bytes.fill(n);
  return t;
}

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
  std::optional<ipc::FirstClient> first;  // of what is accepted from now on
  std::uint64_t reserve = 0;
  std::uint64_t cache = 64ULL << 20;
  std::uint64_t life = 0;
  std::unique_ptr<os::Disk> other_disk;  // in place of `disk`
  std::vector<std::unique_ptr<Message>> looked_at;
  std::shared_ptr<MemoryRows> index_rows = std::make_shared<MemoryRows>();
  IndexOpener other_index;  // in place of these rows
  Checkpoint::Pace pace{base::Millis(0), base::Millis(0)};  // as often as possible
  std::size_t most_residents = 0;                           // nothing that has a row stays in memory

  [[nodiscard]] IndexOpener open_index() {
    return [this](bool fresh) -> os::Result<std::unique_ptr<Index>> {
      if (fresh) index_rows = std::make_shared<MemoryRows>();
      return std::make_unique<MemoryIndex>(index_rows);
    };
  }
  // Begins a life; false if the store refuses.
  bool open(std::unique_ptr<os::Disk> on) {
    other_disk = std::move(on);
    return open();
  }
  bool open() {
    fatal.clear();
    LocalStoreOptions options;
    options.segment_size = segment_size;
    options.reserve = reserve;
    options.cache = cache;
    options.pace = pace;
    options.most_residents = most_residents;
    options.threaded = false;
    options.epoch = base::Epoch(0x1122334455667700ULL + ++life);
    auto opened = LocalStore::open(*loop, other_disk ? *other_disk : disk,
                                   other_index ? other_index : open_index(), clock, options,
                                   [this](const std::string& why) noexcept { fatal = why; });
    if (!opened) {
      fatal = opened.error().text();
      return false;
    }
    store = std::move(*opened);
    store->tell_all([](const Batch&) noexcept {});
    store->pump();
    return true;
  }
  // The process ends here and now, without a word.
  void kill() {
    if (store && disk.halt_at == ~0ULL) disk.halt_at = disk.operations;
    store.reset();
    old_loops.push_back(std::exchange(loop, std::make_unique<event::Loop>()));
    disk.restart();
  }

  MessageRecord envelope(std::uint32_t recipients = 1) {
    MessageRecord record;
    record.id = store->new_id();
    record.token.bytes[0] = static_cast<std::uint8_t>(record.id.value);
    record.token.bytes[1] = static_cast<std::uint8_t>(record.id.value >> 8);
    record.token.bytes[2] = static_cast<std::uint8_t>(record.id.value >> 16);
    record.token.bytes[3] = static_cast<std::uint8_t>(record.id.value >> 24);
    record.arrived = clock.wall();
    record.born = store->clock().now();
    record.hello = "client.example";
    record.from = mail::ReversePath(address("ann@example.org"));
    record.prefix = "Received: by test\r\n";
    record.smtputf8 = smtputf8;
    record.tls_wish = tls_wish;
    record.first = first;
    for (std::uint32_t i = 0; i < recipients; ++i)
      record.recipients.push_back(
          {.number = i, .address = address("r" + std::to_string(i) + "@example.com")});
    return record;
  }
  // Appends without waiting; `acknowledged` turns true when it is durable.
  base::MessageId submit(std::string body, bool* acknowledged = nullptr,
                         std::uint32_t recipients = 1) {
    auto record = envelope(recipients);
    const auto id = record.id;
    record.body_size = body.size();
    store->accept(std::move(record), std::make_shared<const std::string>(std::move(body)),
                  [acknowledged](bool stored) noexcept {
                    if (acknowledged != nullptr) *acknowledged = stored;
                  });
    return id;
  }
  base::MessageId accept(std::string body, std::uint32_t recipients = 1) {
    bool acknowledged = false;
    const auto id = submit(std::move(body), &acknowledged, recipients);
    store->pump();
    EXPECT_TRUE(acknowledged);
    return id;
  }
  // One whose body is a file.
  base::MessageId accept_large_body(const std::string& text) {
    auto record = envelope();
    record.large = true;
    record.body_size = text.size();
    store->open_large(0, [&](os::Result<LargeFile> file) noexcept {
      if (file) record.id = file->id;
    });
    store->pump();
    auto inode = disk.inode("large/" + base::to_string(record.id));
    inode->now = text;
    inode->unflushed.emplace_back(0, text);
    store->seal_large(record.id, text.size(), [&](os::Result<std::uint32_t> crc) noexcept {
      EXPECT_TRUE(crc.has_value());
      record.body_crc = crc.value_or(0);
    });
    store->pump();
    const auto id = record.id;
    bool acknowledged = false;
    store->accept(std::move(record), nullptr, [&](bool yes) noexcept { acknowledged = yes; });
    store->pump();
    EXPECT_TRUE(acknowledged);
    return id;
  }
  OutcomeRecord outcome(base::MessageId id, Fate fate, std::uint32_t number = 0) {
    OutcomeRecord record;
    record.message = id;
    record.when = clock.wall();
    record.clock = store->clock().now();
    RecipientFate one;
    one.number = number;
    one.fate = fate;
    one.next_try = store->clock().now() + base::Millis(1000);
    one.reply.code = 250;
    one.reply.text = "as it was";
    record.fates.push_back(one);
    return record;
  }
  void conclude(base::MessageId id, Fate fate, std::uint32_t number = 0) {
    (void)look(id);
    store->outcome(outcome(id, fate, number), nullptr, {}, {});
  }
  // A message as it is now, in memory or not; null: there is none. Nothing is written by looking.
  const Message* look(base::MessageId id) {
    looked_at.push_back(nullptr);
    store->fetch({id}, [this, id]() noexcept {
      if (const Message* found = store->find(id)) looked_at.back() = std::make_unique<Message>(*found);
    });
    store->pump_reads();
    return looked_at.back().get();
  }
  // All of them, in their order.
  std::vector<Message> messages() {
    std::vector<Message> all;
    store->scan({}, 100'000, [&all](const Batch& batch) noexcept {
      for (const Message* one : batch.messages) all.push_back(*one);
    });
    store->pump_reads();
    return all;
  }
  std::string prefix(base::MessageId id) {
    std::string text = "(gone)";
    store->load(id, [this, id, &text](os::Result<LoadedBody> loaded) noexcept {
      if (loaded) text = store->find(id)->prefix;
    });
    store->pump();
    return text;
  }
  // Every message, with its body.
  std::map<base::MessageId, std::string> survey() {
    std::map<base::MessageId, std::string> there;
    for (const auto& message : messages()) there[message.id] = body(message.id);
    return there;
  }
  // The body as the store gives it; "(gone)" where it does not.
  std::string body(base::MessageId id) {
    std::string text = "(gone)";
    store->load(id, [&](os::Result<LoadedBody> loaded) noexcept {
      if (loaded && loaded->bytes) text = *loaded->bytes;
      if (loaded && loaded->file.valid()) text = disk.content("large/" + base::to_string(id));
    });
    store->pump();
    return text;
  }
};

}  // namespace postern::queued
