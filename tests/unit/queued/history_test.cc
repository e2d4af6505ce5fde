// History: the line and its cut ends, the files with their limits, reading by slices and selectors, and
// what an outcome writes.
#include "queued/history.h"

#include <gtest/gtest.h>

#include "queued/history_listing.h"
#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

constexpr std::int64_t kNoon = 1'780'056'000'000;  // 2026-05-29T12:00:00Z
constexpr base::Millis kDay{24LL * 3600 * 1000};

HistoryLine line_of(std::uint64_t number, std::string to = "r@example.com") {
  HistoryLine line;
  line.ended = {kNoon};
  line.id = base::MessageId(number);
  line.arrived = {kNoon - 5000};
  line.size = 1234;
  line.client = base::parse_ip("2001:db8::7").value();
  line.from = mail::ReversePath(address("\"a b\"@example.org"));
  line.tls = "TLSv1.3 x; yes: mx.example.com";
  line.recipients.push_back({ipc::HistoryEnd::kDelivered, 2, "example.com",
                             "mx.example.com[192.0.2.1]:25", "250 2.0.0 Ok: 100% taken",
                             std::move(to)});
  return line;
}

std::string text(const HistoryLine& line) {
  auto out = encode_history(line);
  EXPECT_EQ(out.back(), '\n');
  out.pop_back();
  return out;
}

// As version 1 wrote it.
std::string text_1(const HistoryLine& line) {
  auto out = text(line);
  constexpr std::string_view kTls = "TLSv1.3%20x;%20yes:%20mx.example.com ";
  const auto at = out.find(kTls);
  EXPECT_NE(at, std::string::npos);
  return out.erase(at, kTls.size());
}

TEST(HistoryLineTest, WhatIsWrittenIsRead) {
  auto line = line_of(77);
  line.recipients.push_back({ipc::HistoryEnd::kRemoved, 0, "", "-", std::string("\r\n\0\xff %41", 9),
                             "<>"});
  const auto written = text(line);
  EXPECT_EQ(written.find_first_of("\r\n"), std::string::npos);
  const auto read = decode_history(written);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->id, line.id);
  EXPECT_EQ(read->ended, line.ended);
  EXPECT_EQ(read->arrived, line.arrived);
  EXPECT_EQ(read->size, line.size);
  EXPECT_EQ(read->client, line.client);
  EXPECT_EQ(read->from, line.from);
  EXPECT_EQ(read->tls, line.tls);
  ASSERT_EQ(read->recipients.size(), 2U);
  EXPECT_EQ(read->recipients[0].reply, "250 2.0.0 Ok: 100% taken");
  EXPECT_EQ(read->recipients[1].end, ipc::HistoryEnd::kRemoved);
  EXPECT_EQ(read->recipients[1].queue, "");
  EXPECT_EQ(read->recipients[1].remote, "-");
  EXPECT_EQ(read->recipients[1].reply, std::string("\r\n\0\xff %41", 9));
  line.from = {};
  line.tls = {};
  EXPECT_TRUE(decode_history(text(line))->from.is_null());
  EXPECT_EQ(decode_history(text(line))->tls, "");
}

TEST(HistoryLineTest, WhatVersion1WroteIsRead) {
  const auto line = line_of(77);
  const auto read = decode_history(text_1(line), 1);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->id, line.id);
  EXPECT_EQ(read->from, line.from);
  EXPECT_EQ(read->tls, "");
  ASSERT_EQ(read->recipients.size(), 1U);
  EXPECT_EQ(read->recipients[0].to, "r@example.com");
  EXPECT_FALSE(decode_history(text_1(line))) << "of another version";
  EXPECT_FALSE(decode_history(text(line), 1));
}

TEST(HistoryLineTest, AFileSaysItsVersion) {
  EXPECT_EQ(history_version(kHistoryHeader), kHistoryVersion);
  EXPECT_EQ(history_version("postern history 1\n1 2 3"), 1U);
  for (const auto* other : {"", "postern history 1", "postern history 0\n", "postern history 3\n",
                            "postern history x\n", "postern history \n", "mine\n"})
    EXPECT_FALSE(history_version(other)) << other;
}

