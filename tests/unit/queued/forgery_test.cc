// What senders may do: bodies full of well-formed records and headers, for the very places where
// they will stand, in a spool that is damaged besides. None of them is ever taken for a record.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>

#include "tests/unit/queued/spool_files.h"

namespace postern::queued {
namespace {

// Where a record stands, as one who knows everything knows it.
struct Spot {
  std::uint64_t segment = 0;
  std::uint64_t begin = 0;  // of the frame
  std::uint64_t body = 0;   // of its body
  std::uint64_t end = 0;
  FrameName name;
  std::string file;
};

class ForgeryTest : public ::testing::Test, protected StoreRig {
 protected:
  static constexpr std::size_t kBody = 10'000;
  static constexpr int kEvery = 3;  // each third message is the forger's

  // The same life each time, but for what the forger writes.
  void run(const std::function<std::string(base::MessageId)>& forge) {
    disk.~FakeDisk();
    new (&disk) FakeDisk;
    store.reset();
    loop = std::make_unique<event::Loop>();
    clock = TestClock();
    index_rows = std::make_shared<MemoryRows>();
    life = 0;
    segment_size = 64 * 1024;
    cache = 0;
    bodies.clear();
    ASSERT_TRUE(open()) << fatal;
    for (int n = 0; n < 24; ++n) {
      clock.advance(base::Millis(1));
      const base::MessageId next(static_cast<std::uint64_t>(clock.wall_ms) * 1000);
      std::string text = n % kEvery == 1 ? forge(next) : std::string(kBody / 4, 'm');
      const auto id = accept(text);
      bodies[id] = std::move(text);
    }
    store->tick();
    store->pump();
    kill();
    spool = take_spool(disk);
  }

  std::map<base::MessageId, Spot> spots() const {
    std::map<base::MessageId, Spot> found;
    for (const auto& [name, bytes] : spool) {
      const auto header = decode_header(std::string_view(bytes).substr(0, kBlock));
      if (!header) continue;
      (void)replay_segment(bytes, *header, {}, [&](const Frame& frame, const Place& place) {
        if (frame.type != RecordType::kAccepted) return true;
        found[ipc::decode<MessageRecord>(frame.fields)->id] = {
            place.segment,
            place.offset,
            place.offset + kFrameHeader + frame.fields.size(),
            place.offset + place.size,
            frame.name,
            name};
        return true;
      });
    }
    return found;
  }

  // A body full of frames that are right for the places where they will stand.
  std::string forged(const Spot& spot, base::Epoch epoch, base::MessageId victim) {
    std::string body(spot.end - 4 - spot.body, '.');
    const auto put = [&](std::uint64_t at, RecordType type, std::uint64_t sequence,
                         const std::string& fields, const std::string& of) {
      std::string frame;
      append_frame(frame, spot.segment, at, type,
                   {epoch, base::SequenceNumber(sequence), spot.name.flushed}, fields, of);
      if (at < spot.body || at + frame.size() > spot.end - 4) return;
      body.replace(at - spot.body, frame.size(), frame);
    };
    OutcomeRecord gone;
    gone.message = victim;
    gone.fates.push_back({.number = 0, .fate = Fate::kDelivered});
    MessageRecord other;
    other.id = base::MessageId(666);
    other.from = mail::ReversePath(address("forger@example.org"));
    other.recipients.push_back({.number = 0, .address = address("victim@example.com")});
    other.body_size = 6;
    auto replaced = other;
    replaced.id = victim;
    const auto own = spot.name.sequence.value;
    std::uint64_t at = spot.body;
    for (std::uint64_t n = 0; n < 6; ++n, at += 601) {
      put(at, RecordType::kOutcome, own + n % 3, ipc::encode(gone), "");
      put(at + 150, RecordType::kAccepted, own + n % 3, ipc::encode(other), "forged");
      put(at + 400, RecordType::kState, own + 1 + n % 2, ipc::encode(replaced), "forged");
    }
    // At the places where batches begin.
    for (auto block = round_up(spot.body); block + kBlock < spot.end; block += kBlock) {
      put(block, RecordType::kOutcome, own + 1, ipc::encode(gone), "");
      put(block + 200, RecordType::kAccepted, own + 2, ipc::encode(other), "forged");
    }
    return body;
  }

  void forge_all(base::Epoch epoch) {
    run([](base::MessageId) { return std::string(kBody, '.'); });
    auto places = spots();
    const auto victim = places.begin()->first;
    run([&](base::MessageId id) {
      return places.contains(id) ? forged(places[id], epoch, victim) : std::string(kBody, '.');
    });
    // Each stands where the forger thought.
    for (const auto& [id, spot] : spots()) {
      ASSERT_EQ(spot.begin, places[id].begin);
      ASSERT_EQ(spot.name.sequence, places[id].name.sequence);
    }
  }

