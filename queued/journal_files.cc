#include "queued/journal_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/base/text.h"

namespace postern::queued {
namespace {

constexpr std::string_view kFolder = "journal";
constexpr std::size_t kMaxFiles = 100'000;         // in journal/
constexpr std::uint64_t kMaxFile = 1ULL << 30;     // bytes; [space] segment allows no more
constexpr std::uint64_t kMostGuessed = 1024;       // numbers, where no header is left at all
constexpr std::uint64_t kMostInGuess = 64 * 1024;  // bytes of a record then
constexpr std::uint64_t kMostProbed = 16;          // blocks looked at for a segment's first record

}  // namespace

std::string journal_path(const std::string& name) {
  return fmt::format("{}/{}", kFolder, name);
}

JournalFiles::JournalFiles(os::Disk& disk, RecoveryAttempt& attempt, base::Epoch known)
    : disk_(disk), attempt_(attempt), known_(known) {}

void JournalFiles::add_damage(std::string sentence, std::uint64_t segment) {
  damage_.push_back(std::move(sentence));
  if (segment != 0) damaged_.insert(segment);
}

void JournalFiles::set_aside(SegmentFile file, const std::string& why) {
  add_damage(
      fmt::format("file {} of the journal is set aside: {}", base::printable(file.name), why));
  set_aside_.push_back(std::move(file));
}

os::Result<void> JournalFiles::find() {
  if (auto made = disk_.make_directory(kFolder); !made) return made;
  auto names = disk_.list(kFolder);
  if (!names) return std::unexpected(names.error());
  if (names->size() > kMaxFiles) return os::failure("read journal/: too many files", EFBIG);
  std::sort(names->begin(), names->end());
  for (const auto& name : *names) {
    if (name.ends_with(kUnfinished)) {
      spares_.push_back({name, nullptr, 0});
      continue;
    }
    attempt_.stage(journal_path(name));
    if (attempt_.skips(journal_path(name))) {
      set_aside({name, nullptr, 0}, "starts of queued failed over it");
      continue;
    }
    auto file = look_into(name);
    if (!file && !attempt_.tolerant()) return std::unexpected(file.error());
    if (!file)
      set_aside({name, nullptr, 0}, file.error().text());
    else
      sort(*std::move(file));
  }
  settle_twins();
  doubt_headers();
  if (auto done = order(); !done) return done;
  sort_out_rest();
  if (trouble_ && !attempt_.tolerant()) return std::unexpected(*trouble_);
  return {};
}

os::Result<JournalFiles::File> JournalFiles::look_into(const std::string& name) {
  auto opened = disk_.open(journal_path(name), os::OpenMode::kReadWrite);
  if (!opened) return std::unexpected(opened.error());
  File found{{name, std::move(*opened), 0}, {}};
  const auto size = found.file.file->size();
  if (!size) return std::unexpected(size.error());
  found.file.capacity = *size;
  auto block = read_bytes(found.file, std::min<std::uint64_t>(*size, kBlock));
  if (!block) return std::unexpected(block.error());
  found.block = *std::move(block);
  return found;
}

os::Result<std::string> JournalFiles::read_bytes(const SegmentFile& file, std::uint64_t size) {
  auto bytes = file.file->read_at(0, size);
  if (bytes) return bytes;
  trouble_ = bytes.error();
  if (!attempt_.tolerant()) return bytes;
  std::string found;
  for (std::uint64_t at = 0; at < size; at += kBlock) {
    const auto block = file.file->read_at(at, std::min(kBlock, size - at));
    if (block) found += *block;
    found.resize(std::min(at + kBlock, size), '\0');
  }
  add_damage(fmt::format("file {} of the journal: {}", file.name, bytes.error().text()));
  return found;
}

os::Result<std::string> JournalFiles::read(const FoundSegment& segment, std::uint64_t most) {
  const auto known = damage_.size();
  auto size = std::min({segment.file.capacity, kMaxFile, most});
  if (segment.header.capacity != 0) size = std::min(size, segment.header.capacity);
  auto bytes = read_bytes(segment.file, size);
  if (damage_.size() > known) damaged_.insert(segment.header.number);
  return bytes;
}

// By header, or to those that have none.
void JournalFiles::sort(File file) {
  const auto header = decode_header(file.block);
  used_ = used_ || header || header_version(file.block) != 0;
  if (!header) return nameless_.push_back(std::move(file));
  FoundSegment segment{std::move(file.file), *header};
  if (chain_.contains(header->number))
    twins_.push_back(std::move(segment));
  else
    chain_.emplace(header->number, std::move(segment));
}

// Of two files that say that they are the same segment, one is a copy of what it was once. The one
// that its successor speaks of is right, and then the one that holds more.
void JournalFiles::settle_twins() {
  for (auto& twin : twins_) {
    const auto number = twin.header.number;
    auto& kept = chain_.at(number);
    if (worth(kept) < worth(twin)) std::swap(twin, kept);
    if (worth(twin).records == 0) {  // of that segment: its records may be those of another one
      nameless_.push_back({std::move(twin.file), "?"});
      continue;
    }
    set_aside(std::move(twin.file),
              fmt::format("it is another copy of segment {} (file {})", number, kept.file.name));
  }
  twins_.clear();
}

JournalFiles::Worth JournalFiles::worth(const FoundSegment& segment) {
  const auto next = chain_.find(segment.header.number + 1);
  const auto bytes = read(segment, segment.file.capacity);
  if (!bytes) return {};
  const bool vouched = next != chain_.end() &&
                       next->second.header.predecessor.number == segment.header.number &&
                       next->second.header.predecessor.epoch == segment.header.epoch;
  const auto records = replay_segment(*bytes, segment.header, {}, [](const Frame&, const Place&) {
                         return true;
                       }).records;
  return {.vouched = vouched, .records = records};
}

// A page that looks like a header may be a piece of a body which some fault put in its place. But
// who wrote the body knew no epoch: so the first record, or the header before, must name the same
// one.
void JournalFiles::doubt_headers() {
  for (auto at = chain_.begin(); at != chain_.end();) {
    if (vouched(at->second)) {
      ++at;
      continue;
    }
    nameless_.push_back({std::move(at->second.file), "?"});
    at = chain_.erase(at);
  }
}

bool JournalFiles::vouched(const FoundSegment& segment) {
  const auto& header = segment.header;
  const auto file = File{segment.file, {}};
  const auto first = header_by_records(file, header.number, kMaxFile);
  if (first) return first->epoch == header.epoch;
  // A life may leave a segment without a record. Then its neighbours speak for it; or, where what came
  // before was released and used again, the index does.
  const auto before = chain_.find(header.predecessor.number);
  const auto after = chain_.find(header.number + 1);
  return header.number == 1 || header.epoch == known_ ||
         (before != chain_.end() && before->second.header.epoch == header.predecessor.epoch) ||
         (after != chain_.end() && after->second.header.predecessor.epoch == header.epoch);
}

// Which segments are needed, and which are missing.
os::Result<void> JournalFiles::order() {
  for (const auto& file : nameless_) {
    const auto version = whole_version(file.block);
    const bool newer = version > kFormatVersion ||
                       (chain_.empty() && header_version(file.block) > kFormatVersion);
    if (newer) return os::failure("read the journal: a newer version of Postern wrote it", EPROTO);
    if (version != 0 && version < kOldestVersion)
      return os::failure("read the journal: it is of an old format, which is no longer read", EPROTO);
  }
  const bool guess =
      chain_.empty() && std::any_of(nameless_.begin(), nameless_.end(),
                                    [](const File& f) { return !is_spare(f.block); });
  for (std::uint64_t number = 1; guess && chain_.empty() && number <= kMostGuessed; ++number)
    (void)rescue(number, kMostInGuess);
  used_ = used_ || !chain_.empty();
  if (chain_.empty()) {
    if (used_) add_damage("no segment of the journal has a readable header");
    return {};
  }
  // The newest header itself may be the damaged one: then its records still name their place.
  while (rescue(chain_.rbegin()->first + 1, kMaxFile)) continue;
  const auto newest = chain_.rbegin()->second.header;
  const auto oldest = std::min(std::max<std::uint64_t>(newest.oldest_needed, 1), newest.number);
  for (auto number = oldest; number <= newest.number; ++number) {
    if (chain_.contains(number) || rescue(number, kMaxFile)) continue;
    add_damage(fmt::format("segment {} of the journal is missing", number), number);
    number = chain_.upper_bound(number)->first - 1;
  }
  // What is older holds nothing that lives; where something is missing, nobody can be sure of that.
  for (auto at = chain_.begin(); at->first < oldest; at = chain_.erase(at)) {
    if (damage_.empty())
      spares_.push_back(std::move(at->second.file));
    else
      set_aside_.push_back(std::move(at->second.file));
  }
  for (const auto& [number, segment] : chain_)
    if (segment.file.capacity < segment.header.capacity)
      add_damage(
          fmt::format("segment {} of the journal (file {}) is cut: {} of {} bytes are left", number,
                      segment.file.name, segment.file.capacity, segment.header.capacity),
          number);
  return {};
}

// Finds segment `number` among the files without a readable header, by its records.
bool JournalFiles::rescue(std::uint64_t number, std::uint64_t longest) {
  for (auto at = nameless_.begin(); at != nameless_.end(); ++at) {
    auto header = header_by_records(*at, number, longest);
    if (!header) continue;
    const auto above = chain_.lower_bound(number);
    if (above != chain_.begin())
      header->oldest_needed = std::prev(above)->second.header.oldest_needed;
    add_damage(
        fmt::format("the header of segment {} of the journal (file {}) is damaged; its records "
                    "were read",
                    number, at->file.name),
        number);
    chain_.emplace(number, FoundSegment{std::move(at->file), *header});
    nameless_.erase(at);
    return true;
  }
  return false;
}

std::optional<SegmentHeader> JournalFiles::header_by_records(const File& file, std::uint64_t number,
                                                             std::uint64_t longest) {
  if (is_spare(file.block)) return std::nullopt;
  for (std::uint64_t block = 1; block <= kMostProbed; ++block) {
    const auto offset = block * kBlock;
    const auto start = read_some(file, offset, sizeof(std::uint32_t));
    if (start.size() < sizeof(std::uint32_t)) continue;
    const auto size = base::Reader(start).integer<std::uint32_t>();
    if (size < kFrameOverhead || size > std::min(longest, file.file.capacity)) continue;
    const auto bytes = read_some(file, offset, size);
    const auto frame = read_frame(bytes, number, offset);
    if (!frame) continue;
    SegmentHeader header;
    header.number = number;
    header.epoch = frame->name.epoch;
    header.first = base::SequenceNumber(frame->name.sequence.value - frame->name.skipped);
    if (block > 1) --header.first.value;  // at least one is lost
    return header;
  }
  return std::nullopt;
}

// Nothing where the disk refuses.
std::string JournalFiles::read_some(const File& file, std::uint64_t offset, std::uint64_t size) {
  auto bytes = file.file.file->read_at(offset, size);
  if (!bytes) trouble_ = bytes.error();
  return bytes.value_or(std::string());
}

void JournalFiles::sort_out_rest() {
  for (auto& file : nameless_) {
    if (spare(file))
      spares_.push_back(std::move(file.file));
    else
      set_aside(std::move(file.file), "it is neither a segment nor a spare");
  }
  nameless_.clear();
}

// A spare that was never used, or one that was cut off while it was made or its first header was
// written.
bool JournalFiles::spare(const File& file) {
  if (is_spare(file.block)) return true;
  if (!damage_.empty() || file.file.capacity > kMaxFile) return false;
  const auto bytes = read_some(file, 0, file.file.capacity);
  if (bytes.find_first_not_of('\0') == std::string::npos) return true;
  // Its old records are from before all that is needed.
  if (chain_.empty() || bytes.size() < kBlock + kFrameHeader) return false;
  base::Reader reader(std::string_view(bytes).substr(kBlock + kSequenceInFrame));
  const auto sequence = reader.integer<std::uint64_t>();
  return sequence != 0 && sequence < chain_.begin()->second.header.first.value;
}

}  // namespace postern::queued
