#include "bench/sink/moods.h"

#include <gtest/gtest.h>

namespace postern::bench {
namespace {

Decision decide(std::vector<std::string> moods, Stage stage, std::string_view subject) {
  auto parsed = Moods::parse(moods, 1);
  EXPECT_TRUE(parsed) << parsed.error();
  return parsed ? parsed->decide(stage, subject) : Decision{};
}

TEST(Moods, AcceptWithoutAny) {
  EXPECT_EQ(Moods().decide(Stage::kDot, "a@x").treatment, Treatment::kAccept);
}

TEST(Moods, TreatEachStage) {
  EXPECT_EQ(decide({"connect:defer"}, Stage::kConnect, "127.0.0.1").reply, "421 4.3.2 not now");
  EXPECT_EQ(decide({"mail:refuse"}, Stage::kMail, "a@x").reply, "550 5.7.1 not this sender");
  EXPECT_EQ(decide({"rcpt:defer=452 4.2.2 full"}, Stage::kRcpt, "a@x").reply, "452 4.2.2 full");
  EXPECT_EQ(decide({"data:cut"}, Stage::kData, "a@x").treatment, Treatment::kCut);
  EXPECT_EQ(decide({"dot:drop"}, Stage::kDot, "a@x").treatment, Treatment::kDrop);
  EXPECT_EQ(decide({"dot:stall"}, Stage::kDot, "a@x").treatment, Treatment::kStall);
  EXPECT_EQ(decide({"dot:stall"}, Stage::kRcpt, "a@x").treatment, Treatment::kAccept);
}

TEST(Moods, FitByPatternAndTheFirstDecides) {
  const std::vector<std::string> moods{"rcpt:accept,for=good@*", "rcpt:defer,for=*@x.test",
                                       "rcpt:refuse"};
  EXPECT_EQ(decide(moods, Stage::kRcpt, "good@x.test").treatment, Treatment::kAccept);
  EXPECT_EQ(decide(moods, Stage::kRcpt, "a@X.test").treatment, Treatment::kDefer);
  EXPECT_EQ(decide(moods, Stage::kRcpt, "a@y.test").treatment, Treatment::kRefuse);
}

TEST(Moods, DelayBesidesWhatElseIsDecided) {
  const auto decision = decide({"dot:defer", "dot:delay=500ms,for=*@x"}, Stage::kDot, "a@x");
  EXPECT_EQ(decision.treatment, Treatment::kDefer);
  EXPECT_EQ(decision.delay, base::Millis(500));
}

TEST(Moods, StrikeByTheirProbabilityTheSameEachTime) {
  auto one = *Moods::parse({"rcpt:defer,p=0.25"}, 7),
       other = *Moods::parse({"rcpt:defer,p=0.25"}, 7);
  int struck = 0;
  for (int i = 0; i < 4000; ++i) {
    const auto treatment = one.decide(Stage::kRcpt, "a@x").treatment;
    EXPECT_EQ(treatment, other.decide(Stage::kRcpt, "a@x").treatment);
    struck += treatment == Treatment::kDefer;
  }
  EXPECT_NEAR(struck, 1000, 100);
}

TEST(Moods, SayWhatIsWrong) {
  for (const char* const text :
       {"", "rcpt", "rcpt:", "nowhere:defer", "rcpt:what", "rcpt:defer=550 no",
        "rcpt:refuse=450 no", "rcpt:delay", "rcpt:delay=x", "rcpt:drop", "rcpt:cut=1",
        "rcpt:defer,p=2", "rcpt:defer,p=", "rcpt:defer,q=1"})
    EXPECT_FALSE(Moods::parse({text}, 1)) << text;
}

TEST(Fits, StarsStandForAnything) {
  for (const char* const pattern :
       {"*", "a@x.test", "*@x.test", "a@*", "*@*.test", "A*X*t", "**a*"})
    EXPECT_TRUE(fits(pattern, "a@x.test")) << pattern;
  for (const char* const pattern : {"", "b@x.test", "*@y.test", "a@x", "*x", "a*b*test"})
    EXPECT_FALSE(fits(pattern, "a@x.test")) << pattern;
  EXPECT_TRUE(fits("", ""));
}

}  // namespace
}  // namespace postern::bench
