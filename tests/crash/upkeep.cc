// The part of StoreStory for what a spool sees seldom.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "common/base/check.h"
#include "common/base/unique_fd.h"
#include "queued/segment.h"
#include "tests/crash/store_story.h"

namespace postern::crash {
namespace {

constexpr std::uint32_t kSwollen = 40;   // messages
constexpr std::uint32_t kRecipients = 40;  // of each of them
constexpr std::size_t kLeft = 8;         // recipients of all
constexpr int kMostOccasions = 1'000;
constexpr std::size_t kPage = 4'096;

}  // namespace

// --- An import
// --------------------------------------------------------------------------------------

void StoreStory::import_all() {
  base::Token file;
  file.bytes.fill(static_cast<std::uint8_t>(seed_));
  import_large();
  accept();
  machine_.store().settle([this, file]() noexcept {
    const auto value = ledger_.import(file).give("imported", recorder_.position());
    machine_.store().note_import(file, [this, file, value](os::Result<void> saved) noexcept {
      CHECK(saved.has_value());
      ledger_.import(file).values.at(value).promised = recorder_.position();
    });
  });
  machine_.store().pump();
}

// Its body comes through queued, a piece at a time.
void StoreStory::import_large() {
  auto& store = machine_.store();
  base::MessageId id;
  std::string text;
  for (int n = 0; n < 700; ++n) text += "a line of an imported body\r\n";
  const auto body = std::make_shared<const std::string>(std::move(text));
  store.open_large(0, [&](os::Result<queued::LargeFile> file) noexcept {
    CHECK(file.has_value());
    id = file->id;
  });
  store.pump();
  const auto written = [](os::Result<void> done) noexcept { CHECK(done.has_value()); };
  store.write_large(id, 0, body->substr(0, 8'000), written);
  store.write_large(id, 8'000, body->substr(8'000), written);
  store.pump();
  store.seal_large(id, body->size(), [this, id, body](os::Result<std::uint32_t> crc) noexcept {
    CHECK(crc.has_value());
    auto record = envelope(1);
    record.id = id;
    record.large = true;
    record.body_size = body->size();
    record.body_crc = *crc;
    accept(std::move(record), body);
  });
  store.pump();
}

// --- An index that is mostly empty
// ------------------------------------------------------------------

void StoreStory::swell() {
  for (std::uint32_t n = 0; n < kSwollen; ++n) accept(kRecipients, 100);
  machine_.store().pump();
  machine_.store().tick();
  machine_.store().pump();
  for (int n = 0; n < kMostOccasions && open_.size() > kLeft; ++n) {
    conclude();
    if (n % 40 == 0) machine_.store().pump(false);
  }
  machine_.store().pump();
  machine_.store().tick();
  machine_.store().pump();
}

// --- A full disk
// ------------------------------------------------------------------------------------

void StoreStory::run_short() {
  auto& store = machine_.store();
  const auto full = [this](Kind kind, const char* path) {
    recorder_.fail_next(kind, path, ENOSPC);
  };
  const auto pass = [&] {
    store.tick();
    store.pump();
  };
  pass();  // the reserve is whole
  full(Kind::kCreate, "spool/control.json.new");
  save_blocks();
  store.pump();
  full(Kind::kRename, "spool/control.json.new");
  save_blocks();
  store.pump();
  full(Kind::kWrite, "spool/reserve/");
  pass();
  pass();
  full(Kind::kFlush, "spool/journal/");
  run(20);  // until a further segment is wanted
  pass();
  pass();
}

// --- Damage
// -----------------------------------------------------------------------------------------

void StoreStory::deface(const std::string& path, std::uint64_t offset, const std::string& bytes) {
  const auto whole = machine_.root() + "/spool/" + path;
  const auto fd =
      base::UniqueFd::adopt(::open(whole.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  CHECK(fd.valid());
  if (bytes.empty()) {
    CHECK(::ftruncate(fd.get(), static_cast<off_t>(offset)) == 0);
    return;
  }
  CHECK(::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
        static_cast<ssize_t>(bytes.size()));
}

std::optional<std::string> StoreStory::restart_damaged() {
  machine_.kill();
  ledger_.damaged(recorder_.position());
  deface("index", 0, std::string(2 * kPage, 'x'));  // both heads
  deface("index.new", 0, "what a copy left");
  deface("journal/990001", 0, std::string(2 * kPage, 'x'));
  deface("journal/990002", 0, queued::spare_block());  // a spare that was cut short
  deface("large/" + base::to_string(base::MessageId(1'000)), 0, "nobody's");
  deface("reserve/03", 100, "");
  deface("reserve/05", 100, "");
  recorder_.fail_next(Kind::kUnlink, "spool/reserve/05", EIO);
  machine_.clock.advance(2'000);
  if (auto why = machine_.open()) return why;
  ledger_.settle(machine_.look(), recorder_.position());
  take_up();
  const auto value = ledger_.blocks().give("", recorder_.position());
  machine_.store().set_blocks_aside();
  machine_.store().pump();
  ledger_.blocks().values.at(value).promised = recorder_.position();
  save_blocks();
  machine_.store().tick();
  machine_.store().pump();
  return std::nullopt;
}

}  // namespace postern::crash
