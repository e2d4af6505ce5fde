#include "queued/journal.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/base/check.h"
#include "common/base/fault.h"

namespace postern::queued {
namespace {
constexpr std::size_t kMaxBuffer = 4ULL << 20;  // bytes in one write
}

Journal::Journal(const JournalStart& start, bool threaded,
                 std::move_only_function<void() noexcept> progressed)
    : start_(start),
      progressed_(std::move(progressed)),
      oldest_needed_(start.oldest_needed),
      end_(start.predecessor),
      flushed_sequence_(start.predecessor.flushed),
      next_sequence_(start.first),
      threaded_(threaded) {
  if (threaded) thread_ = std::thread([this] { run(); });
}

Journal::~Journal() {
  kick();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Journal::append(JournalEntry entry) {
  gathered_.push_back(std::move(entry));
  ++appended_;
}

void Journal::kick() {
  if (gathered_.empty()) return;
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    // Where others wait already, the flusher comes by itself, unless it is to come at once.
    wake = waiting_.empty();
    if (wake) oldest_waiting_ = std::chrono::steady_clock::now();
    for (auto& entry : gathered_) {
      urgent_ |= entry.urgent;
      waiting_.push_back(std::move(entry));
    }
    wake |= urgent_;
  }
  gathered_.clear();
  if (wake) changed_.notify_one();
}

void Journal::give(SegmentFile spare) {
  {
    const std::lock_guard lock(mutex_);
    if (spare.capacity >= wanted_) wanted_ = 0;
    spares_.push_back(std::move(spare));
  }
  changed_.notify_one();
}

Journal::Spares Journal::spares() {
  const std::lock_guard lock(mutex_);
  Spares sum;
  sum.all = spares_.size();
  sum.awaited = awaited_;
  for (const auto& spare : spares_) {
    sum.bytes += spare.capacity;
    if (spare.capacity >= room_.whole_size) ++sum.whole;
  }
  return sum;
}

std::uint64_t Journal::wanted() {
  const std::lock_guard lock(mutex_);
  return wanted_;
}

void Journal::set_room(const Room& room) {
  {
    const std::lock_guard lock(mutex_);
    room_ = room;
  }
  changed_.notify_one();  // an acceptance may wait for a spare that does not come
}

void Journal::rotate() {
  {
    const std::lock_guard lock(mutex_);
    rotate_ = true;
  }
  changed_.notify_one();
}

void Journal::set_oldest_needed(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  oldest_needed_ = number;
}

Progress Journal::collect() {
  const std::lock_guard lock(mutex_);
  Progress progress = std::move(progress_);
  progress_ = {};
  progress_.written = progress.written;
  progress_.flushed = progress.flushed;
  return progress;
}

bool Journal::pump(bool flush) {
  const bool unflushed = unflushed_ && flush;
  if (failed_ || (waiting_.empty() && !unflushed && !rotate_)) return false;
  Batch batch{{}, flush || urgent_, std::exchange(rotate_, false), room_.is_short};
  // No more than the spare at hand allows, for nobody can give another meanwhile.
  auto left = current_.file && !batch.rotate ? current_.capacity - buffer_at_ : 0;
  while (!waiting_.empty()) {
    const auto& entry = waiting_.front();
    const auto size = frame_size(entry.fields.size(), entry.body ? entry.body->size() : 0);
    const bool opens = size > left;
    const bool can_go = entry.may_refuse && room_.is_short;
    const bool lacks =
        opens && !can_go && find_spare(size, entry.may_refuse) == spares_.end();
    awaited_ = lacks && batch.entries.empty();
    if (awaited_ && !entry.may_refuse) wanted_ = kBlock + size;
    if (lacks || (opens && !batch.entries.empty())) break;
    left -= opens ? left : size;
    batch.entries.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  if (batch.entries.empty() && !unflushed && !batch.rotate) return false;
  if (waiting_.empty()) urgent_ = false;
  commit(std::move(batch));
  return true;
}

os::Result<bool> Journal::finish(Maker make) {
  kick();
  for (;;) {  // ends: each turn gives a spare that all have waited for
    while (!threaded_ && pump()) continue;
    std::unique_lock lock(mutex_);
    const auto done = [this] { return progress_.error || progress_.flushed == appended_; };
    if (threaded_) published_.wait(lock, [&] { return done() || wanted_ != 0; });
    if (progress_.error) return std::unexpected(*progress_.error);
    if (done()) return true;
    const auto capacity = wanted_;
    if (capacity == 0) return false;
    lock.unlock();
    const auto made = make(capacity);
    if (!made || !*made) return made;
  }
}

void Journal::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    Batch batch;
    if (!wait_for_work(lock, batch)) return;
    lock.unlock();
    commit(std::move(batch));
    lock.lock();
  }
}

