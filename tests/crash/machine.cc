#include "tests/crash/machine.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "common/base/check.h"
#include "queued/history_files.h"
#include "queued/lmdb_index.h"

namespace postern::crash {
namespace {

constexpr std::size_t kBatch = 64;  // messages in one look

std::unique_ptr<os::Disk> disk_at(const std::string& path) {
  return os::real_disk(
      base::UniqueFd::adopt(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
}

std::string read_all(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return {};
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  if (::pread(fd, bytes.data(), bytes.size(), 0) != info.st_size) return {};
  return bytes;
}

}  // namespace

Machine::Machine(std::string root, MachineOptions options, std::int64_t wall_ms,
                 std::uint64_t lives)
    : clock(wall_ms),
      root_(std::move(root)),
      options_(options),
      lives_(lives),
      spool_(disk_at(root_ + "/spool")),
      mail_(disk_at(root_ + "/mail")) {}

Machine::~Machine() {
  kill();
}

std::optional<std::string> Machine::open() {
  fatal_.clear();
  loop_ = std::make_unique<event::Loop>();
  queued::LocalStoreOptions options;
  options.segment_size = options_.segment_size;
  options.reserve = options_.reserve;
  options.cache = 0;
  options.threaded = false;
  options.epoch = base::Epoch(0x1122334455667700ULL + ++lives_);
  // As often as possible into the index, and out of memory.
  options.pace = {base::Millis(0), base::Millis(0)};
  options.most_residents = 0;
  const auto open_index = [this](bool) -> os::Result<std::unique_ptr<queued::Index>> {
    queued::LmdbIndexOptions index;
    index.directory = root_ + "/spool";
    index.map = 64ULL << 20;
    index.ahead = 64ULL << 10;
    index.compact_above = options_.compact_above;
    return queued::LmdbIndex::open(*spool_, index);
  };
  auto opened = queued::LocalStore::open(*loop_, *spool_, open_index, clock, options,
                                         [this](const std::string& why) noexcept { fatal_ = why; });
  if (!opened) return opened.error().text();
  store_ = *std::move(opened);
  store_->pump();
  if (!fatal_.empty()) return fatal_;
  return std::nullopt;
}

void Machine::kill() {
  store_.reset();
  loop_.reset();
}

void Machine::each(const std::function<void(const queued::Message&)>& see) {
  base::MessageId after;
  for (bool more = true; more;) {
    more = false;
    store_->scan(after, kBatch, [&](const queued::Batch& batch) noexcept {
      for (const auto* message : batch.messages) see(*message);
      after = batch.last;
      more = batch.more;
    });
    store_->pump_reads();
  }
}

View Machine::look() {
  View view;
  each([&](const queued::Message& message) {
    auto& seen = view.messages.emplace_back();
    seen.id = message.id;
    seen.token = message.token;
    seen.from = message.from.text();
    seen.held = message.held;
    seen.notice = message.notice;
    for (const auto& recipient : message.recipients)
      if (recipient.open())
        seen.open[recipient.number] = {recipient.address.text(), recipient.tries,
                                       recipient.last_try.ms, recipient.next_try.count()};
  });
  for (auto& seen : view.messages) look_at(seen);
  store_->pump_reads();
  store_->pump();
  for (const auto& [queue, wait] : store_->waits()) view.waits[queue] = wait.failures;
  view.blocks = store_->blocks_text();
  view.damage = store_->health().damage;
  return view;
}

bool Machine::imported(const base::Token& file) {
  bool known = false;
  store_->find_import(file, [&known](os::Result<bool> found) noexcept {
    CHECK(found.has_value());
    known = *found;
  });
  store_->pump();
  return known;
}

std::optional<std::string> Machine::read_history() {
  queued::HistoryFiles files(*spool_);
  queued::HistoryCursor cursor;
  for (bool more = true; more;) {
    const auto read = files.read(cursor, {}, [](const auto&, const auto&) { return true; });
    if (!read) return "the history cannot be read: " + read.error().text();
    more = *read;
  }
  return std::nullopt;
}

void Machine::look_at(SeenMessage& seen) {
  store_->load(seen.id, [this, &seen](os::Result<queued::LoadedBody> body) noexcept {
    seen.readable = body.has_value();
    if (const auto* message = store_->find(seen.id)) seen.prefix = message->prefix;
    if (body) seen.body = body->bytes ? *body->bytes : read_all(body->file.get());
  });
}

}  // namespace postern::crash
