#include "smtpd/queue_link.h"

#include <gtest/gtest.h>

#include <deque>

#include "tests/unit/smtpd/rig.h"

namespace postern::smtpd::test {
namespace {

struct Results {
  // A submission whose results gather here, by `name`.
  std::unique_ptr<Submission> make(LinkRig& rig, std::uint8_t name, std::string body = "body\r\n") {
    auto s = std::make_unique<Submission>();
    s->token.bytes.fill(name);
    s->envelope.hello = "client.example";
    s->envelope.recipients.push_back({mail::Address::parse("bob@example.org").value(), {}});
    s->body_size = body.size();
    s->body = std::move(body);
    s->share = BodyShare(rig.budget);
    CHECK(s->share.grow_to(s->body.size()));
    s->began = rig.clock.steady();
    s->done = [this, name](SubmissionResult result) noexcept {
      all.emplace_back(name, std::move(result));
    };
    return s;
  }
  [[nodiscard]] std::string text() const {
    std::string out;
    for (const auto& [name, result] : all) {
      out += std::to_string(name);
      if (const auto* a = std::get_if<Accepted>(&result)) out += "=" + std::to_string(a->id.value);
      if (const auto* r = std::get_if<Refused>(&result)) out += "!" + std::to_string(r->reply.code);
      if (std::holds_alternative<Unknown>(result)) out += "?";
      out += ' ';
    }
    return out;
  }
  std::vector<std::pair<int, SubmissionResult>> all;
};

TEST(QueueLink, SubmitsAndTellsTheAnswer) {
  LinkRig rig;
  Results results;
  rig.connect();
  rig.link.submit(results.make(rig, 1));
  rig.link.submit(results.make(rig, 2));
  rig.turn();
  ASSERT_EQ(rig.queued->transactions.size(), 2U);
  EXPECT_EQ(rig.queued->transactions[0].body, "body\r\n");
  EXPECT_EQ(rig.queued->transactions[0].recipients, std::vector<std::string>{"bob@example.org"});
  EXPECT_EQ(results.text(), "");
  rig.queued->refuse(1, {550, {5, 7, 1}, {"no"}});
  rig.queued->accept(0, 77);
  rig.turn();
  EXPECT_EQ(results.text(), "2!550 1=77 ");
  EXPECT_EQ(rig.budget.left(), BodyBudget::kBytes) << "an answered body holds no budget";
}

TEST(QueueLink, HandsOnWhomXforwardNamed) {
  const ipc::FirstClient first{base::parse_ip("198.51.100.7"), "4321", "first.example", "hello", "SMTP"};
  LinkRig rig;
  Results results;
  rig.connect();
  auto s = results.make(rig, 1);
  s->envelope.first = first;
  rig.link.submit(std::move(s));
  rig.link.submit(results.make(rig, 2));
  rig.turn();
  ASSERT_EQ(rig.queued->transactions.size(), 2U);
  EXPECT_EQ(rig.queued->transactions[0].submit.first, first);
  EXPECT_FALSE(rig.queued->transactions[1].submit.first);
}

TEST(QueueLink, TellsUpToWhereItHasHeardTheAnswers) {
  LinkRig rig;
  Results results;
  rig.connect();
  const auto submit = [&] {
    rig.link.submit(results.make(rig, 1));
    rig.turn();
    return rig.queued->transactions.back().submit;
  };
  const auto first = submit();
  EXPECT_EQ(first.heard, first.request);
  const auto second = submit();
  EXPECT_EQ(second.heard, first.request);
  rig.queued->accept(1, 78);
  rig.turn();
  EXPECT_EQ(submit().heard, first.request) << "the first may still be asked for";
  rig.queued->accept(0, 77);
  rig.turn();
  const auto last = submit();
  EXPECT_GT(last.heard, second.request);
  EXPECT_LE(last.heard, last.request);
}

TEST(QueueLink, CutsRecipientsAndBodyIntoFrames) {
  LinkRig rig;
  Results results;
  rig.connect();
  auto s = results.make(rig, 1, lines(200'000));
  const auto body = s->body;
  while (s->envelope.recipients.size() < 250)
    s->envelope.recipients.push_back(s->envelope.recipients[0]);
  rig.link.submit(std::move(s));
  rig.turn(40);
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  EXPECT_EQ(rig.queued->transactions[0].submit.recipient_count, 250U);
  EXPECT_EQ(rig.queued->transactions[0].recipients.size(), 250U);
  EXPECT_EQ(rig.queued->transactions[0].body, body);
}

TEST(QueueLink, WaitsForCreditAndGoesOnWithIt) {
  LinkRig rig;
  Results results;
  rig.connect();
  const auto window = ipc::Submit::kWindow.requests;
  for (std::uint32_t i = 0; i < window + 3; ++i) rig.link.submit(results.make(rig, 1));
  rig.turn(40);
  ASSERT_EQ(rig.queued->transactions.size(), window);
  rig.queued->accept(5, 1);
  rig.queued->accept(6, 2);
  rig.turn();
  EXPECT_EQ(rig.queued->transactions.size(), window + 2);
  EXPECT_FALSE(rig.queued->ended) << "the window was kept";
}

TEST(QueueLink, WaitsForTheFirstChannel) {
  LinkRig rig;
  Results results;
  rig.link.submit(results.make(rig, 1));
  rig.turn();
  EXPECT_EQ(results.text(), "");
  rig.connect();
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
}

TEST(QueueLink, ASentSubmissionIsAskedForAtTheNextQueuedAndFound) {
  LinkRig rig;
  Results results;
  rig.connect();
  rig.link.submit(results.make(rig, 9));
  rig.turn();
  rig.break_channel();
  EXPECT_EQ(rig.lost, 1);
  EXPECT_EQ(results.text(), "") << "nobody knows yet";
  rig.connect();
  EXPECT_TRUE(rig.queued->transactions.empty()) << "it may be in the journal";
  ASSERT_EQ(rig.queued->asked.size(), 1U);
  EXPECT_EQ(rig.queued->asked[0].token.bytes[0], 9);
  rig.queued->answer_token(0, 42);
  rig.turn();
  EXPECT_EQ(results.text(), "9=42 ");
  EXPECT_TRUE(rig.queued->transactions.empty());
}

TEST(QueueLink, WhatIsNotInTheJournalIsSentExactlyOnceMore) {
  LinkRig rig;
  Results results;
  rig.connect();
  rig.link.submit(results.make(rig, 9, "hello\r\n"));
  rig.turn();
  rig.break_channel();
  rig.connect();
  rig.queued->answer_token(0, 0);
  rig.turn();
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  EXPECT_EQ(rig.queued->transactions[0].body, "hello\r\n");
  EXPECT_EQ(rig.queued->transactions[0].submit.token.bytes[0], 9);
  rig.queued->accept(0, 5);
  rig.turn();
  EXPECT_EQ(results.text(), "9=5 ");
  EXPECT_EQ(rig.queued->transactions.size(), 1U);
}

TEST(QueueLink, ABreakWhileAskingAsksAgain) {
  LinkRig rig;
  Results results;
  rig.connect();
  rig.link.submit(results.make(rig, 9));
  rig.turn();
  for (int i = 0; i < 3; ++i) {
    rig.break_channel();
    rig.connect();
    ASSERT_EQ(rig.queued->asked.size(), 1U);
    EXPECT_TRUE(rig.queued->transactions.empty());
  }
  rig.queued->answer_token(0, 4);
  rig.turn();
  EXPECT_EQ(results.text(), "9=4 ");
}

TEST(QueueLink, ANewChannelInPlaceOfAStandingOneAsksToo) {
  LinkRig rig;
  Results results;
  rig.connect();
  rig.link.submit(results.make(rig, 9));
  rig.turn();
  const auto former = std::move(rig.queued);
  rig.connect();
  EXPECT_TRUE(former->ended);
  EXPECT_EQ(rig.queued->asked.size(), 1U);
  EXPECT_EQ(rig.lost, 0) << "nothing is missing";
}

TEST(QueueLink, WhatWasNotSentIsSentToTheNextQueuedWithoutAQuestion) {
  LinkRig rig;
  Results results;
  rig.connect();
  rig.break_channel();
  rig.link.submit(results.make(rig, 1));
  rig.turn();
  rig.connect();
  EXPECT_TRUE(rig.queued->asked.empty());
  EXPECT_EQ(rig.queued->transactions.size(), 1U);
}

TEST(QueueLink, ALargeBodyIsLostWithItsQueuedUnlessItIsInTheJournal) {
  LinkRig rig;
  Results results;
  rig.connect();
  for (const std::uint8_t name : {std::uint8_t{1}, std::uint8_t{2}}) {
    auto s = results.make(rig, name, "");
    s->large = base::MessageId(100U + name);
    s->body_size = 1'000'000;
    rig.link.submit(std::move(s));
  }
  rig.turn();
  ASSERT_EQ(rig.queued->transactions.size(), 2U);
  rig.break_channel();
  rig.connect();
  ASSERT_EQ(rig.queued->asked.size(), 2U);
  for (std::size_t i : {0U, 1U})
    rig.queued->answer_token(i, rig.queued->asked[i].token.bytes[0] == 1 ? 7 : 0);
  rig.turn();
  EXPECT_TRUE(rig.queued->transactions.empty());
  EXPECT_NE(results.text().find("1=7 "), std::string::npos);
  EXPECT_NE(results.text().find("2!451 "), std::string::npos);
}

TEST(QueueLink, ALargeBodyThatWaitedForCreditIsRefusedWhenItsChannelBreaks) {
  LinkRig rig;
  Results results;
  rig.connect();
  for (std::uint32_t i = 0; i < ipc::Submit::kWindow.requests; ++i)
    rig.link.submit(results.make(rig, 1));
  auto s = results.make(rig, 2, "");
  s->large = base::MessageId(102);
  rig.link.submit(std::move(s));
  rig.turn(40);
  rig.break_channel();
  EXPECT_EQ(results.text(), "2!451 ") << "its file is gone, and it was never sent";
}

TEST(QueueLink, TheDeadlineEndsWhatWasSentAsUnknownAndTheRestWith451) {
  LinkRig rig;
  Results results;
  rig.connect();
  rig.link.submit(results.make(rig, 1));
  rig.turn();
  rig.break_channel();
  rig.link.submit(results.make(rig, 2));
  rig.turn();
  rig.clock.advance(QueueLink::kDeadline);
  rig.link.check_deadlines();
  EXPECT_EQ(results.text(), "");
  rig.clock.advance(base::Millis(1));
  rig.link.check_deadlines();
  EXPECT_EQ(results.text(), "2!451 1? ");
  rig.connect();
  EXPECT_TRUE(rig.queued->asked.empty());
  EXPECT_TRUE(rig.queued->transactions.empty());
}

TEST(QueueLink, AnAnswerAfterTheDeadlineReachesNobody) {
  LinkRig rig;
  Results results;
  rig.connect();
  rig.link.submit(results.make(rig, 1));
  rig.turn();
  rig.clock.advance(QueueLink::kDeadline + base::Millis(1));
  rig.link.check_deadlines();
  EXPECT_EQ(results.text(), "1? ");
  rig.queued->accept(0, 5);
  rig.turn();
  EXPECT_EQ(results.text(), "1? ");
  EXPECT_FALSE(rig.queued->ended);
}

TEST(QueueLink, AYoungerOneInFrontDoesNotHideOneThatIsOver) {
  LinkRig rig;
  Results results;
  rig.connect();
  const auto full = ipc::Submit::kWindow.requests;
  rig.link.submit(results.make(rig, 1));
  rig.clock.advance(base::Millis(10'000));
  rig.link.submit(results.make(rig, 2));
  rig.turn();
  rig.break_channel();
  for (std::uint32_t i = 0; i < full; ++i) rig.link.submit(results.make(rig, 3));
  rig.connect();  // those take all the credit
  ASSERT_EQ(rig.queued->asked.size(), 2U);
  const bool first_is_older = rig.queued->asked[0].token.bytes[0] == 1;
  rig.queued->answer_token(first_is_older ? 0 : 1, 0);
  rig.queued->answer_token(first_is_older ? 1 : 0, 0);
  rig.turn(40);
  rig.clock.advance(base::Millis(50'001));
  rig.link.check_deadlines();
  EXPECT_EQ(results.text(), "1!451 ");
}

TEST(QueueLink, MoreOrphansThanTheWindowForQuestionsKeepTheChannel) {
  LinkRig rig;
  Results results;
  const std::size_t many = ipc::AskToken::kWindow.requests + 10;
  std::size_t sent = 0;
  while (sent < many) {  // each life of queued dies with a window full of submissions
    rig.connect();
    for (std::uint32_t i = 0; i < ipc::Submit::kWindow.requests && sent < many; ++i, ++sent) {
      auto s = results.make(rig, 1, "");
      rig.link.submit(std::move(s));
    }
    rig.turn(10);
    rig.break_channel();
  }
  rig.connect();
  rig.turn(40);
  ASSERT_EQ(rig.queued->asked.size(), ipc::AskToken::kWindow.requests);
  EXPECT_FALSE(rig.queued->ended);
  for (std::size_t i = 0; i < 20; ++i) rig.queued->answer_token(i, i + 1);
  rig.turn(40);
  EXPECT_EQ(rig.queued->asked.size(), many);
  EXPECT_FALSE(rig.queued->ended);
}

TEST(QueueLink, TellsWhatQueuedSaysOfIntake) {
  LinkRig rig;
  rig.connect();
  EXPECT_EQ(rig.link.intake_refusal(), nullptr);
  rig.queued->say(ipc::Intake{false, ipc::to_ipc({452, {4, 3, 1}, {"disk is full"}})});
  rig.turn();
  ASSERT_NE(rig.link.intake_refusal(), nullptr);
  EXPECT_EQ(rig.link.intake_refusal()->code, 452);
  rig.queued->say(ipc::Intake{true, {}});
  rig.turn();
  EXPECT_EQ(rig.link.intake_refusal(), nullptr);
}

struct Opened {
  QueueLink::LargeOpened callback() {
    return [this](QueueLink::LargeFile f) noexcept {
      ++calls;
      file = std::move(f);
    };
  }
  int calls = 0;
  QueueLink::LargeFile file;
};

TEST(LargeFiles, AreHeldAsLongAsTheirChannel) {
  LinkRig rig;
  Opened opened;
  rig.connect();
  rig.link.open_large(opened.callback());
  rig.turn();
  rig.queued->open_large(0, 33);
  rig.turn();
  ASSERT_EQ(opened.calls, 1);
  EXPECT_TRUE(opened.file.fd.valid());
  EXPECT_TRUE(rig.link.holds(opened.file));
  rig.break_channel();
  EXPECT_FALSE(rig.link.holds(opened.file)) << "also before there is another channel";
  rig.connect();
  EXPECT_FALSE(rig.link.holds(opened.file));
  rig.link.abandon_large(opened.file);
  rig.turn();
  EXPECT_TRUE(rig.queued->abandoned.empty()) << "this queued never made it";
}

TEST(LargeFiles, NoneWithoutChannelNoneWhenItBreaks) {
  LinkRig rig;
  Opened without, broken;
  rig.link.open_large(without.callback());
  EXPECT_EQ(without.calls, 0) << "never from within";
  rig.turn();
  EXPECT_EQ(without.calls, 1);
  EXPECT_FALSE(without.file.fd.valid());
  rig.connect();
  rig.link.open_large(broken.callback());
  rig.turn();
  rig.break_channel();
  EXPECT_EQ(broken.calls, 1);
  EXPECT_FALSE(broken.file.fd.valid());
}

TEST(LargeFiles, MoreThanQueuedTakesAtATimeWaitForRoom) {
  constexpr std::size_t kRoom = ipc::OpenLarge::kWindow.requests;
  LinkRig rig;
  rig.connect();
  std::deque<Opened> all(kRoom + 2);
  for (auto& one : all) rig.link.open_large(one.callback());
  for (int n = 0; n < 100 && rig.queued->large_asked.size() < kRoom; ++n) rig.turn();
  EXPECT_EQ(rig.queued->large_asked.size(), kRoom);
  rig.queued->open_large(0, 8);
  rig.turn();
  EXPECT_EQ(all[0].calls, 1);
  EXPECT_EQ(rig.queued->large_asked.size(), kRoom + 1);
  EXPECT_EQ(all[kRoom + 1].calls, 0);
  rig.clock.advance(QueueLink::kDeadline + base::Millis(1));
  rig.link.check_deadlines();
  EXPECT_EQ(all[kRoom + 1].calls, 1) << "nobody waits for ever";
  EXPECT_FALSE(all[kRoom + 1].file.fd.valid());
}

TEST(LargeFiles, AQuestionThatIsNeverAnsweredEndsAndALateFileIsGivenBack) {
  LinkRig rig;
  Opened opened;
  rig.connect();
  rig.link.open_large(opened.callback());
  rig.turn();
  rig.clock.advance(QueueLink::kDeadline + base::Millis(1));
  rig.link.check_deadlines();
  EXPECT_EQ(opened.calls, 1);
  EXPECT_FALSE(opened.file.fd.valid());
  rig.queued->open_large(0, 8);
  rig.turn();
  EXPECT_EQ(opened.calls, 1);
  EXPECT_EQ(rig.queued->abandoned, std::vector<base::MessageId>{base::MessageId(8)});
}

// --- Recipients -------------------------------------------------------------------------------------

class Questions : public testing::Test, protected LinkRig {
 protected:
  void ask(const char* to) {
    link.ask_recipient(mail::Address::parse(to).value(),
                       [this](const std::optional<mail::Reply>& refusal) noexcept {
                         answers.push_back(refusal ? refusal->code : 0);
                       });
    turn();
  }
  void answer(std::size_t which, ipc::ReplyText refusal = {}) {
    queued->say(ipc::RecipientKnown{queued->recipients_asked.at(which).request, std::move(refusal)});
    turn();
  }
  std::vector<int> answers;
};

TEST_F(Questions, AreAnsweredByQueued) {
  connect();
  ask("a@in.example");
  ask("b@in.example");
  EXPECT_TRUE(answers.empty());
  ASSERT_EQ(queued->recipients_asked.size(), 2U);
  EXPECT_EQ(queued->recipients_asked[0].address.text(), "a@in.example");
  answer(1, {550, 5, 1, 1, "no"});
  answer(0);
  EXPECT_EQ(answers, (std::vector{550, 0}));
}

TEST_F(Questions, EndWithTheirChannel) {
  connect();
  ask("a@in.example");
  break_channel();
  EXPECT_EQ(answers, std::vector{451});
  ask("a@in.example");  // there is none now
  EXPECT_EQ(answers, (std::vector{451, 451}));
}

TEST_F(Questions, EndInTime) {
  connect();
  ask("a@in.example");
  clock.advance(QueueLink::kAskDeadline + base::Millis(1));
  link.check_deadlines();
  EXPECT_EQ(answers, std::vector{451});
  answer(0, {550, 5, 1, 1, "no"});  // too late
  EXPECT_EQ(answers, std::vector{451});
}

TEST_F(Questions, NotMoreThanThereIsCreditFor) {
  connect();
  for (std::uint32_t n = 0; n < ipc::AskRecipient::kWindow.requests + 1; ++n) ask("a@in.example");
  EXPECT_EQ(answers, std::vector{451});
}

}  // namespace
}  // namespace postern::smtpd::test
