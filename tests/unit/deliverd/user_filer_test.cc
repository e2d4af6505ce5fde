// Mail that is filed by processes of the mailboxes' users: here they are in the test's loop, and do as it says.
#include "deliverd/local/user_filer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>

#include "common/log/log.h"
#include "mailbox_rig.h"
#include "tests/unit/event/until.h"

namespace postern::local {
namespace {

// The other end of one channel.
struct FakeProcess {
  FakeProcess(event::Loop& loop, base::UniqueFd fd)
      : connection(std::make_unique<Connection>(loop, std::move(fd), *this)) {}
  using Connection = ipc::Connection<FakeProcess, ipc::Role::kMailbox, ipc::Role::kLocal>;
  void on(const ipc::FileMail& mail, ipc::Descriptors descriptors) {
    mails.push_back(mail);
    bodies.emplace_back();
    if (mail.large) {
      bodies.back().resize(mail.body_size);
      EXPECT_EQ(::pread(descriptors.at(0).get(), bodies.back().data(), mail.body_size, 0),
                static_cast<ssize_t>(mail.body_size));
    }
  }
  void on(const ipc::FileBody& part) {
    EXPECT_EQ(part.request, mails.back().request);
    bodies.back() += part.bytes.bytes;
  }
  void closed() noexcept { is_closed = true; }
  void say(std::size_t i, ipc::Result result, const std::string& text = "as told") {
    ipc::MailFiled filed{mails.at(i).request, {}, "trouble"};
    filed.result.number = 99;  // what it says of that counts nothing
    filed.result.result = result;
    filed.result.failure = ipc::FailureClass::kDns;
    filed.result.reply.text = text;
    connection->send(filed);
  }

  std::vector<ipc::FileMail> mails;
  std::vector<std::string> bodies;
  bool is_closed = false;
  std::unique_ptr<Connection> connection;
};

struct FakeHost final : role::Host {
  struct Asked {
    base::RequestId request;
    std::string mailbox;
    Connected connected;
  };
  void set_state(std::string_view) override {}
  void peer_lost(ipc::Role) override {}
  void ask_reload(Answer) override {}
  void ask_stop(Answer) override {}
  base::RequestId ask_mailbox(const std::string& user, const std::string& domain, Connected connected) override {
    asked.push_back({base::RequestId(++last), user + '@' + domain, std::move(connected)});
    return base::RequestId(last);
  }
  void drop_mailbox(base::RequestId request) override { dropped.push_back(request.value); }
  [[noreturn]] void fatal(const std::string&) override { std::abort(); }

