#include "queued/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>

namespace postern::queued {
namespace {

constexpr std::string_view kFolder = "journal";
constexpr std::size_t kMaxFiles = 100'000;  // in journal/

struct FoundFile {
  SegmentFile file;
  std::optional<SegmentHeader> header;
  std::uint32_t version = 0;
};

class Recovery {
 public:
  Recovery(os::Disk& disk, const RecoveryOptions& options, Messages& messages,
           RecoveryAttempt& attempt)
      : disk_(disk), options_(options), messages_(messages), attempt_(attempt) {
    result_.start.epoch = options.epoch;
    if (options.mark) {
      covered_ = options.mark->sequence;
      result_.last_id = options.mark->last_id;
      note_clock(options.mark->clock.queue, options.mark->clock.wall);
    }
  }

  os::Result<Recovered> run() {
    if (auto done = find_files(); !done) return std::unexpected(done.error());
    if (auto done = order(); !done) return std::unexpected(done.error());
    if (result_.index_too_old) return std::move(result_);
    if (auto done = replay(); !done) return std::unexpected(done.error());
    begin_above_index();
    sort_out_rest();
    return std::move(result_);
  }

 private:
  os::Result<void> find_files() {
    if (auto made = disk_.make_directory(kFolder); !made) return made;
    auto names = disk_.list(kFolder);
    if (!names) return std::unexpected(names.error());
    if (names->size() > kMaxFiles) return os::failure("read journal/: too many files", EFBIG);
    std::sort(names->begin(), names->end());
    for (const auto& name : *names) {
      const auto path = path_of(name);
      attempt_.stage(path);
      if (attempt_.skips(path)) {
        leave_out(name, "starts of queued failed over it");
        continue;
      }
      auto found = look_into(name);
      if (!found && !attempt_.tolerant()) return std::unexpected(found.error());
      if (!found) {
        leave_out(name, found.error().text());
        continue;
      }
      result_.used = result_.used || found->header || found->version != 0;
      if (found->header && found->header->version == kFormatVersion)
        by_number_.emplace(found->header->number, *std::move(found));
      else
        nameless_.push_back(*std::move(found));
    }
    return {};
  }

  os::Result<FoundFile> look_into(const std::string& name) {
    auto opened = disk_.open(path_of(name), os::OpenMode::kReadWrite);
    if (!opened) return std::unexpected(opened.error());
    FoundFile found;
    found.file = {name, std::move(*opened), 0};
    const auto size = found.file.file->size();
    if (!size) return std::unexpected(size.error());
    found.file.capacity = *size;
    const auto block = read(found.file, std::min<std::uint64_t>(*size, kBlock));
    if (!block) return std::unexpected(block.error());
    found.header = decode_header(*block);
    found.version = header_version(*block);
    return found;
  }

  // The file's first bytes. What the disk refuses again and again is taken for zeros, which are damage.
  os::Result<std::string> read(const SegmentFile& file, std::uint64_t size) {
    auto bytes = file.file->read_at(0, size);
    if (bytes || !attempt_.tolerant()) return bytes;
    std::string found;
    for (std::uint64_t at = 0; at < size; at += kBlock) {
      const auto block = file.file->read_at(at, std::min(kBlock, size - at));
      if (block) found += *block;
      found.resize(std::min(at + kBlock, size), '\0');
    }
    add_damage(fmt::format("file {} of the journal: {}", file.name, bytes.error().text()));
    return found;
  }

  void leave_out(const std::string& name, const std::string& why) {
    add_damage(fmt::format("file {} of the journal is left out: {}", name, why));
    result_.set_aside.push_back({name, nullptr, 0});
  }