  // Opens `files` without an index; all but the message `hurt` is there, and nothing else.
  void expect_honest(const Files& files, base::MessageId hurt, const std::string& what) {
    put_spool(disk, files);
    index_rows = std::make_shared<MemoryRows>();
    ASSERT_TRUE(open()) << fatal << " " << what;
    const auto there = survey();
    for (const auto& [id, text] : bodies) {
      if (id == hurt) continue;
      const auto at = there.find(id);
      ASSERT_TRUE(at != there.end()) << "lost, by " << what;
      EXPECT_EQ(at->second, text) << what;
      ASSERT_NE(look(id), nullptr);
      EXPECT_EQ(look(id)->from.text(), "ann@example.org") << what;
    }
    for (const auto& [id, text] : there) EXPECT_TRUE(bodies.contains(id)) << "forged, by " << what;
    if (hurt.value != 0) {
      EXPECT_FALSE(store->health().damage.empty()) << what;
    }
    kill();
  }

  std::map<base::MessageId, std::string> bodies;
  Files spool;
};

constexpr base::Epoch kTrueEpoch(0x1122334455667701);  // of a rig's first life
constexpr base::Epoch kGuess(0x1122334455667702);

// The forger knows segment, offset, sequence number and checksum, all but the epoch.
TEST_F(ForgeryTest, FramesInsideBodiesAreNeverBelieved) {
  forge_all(kGuess);
  if (HasFatalFailure()) return;
  expect_honest(spool, {}, "nothing");
  for (const auto& [id, spot] : spots()) {
    if (bodies[id].find("forged") == std::string::npos) continue;
    for (std::uint64_t at = spot.begin; at < spot.end && !HasFailure();
         at += at < spot.begin + kFrameHeader ? 1 : 997) {
      auto files = spool;
      flip(files[spot.file], at, at);
      expect_honest(files, id, "a wrong bit at " + std::to_string(at - spot.begin));
    }
    auto files = spool;
    files[spot.file].replace(round_up(spot.begin), kBlock, kBlock, '\0');
    if (round_up(spot.begin) < spot.end) expect_honest(files, id, "a zeroed page");
    if (HasFailure()) return;
  }
}

// One who has read the epoch from somewhere gains nothing by damage behind a frame's header either.
TEST_F(ForgeryTest, NotEvenWithTheRightEpoch) {
  forge_all(kTrueEpoch);
  if (HasFatalFailure()) return;
  expect_honest(spool, {}, "nothing");
  for (const auto& [id, spot] : spots()) {
    if (bodies[id].find("forged") == std::string::npos) continue;
    for (std::uint64_t at = spot.begin + kFrameHeader; at < spot.end && !HasFailure(); at += 499) {
      auto files = spool;
      flip(files[spot.file], at, at);
      expect_honest(files, id, "a wrong bit at " + std::to_string(at - spot.begin));
    }
  }
}

// A page of a body that looks like a segment's header, and lands where one stands.
TEST_F(ForgeryTest, AHeaderInsideABodyIsNoHeader) {
  run([](base::MessageId) {
    SegmentHeader header;
    header.number = 1'000;
    header.epoch = kGuess;
    header.first = base::SequenceNumber(1);
    header.oldest_needed = 1'000;
    header.capacity = 64 * 1024;
    std::string body;
    while (body.size() < kBody) body += encode_header(header).substr(0, 512);
    return body;
  });
  if (HasFatalFailure()) return;
  expect_honest(spool, {}, "nothing");
  SegmentHeader header;
  header.number = 1'000;
  header.epoch = kGuess;
  header.first = base::SequenceNumber(1);
  header.oldest_needed = 1'000;
  header.capacity = 64 * 1024;
  for (const auto& [name, bytes] : spool) {
    if (!decode_header(std::string_view(bytes).substr(0, kBlock))) continue;
    auto files = spool;
    files[name].replace(0, kBlock, encode_header(header));
    put_spool(disk, files);
    index_rows = std::make_shared<MemoryRows>();
    ASSERT_TRUE(open()) << fatal;
    EXPECT_FALSE(store->health().damage.empty()) << name;
    const auto there = survey();
    for (const auto& [id, text] : bodies) {
      ASSERT_TRUE(there.contains(id)) << name;
      EXPECT_EQ(there.at(id), text);
    }
    kill();
  }
}

// Beginnings of frames, as many as fit, each as long as the segment allows: found out in bounded
// time.
TEST(Forgery, TheSearchBehindDamageIsBounded) {
  constexpr std::size_t kSize = 16 << 20;
  SegmentHeader header;
  header.number = 3;
  header.epoch = kTrueEpoch;
  header.first = base::SequenceNumber(10);
  std::string body;
  base::Writer writer(body);
  while (body.size() < kSize - (1 << 20)) {
    writer.integer(static_cast<std::uint32_t>(kSize / 2));
    writer.integer(static_cast<std::uint32_t>(RecordType::kClock));
    writer.integer(std::uint32_t{0});
    writer.integer(kTrueEpoch.value);
    writer.integer(std::uint64_t{11});
    writer.integer(std::uint64_t{10});
  }
  auto bytes = encode_header(header);
  append_frame(bytes, 3, kBlock, RecordType::kAccepted,
               {kTrueEpoch, base::SequenceNumber(10), base::SequenceNumber(9)}, "fields", body);
  bytes.resize(kSize);
  flip(bytes, kBlock, 0);
  const auto begun = std::chrono::steady_clock::now();
  const auto replayed =
      replay_segment(bytes, header, {}, [](const Frame&, const Place&) { return true; });
  EXPECT_EQ(replayed.records, 0U);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
}

}  // namespace
}  // namespace postern::queued