  std::vector<Asked> asked;
  std::vector<std::uint64_t> dropped;
  std::uint64_t last = 0;
};

class HandClock final : public base::Clock {
 public:
  base::WallTime wall() const noexcept override { return {}; }
  base::SteadyTime steady() const noexcept override { return {now}; }
  std::int64_t now = 1;
};

class UserFilerTest : public testing::Test {
 protected:
  UserFilerTest() {
    log::set_level(log::Format::kText, log::Level::kError);
    filer.emplace(loop, clock, host, UserLimits{3, base::Millis(60'000), base::Millis(60'000)});
  }
  ~UserFilerTest() override {
    filer.reset();
    turn();  // what dies at the end of a turn does so before the loop
  }
  void turn() {
    for (int i = 0; i < 20; ++i) loop.run_once(false);
  }
  template <class Done>
  void until(Done done) {
    event::until(loop, std::move(done), base::Millis(10'000));
  }
  // With times that a test can wait for.
  void hurry(base::Millis idle, base::Millis patience) {
    filer.emplace(loop, clock, host, UserLimits{3, idle, patience});
  }
  // A message for these users, the number of each its place; its outcome comes into `results`.
  void mail(const std::string& users, const std::string& body = "Subject: x\r\n\r\nhi\r\n", std::uint64_t id = 1'000) {
    auto d = delivery(body);
    d.lease.message = base::MessageId(id);
    d.lease.recipients.clear();
    for (const char user : users) {
      d.lease.recipients.push_back(recipient(std::string(1, user)));
      d.lease.recipients.back().number = static_cast<std::uint32_t>(d.lease.recipients.size());
    }
    inside_ = true;
    filer->file(std::move(d), [this](std::vector<Filed> copies) noexcept {
      EXPECT_FALSE(inside_) << "not before file() is left";
      std::string text;
      for (const auto& copy : copies) {
        EXPECT_EQ(copy.result.failure, ipc::FailureClass::kLocal);
        text += fmt::format("{} {} {};", copy.result.number, static_cast<int>(copy.result.result), copy.result.reply.text);
        if (!copy.trouble.empty()) troubles.push_back(copy.trouble);
      }
      results.push_back(text);
    });
    inside_ = false;
    turn();
  }
  // The process that was asked for as the i-th.
  FakeProcess& bring(std::size_t i) {
    auto ends = ipc::make_channel_pair();
    auto& process = *(processes[i] = std::make_unique<FakeProcess>(loop, std::move(ends.b)));
    host.asked.at(i).connected(std::move(ends.a));
    turn();
    return process;
  }
  void refuse(std::size_t i, const std::string& why) {
    host.asked.at(i).connected(std::unexpected(why));
    turn();
  }
  void die(std::size_t i) {
    processes.at(i).reset();
    turn();
  }
  std::vector<std::string> asked() const {
    std::vector<std::string> all;
    for (const auto& one : host.asked) all.push_back(one.mailbox.substr(0, 1));
    return all;
  }
  using All = std::vector<std::string>;

  event::Loop loop;
  HandClock clock;
  FakeHost host;
  std::optional<UserFiler> filer;
  std::map<std::size_t, std::unique_ptr<FakeProcess>> processes;
  All results, troubles;

 private:
  bool inside_ = false;  // file()
};

constexpr int kDelivered = 0, kDeferred = 1, kFailed = 2;

TEST_F(UserFilerTest, EachCopyIsFiledByItsMailboxsProcess) {
  mail("ab");
  EXPECT_EQ(host.asked.at(0).mailbox, "a@example.org");
  EXPECT_EQ(host.asked.at(1).mailbox, "b@example.org");
  auto& b = bring(1);
  auto& a = bring(0);
  ASSERT_EQ(a.mails.size(), 1U);
  const auto& sent = a.mails[0];
  EXPECT_EQ(base::to_string(sent.message), base::to_string(base::MessageId(1'000)));
  EXPECT_EQ(sent.from.text(), "a@b.example");
  EXPECT_EQ(sent.recipient.user, "a");
  EXPECT_EQ(sent.recipient.address.text(), "User+x@example.org");
  EXPECT_EQ(sent.arrived.ms, delivery().lease.arrived.ms);
  EXPECT_EQ(sent.prefix, delivery().lease.prefix);
  EXPECT_EQ(a.bodies[0], "Subject: x\r\n\r\nhi\r\n");
  EXPECT_FALSE(sent.again);
  b.say(0, ipc::Result::kFailed, "no room");
  turn();
  EXPECT_TRUE(results.empty()) << "the other copy is not filed yet";
  a.say(0, ipc::Result::kDelivered);
  turn();
  EXPECT_EQ(results, All{fmt::format("1 {} as told;2 {} no room;", kDelivered, kFailed)});
  mail("b");
  EXPECT_EQ(asked(), (All{"a", "b"})) << "it lives on";
  EXPECT_EQ(b.mails.size(), 2U);
}

TEST_F(UserFilerTest, ABodyArrivesWhole) {
  std::string large;
  for (int i = 0; i < 10'000; ++i) large += fmt::format("line {}\r\n", i);
  mail("a", large);
  auto& a = bring(0);
  until([&] { return a.bodies.at(0).size() == large.size(); });
  EXPECT_EQ(a.bodies[0], large);
  a.say(0, ipc::Result::kDelivered);
  mail("a", "");
  EXPECT_EQ(a.mails.at(1).body_size, 0U);
  auto d = delivery("");
  d.lease.large = true;
  d.lease.body_size = large.size();
  TempDir dir;
  const auto path = dir.path() / "body";
  std::ofstream(path) << large;
  d.file = base::UniqueFd::adopt(::open(path.c_str(), O_RDONLY));
  d.lease.recipients = {recipient("a"), recipient("a")};
  filer->file(std::move(d), [](std::vector<Filed>) noexcept {});
  turn();
  ASSERT_EQ(a.mails.size(), 4U);
  EXPECT_EQ(a.bodies[2], large);
  EXPECT_EQ(a.bodies[3], large);
}

TEST_F(UserFilerTest, WithoutCreditMailWaits) {
  const std::size_t most = ipc::FileMail::kWindow.requests;
  for (std::size_t i = 0; i < most + 2; ++i) mail("a");
  auto& a = bring(0);
  EXPECT_EQ(a.mails.size(), most);
  a.say(0, ipc::Result::kDelivered);
  turn();
  EXPECT_EQ(a.mails.size(), most + 1);
  for (std::size_t i = 1; i <= most; ++i) a.say(i, ipc::Result::kDelivered);
  turn();
  a.say(most + 1, ipc::Result::kDelivered);
  turn();
  EXPECT_EQ(results.size(), most + 2);
}

TEST_F(UserFilerTest, WhatAProcessMayNotSayIsADeferral) {
  mail("a");
  auto& a = bring(0);
  for (const auto result : {ipc::Result::kReturned, ipc::Result::kUnknown, ipc::Result::kDeferred}) {
    a.say(a.mails.size() - 1, result);
    turn();
    EXPECT_EQ(results.back(), fmt::format("1 {} as told;", kDeferred));
    mail("a");
  }
  EXPECT_EQ(troubles, (All{"trouble", "trouble", "trouble"}));
}

TEST_F(UserFilerTest, OneThatIsIdleIsDropped) {
  hurry(base::Millis(50), base::Millis(60'000));
  mail("a");
  auto& a = bring(0);
  a.say(0, ipc::Result::kDelivered);
  until([&] { return a.is_closed; });
  EXPECT_EQ(host.dropped, std::vector<std::uint64_t>{1});
  mail("a");
  EXPECT_EQ(host.asked.size(), 2U);
  auto& again = bring(1);
  EXPECT_EQ(again.mails.size(), 1U);
}

TEST_F(UserFilerTest, AtTheLimitTheIdlestMakesRoom) {
  mail("abc");
  for (std::size_t i = 0; i < 3; ++i) bring(i);
  for (const std::size_t i : {1U, 0U}) {
    ++clock.now;
    processes[i]->say(0, ipc::Result::kDelivered);
    turn();
  }
  mail("d");
  EXPECT_EQ(asked(), (All{"a", "b", "c", "d"}));
  EXPECT_EQ(host.dropped, std::vector<std::uint64_t>{2});
  EXPECT_TRUE(processes[1]->is_closed);
  mail("ef");
  EXPECT_EQ(asked().size(), 5U) << "one for a; for the other there is no place";
  EXPECT_EQ(host.dropped, (std::vector<std::uint64_t>{2, 1}));
  processes[2]->say(0, ipc::Result::kDelivered);
  turn();
  EXPECT_EQ(asked(), (All{"a", "b", "c", "d", "e", "f"}));
  EXPECT_EQ(host.dropped, (std::vector<std::uint64_t>{2, 1, 3}));
}

TEST_F(UserFilerTest, WhoWaitsForAPlaceGetsThatOfADeadOne) {
  mail("abc");
  for (std::size_t i = 0; i < 3; ++i) bring(i);
  mail("d");
  mail("d");
  EXPECT_EQ(asked().size(), 3U);
  die(1);
  EXPECT_EQ(asked(), (All{"a", "b", "c", "d"}));
  EXPECT_EQ(bring(3).mails.size(), 2U);
}

TEST_F(UserFilerTest, ADeathDefersWhatWasInHandAndIsRemembered) {
  mail("a", "one\r\n", 1);
  bring(0);
  mail("a", "two\r\n", 2);
  EXPECT_EQ(processes[0]->mails.size(), 2U);
  die(0);
  const auto deferred = fmt::format("1 {} the mailbox cannot be filed into: its process ended during the delivery;", kDeferred);
  EXPECT_EQ(results, (All{deferred, deferred}));
  EXPECT_EQ(troubles.at(0), "example.org/a: its process ended during the delivery");
  EXPECT_EQ(host.asked.size(), 1U) << "until there is mail";
  mail("a", "three\r\n", 3);
  mail("a", "two\r\n", 2);
  auto& next = bring(1);
  EXPECT_FALSE(next.mails.at(0).again);
  EXPECT_TRUE(next.mails.at(1).again);
  next.say(1, ipc::Result::kDeferred);
  turn();
  mail("a", "two\r\n", 2);
  EXPECT_TRUE(next.mails.at(2).again) << "nobody knows yet";
  next.say(2, ipc::Result::kDelivered);
  turn();
  mail("a", "two\r\n", 2);
  EXPECT_FALSE(next.mails.at(3).again);
}

TEST_F(UserFilerTest, WhatADeadOneWasNotSentGoesToTheNext) {
  const std::size_t most = ipc::FileMail::kWindow.requests;
  for (std::size_t i = 0; i < most + 2; ++i) mail("a", "x\r\n", i + 1);
  bring(0);
  die(0);
  EXPECT_EQ(results.size(), most);
  EXPECT_EQ(asked(), (All{"a", "a"}));
  auto& next = bring(1);
  ASSERT_EQ(next.mails.size(), 2U);
  EXPECT_FALSE(next.mails[0].again);
}

TEST_F(UserFilerTest, WithoutAProcessItIsDeferredWithTheReason) {
  mail("a");
  mail("a");
  refuse(0, "/mail/example.org/a belongs to uid 5, not to its user (uid 7)");
  const auto deferred = fmt::format(
      "1 {} the mailbox cannot be filed into: /mail/example.org/a belongs to uid 5, not to its user (uid 7);", kDeferred);
  EXPECT_EQ(results, (All{deferred, deferred}));
  mail("a");
  EXPECT_EQ(host.asked.size(), 2U) << "it may be mended";
}

TEST_F(UserFilerTest, OneThatDoesNotAnswerHoldsNobodyUpForLong) {
  hurry(base::Millis(60'000), base::Millis(50));
  mail("ab", "one\r\n", 1);
  auto& a = bring(0);
  bring(1).say(0, ipc::Result::kDelivered);
  until([&] { return !results.empty(); });
  EXPECT_EQ(results.at(0), fmt::format("1 {} the mailbox cannot be filed into: its process does not answer;2 {} as told;",
                                       kDeferred, kDelivered));
  turn();
  EXPECT_TRUE(a.is_closed);
  EXPECT_EQ(host.dropped, std::vector<std::uint64_t>{1});
  mail("a");
  EXPECT_EQ(results.at(1), fmt::format("1 {} the mailbox cannot be filed into: its process did not answer lately;", kDeferred));
  EXPECT_EQ(host.asked.size(), 2U);
  clock.now += 60'000;
  mail("a", "one\r\n", 1);
  ASSERT_EQ(host.asked.size(), 3U);
  auto& next = bring(2);
  EXPECT_TRUE(next.mails.at(0).again);
  until([&] { return results.size() == 3; });
  clock.now += 60'000;
  mail("a");
  EXPECT_EQ(host.asked.size(), 3U) << "each time for twice as long";
  clock.now += 60'000;
  mail("a");
  ASSERT_EQ(host.asked.size(), 4U);
  bring(3).say(0, ipc::Result::kDelivered);
  turn();
  EXPECT_EQ(results.back(), fmt::format("1 {} as told;", kDelivered));
}

TEST_F(UserFilerTest, EachAnswerGivesTheNextMessageItsTime) {
  hurry(base::Millis(60'000), base::Millis(1'000));
  for (int i = 0; i < 4; ++i) mail("a");
  auto& a = bring(0);
  for (std::size_t i = 0; i < 4; ++i) {
    bool over = false;
    event::Timer timer(loop, [&]() noexcept { over = true; });
    timer.start(base::Millis(400));
    until([&] { return over; });
    a.say(i, ipc::Result::kDelivered);
    turn();
  }
  EXPECT_EQ(results.size(), 4U);
  EXPECT_TRUE(host.dropped.empty());
}

TEST_F(UserFilerTest, OneThatDoesNotStartIsGivenUp) {
  hurry(base::Millis(60'000), base::Millis(50));
  mail("a");
  until([&] { return !results.empty(); });
  EXPECT_EQ(results.at(0), fmt::format("1 {} the mailbox cannot be filed into: its process does not start;", kDeferred));
  EXPECT_EQ(host.dropped, std::vector<std::uint64_t>{1});
  EXPECT_TRUE(bring(0).is_closed) << "it came too late";
  EXPECT_TRUE(processes[0]->mails.empty());
}

TEST_F(UserFilerTest, ANewConfigurationMeansNewProcesses) {
  mail("a");
  auto& a = bring(0);
  mail("b");
  bring(1).say(0, ipc::Result::kDelivered);
  mail("c");
  filer->renew();
  turn();
  EXPECT_TRUE(processes[1]->is_closed) << "it was idle";
  EXPECT_EQ(asked(), (All{"a", "b", "c", "c"})) << "one that is not there yet is asked for anew";
  EXPECT_TRUE(bring(2).is_closed);
  EXPECT_EQ(bring(3).mails.size(), 1U);
  mail("a");
  EXPECT_EQ(a.mails.size(), 1U) << "no more of it goes to the old one";
  a.say(0, ipc::Result::kDelivered);
  turn();
  EXPECT_TRUE(a.is_closed);
  EXPECT_EQ(asked().back(), "a");
  EXPECT_EQ(bring(4).mails.size(), 1U);
}

TEST_F(UserFilerTest, AProcessThatSpeaksNonsenseIsDropped) {
  mail("a");
  auto ends = ipc::make_channel_pair();
  host.asked.at(0).connected(std::move(ends.a));
  const std::string nonsense(100, '?');
  ASSERT_EQ(::write(ends.b.get(), nonsense.data(), nonsense.size()), static_cast<ssize_t>(nonsense.size()));
  until([&] { return !results.empty(); });
  EXPECT_EQ(host.dropped, std::vector<std::uint64_t>{1});
  EXPECT_EQ(results.at(0), fmt::format("1 {} the mailbox cannot be filed into: its process ended during the delivery;",
                                       kDeferred));
}

}  // namespace
}  // namespace postern::local
