#include "queued/segment.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/fault.h"

namespace postern::queued {
namespace {

constexpr std::string_view kMagic = "POSTERN JOURNAL\n";
// Bytes of a header block that its checksum covers; it stands behind them, and all of it in one sector, so
// that no power cut tears it.
constexpr std::size_t kCovered = 512 - sizeof(std::uint32_t);
constexpr std::string_view kSpareMagic = "POSTERN SPARE\n";

// Bytes of false candidates that are summed up in one segment, as a multiple of its size: whoever knows an
// epoch could else fill a body with beginnings of frames, each as long as the segment.
constexpr std::uint64_t kMostSearched = 16;

// Reads frames of one segment in the order of their offsets.
//
// A body may hold whatever its sender likes, even frames for the very place where they stand. So nothing
// inside a whole frame is looked at, a record is only believed at the places where the writer puts the one
// with its number, and where a frame is damaged, its end is looked for before its inside.
class Cursor {
 public:
  Cursor(std::string_view bytes, const SegmentHeader& header)
      : bytes_(bytes), header_(header), epoch_(ipc::encode(header.epoch)) {}

  // The frame that follows with this sequence number (or behind such as were never used), here or, behind
  // a batch's padding, at the next block; else the first frame anywhere behind that follows a higher one.
  std::optional<Frame> next(base::SequenceNumber sequence) {
    if (auto frame = exactly(sequence, offset_)) return frame;
    const auto begin = behind_padding();
    if (const auto claims = claims_at(sequence, begin))
      if (auto frame = exactly(claims->sequence.next(), begin + claims->size)) return frame;
    return find(sequence);
  }
  void pass(const Frame& frame) { offset_ += frame.size; }
  [[nodiscard]] std::uint64_t offset() const { return offset_; }

 private:
  [[nodiscard]] std::optional<Frame> at(std::uint64_t offset) const {
    if (offset >= bytes_.size()) return std::nullopt;
    auto frame = read_frame(bytes_.substr(offset), header_.number, offset);
    if (frame && frame->name.epoch != header_.epoch &&
        !fault::planted(fault::Fault::kOldEpochAccepted))
      frame.reset();
    return frame;
  }
  // The frame that follows with this number at `from`, or at the next block.
  std::optional<Frame> exactly(base::SequenceNumber sequence, std::uint64_t from) {
    for (const auto offset : {from, round_up(from)}) {
      const auto frame = at(offset);
      const bool any = fault::planted(fault::Fault::kOldEpochAccepted);
      if (!frame || (unbroken(*frame) != sequence.value && !any)) continue;
      offset_ = offset;
      return frame;
    }
    return std::nullopt;
  }
  // Where the next frame begins, damaged or not: here, or at the next block if only zeros come before it.
  [[nodiscard]] std::uint64_t behind_padding() const {
    const auto next = round_up(offset_);
    if (offset_ >= bytes_.size()) return next;
    const auto rest = bytes_.substr(offset_, next - offset_);
    return rest.find_first_not_of('\0') == std::string_view::npos ? next : offset_;
  }
  // What the damaged frame at `offset` says of itself, if that may be true.
  struct Claims {
    base::SequenceNumber sequence;
    std::uint64_t size = 0;
  };
  [[nodiscard]] std::optional<Claims> claims_at(base::SequenceNumber sequence,
                                                std::uint64_t offset) const {
    if (offset + kFrameHeader > bytes_.size() || at(offset)) return std::nullopt;
    base::Reader reader(bytes_.substr(offset));
    const std::uint64_t size = reader.integer<std::uint32_t>();
    reader.raw(kEpochInFrame - sizeof(std::uint32_t));
    const auto epoch = reader.integer<std::uint64_t>();
    const base::SequenceNumber number(reader.integer<std::uint64_t>());
    if (epoch != header_.epoch.value || number < sequence) return std::nullopt;
    return Claims{number, size};
  }
  // The number that would be its own if none before it had been left unused.
  static std::uint64_t unbroken(const Frame& frame) {
    return frame.name.sequence.value - frame.name.skipped;
  }
  // Every frame names its epoch, so only places where that number stands are looked at.
  std::optional<Frame> find(base::SequenceNumber above) {
    for (auto found = bytes_.find(epoch_, offset_ + kEpochInFrame);
         found != std::string_view::npos; found = bytes_.find(epoch_, found + 1)) {
      const auto start = found - kEpochInFrame;
      const auto frame = at(start);
      if (!frame) {
        const auto size = base::Reader(bytes_.substr(start)).integer<std::uint32_t>();
        if (size <= bytes_.size() - start) searched_ += size;
        if (searched_ > kMostSearched * bytes_.size()) return std::nullopt;
      }
      if (!frame || frame->name.sequence <= above || unbroken(*frame) <= above.value) continue;
      offset_ = start;
      return frame;
    }
    return std::nullopt;
  }

