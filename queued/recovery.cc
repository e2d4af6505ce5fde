#include "queued/recovery.h"

#include <fmt/format.h>

#include <algorithm>
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
  Recovery(os::Disk& disk, std::uint64_t segment_size, base::Epoch epoch, Messages& messages,
           RecoveryAttempt& attempt)
      : disk_(disk), segment_size_(segment_size), messages_(messages), attempt_(attempt) {
    result_.start.epoch = epoch;
  }

  os::Result<Recovered> run() {
    if (auto done = find_files(); !done) return std::unexpected(done.error());
    if (auto done = order(); !done) return std::unexpected(done.error());
    if (auto done = replay(); !done) return std::unexpected(done.error());
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
    const auto newest_epoch = by_number_.rbegin()->second.header->epoch;
    for (auto at = by_number_.lower_bound(first_); at != by_number_.end(); ++at) {
      auto& found = at->second;
      const auto path = path_of(found.file.name);
      attempt_.stage(path);
      // A page that never reached the disk must not be trusted because the cache still had it.
      if (found.header->epoch == newest_epoch)
        if (auto flushed = found.file.file->flush_data(); !flushed) {
          if (!attempt_.tolerant()) return flushed;
          add_damage(flushed.error().text());
          leave_behind(at->first);
        }
      const auto next = std::next(at);
      std::optional<SegmentEnd> claim;
      if (next != by_number_.end() && next->second.header->predecessor.number == at->first)
        claim = next->second.header->predecessor;
      const auto known = result_.damage.size();
      const auto bytes = read(found.file, found.file.capacity);
      if (!bytes) return std::unexpected(bytes.error());
      if (result_.damage.size() > known) leave_behind(at->first);
      const auto replayed = replay_segment(
          *bytes, *found.header, claim, [&](const Frame& frame, const Place& place) {
            const auto number = frame.name.sequence.value;
            attempt_.stage(path, number);
            if (!attempt_.skips(path, number)) return apply(frame, place);
            add_damage(fmt::format("record {} of the journal (file {}) is left out: starts of queued "
                                   "failed over it",
                                   number, found.file.name));
            leave_behind(place.segment);
            return true;
          });
      report(at->first, found.file.name, replayed);
      result_.start.predecessor = replayed.end;
      result_.chain.push_back({at->first, found.file, false});
    }
    result_.start.segment = by_number_.rbegin()->first + 1;
    result_.start.first = result_.start.predecessor.last.next();
    result_.start.oldest_needed = first_;
    for (auto& segment : result_.chain) segment.damaged = damaged_.contains(segment.number);
    return {};
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
    switch (frame.type) {
      case RecordType::kAccepted:
      case RecordType::kState:
        return with<MessageRecord>(frame, [&](const MessageRecord& record) { put(record, place); });
      case RecordType::kOutcome:
        return with<OutcomeRecord>(frame, [&](const OutcomeRecord& record) {
          messages_.apply(record);
          if (record.notice) put(*record.notice, place);
          note_clock(record.clock, record.when);
        });
      case RecordType::kQueue:
        return with<QueueRecord>(frame, [&](const QueueRecord& record) {
          messages_.apply(record);
          messages_.wait_stands(record.queue, place.segment);
        });
      case RecordType::kRelease:
        return with<ReleaseRecord>(frame,
                                   [&](const ReleaseRecord& record) { messages_.apply(record); });
      case RecordType::kHold:
        return with<HoldRecord>(frame, [&](const HoldRecord& record) { messages_.apply(record); });
      case RecordType::kClock:
        return with<ClockRecord>(
            frame, [&](const ClockRecord& record) { note_clock(record.queue, record.wall); });
    }
    return false;
  }

  template <class Record>
  static bool with(const Frame& frame, auto&& use) {
    const auto record = ipc::decode<Record>(frame.fields);
    if (record) use(*record);
    return record.has_value();
  }

  void put(const MessageRecord& record, const Place& place) {
    messages_.put(record, place);
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
      if (spare.capacity == segment_size_) return false;
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
  std::uint64_t segment_size_;
  Messages& messages_;
  RecoveryAttempt& attempt_;
  Recovered result_;
  std::map<std::uint64_t, FoundFile> by_number_;
  std::vector<FoundFile> nameless_;
  std::set<std::uint64_t> damaged_;
  std::uint64_t first_ = 1;
};

}  // namespace

os::Result<Recovered> recover(os::Disk& disk, std::uint64_t segment_size, base::Epoch epoch,
                              Messages& messages, RecoveryAttempt& attempt) {
  return Recovery(disk, segment_size, epoch, messages, attempt).run();
}

}  // namespace postern::queued
