#include "bench/ledger/lines.h"

#include <gtest/gtest.h>

namespace postern::bench {
namespace {

std::optional<LedgerLine> reread(std::string& text) {
  EXPECT_TRUE(text.ends_with('\n'));
  text.pop_back();
  EXPECT_EQ(text.find('\n'), std::string::npos);
  return parse_line(text);
}

TEST(LedgerLines, ReadsWhatWasWritten) {
  std::string text;
  append_load_run(text, "abc", "s@x.test", "r{n}@d.test");
  const auto title = reread(text);
  ASSERT_TRUE(title && std::holds_alternative<LoadRun>(*title));
  EXPECT_EQ(std::get<LoadRun>(*title).run, "abc");
  EXPECT_EQ(std::get<LoadRun>(*title).recipient, "r{n}@d.test");

  text.clear();
  append_begun(text, 17, base::WallTime{5}, 3);
  const auto begun = reread(text);
  ASSERT_TRUE(begun && std::holds_alternative<Begun>(*begun));
  EXPECT_EQ(std::get<Begun>(*begun).number, 17U);
  EXPECT_EQ(std::get<Begun>(*begun).recipients, 3U);

  text.clear();
  append_refused_recipient(text, 17, base::WallTime{5}, 2, "550 no");
  const auto refused = reread(text);
  ASSERT_TRUE(refused && std::holds_alternative<RefusedRecipient>(*refused));
  EXPECT_EQ(std::get<RefusedRecipient>(*refused).index, 2U);
}

TEST(LedgerLines, ReadsEveryFate) {
  for (const auto fate : {Fate::kAcknowledged, Fate::kRefused, Fate::kUnknown, Fate::kUnsent}) {
    std::string text;
    append_ended(text, fate, 9, base::WallTime{5}, "250 2.0.0 Ok: queued as X\r\nbegun 9");
    const auto ended = reread(text);
    ASSERT_TRUE(ended && std::holds_alternative<Ended>(*ended));
    EXPECT_EQ(std::get<Ended>(*ended).fate, fate);
    EXPECT_EQ(std::get<Ended>(*ended).number, 9U);
    EXPECT_EQ(std::get<Ended>(*ended).text, "250 2.0.0 Ok: queued as X\\x0d\\x0abegun 9");
  }
}

TEST(LedgerLines, ReadsEveryKindOfEvidence) {
  for (const auto kind : {Evidence::Kind::kWhole, Evidence::Kind::kChanged, Evidence::Kind::kNotice,
                          Evidence::Kind::kStrange}) {
    std::string text;
    append_taken(text, {kind, "run", 4, {"n@x"}}, base::WallTime{5}, {"a@x", "\"b c\"@x"});
    const auto line = reread(text);
    ASSERT_TRUE(line && std::holds_alternative<Taken>(*line));
    const auto& taken = std::get<Taken>(*line);
    EXPECT_EQ(taken.kind, kind);
    EXPECT_EQ(taken.recipients, kind == Evidence::Kind::kNotice ? "n@x" : "a@x \"b\\x20c\"@x");
    EXPECT_EQ(taken.name.number, kind == Evidence::Kind::kStrange ? 0U : 4U);
  }
}

TEST(LedgerLines, RefusesWhatIsNone) {
  for (const char* const line :
       {"", "begun", "begun 1", "begun x 5 1", "begun 1 5 99999999999", "delivered 5 6 a@x",
        "delivered run-0 6 a@x", "delivered run-x 6 a@x", "postern-ledger 2 load r s t",
        "postern-ledger 1 load r! s t", "acknowledged 99999999999 5 250", "nonsense 1 2 3"})
    EXPECT_FALSE(parse_line(line)) << line;
}

}  // namespace
}  // namespace postern::bench
