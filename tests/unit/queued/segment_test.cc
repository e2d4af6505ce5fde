#include "queued/segment.h"

#include <gtest/gtest.h>

#include "common/base/crc32c.h"

namespace postern::queued {
namespace {

constexpr std::uint64_t kSegment = 7;

std::string fields_of(std::uint64_t n) { return ipc::encode(ClockRecord{{5}, QueueTime(n)}); }

class SegmentTest : public ::testing::Test {
 protected:
  SegmentTest() {
    header.number = kSegment;
    header.epoch = base::Epoch(0xABCDEF0123456789);
    header.first = base::SequenceNumber(100);
    bytes = encode_header(header);
  }
  // One batch of records from `first` to `last`, padded to a block.
  void batch(std::uint64_t first, std::uint64_t last, std::uint64_t flushed,
             std::string_view body = {}) {
    for (auto n = first; n <= last; ++n)
      append_frame(bytes, kSegment, bytes.size(), RecordType::kClock,
                   {header.epoch, base::SequenceNumber(n), base::SequenceNumber(flushed)},
                   fields_of(n), body);
    end = bytes.size();
    bytes.resize(round_up(bytes.size()));
  }
  Replayed replay(std::optional<SegmentEnd> claim = {}) {
    seen.clear();
    return replay_segment(bytes, header, claim, [&](const Frame& frame, const Place& place) {
      EXPECT_EQ(place.segment, kSegment);
      const auto record = ipc::decode<ClockRecord>(frame.fields);
      if (record) seen.push_back(static_cast<std::uint64_t>(record->queue.count()));
      return record.has_value();
    });
  }
  SegmentHeader header;
  std::string bytes;
  std::uint64_t end = 0;
  std::vector<std::uint64_t> seen;
};

TEST_F(SegmentTest, HeaderRoundTrip) {
  header.predecessor = {6, base::Epoch(9), 8192, base::SequenceNumber(99),
                        base::SequenceNumber(98), 3};
  header.oldest_needed = 4;
  const auto block = encode_header(header);
  EXPECT_EQ(block.size(), kBlock);
  const auto read = decode_header(block);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->predecessor.length, 8192U);
  EXPECT_EQ(read->predecessor.flushed.value, 98U);
  EXPECT_EQ(read->predecessor.missing, 3U);
  EXPECT_EQ(read->oldest_needed, 4U);
  for (std::size_t at = 0; at < 96; ++at) {
    auto flipped = block;
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    EXPECT_FALSE(decode_header(flipped)) << at;
  }
  EXPECT_FALSE(decode_header(std::string(kBlock, '\0')));
  EXPECT_EQ(header_version(block), kFormatVersion);
}

// Puts another version into a header, its checksum right.
std::string with_version(std::string block, std::uint32_t version) {
  constexpr std::size_t kVersion = 16, kChecksum = 508;
  std::string number, sum;
  base::Writer(number).integer(version);
  block.replace(kVersion, number.size(), number);
  base::Writer(sum).integer(base::crc32c(block.substr(0, kChecksum)));
  return block.replace(kChecksum, sum.size(), sum);
}

TEST_F(SegmentTest, HeadersOfVersionsThatAreReadAndOthers) {
  const auto block = encode_header(header);
  for (std::uint32_t version = kOldestVersion; version <= kFormatVersion; ++version)
    EXPECT_TRUE(decode_header(with_version(block, version))) << version;
  EXPECT_FALSE(decode_header(with_version(block, kFormatVersion + 1)));
  EXPECT_FALSE(decode_header(with_version(block, kOldestVersion - 1)));
  EXPECT_EQ(whole_version(with_version(block, 99)), 99U);
}

// Its reader asks for the fields of just that version.
TEST_F(SegmentTest, AFrameSaysTheVersionOfItsFields) {
  std::string frame;
  append_frame(frame, kSegment, kBlock, RecordType::kHold, {}, "fields", "body");
  ASSERT_TRUE(read_frame(frame, kSegment, kBlock));
  EXPECT_EQ(read_frame(frame, kSegment, kBlock)->version, kFormatVersion);
  EXPECT_EQ(read_frame(frame, kSegment, kBlock)->type, RecordType::kHold);
  frame[6] = static_cast<char>(frame[6] + 1);
  EXPECT_FALSE(read_frame(frame, kSegment, kBlock)) << "its checksum covers the version";
}

TEST_F(SegmentTest, ReadsBatchesInOrder) {
  batch(100, 103, 99);
  batch(104, 104, 103);
  batch(105, 180, 104);
  const auto replayed = replay();
  EXPECT_EQ(seen.size(), 81U);
  EXPECT_EQ(replayed.end.length, end);
  EXPECT_EQ(replayed.end.last.value, 180U);
  EXPECT_FALSE(replayed.damaged);
  EXPECT_EQ(replayed.first_lost, 0U);
}

TEST_F(SegmentTest, ACutAtEveryByteLeavesAPrefix) {
  batch(100, 103, 99);
  batch(104, 106, 103);
  const auto whole = bytes;
  std::size_t before = 0;
  for (std::size_t cut = kBlock; cut <= end; ++cut) {
    bytes = whole.substr(0, cut);
    bytes.resize(whole.size());
    const auto replayed = replay();
    EXPECT_GE(seen.size(), before);
    before = seen.size();
    for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], 100 + i);
    EXPECT_FALSE(replayed.damaged) << cut;
  }
  EXPECT_EQ(before, 7U);
}