TEST(HistoryLineTest, WhatWasCutIsNoLine) {
  auto line = line_of(77);
  line.recipients.push_back(line.recipients.front());
  const auto whole = text(line);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(decode_history(std::string_view(whole).substr(0, size))) << size;
  for (std::size_t at = 0; at < whole.size(); ++at) {  // never more than another line, or none
    auto changed = whole;
    changed[at] = ' ';
    const auto read = decode_history(changed);
    EXPECT_TRUE(!read || read->recipients.size() <= 2U) << at;
    changed[at] = '\0';
    EXPECT_FALSE(decode_history(changed)) << at;
  }
}

TEST(HistoryLineTest, TheLongestLineIsBelowItsLimit) {
  auto line = line_of(77);
  line.tls = std::string(5000, '\x01');
  line.recipients.assign(kHistoryRecipients,
                         {ipc::HistoryEnd::kDiscarded, ~0U, std::string(ipc::kMaxQueueName, '\x01'),
                          std::string(ipc::kMaxRemote, '\x01'), std::string(5000, '\x01'),
                          std::string(mail::Address::kMaxLength, '\x01')});
  EXPECT_LT(text(line).size(), kMaxHistoryLine);
  EXPECT_TRUE(decode_history(text(line)));
}

// --- Files ------------------------------------------------------------------------------------------

class HistoryFilesTest : public ::testing::Test {
 protected:
  bool append(const HistoryLine& line, std::int64_t now = kNoon) {
    return files->append(encode_history(line), {now}, limits).has_value();
  }
  // The ids of all that is there.
  std::vector<std::uint64_t> all(base::WallTime since = {0}) {
    std::vector<std::uint64_t> ids;
    HistoryCursor cursor;
    for (int slices = 0; slices < 1000; ++slices) {
      const auto more = files->read(cursor, since, [&](const HistoryLine& line, const auto&) {
        ids.push_back(line.id.value);
        return true;
      });
      EXPECT_TRUE(more) << more.error().text();
      if (!more || !*more) break;
    }
    return ids;
  }
  void restart() { files = std::make_unique<HistoryFiles>(disk); }

  using Ids = std::vector<std::uint64_t>;
  FakeDisk disk;
  HistoryLimits limits{30 * kDay, 4 << 20};
  std::unique_ptr<HistoryFiles> files = std::make_unique<HistoryFiles>(disk);
};

TEST_F(HistoryFilesTest, ADayIsAFileAndARestartGoesOnWithIt) {
  EXPECT_TRUE(append(line_of(1)));
  restart();
  EXPECT_TRUE(append(line_of(2)));
  EXPECT_TRUE(append(line_of(3), kNoon + kDay.count()));
  EXPECT_TRUE(append(line_of(4), kNoon - 400 * kDay.count()));  // a clock that jumps back
  EXPECT_EQ(disk.files("history"), (std::vector<std::string>{"history/20260529-0001.log",
                                                             "history/20260530-0001.log"}));
  EXPECT_TRUE(disk.content("history/20260529-0001.log").starts_with(kHistoryHeader));
  EXPECT_EQ(all(), (Ids{1, 2, 3, 4}));
  EXPECT_EQ(all({kNoon + kDay.count()}), (Ids{3, 4}));
}

TEST_F(HistoryFilesTest, ALineThatACrashCutIsPassedOverAndEnds) {
  EXPECT_TRUE(append(line_of(1)));
  EXPECT_TRUE(append(line_of(2)));
  auto& content = disk.content("history/20260529-0001.log");
  content.resize(content.size() - 10);
  EXPECT_EQ(all(), Ids{1});
  restart();
  EXPECT_TRUE(append(line_of(3)));
  EXPECT_EQ(all(), (Ids{1, 3}));
  content += std::string(700, '\0');  // a size that reached the disk before what was written
  restart();
  EXPECT_TRUE(append(line_of(4)));
  EXPECT_EQ(all(), (Ids{1, 3, 4}));
}

TEST_F(HistoryFilesTest, AnotherVersionsFilesAreLeftAlone) {
  disk.put_file("history/20260529-0001.log", "postern history 3\nwhat it may say\n");
  disk.put_file("history/notes.txt", "mine\n");
  EXPECT_TRUE(append(line_of(1)));
  EXPECT_EQ(disk.content("history/20260529-0001.log"), "postern history 3\nwhat it may say\n");
  EXPECT_TRUE(disk.has("history/20260529-0002.log"));
  EXPECT_EQ(all(), Ids{1});
}

