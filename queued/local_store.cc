#include "queued/local_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/base/check.h"
#include "common/base/random.h"
#include "common/log/log.h"

namespace postern::queued {
namespace {

constexpr base::Millis kTokenAge{120'000};  // smtpd asks for at most 60 s after the final dot
constexpr base::Millis kClockEvery{60'000};
constexpr std::size_t kFewCached = 1024;  // below it, gaps in the list of cached bodies do not matter
constexpr std::size_t kMaxBlocksFile = 64 << 20;
constexpr std::string_view kBlocksFile = "control.json";
constexpr std::string_view kBlocksNew = "control.json.new";

}  // namespace

os::Result<std::unique_ptr<LocalStore>> LocalStore::open(event::Loop& loop, os::Disk& disk,
                                                         const base::Clock& clock,
                                                         LocalStoreOptions options, Fatal fatal) {
  while (options.epoch.value == 0) options.epoch = base::Epoch(base::random_u64());
  std::unique_ptr<LocalStore> store(
      new LocalStore(loop, disk, clock, options, std::move(fatal)));
  if (auto started = store->start(); !started) return std::unexpected(started.error());
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
      files_(loop, options.threaded),
      reader_(loop, options.threaded),
      progressed_(loop, [this]() noexcept { collect(); }) {}

LocalStore::~LocalStore() { *alive_ = false; }

os::Result<void> LocalStore::start() {
  reserve_.begin();
  auto recovered = recover(disk_, options_.segment_size, options_.epoch, messages_, attempt_);
  if (!recovered) return std::unexpected(recovered.error());
  used_before_ = recovered->used;
  // Ids of what is gone from the journal lie below its last reading of the clock.
  last_id_ = std::max(recovered->last_id,
                      base::MessageId(static_cast<std::uint64_t>(recovered->clock.wall.ms) * 1000));
  for (auto& sentence : recovered->damage) report_damage(std::move(sentence));
  for (const auto& [token, id] : recovered->tokens) remember(token, id);
  clock_ = std::make_unique<QueueClock>(
      system_clock_, resume_clock(recovered->clock, system_clock_.wall(), options_.max_gap));

  attempt_.stage("large");
  const auto swept = large_.sweep(!damage_.empty(), [this](base::MessageId id) {
    const Message* message = messages_.find(id);
    return message != nullptr && message->large;
  });
  if (!swept) return swept;
  if (auto read = read_blocks(); !read) return read;

  journal_ = std::make_unique<Journal>(recovered->start, options_.threaded,
                                       [this]() noexcept { progressed_.notify(); });
  segments_.begin(*recovered, *journal_,
                  [this](const std::string& why) noexcept { fatal_(why); });
  if (auto made = segments_.make_first(); !made) return made;
  const auto free = disk_.free_bytes();
  if (!free) return std::unexpected(free.error());
  free_ = *free;
  survey();
  // All was read, even where nothing can be written for now.
  if (journal_->spares().all == 0) attempt_.complete();
  settle([this]() noexcept {  // opens the epoch
    files_.post([this]() noexcept -> event::Callback {
      attempt_.complete();
      return {};
    });
  });
  return {};
}

os::Result<void> LocalStore::read_blocks() {
  auto file = disk_.open(kBlocksFile, os::OpenMode::kRead);
  if (!file && file.error().number == ENOENT) return {};
  if (!file) return std::unexpected(file.error());
  auto text = (*file)->read_at(0, kMaxBlocksFile);
  if (!text) return std::unexpected(text.error());
  blocks_text_ = *std::move(text);
  return {};
}

base::MessageId LocalStore::new_id() {
  const base::MessageId now(static_cast<std::uint64_t>(clock_->wall().ms) * 1000);
  last_id_ = std::max(now, last_id_.next());
  return last_id_;
}

bool LocalStore::fits(std::size_t recipients, std::size_t body) const {
  // As a kState record would need it, with a reply for every recipient.
  constexpr std::size_t kEach = ipc::Codec<RecipientRecord>::max_size({});
  constexpr std::size_t kOnce = ipc::kMaxPrefix + 4096;
  // And should all fail at once, their outcome with its notice: 2.5 KB for each, by mail/notice.cc.
  constexpr std::size_t kEachFate = ipc::Codec<RecipientFate>::max_size({}) + 2816;
  constexpr std::size_t kOnceFate = kOnce + 64 * 1024;
  const auto room = options_.segment_size - kBlock;
  return recipients <= kMaxRecipients &&
         kFrameOverhead + kOnce + recipients * kEach + body <= room &&
         kFrameOverhead + kOnceFate + recipients * kEachFate <= room;
}

// --- Appending --------------------------------------------------------------------------------------

void LocalStore::append(RecordType type, std::string fields, bool urgent, InFlight in_flight) {
  journal_->append(
      {type, std::move(fields), in_flight.body, urgent, type == RecordType::kAccepted});
  in_flight_.push_back(std::move(in_flight));
  schedule_kick();
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
         {.begins = std::move(record), .body = std::move(body), .accepted = std::move(accepted)});
}

void LocalStore::outcome(OutcomeRecord record, Bytes notice_body, Done written, Done flushed) {
  InFlight entry{.body = std::move(notice_body),
                 .written = std::move(written),
                 .flushed = std::move(flushed)};
  if (const Message* message = messages_.find(record.message)) {
    if (message->large) entry.ends_large = message->id;
    const auto cached = message->body ? message->body->size() : 0;
    if (messages_.apply(record))
      cached_bytes_ -= cached;
    else
      entry.ends_large = {};
  }
  auto fields = ipc::encode(record);
  entry.begins = std::move(record.notice);
  append(RecordType::kOutcome, std::move(fields), false, std::move(entry));
}

void LocalStore::note(QueueRecord record) {
  messages_.apply(record);
  auto fields = ipc::encode(record);
  append(RecordType::kQueue, std::move(fields), false, {.waits = std::move(record.queue)});
}

void LocalStore::note(HoldRecord record) {
  messages_.apply(record);
  append(RecordType::kHold, ipc::encode(record), false, {});
}

void LocalStore::note(ReleaseRecord record, Done written) {
  messages_.apply(record);
  append(RecordType::kRelease, ipc::encode(record), false, {.written = std::move(written)});
}

void LocalStore::settle(Done flushed) {
  clock_noted_ = clock_->steady();
  const ClockRecord record{clock_->wall(), clock_->now()};
  append(RecordType::kClock, ipc::encode(record), true, {.flushed = std::move(flushed)});
}

// --- What the journal reports -----------------------------------------------------------------------

void LocalStore::collect() {
  auto progress = journal_->collect();
  if (progress.error && !std::exchange(failed_, true)) return fatal_(progress.error->text());
  if (failed_) return;
  for (const auto& place : progress.placed) in_flight_[placed_++ - flushed_].place = place;
  // Callbacks may append, so nothing is held across them.
  for (; written_ < progress.written; ++written_)
    if (auto written = std::move(in_flight_[written_ - flushed_].written)) written();
  while (flushed_ < progress.flushed) {
    auto entry = std::move(in_flight_.front());
    in_flight_.pop_front();
    ++flushed_;
    finish(std::move(entry));
  }
  for (const auto took : progress.flushes) flush_times_[flushes_++ % flush_times_.size()] = took;
  for (const auto& segment : progress.opened) segments_.opened(segment);
  tidy();
}

void LocalStore::finish(InFlight entry) {
  if (entry.place.segment == 0) {
    if (entry.accepted) entry.accepted(false);
    return;
  }
  if (entry.begins) {
    Message& message = messages_.put(*entry.begins, entry.place);
    if (entry.body) keep_body(message, std::move(entry.body));
    if (!entry.begins->notice) remember(message.token, message.id);
  }
  if (!entry.waits.empty()) messages_.wait_stands(entry.waits, entry.place.segment);
  if (entry.moves.value != 0) {
    --copies_;
    if (Message* message = messages_.find(entry.moves)) {
      message->moving = false;
      messages_.move(*message, entry.place);
    }
  }
  if (entry.ends_large.value != 0) large_.drop(entry.ends_large);
  if (entry.accepted) entry.accepted(true);
  if (entry.flushed) entry.flushed();
}

void LocalStore::remember(const base::Token& token, base::MessageId id) {
  tokens_[token] = id;
  token_ages_.emplace_back(system_clock_.steady(), token);
}

std::optional<base::MessageId> LocalStore::find_token(const base::Token& token) const {
  const auto at = tokens_.find(token);
  if (at == tokens_.end()) return std::nullopt;
  return at->second;
}

// --- Bodies -----------------------------------------------------------------------------------------

void LocalStore::keep_body(Message& message, Bytes body) {
  cached_bytes_ += body->size();
  message.body = std::move(body);
  cached_.push_back(message.id);
  while (cached_bytes_ > options_.cache && !cached_.empty()) {
    Message* oldest = messages_.find(cached_.front());
    cached_.pop_front();
    if (oldest == nullptr || !oldest->body) continue;
    cached_bytes_ -= oldest->body->size();
    oldest->body.reset();
  }
  // Most messages end long before the budget does; their places are given up when they are the majority.
  if (cached_.size() > 2 * messages_.count() + kFewCached)
    std::erase_if(cached_, [this](base::MessageId id) {
      const Message* found = messages_.find(id);
      return found == nullptr || !found->body;
    });
}

void LocalStore::load(base::MessageId id, Loaded loaded) {
  const Message* message = messages_.find(id);
  if (message == nullptr) return loaded(os::failure("find message", ENOENT));
  if (message->damaged) return loaded(os::failure("read the body, which is damaged", EIO));
  if (message->body) return loaded(LoadedBody{message->body, {}});
  if (!message->large) return read_body(*message, std::move(loaded));
  large_.load(*message, !message->checked,
              [this, id, loaded = std::move(loaded)](os::Result<LoadedBody> body) mutable noexcept {
                if (Message* found = body ? messages_.find(id) : nullptr) found->checked = true;
                if (!body && messages_.find(id) != nullptr)
                  report_damage(fmt::format("message {}: {}", base::to_string(id),
                                            body.error().text()));
                loaded(std::move(body));
              });
}

void LocalStore::read_body(const Message& message, Loaded loaded) {
  reader_.post([this, id = message.id, place = message.place, size = message.body_size,
                file = segments_.file(message.place.segment),
                loaded = std::move(loaded)]() mutable noexcept -> event::Callback {
    os::Result<LoadedBody> body = LoadedBody{};
    auto bytes = file ? file->read_at(place.offset, place.size)
                      : os::failure("find a journal segment", ENOENT);
    if (!bytes) {
      body = std::unexpected(bytes.error());
    } else if (const auto frame = read_frame(*bytes, place.segment, place.offset);
               frame && frame->body.size() == size) {
      body->bytes = std::make_shared<const std::string>(frame->body);
    } else {
      body = os::failure("checksum of a journal record", EIO);
    }
    return [this, id, place, loaded = std::move(loaded), body = std::move(body)]() mutable noexcept {
      const Message* found = messages_.find(id);
      if (found != nullptr && !body) {
        // Its record was moved, and the place reused, while we read.
        if (found->place.segment != place.segment) return load(id, std::move(loaded));
        report_damage(fmt::format("message {}: {}", base::to_string(id), body.error().text()));
      }
      loaded(std::move(body));
    };
  });
}

void LocalStore::load_head(base::MessageId id, std::size_t limit, Head head) {
  const Message* message = messages_.find(id);
  if (message == nullptr) return head({});
  auto cut = [prefix = message->prefix, limit, head = std::move(head)](
                 std::string_view body) mutable noexcept {
    std::string text = prefix.substr(0, limit);
    text += body.substr(0, limit - text.size());
    head(std::move(text));
  };
  if (message->large && !message->damaged)
    return large_.load_part(
        id, 0, limit, [cut = std::move(cut)](const std::string& body) mutable noexcept { cut(body); });
  load(id, [cut = std::move(cut)](os::Result<LoadedBody> body) mutable noexcept {
    cut(body && body->bytes ? std::string_view(*body->bytes) : std::string_view());
  });
}

void LocalStore::open_large(std::uint64_t room, LargeOpened opened) {
  large_.open(new_id(), room, std::move(opened));
}
void LocalStore::seal_large(base::MessageId id, std::uint64_t size, LargeSealed sealed) {
  large_.seal(id, size, std::move(sealed));
}
void LocalStore::drop_large(base::MessageId id) { large_.drop(id); }

// --- Blocks and health ------------------------------------------------------------------------------

void LocalStore::save_blocks(std::string text, Saved saved) {
  files_.post([this, text = std::move(text),
               saved = std::move(saved)]() mutable noexcept -> event::Callback {
    auto done = reserve_.persist([&] { return write_blocks(text); });
    return [saved = std::move(saved), done = std::move(done)]() mutable noexcept {
      saved(std::move(done));
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
  if (done) done = disk_.flush_directory(".");
  return done;
}

StoreHealth LocalStore::health() const {
  StoreHealth health;
  health.free = free_;
  health.journal_bytes = segments_.bytes();
  health.large_bytes = messages_.large_bytes();
  health.flushes = flushes_;
  health.records = journal_->appended();
  health.lack = segments_.starved() ? "no room for the next journal segment" : reserve_.lack();
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
  while (!token_ages_.empty() && now - token_ages_.front().first > kTokenAge) {
    tokens_.erase(token_ages_.front().second);
    token_ages_.pop_front();
  }
  if (now - clock_noted_ >= kClockEvery) settle({});
  survey();
  segments_.refill();
  segments_.rotate();
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

void LocalStore::report_damage(std::string sentence) {
  constexpr std::size_t kMost = 20;  // kept for the status
  log::error("store.damage").field("what", sentence);
  if (damage_.size() < kMost) damage_.push_back(std::move(sentence));
}

void LocalStore::pump() {
  for (bool any = true; any;) {
    loop_.run_once(false);
    if (!segments_.starved()) segments_.refill();
    any = files_.pump();
    any |= journal_->pump();
    collect();
    any |= files_.pump();
    any |= reader_.pump();
  }
}

}  // namespace postern::queued
