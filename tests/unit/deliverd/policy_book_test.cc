// Which policy holds when: the table on top of policy_book.h, under a clock and sources of our own.
#include "deliverd/fetch/policy_book.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "common/log/log.h"

namespace postern::fetch {
namespace {

constexpr base::Millis kMinute{60'000};
constexpr base::Millis kHour{60 * 60'000};

class HandClock final : public base::Clock {
 public:
  base::WallTime wall() const noexcept override { return {1'700'000'000'000 + now}; }
  base::SteadyTime steady() const noexcept override { return {1'000 + now}; }
  std::int64_t now = 0;
};

// Questions wait here until the test answers them.
class FakeSources final : public Sources {
 public:
  dns::Query record(const std::string& name, dns::Resolver::OnTxt done) override {
    asked.push_back(name);
    records.emplace(name, std::move(done));
    return dns::Query(std::make_shared<char>());
  }
  void policy(const std::string& domain, OnPolicy done) override {
    fetched.push_back(domain);
    policies.emplace(domain, std::move(done));
  }

  std::vector<std::string> asked, fetched;
  std::map<std::string, dns::Resolver::OnTxt> records;  // open
  std::map<std::string, OnPolicy> policies;
};

class PolicyBookTest : public testing::Test {
 protected:
  PolicyBookTest() { log::set_level(log::Format::kText, log::Level::kError); }

  void ask(const std::string& domain = "example.org") {
    book.ask(domain, [this](std::optional<const Held*> found) noexcept {
      const auto* const held = found.value_or(nullptr);
      answers.push_back(!found                         ? "not known"
                        : held == nullptr              ? "none"
                        : held->policy.hosts.empty()   ? "nowhere"
                                                       : held->policy.hosts.front());
      last_id = held == nullptr ? "" : held->id;
    });
  }
  void dns(std::vector<std::string> texts, const std::string& domain = "example.org") {
    dns::TxtAnswer answer;
    answer.status = texts.empty() ? dns::Status::kNoDomain : dns::Status::kRecords;
    answer.texts = std::move(texts);
    answer.ttl = kMinute;
    reply(domain, std::move(answer));
  }
  void dns_is_silent(const std::string& domain = "example.org") {
    dns::TxtAnswer answer;
    answer.trouble = "no answer";
    reply(domain, std::move(answer));
  }
  void id(const std::string& number, const std::string& domain = "example.org") {
    dns({"v=STSv1; id=" + number + ";"}, domain);
  }
  void host_has(const std::string& mx, const std::string& mode = "enforce", const std::string& age = "604800",
                const std::string& domain = "example.org") {
    end_fetch(domain, "version: STSv1\nmode: " + mode + "\nmx: " + mx + "\nmax_age: " + age + "\n");
  }
  void host_fails(const std::string& domain = "example.org") {
    end_fetch(domain, std::unexpected("connection refused"));
  }
  void end_fetch(const std::string& domain, std::expected<std::string, std::string> text) {
    auto node = sources.policies.extract(domain);
    ASSERT_FALSE(node.empty()) << "nothing is fetched for " << domain;
    node.mapped()(std::move(text));
  }
  // A policy that is held: "mx1", named by the id 1.
  void begin_with_one(const std::string& age = "604800") {
    ask();
    id("1");
    host_has("mx1.example", "enforce", age);
    EXPECT_EQ(last(), "mx1.example");
    answers.clear();
    sources.fetched.clear();
  }
  void wait(base::Millis time) { clock.now += time.count(); }
  std::string last() { return answers.empty() ? "no answer" : answers.back(); }

  HandClock clock;
  FakeSources sources;
  PolicyBook book{sources, clock, {}};
  std::vector<std::string> answers;
  std::string last_id;  // of the last policy that was an answer

 private:
  void reply(const std::string& domain, dns::TxtAnswer answer) {
    auto node = sources.records.extract("_mta-sts." + domain);
    ASSERT_FALSE(node.empty()) << "the DNS was not asked of " << domain;
    node.mapped()(std::move(answer));
  }
};

TEST_F(PolicyBookTest, FetchesWhatTheDnsNames) {
  ask();
  EXPECT_TRUE(answers.empty());
  EXPECT_EQ(sources.asked, std::vector<std::string>{"_mta-sts.example.org"});
  id("1");
  EXPECT_TRUE(answers.empty()) << "mail waits for the policy";
  host_has("mx1.example");
  EXPECT_EQ(last(), "mx1.example");
  EXPECT_EQ(last_id, "1");
}

TEST_F(PolicyBookTest, AsksNobodyElseWhereTheDnsNamesNone) {
  ask();
  dns({});
  EXPECT_EQ(last(), "none");
  ask();
  EXPECT_EQ(answers.size(), 2U) << "at once";
  wait(PolicyBook::kNoneTtl);
  ask();
  dns({"v=spf1 -all"});
  EXPECT_EQ(answers.size(), 3U);
  wait(kMinute);
  ask();
  dns_is_silent();
  EXPECT_EQ(last(), "none") << "RFC 8461 3.3: as if there were none";
  EXPECT_EQ(sources.asked.size(), 3U);
  EXPECT_TRUE(sources.fetched.empty());
}

TEST_F(PolicyBookTest, HoldsAPolicyAsLongAsTheDnsNamesIt) {
  begin_with_one();
  ask();
  EXPECT_EQ(last(), "mx1.example");
  EXPECT_EQ(sources.asked.size(), 1U) << "the DNS's word has a time";
  wait(kMinute);
  ask();
  id("1");
  EXPECT_EQ(answers.size(), 2U);
  EXPECT_EQ(last(), "mx1.example");
  EXPECT_TRUE(sources.fetched.empty());
}

TEST_F(PolicyBookTest, ANewIdBringsANewPolicy) {
  begin_with_one();
  wait(kMinute);
  ask();
  id("2");
  EXPECT_TRUE(answers.empty());
  host_has("mx2.example");
  EXPECT_EQ(last(), "mx2.example");
}

TEST_F(PolicyBookTest, WhatIsHeldHoldsWhereNothingNewCanBeHad) {
  begin_with_one();
  wait(kMinute);
  ask();
  id("2");
  host_fails();
  EXPECT_EQ(last(), "mx1.example");
  wait(kMinute);
  ask();
  dns_is_silent();
  EXPECT_EQ(last(), "mx1.example") << "who keeps the DNS from us gains nothing";
  wait(kMinute);
  ask();
  dns({});
  EXPECT_EQ(last(), "mx1.example") << "nor who says that there is no record";
  wait(kMinute);
  ask();
  id("2");
  EXPECT_EQ(last(), "mx1.example");
  EXPECT_EQ(sources.fetched.size(), 1U) << "not so soon behind a failure";
}

TEST_F(PolicyBookTest, WhatIsHeldEndsWithItsTime) {
  begin_with_one("3600");
  wait(kHour);
  ask();
  dns({});
  EXPECT_EQ(last(), "none");
  wait(kMinute);
  ask();
  id("1");
  host_has("mx1.example");
  EXPECT_EQ(last(), "mx1.example");
}

TEST_F(PolicyBookTest, RemembersAFailureForAWhile) {
  ask();
  id("1");
  host_fails();
  EXPECT_EQ(last(), "none");
  wait(PolicyBook::kFailureHolds - base::Millis(1));
  ask();
  id("1");
  EXPECT_EQ(answers.size(), 2U);
  EXPECT_EQ(sources.fetched.size(), 1U);
  wait(kMinute);
  ask();
  id("1");
  EXPECT_EQ(sources.fetched.size(), 2U);
  host_has("mx1.example");
  EXPECT_EQ(last(), "mx1.example");
}

TEST_F(PolicyBookTest, AFailureIsOfOneIdAlone) {
  ask();
  id("1");
  host_fails();
  wait(kMinute);
  ask();
  id("2");
  host_has("mx2.example");
  EXPECT_EQ(last(), "mx2.example");
}

TEST_F(PolicyBookTest, WhatIsNoPolicyIsAFailure) {
  begin_with_one();
  wait(kMinute);
  ask();
  id("2");
  end_fetch("example.org", "<html>hello</html>");
  EXPECT_EQ(last(), "mx1.example");
}

TEST_F(PolicyBookTest, OtherServersMayKnowMore) {
  ask();
  id("1");
  host_fails();
  book.forget_failures();
  ask();
  id("1");
  EXPECT_EQ(sources.fetched.size(), 2U);
}

TEST_F(PolicyBookTest, AsksOnceForAllWhoAsk) {
  for (int i = 0; i < 3; ++i) ask();
  id("1");
  ask();
  EXPECT_TRUE(answers.empty());
  host_has("mx1.example");
  EXPECT_EQ(answers, std::vector<std::string>(4, "mx1.example"));
  EXPECT_EQ(sources.asked.size(), 1U);
  EXPECT_EQ(sources.fetched.size(), 1U);
}

TEST_F(PolicyBookTest, FetchesFewAtATime) {
  const auto domain = [](std::size_t i) { return std::to_string(i) + ".example"; };
  for (std::size_t i = 0; i < PolicyBook::kAtOnce + 2; ++i) {
    ask(domain(i));
    id("1", domain(i));
  }
  EXPECT_EQ(sources.fetched.size(), PolicyBook::kAtOnce);
  host_fails(domain(3));
  EXPECT_EQ(sources.fetched.back(), domain(PolicyBook::kAtOnce));
  EXPECT_EQ(sources.fetched.size(), PolicyBook::kAtOnce + 1);
}

// Whoever keeps all places taken makes no mail go past a policy.
TEST_F(PolicyBookTest, WhatCouldNotBeFetchedYetIsNotKnown) {
  const auto domain = [](std::size_t i) { return std::to_string(i) + ".example"; };
  for (std::size_t i = 0; i < PolicyBook::kAtOnce; ++i) {
    ask(domain(i));
    id("1", domain(i));
  }
  ask();
  id("1");
  ask("silent.example");  // of which the DNS says nothing
  wait(PolicyBook::kPatience);
  book.tick();
  ASSERT_EQ(answers.size(), PolicyBook::kAtOnce + 2);
  EXPECT_EQ(std::ranges::count(answers, "none"), 1);
  EXPECT_EQ(std::ranges::count(answers, "not known"), static_cast<std::ptrdiff_t>(PolicyBook::kAtOnce + 1));
}

TEST_F(PolicyBookTest, NobodyWaitsForARefresh) {
  begin_with_one("86400");
  wait(12 * kHour);
  book.tick();
  id("1");
  ASSERT_EQ(sources.fetched.size(), 1U);
  ask();
  EXPECT_EQ(last(), "mx1.example");
  host_has("mx2.example", "enforce", "86400");
  ask();
  EXPECT_EQ(last(), "mx2.example");
}

TEST_F(PolicyBookTest, NobodyWaitsForEver) {
  begin_with_one();
  wait(kMinute);
  ask();
  id("2");
  wait(PolicyBook::kPatience - base::Millis(1));
  book.tick();
  EXPECT_TRUE(answers.empty());
  wait(base::Millis(1));
  book.tick();
  EXPECT_EQ(answers, std::vector<std::string>{"mx1.example"}) << "what is held";
  host_has("mx2.example");
  EXPECT_EQ(answers.size(), 1U);
  ask();
  EXPECT_EQ(last(), "mx2.example") << "what came later is held now";
}

// RFC 8461 3.3.
TEST_F(PolicyBookTest, FetchesAgainBeforeTheTimeIsOver) {
  begin_with_one("86400");
  book.tick();
  EXPECT_EQ(sources.asked.size(), 1U);
  wait(12 * kHour);
  book.tick();
  ASSERT_EQ(sources.asked.size(), 2U) << "nobody asked";
  id("1");
  EXPECT_EQ(sources.fetched.size(), 1U) << "though the id is the same";
  host_has("mx2.example", "enforce", "86400");
  wait(13 * kHour);
  ask();
  id("1");
  EXPECT_EQ(last(), "mx2.example") << "the first one's time would be over";
}

TEST_F(PolicyBookTest, ARefreshThatFailsIsTriedAgainLater) {
  begin_with_one("86400");
  wait(12 * kHour);
  book.tick();
  id("1");
  host_fails();
  wait(kMinute);
  book.tick();
  EXPECT_EQ(sources.asked.size(), 2U);
  wait(kHour);
  book.tick();
  ASSERT_EQ(sources.asked.size(), 3U);
  id("1");
  host_has("mx2.example");
  EXPECT_EQ(sources.fetched.size(), 2U);
}

TEST_F(PolicyBookTest, BeginsWithWhatWasHeldBeforeARestart) {
  begin_with_one();
  PolicyBook next(sources, clock, Cache::decode(book.cache().encode(), 1, clock.wall()));
  std::string answer;
  next.ask("example.org", [&](std::optional<const Held*> held) noexcept {
    answer = held.value_or(nullptr) == nullptr ? "none" : (*held)->policy.hosts.front();
  });
  dns_is_silent();
  EXPECT_EQ(answer, "mx1.example");
}

}  // namespace
}  // namespace postern::fetch