  // Which segments are needed, and which are missing.
  os::Result<void> order() {
    if (by_number_.empty()) {
      for (const auto& file : nameless_)
        if (file.version > kFormatVersion)
          return os::failure("read the journal: a newer version of Postern wrote it", EPROTO);
      if (result_.used) add_damage("no segment of the journal has a readable header");
      return {};
    }
    // The newest header itself may be the damaged one: then its records still name their place.
    while (rescue(by_number_.rbegin()->first + 1)) continue;
    const auto newest = by_number_.rbegin()->second.header;
    const auto oldest = std::min(std::max<std::uint64_t>(newest->oldest_needed, 1), newest->number);
    for (auto number = oldest; number <= newest->number; ++number) {
      if (!by_number_.contains(number) && !rescue(number)) {
        add_damage(fmt::format("segment {} of the journal is missing", number));
        leave_behind(number);
        if (const auto next = by_number_.upper_bound(number); next != by_number_.end())
          number = next->first - 1;
        continue;
      }
    }
    first_ = oldest;
    const auto kept = by_number_.lower_bound(oldest)->second.header->first;
    result_.index_too_old = options_.mark && kept.value > covered_.value + 1;
    return {};
  }

  // Finds segment `number` among the files without a readable header, by its first record.
  bool rescue(std::uint64_t number) {
    for (auto at = nameless_.begin(); at != nameless_.end(); ++at) {
      const auto start = at->file.file->read_at(kBlock, sizeof(std::uint32_t));
      if (!start) continue;
      const auto size = base::Reader(*start).integer<std::uint32_t>();
      if (size == 0 || size > at->file.capacity) continue;
      const auto bytes = at->file.file->read_at(kBlock, size);
      if (!bytes) continue;
      const auto frame = read_frame(*bytes, number, kBlock);
      if (!frame) continue;
      SegmentHeader header;
      header.number = number;
      header.epoch = frame->name.epoch;
      header.first = frame->name.sequence;
      if (const auto before = by_number_.find(number - 1); before != by_number_.end())
        header.oldest_needed = before->second.header->oldest_needed;
      at->header = header;
      add_damage(fmt::format("the header of segment {} of the journal (file {}) is damaged; its "
                             "records were read",
                             number, at->file.name));
      leave_behind(number);
      by_number_.emplace(number, std::move(*at));
      nameless_.erase(at);
      return true;
    }
    return false;
  }

  os::Result<void> replay() {
    if (by_number_.empty()) return {};
    const auto from = replay_start();
    for (auto at = by_number_.lower_bound(first_); at != by_number_.end(); ++at) {
      if (at->first >= from)
        if (auto done = replay(at); !done) return done;
      result_.chain.push_back({at->first, at->second.file, false});
    }
    result_.start.segment = by_number_.rbegin()->first + 1;
    result_.start.first = result_.start.predecessor.last.next();
    result_.start.oldest_needed = first_;
    for (auto& segment : result_.chain) segment.damaged = damaged_.contains(segment.number);
    collect_unsure();
    return {};
  }

  // What the index covers is not read again, but for the last segment before: smtpds may still ask for
  // the tokens in it.
  [[nodiscard]] std::uint64_t replay_start() const {
    auto from = first_;
    for (auto at = by_number_.lower_bound(first_); at != by_number_.end(); ++at)
      if (at->second.header->first <= covered_) from = std::max(first_, at->first - 1);
    return from;
  }

  os::Result<void> replay(std::map<std::uint64_t, FoundFile>::const_iterator at) {
    const auto& [number, found] = *at;
    const auto next = std::next(at);
    std::optional<SegmentEnd> claim;
    if (next != by_number_.end() && next->second.header->predecessor.number == number) {
      claim = next->second.header->predecessor;
      note_flushed(claim->flushed);
    }
    const auto path = path_of(found.file.name);
    attempt_.stage(path);
    const auto known = result_.damage.size();
    const auto bytes = read(found.file, found.file.capacity);
    if (!bytes) return std::unexpected(bytes.error());
    if (result_.damage.size() > known) leave_behind(number);
    os::Result<void> paused;
    const auto replayed = replay_segment(
        *bytes, *found.header, claim, [&](const Frame& frame, const Place& place) {
          const auto record = frame.name.sequence.value;
          attempt_.stage(path, record);
          if (attempt_.skips(path, record)) {
            add_damage(fmt::format("record {} of the journal (file {}) is left out: starts of "
                                   "queued failed over it",
                                   record, found.file.name));
            leave_behind(number);
            return true;
          }
          const bool good = apply(frame, place);
          if (paused && options_.pause)
            paused = options_.pause(std::min(flushed_, frame.name.sequence));
          return good;
        });
    report(number, found.file.name, replayed);
    // What is not surely flushed is written again, in several records. Should the power fail meanwhile, a
    // part of those must not be all that is left. If this flush lies or fails, they are what counts.
    if (replayed.end.last > flushed_) (void)found.file.file->flush_data();
    result_.start.predecessor = replayed.end;
    return paused;
  }