TEST_F(HistoryFilesTest, AnEarlierVersionsFilesAreReadAndNotGoneOnWith) {
  std::string old = "postern history 1\n";
  std::uint64_t last = 0;
  while (old.size() < 2 * HistoryFiles::kSlice) old += text_1(line_of(++last)) + '\n';
  disk.put_file("history/20260529-0001.log", old);
  EXPECT_TRUE(append(line_of(++last)));
  EXPECT_EQ(disk.content("history/20260529-0001.log"), old);
  EXPECT_TRUE(disk.has("history/20260529-0002.log"));
  const auto ids = all();
  ASSERT_EQ(ids.size(), last);
  for (std::size_t n = 0; n < ids.size(); ++n) ASSERT_EQ(ids[n], n + 1);
}

TEST_F(HistoryFilesTest, SizeAndAgeAreBounded) {
  std::uint64_t last = 0;
  for (int day = 0; day < 4; ++day)
    for (int n = 0; n < 10'000; ++n) {
      const auto now = kNoon + day * kDay.count();
      ASSERT_TRUE(append(line_of(++last), now));
      ASSERT_TRUE(n % 1000 != 0 || files->trim({now}, {now - kNoon}, limits));
    }
  ASSERT_TRUE(files->trim({kNoon + 3 * kDay.count()}, {3 * kDay.count()}, limits));
  std::uint64_t sum = 0;
  for (const auto& name : disk.files("history")) {
    EXPECT_LT(disk.content(name).size(), limits.size / 16 + 1000);
    sum += disk.content(name).size();
  }
  EXPECT_LE(sum, limits.size);
  EXPECT_GT(sum, limits.size / 2);
  EXPECT_EQ(all().back(), last);
  ASSERT_TRUE(files->trim({kNoon + 100 * kDay.count()}, {100 * kDay.count()}, limits));
  EXPECT_TRUE(disk.files("history").empty());
  EXPECT_TRUE(append(line_of(1), kNoon + 100 * kDay.count()));
  EXPECT_EQ(all(), Ids{1});
}

TEST_F(HistoryFilesTest, AClockThatJumpsForgetsNothing) {
  const auto ten_years = 3650 * kDay.count();
  ASSERT_TRUE(append(line_of(1)));
  ASSERT_TRUE(files->trim({kNoon}, {0}, limits));
  for (const auto jump : {ten_years, -ten_years, std::int64_t{0}}) {
    ASSERT_TRUE(append(line_of(2), kNoon + jump));
    ASSERT_TRUE(files->trim({kNoon + jump}, {1000}, limits));
    EXPECT_EQ(all().front(), 1U);
  }
}

TEST_F(HistoryFilesTest, AClockThatJumpsOverARestartForgetsNothing) {
  ASSERT_TRUE(append(line_of(1)));
  restart();
  ASSERT_TRUE(files->trim({kNoon + 3650 * kDay.count()}, {0}, limits));
  EXPECT_EQ(all(), Ids{1});
  // What the pause did not count for goes while the server runs.
  ASSERT_TRUE(files->trim({kNoon + 3650 * kDay.count()}, {22 * kDay.count()}, limits));
  EXPECT_EQ(all(), Ids{1});
  ASSERT_TRUE(files->trim({kNoon + 3650 * kDay.count()}, {25 * kDay.count()}, limits));
  EXPECT_EQ(all(), Ids{});
}

TEST_F(HistoryFilesTest, AFullDiskCostsLinesAndNothingElse) {
  EXPECT_TRUE(append(line_of(1)));
  disk.full = true;
  EXPECT_FALSE(append(line_of(2)));
  EXPECT_FALSE(append(line_of(3), kNoon + kDay.count()));
  disk.full = false;
  EXPECT_TRUE(append(line_of(4)));
  EXPECT_EQ(all(), (Ids{1, 4}));
}

TEST_F(HistoryFilesTest, AReaderStopsAndGoesOnAnywhere) {
  auto two = line_of(1);
  two.recipients.push_back(two.recipients.front());
  for (std::uint64_t n = 1; n <= 3000; ++n) {
    two.id = base::MessageId(n);
    ASSERT_TRUE(append(two));
  }
  Ids seen;
  HistoryCursor cursor;
  bool more = true;
  for (int pages = 0; more && pages < 5000; ++pages) {
    int rows = 0;
    more = *files->read(cursor, {0}, [&](const HistoryLine& line, const auto&) {
      if (rows++ == 3) return false;
      seen.push_back(line.id.value);
      return true;
    });
  }
  ASSERT_EQ(seen.size(), 6000U);
  for (std::size_t n = 0; n < seen.size(); ++n) ASSERT_EQ(seen[n], n / 2 + 1);
  // A cursor that somebody made up finds nothing wrong.
  cursor = {"history/../x", ~0ULL, 7};
  (void)files->read(cursor, {0}, [](const auto&, const auto&) { return true; });
  cursor = {"20260529-0001.log", 13, 1000};
  EXPECT_TRUE(files->read(cursor, {0}, [](const auto&, const auto&) { return true; }));
}