  std::string_view bytes_;
  const SegmentHeader& header_;
  std::string epoch_;
  std::uint64_t offset_ = kBlock;
  std::uint64_t searched_ = 0;
};

}  // namespace

std::string spare_block() {
  std::string block(kSpareMagic);
  block.resize(kBlock, '\0');
  return block;
}

bool is_spare(std::string_view block) { return block.starts_with(kSpareMagic); }

std::string encode_header(const SegmentHeader& header) {
  std::string block(kMagic);
  block += ipc::encode(header);
  CHECK(block.size() <= kCovered);
  block.resize(kCovered, '\0');
  base::Writer(block).integer(base::crc32c(block));
  block.resize(kBlock, '\0');
  return block;
}

std::optional<SegmentHeader> decode_header(std::string_view block) {
  const auto version = whole_version(block);
  if (version < kOldestVersion || version > kFormatVersion) return std::nullopt;
  base::Reader reader(block.substr(kMagic.size(), kCovered - kMagic.size()), version);
  std::optional<SegmentHeader> header(std::in_place);
  ipc::Codec<SegmentHeader>::decode(reader, *header, {});
  if (reader.failed()) header.reset();
  return header;
}

std::uint32_t whole_version(std::string_view block) {
  if (block.size() < kCovered + sizeof(std::uint32_t) || !block.starts_with(kMagic)) return 0;
  base::Reader checksum(block.substr(kCovered));
  if (checksum.integer<std::uint32_t>() != base::crc32c(block.substr(0, kCovered))) return 0;
  return header_version(block);
}

std::uint32_t header_version(std::string_view block) {
  if (!block.starts_with(kMagic)) return 0;
  return base::Reader(block.substr(kMagic.size())).integer<std::uint32_t>();
}

Replayed replay_segment(std::string_view bytes, const SegmentHeader& header,
                        const std::optional<SegmentEnd>& claim,
                        const std::function<bool(const Frame&, const Place&)>& visit) {
  Cursor cursor(bytes.substr(0, claim ? claim->length : bytes.size()), header);
  Replayed result;
  const base::SequenceNumber before(header.first.value - 1);
  result.end = {header.number, header.epoch, kBlock, before, before};
  auto expected = header.first;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> holes;  // sequence numbers: from, behind
  const auto note_hole = [&](std::uint64_t behind) {
    if (result.first_lost == 0) result.first_lost = expected.value;
    holes.emplace_back(expected.value, behind);
  };
  std::vector<std::pair<Frame, Place>> found;
  while (!claim || expected <= claim->last) {  // ends: each turn passes a frame
    const auto frame = cursor.next(expected);
    if (!frame || (claim && frame->name.sequence > claim->last)) break;
    const auto unbroken = frame->name.sequence.value - frame->name.skipped;
    if (unbroken > expected.value) note_hole(unbroken);
    found.emplace_back(*frame, Place{header.number, cursor.offset(),
                                     static_cast<std::uint32_t>(frame->size)});
    cursor.pass(*frame);
    result.end.length = cursor.offset();
    result.end.last = frame->name.sequence;
    result.end.flushed = std::max(result.end.flushed, frame->name.flushed);
    if (result.first_lost != 0 && frame->name.flushed.value >= result.first_lost)
      result.damaged = true;
    expected = frame->name.sequence.next();
  }
  if (claim) {
    if (expected <= claim->last) note_hole(claim->last.value + 1);
    result.end.length = claim->length;
    result.end.last = claim->last;
    result.end.flushed = claim->flushed;
  }
  const auto flushed = result.end.flushed.value;
  auto torn = ~std::uint64_t{0};  // the first that is missing and was not flushed
  for (const auto& [from, behind] : holes) {
    if (from <= flushed) result.end.missing += std::min(behind, flushed + 1) - from;
    if (behind > flushed + 1) torn = std::min(torn, std::max(from, flushed + 1));
  }
  if (claim && result.end.missing > claim->missing) result.damaged = true;
  result.records = found.size();
  for (const auto& [frame, place] : found) {
    // A copy holds what earlier outcomes did, without the notices that came with them. If one of those
    // was torn off, the copy must not stand; what it was made of does.
    if (frame.type == RecordType::kState && frame.name.sequence.value > torn) continue;
    if (!visit(frame, place)) ++result.unreadable;
  }
  return result;
}

}  // namespace postern::queued