  // Numbers are never used twice, even if the journal lost what the index knows.
  void begin_above_index() {
    if (!options_.mark) return;
    result_.start.segment = std::max(result_.start.segment, options_.mark->segment + 1);
    if (result_.start.first > covered_) return;
    result_.used = true;
    if (by_number_.empty()) result_.start.oldest_needed = result_.start.segment;
    add_damage(fmt::format("the journal ends at record {}, the index knows of {}",
                           result_.start.first.value - 1, covered_.value));
    result_.start.first = covered_.next();
  }

  // --- What may not be on disk ---

  void note_flushed(base::SequenceNumber flushed) {
    flushed_ = std::max(flushed_, flushed);
    while (!unsure_.empty() && unsure_.front().first <= flushed_) unsure_.pop_front();
  }

  void collect_unsure() {
    result_.start.predecessor.flushed = std::min(flushed_, result_.start.predecessor.last);
    for (auto& [sequence, record] : unsure_) {
      // Where a message lives on, its copy says it all; where it ended, its outcomes are repeated.
      if (record.message.value != 0 && messages_.bring_in(record.message) != nullptr)
        result_.unsure.messages.insert(record.message);
      else if (!record.fields.empty())
        result_.unsure.records.emplace_back(record.type, std::move(record.fields));
    }
  }

  void report(std::uint64_t number, const std::string& name, const Replayed& replayed) {
    if (replayed.damaged) {
      add_damage(fmt::format("segment {} of the journal (file {}) lost {} records from number {} on",
                             number, name, replayed.end.missing, replayed.first_lost));
      leave_behind(number);
    }
    if (replayed.unreadable > 0) {
      add_damage(fmt::format("segment {} of the journal (file {}) has {} records that make no sense",
                             number, name, replayed.unreadable));
      leave_behind(number);
    }
  }

  bool apply(const Frame& frame, const Place& place) {
    note_flushed(frame.name.flushed);
    const auto sequence = frame.name.sequence;
    const bool is_new = sequence > covered_;
    switch (frame.type) {
      case RecordType::kAccepted:
      case RecordType::kState:
        return with<MessageRecord>(frame, [&](const MessageRecord& record) {
          if (is_new) put(record, place, sequence);
          note_message(record);
        });
      case RecordType::kOutcome:
        return with<OutcomeRecord>(frame, [&](OutcomeRecord& record) {
          if (is_new) apply(record, place, sequence);
          note_clock(record.clock, record.when);
        });
      case RecordType::kQueue:
        return with<QueueRecord>(frame, [&](const QueueRecord& record) {
          if (!is_new) return;
          messages_.apply(record);
          messages_.wait_stands(record.queue, place.segment);
          note_unsure(sequence, {frame.type, {}, std::string(frame.fields)});
        });
      case RecordType::kRelease:
        return with<ReleaseRecord>(frame, [&](const ReleaseRecord& record) {
          if (!is_new) return;
          messages_.apply(record, sequence);
          for (const auto id : record.messages) note_unsure(sequence, {frame.type, id, {}});
          if (!record.queues.empty())
            note_unsure(sequence,
                        {frame.type, {}, ipc::encode(ReleaseRecord{record.clock, {}, record.queues})});
        });
      case RecordType::kHold:
        return with<HoldRecord>(frame, [&](const HoldRecord& record) {
          if (!is_new) return;
          messages_.apply(record, sequence);
          note_unsure(sequence, {frame.type, record.message, {}});
        });
      case RecordType::kClock:
        return with<ClockRecord>(
            frame, [&](const ClockRecord& record) { note_clock(record.queue, record.wall); });
    }
    return false;
  }