// False: stopped, and nothing is left to do.
bool Journal::wait_for_work(std::unique_lock<std::mutex>& lock, Batch& batch) {
  for (;;) {
    const auto now = std::chrono::steady_clock::now();
    const bool flush_due = unflushed_ && (stopping_ || now >= flush_at());
    const bool write_due =
        !waiting_.empty() && (stopping_ || urgent_ || now >= oldest_waiting_ + kCoalesce);
    if (flush_due || write_due || (rotate_ && !stopping_)) {
      batch.rotate = std::exchange(rotate_, false);
      batch.is_short = room_.is_short;
      batch.urgent = std::exchange(urgent_, false) || flush_due;
      batch.entries.assign(std::make_move_iterator(waiting_.begin()),
                           std::make_move_iterator(waiting_.end()));
      waiting_.clear();
      return true;
    }
    if (stopping_) return false;
    if (waiting_.empty() && !unflushed_) {
      changed_.wait(lock);
      continue;
    }
    auto until = unflushed_ ? flush_at() : oldest_waiting_ + kCoalesce;
    if (!waiting_.empty()) until = std::min(until, oldest_waiting_ + kCoalesce);
    changed_.wait_until(lock, until);
  }
}

Journal::Instant Journal::flush_at() const {
  return std::max(unflushed_since_ + kUnflushed, flush_begun_ + kBetweenFlushes);
}

// The order of durability: everything is placed and written; an urgent batch is flushed; and only then
// anybody hears of it. Where a batch crosses into a new segment, the old one is flushed, then the new
// one's header is written and flushed, then its first record is written (open_next()).
void Journal::commit(Batch batch) {
  if (failed_) return;
  is_short_ = batch.is_short;
  os::Result<void> done;
  if (batch.rotate) done = rotate_now();
  for (std::size_t i = 0; i < batch.entries.size() && done; ++i) done = place(batch.entries[i]);
  if (done) done = write_out();
  if (done && batch.urgent) done = flush();
  if (!done) {
    failed_ = true;
    unflushed_ = false;  // whatever is left is never flushed
    return publish(std::move(done.error()));
  }
  publish(std::nullopt);
}

os::Result<void> Journal::place(const JournalEntry& entry) {
  const std::string_view body = entry.body ? std::string_view(*entry.body) : std::string_view();
  const auto size = frame_size(entry.fields.size(), body.size());
  const auto has_place = make_place(entry, size);
  if (!has_place) return std::unexpected(has_place.error());
  ++news_.written;
  const auto sequence = std::exchange(next_sequence_, next_sequence_.next());
  if (!*has_place) {
    ++skipped_;
    news_.placed.push_back({});
    return {};
  }
  CHECK(buffer_at_ + size <= current_.capacity);  // the store refuses larger ones
  const Place place{end_.number, buffer_at_ + buffer_.size(), static_cast<std::uint32_t>(size)};
  end_.last = sequence;
  append_frame(buffer_, place.segment, place.offset, entry.type,
               {start_.epoch, sequence, flushed_sequence_, std::exchange(skipped_, 0U)},
               entry.fields, body);
  end_.length = place.offset + size;
  news_.placed.push_back(place);
  return buffer_.size() < kMaxBuffer ? os::Result<void>() : write_out();
}

os::Result<bool> Journal::make_place(const JournalEntry& entry, std::uint64_t size) {
  if (must_refuse(entry)) return false;
  if (current_.file && buffer_at_ + buffer_.size() + size <= current_.capacity) return true;
  auto opened = open_next(size, entry.may_refuse);
  if (opened && !*opened && !entry.may_refuse)
    return os::failure("open a journal segment", ENOSPC);
  return opened;
}

// While the reserve is not whole, and cannot be, even the rest of the current segment belongs to it; so
// does a small one, which was made of it.
bool Journal::must_refuse(const JournalEntry& entry) {
  if (!entry.may_refuse || !is_short_) return false;
  const auto whole = spares().whole;
  const std::lock_guard lock(mutex_);
  return whole < room_.reserve || (current_.file && current_.capacity < room_.whole_size);
}

os::Result<void> Journal::write_out() {
  if (buffer_.empty()) return {};
  // The next batch begins on a fresh block: one that holds an acknowledged record is never rewritten.
  buffer_.resize(std::min(round_up(buffer_.size()), current_.capacity - buffer_at_), '\0');
  if (auto written = current_.file->write_at(buffer_at_, buffer_); !written) return written;
  buffer_at_ += buffer_.size();
  buffer_.clear();
  if (!std::exchange(unflushed_, true)) unflushed_since_ = std::chrono::steady_clock::now();
  return {};
}