TEST_F(SegmentTest, EveryBitFlipIsFoundAndCostsOneRecord) {
  batch(100, 102, 99);
  batch(103, 104, 102);
  batch(105, 105, 104);
  const auto whole = bytes;
  std::size_t hits = 0;
  for (std::size_t at = kBlock; at < kBlock + 400; ++at) {
    bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    const auto replayed = replay();
    if (seen.size() == 6) continue;  // padding
    ++hits;
    EXPECT_EQ(seen.size(), 5U) << at;
    EXPECT_TRUE(replayed.damaged) << at;  // a later batch knows that it had been flushed
    EXPECT_EQ(replayed.end.missing, 1U);
  }
  EXPECT_GT(hits, 150U);
}

TEST_F(SegmentTest, ATornTailIsNoDamage) {
  batch(100, 102, 99);
  batch(103, 140, 102);  // one write, never flushed: its first block did not reach the disk
  const auto at = round_up(end) - kBlock;
  (void)at;
  std::fill_n(bytes.begin() + 2 * kBlock, 300, '\0');
  const auto replayed = replay();
  EXPECT_FALSE(replayed.damaged);
  EXPECT_NE(replayed.first_lost, 0U);
  EXPECT_EQ(replayed.end.last.value, 140U);
  // The next life's header says what was missing; later replays find the same, and no damage.
  const auto again = replay(replayed.end);
  EXPECT_FALSE(again.damaged);
  EXPECT_EQ(again.records, replayed.records);
  EXPECT_EQ(replayed.end.flushed.value, 102U);
  // That life wrote again what was not surely flushed: losing more of it is no damage either.
  bytes[2 * kBlock + 800] = static_cast<char>(bytes[2 * kBlock + 800] ^ 1);
  EXPECT_FALSE(replay(replayed.end).damaged);
  // But what had been flushed is.
  bytes[kBlock + 60] = static_cast<char>(bytes[kBlock + 60] ^ 1);
  EXPECT_TRUE(replay(replayed.end).damaged);
}

