#include "queued/local_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/base/fault.h"
#include "common/base/random.h"
#include "common/config/segment_room.h"
#include "common/ipc/submission.h"
#include "common/log/log.h"

namespace postern::queued {
namespace {

constexpr base::Millis kClockEvery{60'000};
constexpr std::string_view kBlocksFile = "control.json";
constexpr std::string_view kBlocksNew = "control.json.new";
constexpr int kMostKept = 1000;  // damaged ones

}  // namespace

os::Result<std::unique_ptr<LocalStore>> LocalStore::open(event::Loop& loop, os::Disk& disk,
                                                         const IndexOpener& index,
                                                         const base::Clock& clock,
                                                         LocalStoreOptions options, Fatal fatal) {
  while (options.epoch.value == 0) options.epoch = base::Epoch(base::random_u64());
  std::unique_ptr<LocalStore> store(
      new LocalStore(loop, disk, clock, options, std::move(fatal)));
  if (auto started = store->start(index); !started) {
    // It is not the fault of what was read, and no later start is to leave that out.
    if (started.error().number == EPROTO) store->attempt_.complete();
    return std::unexpected(started.error());
  }
  return store;
}

LocalStore::LocalStore(event::Loop& loop, os::Disk& disk, const base::Clock& clock,
                       LocalStoreOptions options, Fatal fatal)
    : loop_(loop),
      disk_(disk),
      system_clock_(clock),
      options_(options),
      fatal_(std::move(fatal)),
      attempt_(disk),
      reserve_(disk, options.reserve),
      segments_(disk, files_, reserve_, options.segment_size, options.reserve),
      large_(loop, disk, files_, reserve_),
      badmail_(options.badmail != nullptr ? *options.badmail : disk,
               options.badmail != nullptr ? "." : "badmail", disk, files_),
      files_(loop, options.threaded),
      reader_(loop, options.threaded),
      progressed_(loop, [this]() noexcept { collect(); }) {}

LocalStore::~LocalStore() { *alive_ = false; }

base::MessageId LocalStore::new_id() {
  const auto wall = std::max<std::int64_t>(clock_->wall().ms, 0);
  const base::MessageId now(static_cast<std::uint64_t>(wall) * 1000);
  last_id_ = std::max(now, last_id_.next());
  return last_id_;
}

bool LocalStore::fits(std::size_t recipients, std::size_t body) const {
  // As a kState record would need it, with a reply for every recipient.
  constexpr std::size_t kOnce = kFrameOverhead + ipc::kMaxPrefix + 4096;
  static_assert(kBlock == config::kRoomForBlock && kMaxRecipients == config::kMostRecipients);
  static_assert(ipc::kMaxInlineBody == config::kMostInRecord);
  static_assert(kOnce <= config::kRoomForMessage);
  static_assert(ipc::Codec<RecipientRecord>::max_size({}) <= config::kRoomForRecipient);
  // And should all fail at once, their outcome with its notice: 3.5 KB for each, by mail/notice.cc, and
  // the original as notices.h limits it; a header may be three times as long as it was.
  static_assert(kOnce + 96 * 1024 <= config::kRoomForNotice);
  static_assert(ipc::Codec<RecipientFate>::max_size({}) + 3584 <= config::kRoomForFailure);
  return recipients <= kMaxRecipients &&
         config::segment_needed(recipients, body) <= options_.segment_size;
}

// --- Appending --------------------------------------------------------------------------------------

base::SequenceNumber LocalStore::append(RecordType type, std::string fields, bool urgent,
                                        InFlight in_flight) {
  const auto sequence = sequence_of(journal_->appended());
  journal_->append(
      {type, std::move(fields), in_flight.body, urgent, type == RecordType::kAccepted});
  in_flight_.push_back(std::move(in_flight));
  schedule_kick();
  return sequence;
}

// One hand-over per turn of the loop, however many entries.
void LocalStore::schedule_kick() {
  if (std::exchange(kick_scheduled_, true)) return;
  loop_.defer([this, alive = alive_]() noexcept {
    if (!*alive) return;
    kick_scheduled_ = false;
    journal_->kick();
  });
}

void LocalStore::accept(MessageRecord record, Bytes body, Accepted accepted) {
  auto fields = ipc::encode(record);
  append(RecordType::kAccepted, std::move(fields), true,
         {.begins = std::make_unique<MessageRecord>(std::move(record)),
          .body = std::move(body),
          .accepted = std::move(accepted)});
}

void LocalStore::outcome(OutcomeRecord record, Bytes notice_body, Done written, Done flushed) {
  InFlight entry{.body = std::move(notice_body),
                 .written = std::move(written),
                 .flushed = std::move(flushed)};
  const Message* message = messages_.find(record.message);
  CHECK(message != nullptr);
  const auto large = message->large ? message->id : base::MessageId();
  if (messages_.apply(record, sequence_of(journal_->appended()))) entry.ends_large = large;
  if (fault::planted(fault::Fault::kOutcomeAckedEarly) && entry.written)
    std::exchange(entry.written, {})();
  if (fault::planted(fault::Fault::kLargeUnlinkedEarly) && entry.ends_large.value != 0)
    large_.drop(std::exchange(entry.ends_large, {}));
  auto fields = ipc::encode(record);
  if (record.notice) entry.begins = std::make_unique<MessageRecord>(*std::move(record.notice));
  append(RecordType::kOutcome, std::move(fields), false, std::move(entry));
}

void LocalStore::note(QueueRecord record) {
  messages_.apply(record);
  auto fields = ipc::encode(record);
  append(RecordType::kQueue, std::move(fields), false, {.waits = std::move(record.queue)});
}

void LocalStore::note(HoldRecord record) {
  messages_.apply(record, sequence_of(journal_->appended()));
  append(RecordType::kHold, ipc::encode(record), false, {});
}

void LocalStore::note(RetryRecord record, Done written) {
  messages_.apply(record, sequence_of(journal_->appended()));
  append(RecordType::kRetry, ipc::encode(record), false, {.written = std::move(written)});
}

void LocalStore::settle(Done flushed) {
  clock_noted_ = clock_->steady();
  const ClockRecord record{clock_->wall(), clock_->now()};
  append(RecordType::kClock, ipc::encode(record), true, {.flushed = std::move(flushed)});
}

void LocalStore::when_sure(Done sure) {
  if (sure_) return sure();
  when_sure_.push_back(std::move(sure));
}

// --- What the journal reports -----------------------------------------------------------------------

void LocalStore::collect() {
  auto progress = journal_->collect();
  if (progress.error) return fail(progress.error->text());
  if (failed_) return;
  for (const auto& place : progress.placed) in_flight_[placed_++ - flushed_].place = place;
  // Callbacks may append, so nothing is held across them.
  for (; written_ < progress.written; ++written_)
    if (auto written = std::move(in_flight_[written_ - flushed_].written)) written();
  while (flushed_ < progress.flushed) {
    auto entry = std::move(in_flight_.front());
    in_flight_.pop_front();
    finish(entry, sequence_of(flushed_++));
  }
  for (const auto took : progress.flushes) flush_times_[flushes_++ % flush_times_.size()] = took;
  for (const auto& segment : progress.opened) {
    newest_segment_ = segment.number;
    segments_.opened(segment);
  }
  if (!progress.placed.empty()) segments_.placed(progress.placed.back());
  checkpoint_->consider(clock_->steady());
  messages_.evict(options_.most_residents);
  tidy();
}

void LocalStore::finish(InFlight& entry, base::SequenceNumber sequence) {
  if (entry.place.segment == 0) {
    if (entry.accepted) entry.accepted(false);
    return;
  }
  last_flushed_ = sequence;
  if (entry.begins) {
    if (!entry.begins->notice) tokens_.remember(entry.begins->token, entry.begins->id);
    Message* message = messages_.put(std::move(*entry.begins), entry.place, sequence);
    if (message != nullptr && entry.body)
      messages_.keep_body(*message, std::move(entry.body), options_.cache);
  }
  if (!entry.waits.empty()) messages_.wait_stands(entry.waits, entry.place.segment);
  if (entry.moves.value != 0) {
    --copies_;
    if (Message* message = messages_.find(entry.moves)) {
      message->moving = false;
      messages_.move(*message, entry.place, sequence);
    }
  }
  if (entry.ends_large.value != 0) large_.drop(entry.ends_large);
  if (entry.accepted) entry.accepted(true);
  if (entry.flushed) entry.flushed();
}

Checkpoint::Position LocalStore::position() const {
  if (fault::planted(fault::Fault::kCheckpointAhead) && journal_->appended() > 0)
    return {sequence_of(journal_->appended() - 1), newest_segment_, last_id_,
            {clock_->wall(), clock_->now()}};
  return {last_flushed_.value == 0 ? flushed_before_ : last_flushed_, newest_segment_, last_id_,
          {clock_->wall(), clock_->now()}};
}

// --- Blocks and health ------------------------------------------------------------------------------

// After a failed flush nobody knows whether the old ones stand, so only the next start can tell.
void LocalStore::save_blocks(std::string text, Saved saved) {
  files_.post([this, text = std::move(text),
               saved = std::move(saved)]() mutable noexcept -> event::Callback {
    auto done = reserve_.persist([&] { return write_blocks(text); });
    return [this, saved = std::move(saved), done = std::move(done)]() mutable noexcept {
      if (!done && !is_exhausted(done.error())) return fail(done.error().text());
      if (!failed_) saved(std::move(done));
    };
  });
}

// A crash at any line leaves the old file or the new one, whole.
os::Result<void> LocalStore::write_blocks(const std::string& text) {
  (void)disk_.unlink(kBlocksNew);  // what an earlier crash left
  auto file = disk_.open(kBlocksNew, os::OpenMode::kCreateExclusive);
  auto done = file ? (*file)->write_at(0, text) : std::unexpected(file.error());
  if (done) done = (*file)->flush();
  if (done) done = disk_.rename(kBlocksNew, kBlocksFile);
  if (!done || fault::planted(fault::Fault::kBlocksNameUnflushed)) return done;
  done = disk_.flush_directory(".");
  if (!done) done.error().number = EIO;  // whatever it was: the new ones may stand
  return done;
}

void LocalStore::set_blocks_aside() {
  files_.post([this]() noexcept -> event::Callback {
    (void)disk_.make_directory("damaged");
    for (int n = 1; n < kMostKept; ++n) {
      const auto kept = fmt::format("damaged/{}.{}", kBlocksFile, n);
      if (const auto taken = disk_.exists(kept); !taken || *taken) continue;
      (void)disk_.rename(kBlocksFile, kept);  // where it stays, the next save replaces it
      break;
    }
    (void)disk_.flush_directory("damaged");
    (void)disk_.flush_directory(".");
    return {};
  });
}

StoreHealth LocalStore::health() const {
  StoreHealth health;
  health.free = free_;
  health.journal_bytes = segments_.bytes();
  health.large_bytes = messages_.large_bytes();
  health.flushes = flushes_;
  health.records = journal_->appended();
  health.lack = segments_.starved() ? "no room for the next journal segment" : reserve_.lack();
  const auto use = index_->use();
  health.index_used = use.used;
  health.index_map = use.map;
  health.index_file = use.file;
  health.checkpoints = use.commits;
  health.checkpoint_lag = checkpoint_->lag();
  health.index_full = checkpoint_->full();
  health.damage = damage_;
  auto times = flush_times_;
  const auto count = std::min<std::uint64_t>(flushes_, times.size());
  if (count > 0) {
    const auto at = times.begin() + static_cast<std::ptrdiff_t>((count - 1) * 99 / 100);
    std::nth_element(times.begin(), at, times.begin() + static_cast<std::ptrdiff_t>(count));
    health.flush_p99 = base::Millis((*at + 999) / 1000);
  }
  return health;
}

void LocalStore::tick() {
  const auto now = clock_->steady();
  tokens_.tick(now);
  if (now - begun_ > kAskedFor) segments_.forget_asked();
  if (now - clock_noted_ >= kClockEvery) settle({});
  survey();
  segments_.refill();
  segments_.rotate();
  checkpoint_->consider(now);
  messages_.evict(options_.most_residents);
  tidy();
}

void LocalStore::survey() {
  files_.post([this]() noexcept -> event::Callback {
    reserve_.refill();
    const auto free = disk_.free_bytes();
    return [this, free]() noexcept {
      if (free) free_ = *free;
    };
  });
}

// Nothing is acknowledged any more.
void LocalStore::fail(const std::string& why) {
  if (!std::exchange(failed_, true)) fatal_(why);
}

void LocalStore::report_damage(std::string sentence) {
  constexpr std::size_t kMost = 20;  // kept for the status
  log::error("store.damage").field("what", sentence);
  if (damage_.size() < kMost) damage_.push_back(std::move(sentence));
}

void LocalStore::pump_reads() {
  while (reader_.pump()) continue;
}

void LocalStore::pump(bool flush) {
  for (bool any = true; any;) {
    loop_.run_once(false);
    if (!segments_.starved()) segments_.refill();
    any = files_.pump();
    any |= journal_->pump(flush);
    collect();
    any |= files_.pump();
    any |= reader_.pump();
  }
}

}  // namespace postern::queued
