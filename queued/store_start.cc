// The start of LocalStore: opens the index, replays the journal, and writes again what may not be on disk.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/log/log.h"
#include "queued/cold.h"
#include "queued/local_store.h"

namespace postern::queued {
namespace {

constexpr std::uint64_t kMaxBlocksFile = 64 << 20;
constexpr std::size_t kManyReplayed = 20'000;  // messages that a replay keeps in memory, at most
constexpr std::string_view kBlocksFile = "control.json";
constexpr int kMostKept = 1000;  // damaged indexes

}  // namespace

os::Result<void> LocalStore::start(const IndexOpener& open_index) {
  reserve_.begin();
  auto recovered = replay(open_index);
  if (!recovered) return std::unexpected(recovered.error());
  used_before_ = recovered->used;
  // Ids of what is gone from the journal lie below its last reading of the clock.
  last_id_ = std::max(recovered->last_id,
                      base::MessageId(static_cast<std::uint64_t>(recovered->clock.wall.ms) * 1000));
  for (auto& sentence : recovered->damage) report_damage(std::move(sentence));
  for (const auto& [token, id] : recovered->tokens) tokens_.remember(token, id);
  clock_ = std::make_unique<QueueClock>(
      system_clock_, resume_clock(recovered->clock, system_clock_.wall(), options_.max_gap));
  if (recovered->clock.wall.ms != 0)
    log::info("clock.resumed")
        .field("seconds", (system_clock_.wall() - recovered->clock.wall).count() / 1000)
        .field("counted", (clock_->now() - recovered->clock.queue).count() / 1000);
  if (auto swept = sweep_large(); !swept) return swept;
  if (auto read = read_blocks(); !read) return read;
  attempt_.stage(kIndexFile);  // until all of it was read

  first_sequence_ = recovered->start.first;
  flushed_before_ = recovered->start.predecessor.flushed;
  newest_segment_ = recovered->start.segment - 1;
  journal_ = std::make_unique<Journal>(recovered->start, options_.threaded,
                                       [this]() noexcept { progressed_.notify(); });
  checkpoint_ = std::make_unique<Checkpoint>(
      files_, *index_, reserve_, messages_, options_.pace, options_.epoch, [this] { return position(); },
      [this]() noexcept { tidy(); }, [this](const std::string& why) noexcept { fail(why); });
  checkpoint_->begin_at(covered_at_start_);
  segments_.begin(*recovered, *journal_,
                  [this](const std::string& why) noexcept { fail(why); });
  begun_ = clock_->steady();
  if (!recovered->tokens.empty()) segments_.hold_asked(recovered->asked_from);
  if (auto made = segments_.make_first(); !made) return made;
  const auto free = disk_.free_bytes();
  if (!free) return std::unexpected(free.error());
  free_ = *free;
  survey();
  auto written = write_again(std::move(recovered->unsure));
  messages_.set_source({});
  return written;
}

os::Result<Recovered> LocalStore::replay(const IndexOpener& open_index) {
  attempt_.stage(kIndexFile);
  for (const bool fresh : {false, true}) {
    std::string why;
    if (!fresh && attempt_.skips(kIndexFile)) {
      why = "starts of queued failed over it";
    } else if (auto opened = reserve_.persist([&] { return this->open_index(open_index, fresh); });
               !opened) {
      // A full disk does not make it a bad one.
      if (fresh || opened.error().number == EPROTO || is_exhausted(opened.error()))
        return std::unexpected(opened.error());
      why = opened.error().text();
    } else {
      auto recovered = replay_once();
      if (!index_error_ && !(recovered && recovered->index_too_old)) return recovered;
      if (index_error_ && is_exhausted(*index_error_)) return std::unexpected(*index_error_);
      if (fresh) return std::unexpected(index_error_.value_or(os::Error{EIO, "rebuild the index"}));
      why = index_error_ ? index_error_->text() : "it is older than the journal";
    }
    report_damage(fmt::format("the index is set aside and rebuilt: {}", why));
    messages_ = {};
    index_error_.reset();
  }
  return os::failure("rebuild the index", EIO);
}

os::Result<void> LocalStore::open_index(const IndexOpener& open_index, bool fresh) {
  index_.reset();
  if (fresh) {
    if (auto made = disk_.make_directory("damaged"); !made) return made;
    std::string kept;
    for (int n = 1; n < kMostKept; ++n) {
      kept = fmt::format("damaged/{}.{}", kIndexFile, n);
      if (const auto taken = disk_.exists(kept); taken && !*taken) break;
    }
    if (auto moved = disk_.rename(kIndexFile, kept); !moved && moved.error().number != ENOENT)
      return moved;
    if (auto flushed = disk_.flush_directory("damaged"); !flushed) return flushed;
    if (auto flushed = disk_.flush_directory("."); !flushed) return flushed;
  }
  auto opened = open_index(fresh);
  if (!opened) return std::unexpected(opened.error());
  index_ = *std::move(opened);
  return {};
}

// An error of the index is left in index_error_.
os::Result<Recovered> LocalStore::replay_once() {
  RecoveryOptions options;
  options.segment_size = options_.segment_size;
  options.epoch = options_.epoch;
  const auto failed = [this](const os::Error& error) {
    index_error_ = error;
    return std::unexpected(error);
  };
  const auto bytes = index_->mark();
  if (!bytes) return failed(bytes.error());
  if (!bytes->empty()) {
    if (kept_version(*bytes) > kFormatVersion)
      return std::unexpected(os::Error{EPROTO, "read the index: a later version of Postern wrote it"});
    options.mark = decode_kept<IndexMark>(*bytes);
    if (!options.mark) return failed({EBADMSG, "read the mark of the index"});
    auto waits = read_waits(*index_);
    if (!waits) return failed(waits.error());
    for (const auto& wait : *waits) messages_.adopt(wait);
    covered_at_start_ = options.mark->sequence;
  } else {
    messages_.count_all();  // there are no rows
    covered_at_start_ = {};
  }
  messages_.set_source([this](base::MessageId id) -> std::optional<Message> {
    auto rows = read_rows(*index_, {id});
    if (!rows) index_error_ = rows.error();
    if (!rows || rows->empty()) return std::nullopt;
    return std::move(rows->front());
  });
  options.pause = [&](base::SequenceNumber flushed) -> os::Result<void> {
    if (index_error_) return std::unexpected(*index_error_);
    if (messages_.changed() < kManyReplayed) return {};
    Checkpoint::Position position;
    position.flushed = flushed;
    position.last_id = base::MessageId(0);
    auto saved = reserve_.persist([&] {
      return Checkpoint::save_now(*index_, messages_, options_.epoch, position);
    });
    if (!saved) return failed(saved.error());
    messages_.evict(options_.most_residents);
    return {};
  };
  return recover(disk_, options, messages_, attempt_);
}

os::Result<void> LocalStore::sweep_large() {
  attempt_.stage("large");
  return large_.sweep(!damage_.empty(), [this](base::MessageId id) {
    const Message* message = messages_.bring_in(id);
    return message != nullptr && message->large;
  });
}

os::Result<void> LocalStore::read_blocks() {
  auto file = disk_.open(kBlocksFile, os::OpenMode::kRead);
  if (!file && file.error().number == ENOENT) return {};
  if (!file) return std::unexpected(file.error());
  const auto size = (*file)->size();
  if (!size) return std::unexpected(size.error());
  auto text = (*file)->read_at(0, std::min(*size, kMaxBlocksFile));
  if (!text) return std::unexpected(text.error());
  blocks_text_ = *std::move(text);
  return {};
}

// A page that never reached the disk must not be trusted because the cache still had it: what was not
// surely flushed is written anew, and the new epoch is on disk, before anything is answered.
os::Result<void> LocalStore::write_again(Recovered::Unsure unsure) {
  for (auto& [type, fields] : unsure.records) append(type, std::move(fields), true, {});
  for (const auto id : unsure.messages) {
    Message* message = messages_.bring_in(id);
    if (message == nullptr) continue;
    auto record = read_record(segments_.file(message->place.segment).get(), message->place, id);
    if (!record) {
      body_failed(id, record.error());
      continue;
    }
    message->prefix = std::move(record->prefix);
    Bytes body;
    if (!message->large && !message->damaged)
      body = std::make_shared<const std::string>(std::move(record->body));
    message->moving = true;
    ++copies_;
    append_copy(*message, std::move(body));
  }
  settle([this]() noexcept {  // opens the epoch
    sure_ = true;
    for (auto& waiting : std::exchange(when_sure_, {})) waiting();
  });
  // On a full disk not all of it may find room for now, and nothing is accepted either.
  const auto finished = journal_->finish(
      [this](std::uint64_t capacity) { return segments_.make_further(capacity); });
  if (!finished) return std::unexpected(finished.error());
  collect();
  return {};
}

}  // namespace postern::queued