TEST_F(SegmentTest, ACopyBehindATornHoleDoesNotStand) {
  batch(100, 102, 99);
  const auto add_copy = [&](std::uint64_t flushed) {
    append_frame(bytes, kSegment, bytes.size(), RecordType::kState,
                 {header.epoch, base::SequenceNumber(104), base::SequenceNumber(flushed)},
                 fields_of(104), {});
    bytes.resize(round_up(bytes.size()));
  };
  const auto whole = bytes;
  add_copy(102);  // 103 is missing, and was never flushed
  const auto torn = replay();
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{100, 101, 102}));
  EXPECT_FALSE(torn.damaged);
  EXPECT_EQ(torn.end.last.value, 104U);
  (void)replay(torn.end);  // nor later
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{100, 101, 102}));
  // Where 103 had been flushed, the copy may be all that is left.
  bytes = whole;
  add_copy(103);
  const auto damaged = replay();
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{100, 101, 102, 104}));
  EXPECT_TRUE(damaged.damaged);
  (void)replay(damaged.end);
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{100, 101, 102, 104}));
}

TEST_F(SegmentTest, TheClaimOfTheNextSegmentProvesDamage) {
  batch(100, 102, 99);
  const SegmentEnd claim{kSegment, header.epoch, end, base::SequenceNumber(102),
                         base::SequenceNumber(102), 0};
  EXPECT_FALSE(replay(claim).damaged);
  bytes[end - 1] = static_cast<char>(bytes[end - 1] ^ 1);
  EXPECT_FALSE(replay().damaged);
  const auto replayed = replay(claim);
  EXPECT_TRUE(replayed.damaged);
  EXPECT_EQ(replayed.first_lost, 102U);
}

TEST_F(SegmentTest, TheClaimBoundsTheReplay) {
  batch(100, 102, 99);
  const SegmentEnd claim{kSegment, header.epoch, end, base::SequenceNumber(102),
                         base::SequenceNumber(102), 0};
  batch(103, 105, 102);
  (void)replay(claim);
  EXPECT_EQ(seen.size(), 3U);
}

TEST_F(SegmentTest, NothingOfAnotherEpochSegmentOrPlaceIsARecord) {
  batch(100, 100, 99);
  const auto good = bytes;
  const auto add = [&](std::uint64_t segment, std::uint64_t offset, base::Epoch epoch,
                       std::uint64_t sequence) {
    bytes = good;
    append_frame(bytes, segment, offset, RecordType::kClock,
                 {epoch, base::SequenceNumber(sequence), base::SequenceNumber(100)},
                 fields_of(sequence), {});
    bytes.resize(round_up(bytes.size()));
    (void)replay();
    return seen.size();
  };
  const auto here = good.size();
  EXPECT_EQ(add(kSegment, here, header.epoch, 101), 2U);
  EXPECT_EQ(add(kSegment + 1, here, header.epoch, 101), 1U);
  EXPECT_EQ(add(kSegment, here + kBlock, header.epoch, 101), 1U);
  EXPECT_EQ(add(kSegment, here, base::Epoch(1), 101), 1U);
  EXPECT_EQ(add(kSegment, here, header.epoch, 100), 1U);
}

TEST_F(SegmentTest, ARecordInsideABodyIsNotRead) {
  // Even one made for this very place, epoch and number: a body is passed as a whole.
  std::string inner;
  append_frame(inner, kSegment, kBlock + kFrameHeader + fields_of(100).size(), RecordType::kClock,
               {header.epoch, base::SequenceNumber(101), base::SequenceNumber(100)}, fields_of(666),
               {});
  batch(100, 100, 99, inner);
  batch(101, 101, 100);
  (void)replay();
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{100, 101}));
}

TEST_F(SegmentTest, FieldsWithoutSenseAreCounted) {
  append_frame(bytes, kSegment, bytes.size(), RecordType::kClock,
               {header.epoch, header.first, base::SequenceNumber(99)}, "nonsense", {});
  bytes.resize(round_up(bytes.size()));
  batch(101, 101, 100);
  const auto replayed = replay();
  EXPECT_EQ(replayed.unreadable, 1U);
  EXPECT_EQ(seen.size(), 1U);
}

}  // namespace
}  // namespace postern::queued