os::Result<void> Journal::flush() {
  if (fault::planted(fault::Fault::kAckBeforeFlush) && unflushed_) {
    static bool told = false;
    if ((told = !told)) {  // it is told now, and done at the next opportunity
      news_.flushed = news_.written;
      return {};
    }
  }
  if (unflushed_) {
    flush_begun_ = std::chrono::steady_clock::now();
    if (auto flushed = current_.file->flush_data(); !flushed) return flushed;
    const auto took = std::chrono::steady_clock::now() - flush_begun_;
    news_.flushes.push_back(static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
    unflushed_ = false;
    flushed_sequence_ = end_.last;
  }
  news_.flushed = news_.written;
  return {};
}

os::Result<void> Journal::rotate_now() {
  {
    const std::lock_guard lock(mutex_);
    if (!current_.file || find_spare(0, false) == spares_.end()) return {};
  }
  const auto opened = open_next(0, false);
  return opened ? os::Result<void>() : std::unexpected(opened.error());
}

os::Result<bool> Journal::open_next(std::uint64_t size, bool may_refuse) {
  // The new header vouches for the old segment's length, so that must be on disk before.
  if (auto written = write_out(); !written) return std::unexpected(written.error());
  if (auto flushed = flush(); !flushed) return std::unexpected(flushed.error());
  if (current_.file) end_.flushed = end_.last;
  publish(std::nullopt);  // what is safe is told before a wait
  auto spare = take_spare(size, may_refuse);
  if (!spare) return false;
  SegmentHeader header;
  {
    const std::lock_guard lock(mutex_);
    header.oldest_needed = oldest_needed_;
  }
  header.number = current_.file ? end_.number + 1 : start_.segment;
  header.epoch = start_.epoch;
  header.first = next_sequence_;
  skipped_ = 0;
  header.predecessor = end_;
  header.capacity = spare->capacity;
  if (auto written = spare->file->write_at(0, encode_header(header)); !written)
    return std::unexpected(written.error());
  if (auto flushed = spare->file->flush_data(); !flushed) return std::unexpected(flushed.error());
  current_ = *std::move(spare);
  const base::SequenceNumber before(header.first.value - 1);
  end_ = {header.number, start_.epoch, kBlock, before, before};
  buffer_at_ = kBlock;
  news_.opened.push_back({header.number, current_, header.oldest_needed});
  return true;
}

// Waits for a spare: while the disk is full, no outcome is acknowledged, and nothing is lost. A message
// that comes in does not wait for one that cannot be made.
std::optional<SegmentFile> Journal::take_spare(std::uint64_t size, bool may_refuse) {
  std::unique_lock lock(mutex_);
  const auto may_go_on = [&] {
    return stopping_ || (may_refuse && room_.is_short) ||
           find_spare(size, may_refuse) != spares_.end();
  };
  if (threaded_ && !may_go_on()) {
    if (!may_refuse) wanted_ = kBlock + size;
    awaited_ = true;
    published_.notify_all();
    changed_.wait(lock, may_go_on);
    wanted_ = 0;
    awaited_ = false;
  }
  const auto at = find_spare(size, may_refuse);
  if (at == spares_.end()) return std::nullopt;
  auto spare = std::move(*at);
  spares_.erase(at);
  return spare;
}

// The smallest that is large enough: small ones are made where there is no room for more.
std::deque<SegmentFile>::iterator Journal::find_spare(std::uint64_t size, bool may_refuse) {
  if (may_refuse) {
    const auto whole = std::count_if(spares_.begin(), spares_.end(), [this](const auto& spare) {
      return spare.capacity >= room_.whole_size;
    });
    if (static_cast<std::size_t>(whole) <= room_.reserve) return spares_.end();
  }
  auto best = spares_.end();
  for (auto at = spares_.begin(); at != spares_.end(); ++at)
    if (kBlock + size <= at->capacity && (best == spares_.end() || at->capacity < best->capacity))
      best = at;
  return best;
}

void Journal::publish(std::optional<os::Error> error) {
  {
    const std::lock_guard lock(mutex_);
    progress_.placed.insert(progress_.placed.end(), news_.placed.begin(), news_.placed.end());
    std::move(news_.opened.begin(), news_.opened.end(), std::back_inserter(progress_.opened));
    progress_.flushes.insert(progress_.flushes.end(), news_.flushes.begin(), news_.flushes.end());
    progress_.written = news_.written;
    progress_.flushed = news_.flushed;
    progress_.error = std::move(error);
  }
  news_.placed.clear();
  news_.opened.clear();
  news_.flushes.clear();
  published_.notify_all();
  progressed_();
}

}  // namespace postern::queued