  void apply(OutcomeRecord& record, const Place& place, base::SequenceNumber sequence) {
    messages_.apply(record, sequence);
    if (record.notice) {
      put(*record.notice, place, sequence);
      note_message(*record.notice);
      record.notice.reset();  // if it lives, it is copied by itself
    }
    note_unsure(sequence, {RecordType::kOutcome, record.message, ipc::encode(record)});
  }

  void put(const MessageRecord& record, const Place& place, base::SequenceNumber sequence) {
    messages_.put(record, place, sequence);
    note_unsure(sequence, {RecordType::kState, record.id, {}});
  }

  template <class Record>
  static bool with(const Frame& frame, auto&& use) {
    auto record = ipc::decode<Record>(frame.fields);
    if (record) use(*record);
    return record.has_value();
  }

  void note_message(const MessageRecord& record) {
    if (!record.notice) result_.tokens.emplace_back(record.token, record.id);
    result_.last_id = std::max(result_.last_id, record.id);
    note_clock(record.born, record.arrived);
  }

  void note_clock(QueueTime queue, base::WallTime wall) {
    if (queue >= result_.clock.queue) result_.clock = {queue, wall};
  }

  // Files that hold nothing needed: spares, unless they may be what damage left.
  void sort_out_rest() {
    for (auto at = by_number_.begin(); at != by_number_.lower_bound(first_); ++at)
      result_.spares.push_back(at->second.file);
    for (auto& found : nameless_) {
      if (result_.damage.empty() || found.version == 0)
        result_.spares.push_back(found.file);
      else  // set aside: it was a segment
        result_.set_aside.push_back(found.file);
    }
    std::erase_if(result_.spares, [&](const SegmentFile& spare) {
      if (spare.capacity == options_.segment_size) return false;
      // Cut short while it was made, or of another configured size. One left over does no harm.
      (void)disk_.unlink(fmt::format("{}/{}", kFolder, spare.name));
      return true;
    });
  }

  static std::string path_of(const std::string& name) {
    return fmt::format("{}/{}", kFolder, name);
  }
  void add_damage(std::string sentence) { result_.damage.push_back(std::move(sentence)); }
  void leave_behind(std::uint64_t number) {
    damaged_.insert(number);
    result_.damaged_below = std::max(result_.damaged_below, number + 1);
  }

  os::Disk& disk_;
  const RecoveryOptions& options_;
  Messages& messages_;
  RecoveryAttempt& attempt_;
  Recovered result_;
  base::SequenceNumber covered_;  // by the index
  base::SequenceNumber flushed_;  // for sure
  struct UnsureRecord {
    RecordType type = RecordType::kClock;
    base::MessageId message;  // 0: none
    std::string fields;       // to be repeated; empty: nothing
  };
  void note_unsure(base::SequenceNumber sequence, UnsureRecord record) {
    if (sequence > flushed_) unsure_.emplace_back(sequence, std::move(record));
  }
  std::deque<std::pair<base::SequenceNumber, UnsureRecord>> unsure_;
  std::map<std::uint64_t, FoundFile> by_number_;
  std::vector<FoundFile> nameless_;
  std::set<std::uint64_t> damaged_;
  std::uint64_t first_ = 1;
};

}  // namespace

os::Result<Recovered> recover(os::Disk& disk, const RecoveryOptions& options, Messages& messages,
                              RecoveryAttempt& attempt) {
  return Recovery(disk, options, messages, attempt).run();
}

}  // namespace postern::queued
