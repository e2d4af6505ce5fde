#include "tests/unit/queued/store_rig.h"

#include "tests/unit/mail/spelled.h"

namespace postern::queued {


base::Token token(std::uint8_t n) {
  base::Token t;
  t.bytes.fill(n);
  return t;
}

StoreRig::StoreRig() = default;

StoreRig::~StoreRig() = default;

IndexOpener StoreRig::open_index() {
  return [this](bool fresh) -> os::Result<std::unique_ptr<Index>> {
    if (fresh) index_rows = std::make_shared<MemoryRows>();
    return std::make_unique<MemoryIndex>(index_rows);
  };
}

bool StoreRig::open(std::unique_ptr<os::Disk> on) {
  other_disk = std::move(on);
  return open();
}

bool StoreRig::open() {
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

void StoreRig::kill() {
  if (store && disk.halt_at == ~0ULL) disk.halt_at = disk.operations;
  store.reset();
  old_loops.push_back(std::exchange(loop, std::make_unique<event::Loop>()));
  disk.restart();
}

MessageRecord StoreRig::envelope(std::uint32_t recipients) {
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
  record.first = first_client;
  for (std::uint32_t i = 0; i < recipients; ++i)
    record.recipients.push_back(
        {.number = i, .address = address("r" + std::to_string(i) + "@example.com")});
  return record;
}

base::MessageId StoreRig::submit(std::string body, bool* acknowledged, std::uint32_t recipients) {
  auto record = envelope(recipients);
  const auto id = record.id;
  record.body_size = body.size();
  store->accept(std::move(record), std::make_shared<const std::string>(std::move(body)),
                [acknowledged](bool stored) noexcept {
                  if (acknowledged != nullptr) *acknowledged = stored;
                });
  return id;
}

base::MessageId StoreRig::accept(std::string body, std::uint32_t recipients) {
  bool acknowledged = false;
  const auto id = submit(std::move(body), &acknowledged, recipients);
  store->pump();
  EXPECT_TRUE(acknowledged);
  return id;
}

base::MessageId StoreRig::accept_large_body(const std::string& text) {
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

OutcomeRecord StoreRig::outcome(base::MessageId id, Fate fate, std::uint32_t number) {
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

void StoreRig::conclude(base::MessageId id, Fate fate, std::uint32_t number) {
  (void)look(id);
  store->outcome(outcome(id, fate, number), nullptr, {}, {});
}

const Message* StoreRig::look(base::MessageId id) {
  looked_at.push_back(nullptr);
  store->fetch({id}, [this, id]() noexcept {
    if (const Message* found = store->find(id)) looked_at.back() = std::make_unique<Message>(*found);
  });
  store->pump_reads();
  return looked_at.back().get();
}

std::vector<Message> StoreRig::messages() {
  std::vector<Message> all;
  store->scan({}, 100'000, [&all](const Batch& batch) noexcept {
    for (const Message* one : batch.messages) all.push_back(*one);
  });
  store->pump_reads();
  return all;
}

std::string StoreRig::prefix(base::MessageId id) {
  std::string text = "(gone)";
  store->load(id, [this, id, &text](os::Result<LoadedBody> loaded) noexcept {
    if (loaded) text = store->find(id)->prefix;
  });
  store->pump();
  return text;
}

std::map<base::MessageId, std::string> StoreRig::survey() {
  std::map<base::MessageId, std::string> there;
  for (const auto& message : messages()) there[message.id] = body(message.id);
  return there;
}

std::string StoreRig::body(base::MessageId id) {
  std::string text = "(gone)";
  store->load(id, [&](os::Result<LoadedBody> loaded) noexcept {
    if (loaded && loaded->bytes) text = *loaded->bytes;
    if (loaded && loaded->file.valid()) text = disk.content("large/" + base::to_string(id));
  });
  store->pump();
  return text;
}

}  // namespace postern::queued
