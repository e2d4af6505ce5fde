#include "bench/ledger/book.h"

#include <gtest/gtest.h>

#include "bench/ledger/report.h"

namespace postern::bench {
namespace {

Book read(std::initializer_list<const char*> lines, Book::Options options = {}) {
  Book book(std::move(options));
  book.add("postern-ledger 1 load run s@x.test r{n}.{i}@d.test");
  for (const auto* const line : lines) book.add(line);
  return book;
}

Verdict judge(std::initializer_list<const char*> lines, Book::Options options = {}) {
  return read(lines, std::move(options)).decide();
}

TEST(Book, FindsNothingWrongWhereAllArrived) {
  const auto v = judge({"begun 1 0 2", "acknowledged 1 0 250 ok", "begun 2 0 1",
                        "refused 2 0 450 later", "postern-ledger 1 sink",
                        "delivered run-1 0 r1.0@d.test", "delivered run-1 0 R1.1@D.test"});
  EXPECT_TRUE(v.good());
  EXPECT_EQ(v.acknowledged, 2U);
  EXPECT_EQ(v.delivered, 2U);
  EXPECT_EQ(v.refused, 1U);
}

TEST(Book, FindsWhatIsLost) {
  const auto v = judge({"begun 1 0 2", "acknowledged 1 0 250 ok", "delivered run-1 0 r1.1@d.test"});
  EXPECT_FALSE(v.good());
  EXPECT_EQ(v.lost.count, 1U);
  EXPECT_EQ(v.lost.examples, std::vector<std::string>{"run-1 r1.0@d.test"});
}

TEST(Book, FindsPhantoms) {
  const char* const ends[] = {"refused 1 0 450 later", "refused 1 0 550 never", "unsent 1 0 reset"};
  for (const auto* const end : ends) {
    EXPECT_EQ(judge({"begun 1 0 1", end}).phantom.count, 0U);
    const auto v = judge({"begun 1 0 1", end, "delivered run-1 0 r1.0@d.test"});
    EXPECT_EQ(v.phantom.count, 1U) << end;
    EXPECT_FALSE(v.good());
    EXPECT_EQ(judge({"begun 1 0 1", end, "notice run-1 0 r1.0@d.test"}).phantom.count, 1U) << end;
  }
  EXPECT_EQ(judge({"begun 2 0 1", "acknowledged 2 0 250", "delivered run-2 0 r2.0@d.test",
                   "delivered run-1 0 r1.0@d.test"})
                .phantom.count,
            1U);
  EXPECT_EQ(judge({"begun 1 0 1", "delivered run-7 0 r7.0@d.test"}).phantom.count, 1U);
}

TEST(Book, TakesARecipientThatTheMessageNeverHadForAPhantom) {
  const auto v = judge({"begun 1 0 1", "acknowledged 1 0 250", "delivered run-1 0 r1.0@d.test",
                        "delivered run-1 0 else@d.test"});
  EXPECT_EQ(v.phantom.count, 1U);
}

TEST(Book, TakesARefusedRecipientForItself) {
  const auto v = judge({"begun 1 0 2", "refused-recipient 1 0 1 550 no", "acknowledged 1 0 250",
                        "delivered run-1 0 r1.0@d.test"});
  EXPECT_TRUE(v.good());
  EXPECT_EQ(v.acknowledged, 1U);
  EXPECT_EQ(v.refused, 1U);
  EXPECT_EQ(judge({"begun 1 0 2", "refused-recipient 1 0 1 550 no", "acknowledged 1 0 250",
                   "delivered run-1 0 r1.0@d.test r1.1@d.test"})
                .phantom.count,
            1U);
}

TEST(Book, LetsTheUnknownArriveOnceOrNotAtAll) {
  EXPECT_TRUE(judge({"begun 1 0 1", "unknown 1 0 reset"}).good());
  EXPECT_TRUE(judge({"begun 1 0 1"}).good());  // its writer was killed
  const auto once = judge({"begun 1 0 1", "delivered run-1 0 r1.0@d.test"});
  EXPECT_TRUE(once.good());
  EXPECT_EQ(once.unknown, 1U);
  EXPECT_EQ(once.unknown_delivered, 1U);
  const auto twice = judge({"begun 1 0 1", "unknown 1 0 reset", "delivered run-1 0 r1.0@d.test",
                            "delivered run-1 0 r1.0@d.test"});
  EXPECT_EQ(twice.duplicate.count, 1U);
}

TEST(Book, CountsDuplicatesAndChanges) {
  const auto v = judge({"begun 1 0 1", "acknowledged 1 0 250", "delivered run-1 0 r1.0@d.test",
                        "delivered run-1 0 r1.0@d.test", "changed run-1 0 r1.0@d.test"});
  EXPECT_EQ(v.duplicate.count, 2U);
  EXPECT_EQ(v.changed.count, 1U);
  EXPECT_EQ(v.lost.count, 0U);
  EXPECT_FALSE(v.good());
}

TEST(Book, TakesANoticeForAnEnd) {
  const auto v = judge({"begun 1 0 1", "acknowledged 1 0 250", "notice run-1 0 r1.0@d.test"});
  EXPECT_TRUE(v.good());
  EXPECT_EQ(v.noticed, 1U);
}

TEST(Book, MissesNothingThatIsStillQueued) {
  const auto v = judge({"begun 1 0 1", "acknowledged 1 0 250 2.0.0 Ok: queued as ABC",
                        "begun 2 0 1", "acknowledged 2 0 250 2.0.0 Ok: queued as ABCD"},
                       {{"ABC"}, false});
  EXPECT_EQ(v.queued.count, 1U);
  EXPECT_EQ(v.lost.count, 1U);
}

TEST(Book, CountsRewrittenRecipientsOnly) {
  const auto v = judge(
      {"begun 1 0 2", "acknowledged 1 0 250", "delivered run-1 0 x@y", "delivered run-1 0 x@y"},
      {{}, true});
  EXPECT_TRUE(v.good());
  EXPECT_EQ(v.delivered, 2U);
}

TEST(Book, CountsWhatIsFoundWithoutARecipient) {
  auto book = read({"begun 1 0 2", "acknowledged 1 0 250"});
  book.add_found({Evidence::Kind::kWhole, "run", 1, {}}, std::nullopt);
  EXPECT_EQ(book.decide().lost.count, 1U);
  book.add_found({Evidence::Kind::kWhole, "run", 1, {}}, std::nullopt);
  EXPECT_EQ(book.decide().delivered, 2U);
}

TEST(Book, KeepsRunsApart) {
  const auto v =
      judge({"begun 1 0 1", "acknowledged 1 0 250", "postern-ledger 1 load other s@x t{n}@d.test",
             "begun 1 0 1", "refused 1 0 550", "delivered run-1 0 r1.0@d.test",
             "delivered third-1 0 r1.0@d.test"});
  EXPECT_TRUE(v.good());
  EXPECT_EQ(v.strange, 1U);
}

TEST(Book, TrustsNoLedgerWithLinesThatItCannotRead) {
  for (const char* const line : {"nonsense", "acknowledged 5 0 250", "begun 1 0 1", "begun 2 0 0",
                                 "refused-recipient 1 0 1 550", "postern-ledger 1 load run s t"}) {
    const auto v = judge({"begun 1 0 1", line});
    EXPECT_EQ(v.bad_lines, 1U) << line;
    EXPECT_FALSE(v.good());
  }
}

TEST(Report, SaysWhatIsWrong) {
  const auto v = judge({"begun 1 0 1", "acknowledged 1 0 250"});
  EXPECT_NE(human(v).find("lost: run-1 r1.0@d.test"), std::string::npos);
  EXPECT_NE(json(v).find("\"good\":false"), std::string::npos);
  EXPECT_NE(json(v).find("\"lost_examples\":[\"run-1 r1.0@d.test\"]"), std::string::npos);
}

}  // namespace
}  // namespace postern::bench