// --- What is noted and found ------------------------------------------------------------------------

class HistoryTest : public ::testing::Test, protected EngineRig {
 protected:
  void SetUp() override {
    config.routes.push_back({.to = {"void.example"}, .via = {{.kind = config::HopKind::kDiscard}}});
    begin();
    history = std::make_unique<History>(store->worker(), disk, clock,
                                        HistoryLimits{30 * kDay, 1 << 20});
    engine->set_history(history.get());
  }
  void TearDown() override { engine->set_history(nullptr); }
  std::vector<ipc::HistoryRow> find(ipc::Selector selector) {
    std::vector<ipc::HistoryRow> rows;
    ipc::ListHistory ask;
    ask.selector = std::move(selector);
    for (bool more = true; more;) {
      bool answered = false;
      list_history(history.get(), ask, clock.wall(), [&](const ipc::HistoryRows& page) noexcept {
        rows.insert(rows.end(), page.rows.begin(), page.rows.end());
        ask.after = page.next_after;
        more = page.more;
        answered = true;
      });
      store->pump();
      EXPECT_TRUE(answered);
      if (!answered) break;
    }
    return rows;
  }
  std::vector<ipc::HistoryRow> find(auto set) {
    ipc::Selector selector;
    set(selector);
    return find(std::move(selector));
  }
  RecipientAttempt attempt(ipc::Result result, std::uint16_t code, std::uint32_t number = 0) {
    return {number,
            {result, ipc::FailureClass::kMailbox,
             {code, static_cast<std::uint8_t>(code / 100), 1, 1, "so it is"}}};
  }
  std::unique_ptr<History> history;
};

TEST_F(HistoryTest, EveryEndIsNotedOnce) {
  const auto good = mail("a@far.example");
  const auto bad = mail("b@far.example");
  const auto lost = mail("c@far.example", "x\r\n", true);
  const auto discarded = mail("d@void.example");
  (void)mail("e@far.example");
  engine->conclude(good, {attempt(ipc::Result::kDeferred, 451)}, "mx[192.0.2.1]:25", {});
  engine->conclude(good, {attempt(ipc::Result::kDelivered, 250)}, "mx[192.0.2.1]:25", {},
                   {"TLSv1.3 x", "yes: mx", "opportunistic: no policy"});
  (void)engine->schedule().take("far.example", bad);
  engine->conclude(bad, {attempt(ipc::Result::kFailed, 550)}, "mx[192.0.2.1]:25", {});
  engine->conclude(lost, {attempt(ipc::Result::kFailed, 550)}, "", {});
  turn();
  const auto rows = find([](auto& s) { s.all = true; });
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_EQ(rows[0].id, discarded);
  EXPECT_EQ(rows[0].end, ipc::HistoryEnd::kDiscarded);
  EXPECT_EQ(rows[1].id, good);
  EXPECT_EQ(rows[1].end, ipc::HistoryEnd::kDelivered);
  EXPECT_EQ(rows[1].tries, 2U);
  EXPECT_EQ(rows[1].remote, "mx[192.0.2.1]:25");
  EXPECT_EQ(rows[1].reply, "250 2.1.1 so it is");
  EXPECT_EQ(rows[1].tls, "TLSv1.3 x; yes: mx; opportunistic: no policy");
  EXPECT_EQ(rows[1].queue, "far.example");
  EXPECT_EQ(rows[1].to, "a@far.example");
  EXPECT_EQ(rows[1].from.text(), "ann@example.org");
  EXPECT_EQ(rows[2].id, bad);
  EXPECT_EQ(rows[2].end, ipc::HistoryEnd::kBounced);
  EXPECT_EQ(rows[2].tls, "") << "nobody knows";
  // It is put into badmail first.
  EXPECT_EQ(rows[3].id, lost);
  EXPECT_EQ(rows[3].end, ipc::HistoryEnd::kBadmail);
  EXPECT_TRUE(rows[3].from.is_null());
}

TEST_F(HistoryTest, SelectorsSelect) {
  std::vector<base::MessageId> ids;
  for (int n = 0; n < 100; ++n) {
    ids.push_back(mail("u" + std::to_string(n) + "@Host" + std::to_string(n % 4) + ".example",
                       std::string(static_cast<std::size_t>(n) * 100 + 1, 'x')));
    engine->conclude(ids.back(), {attempt(ipc::Result::kDelivered, n % 2 == 0 ? 250 : 251)}, "", {});
    turn();
    clock.advance(base::Millis(60'000));
  }
  const auto count = [&](auto set) { return find(set).size(); };
  EXPECT_EQ(count([](auto& s) { s.all = true; }), 100U);
  EXPECT_EQ(count([](auto&) {}), 0U);
  EXPECT_EQ(count([](auto& s) { s.queue = "host1.example"; }), 25U);
  EXPECT_EQ(count([](auto& s) { s.queue = "*.example"; }), 100U);
  EXPECT_EQ(count([](auto& s) { s.to = "U7@"; }), 1U);
  EXPECT_EQ(count([](auto& s) { s.from = "<>"; }), 0U);
  EXPECT_EQ(count([](auto& s) { s.error = "251 "; }), 50U);
  EXPECT_EQ(count([](auto& s) { s.newer = base::Millis(10 * 60'000 + 1); }), 10U);
  EXPECT_EQ(count([](auto& s) { s.older = base::Millis(90 * 60'000 - 1); }), 11U);
  EXPECT_EQ(count([](auto& s) { s.larger = 5000; s.to = "u4"; }), 0U);
  EXPECT_EQ(count([](auto& s) { s.smaller = 5000; s.to = "u4@"; }), 1U);
  EXPECT_EQ(count([](auto& s) { s.state = ipc::State::kReady; }), 0U);
  const auto named = find([&](auto& s) { s.ids = {ids[50], ids[3]}; });
  ASSERT_EQ(named.size(), 2U);
  EXPECT_EQ(named[0].id, ids[3]);
}

TEST_F(HistoryTest, AMessageWithManyRecipientsEndsInSeveralLines) {
  auto record = envelope(95);
  const auto id = record.id;
  store->accept(std::move(record), std::make_shared<const std::string>(), {});
  store->pump();
  std::vector<RecipientAttempt> attempts;
  for (std::uint32_t n = 0; n < 95; ++n) attempts.push_back(attempt(ipc::Result::kDelivered, 250, n));
  engine->conclude(id, std::move(attempts), "mx", {});
  turn();
  const auto rows = find([](auto& s) { s.all = true; });
  ASSERT_EQ(rows.size(), 95U);
  EXPECT_EQ(rows[94].to, "r94@example.com");
}

TEST_F(HistoryTest, WhatTheDiskDoesNotTakeIsCountedAndMailGoesOn) {
  disk.full = true;
  for (int n = 0; n < 3; ++n) {
    engine->conclude(mail("a@far.example"), {attempt(ipc::Result::kDelivered, 250)}, "", {});
    turn();
  }
  EXPECT_EQ(history->dropped(), 0U);  // not yet: a second's lines are written together
  history->tick();
  turn();
  EXPECT_EQ(history->dropped(), 3U);
  EXPECT_EQ(store->count(), 0U);
  disk.full = false;
  engine->conclude(mail("b@far.example"), {attempt(ipc::Result::kDelivered, 250)}, "", {});
  turn();
  EXPECT_EQ(find([](auto& s) { s.all = true; }).size(), 1U);
  EXPECT_EQ(history->dropped(), 3U);
  // Where nothing is kept, nothing is found and nothing breaks.
  history->configure({base::Millis(0), 0});
  engine->conclude(mail("b@far.example"), {attempt(ipc::Result::kDelivered, 250)}, "", {});
  turn();
  EXPECT_EQ(find([](auto& s) { s.all = true; }).size(), 1U);
}

TEST_F(HistoryTest, NoMoreThanItsShareOfMemoryWaitsForTheDisk) {
  auto line = line_of(1);
  line.recipients[0].reply = std::string(200, ' ');
  std::vector<HistoryLine> lines(20'000, line);
  history->add(lines);
  EXPECT_GT(history->dropped(), 0U);
  EXPECT_LT(history->dropped(), 20'000U);
}

}  // namespace
}  // namespace postern::queued
