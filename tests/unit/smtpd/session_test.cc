#include "smtpd/session.h"

#include <gtest/gtest.h>

#include "tests/unit/smtpd/rig.h"

namespace postern::smtpd::test {
namespace {

enum class Stage { kGreeted, kHello, kMail, kRcpt, kBody, kOpening, kFile, kResult };
constexpr Stage kStages[] = {Stage::kGreeted, Stage::kHello,   Stage::kMail, Stage::kRcpt,
                             Stage::kBody,    Stage::kOpening, Stage::kFile, Stage::kResult};

std::string name(Stage stage) {
  static constexpr const char* kNames[] = {"greeted", "hello",   "mail", "rcpt",
                                           "body",    "opening", "file", "result"};
  return kNames[static_cast<int>(stage)];
}
bool in_message(Stage stage) {
  return stage >= Stage::kBody;
}

void bring(SessionRig& rig, Stage stage) {
  rig.heard();
  if (stage >= Stage::kHello) rig.say("EHLO client.example\r\n");
  if (stage >= Stage::kMail) rig.say("MAIL FROM:<a@client.example>\r\n");
  if (stage >= Stage::kRcpt) rig.say("RCPT TO:<bob@example.org>\r\n");
  if (stage >= Stage::kBody) rig.say("DATA\r\n");
  if (stage == Stage::kBody) rig.say("hello\r\n");
  if (stage == Stage::kOpening || stage == Stage::kFile) rig.send(lines(ipc::kMaxInlineBody + 10));
  if (stage == Stage::kFile) {
    rig.queued->open_large(0, 900);
    rig.turn();
  }
  if (stage == Stage::kResult) rig.say("hello\r\n.\r\n");
}

class EachStage : public ::testing::TestWithParam<Stage> {};
INSTANTIATE_TEST_SUITE_P(Session, EachStage, ::testing::ValuesIn(kStages),
                         [](const auto& stage) { return name(stage.param); });

// What the DNS says of the client by the end of its message stands in it; nobody waits for that.
TEST(Session, NotesTheNameOfItsClientOnceItIsKnown) {
  SessionRig rig;
  const auto client = base::parse_ip("192.0.2.7").value();
  rig.names.use(true);
  rig.names.look_up(client);
  rig.begin_message();
  rig.heard();
  (void)rig.say("first\r\n.\r\n");
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  EXPECT_EQ(rig.queued->transactions[0].submit.client_name, "");
  rig.queued->accept(0, 77);
  ASSERT_EQ(rig.queued->names_asked.size(), 1U);
  rig.queued->say(ipc::NameKnown{rig.queued->names_asked[0].request, ipc::NameState::kConfirmed, "c.example", {}});
  rig.heard();
  (void)rig.say("MAIL FROM:<a@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n");
  (void)rig.say("second\r\n.\r\n");
  ASSERT_EQ(rig.queued->transactions.size(), 2U);
  EXPECT_EQ(rig.queued->transactions[1].submit.client_name, "c.example");
}

TEST(Session, CarriesAMessageFromTheClientToQueuedAndTheIdBack) {
  SessionRig rig;
  EXPECT_EQ(rig.heard(), "220 mx.example.org ESMTP Postern\r\n");
  EXPECT_TRUE(rig.say("EHLO client.example\r\n").starts_with("250-mx.example.org\r\n"));
  EXPECT_EQ(rig.say("MAIL FROM:<a@client.example> BODY=8BITMIME\r\n"), "250 2.1.0 Ok\r\n");
  EXPECT_EQ(rig.say("RCPT TO:<bob@example.org>\r\n"), "250 2.1.5 Ok\r\n");
  EXPECT_EQ(rig.say("RCPT TO:<nobody@example.org>\r\n").substr(0, 9), "550 5.1.1");
  EXPECT_EQ(rig.say("DATA\r\n").substr(0, 3), "354");
  EXPECT_EQ(rig.say("Subject: x\r\n\r\n..dot\r\n.\r\n"), "") << "not before queued's word";
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  const auto& t = rig.queued->transactions[0];
  EXPECT_EQ(t.body, "Subject: x\r\n\r\n..dot\r\n");
  EXPECT_EQ(t.submit.body_size, t.body.size());
  EXPECT_EQ(t.submit.from.text(), "a@client.example");
  EXPECT_EQ(t.recipients, std::vector<std::string>{"bob@example.org"});
  EXPECT_EQ(t.submit.hello, "client.example");
  EXPECT_EQ(base::to_string(t.submit.origin.client()), "192.0.2.7");
  EXPECT_TRUE(t.submit.esmtp);
  EXPECT_TRUE(t.submit.eight_bit);
  EXPECT_NE(t.submit.token, base::Token{});
  rig.queued->accept(0, 77);
  EXPECT_EQ(rig.heard(),
            "250 2.0.0 Ok: queued as " + base::to_string(base::MessageId(77)) + "\r\n");
  EXPECT_EQ(rig.say("QUIT\r\n").substr(0, 3), "221");
  EXPECT_TRUE(rig.hung_up);
  EXPECT_EQ(rig.ended, 1);
  EXPECT_EQ(rig.budget.left(), BodyBudget::kBytes);
}

TEST(Session, TellsQueuedThatSmtpUtf8WasSaid) {
  SessionRig rig;
  rig.heard();
  rig.say("EHLO client.example\r\n");
  EXPECT_EQ(rig.say("MAIL FROM:<b\xc3\xb6" "b@b\xc3\xbc" "cher.example> SMTPUTF8\r\n"), "250 2.1.0 Ok\r\n");
  rig.say("RCPT TO:<bob@example.org>\r\n");
  rig.say("DATA\r\n");
  rig.say("hi\r\n.\r\n");
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  const auto& submit = rig.queued->transactions[0].submit;
  EXPECT_TRUE(submit.smtputf8);
  EXPECT_TRUE(submit.eight_bit);  // implied
  EXPECT_TRUE(submit.esmtp);
  EXPECT_EQ(submit.from.text(), "b\xc3\xb6" "b@xn--bcher-kva.example");
}

TEST(Session, AnswersAPipelinedGroupInOneWrite) {
  SessionRig rig(SOCK_SEQPACKET);
  rig.heard();
  rig.writes = 0;
  const auto replies = rig.say(
      "EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<bob@example.org>\r\n"
      "RCPT TO:<alice@example.org>\r\nDATA\r\n");
  EXPECT_EQ(rig.writes, 1);
  EXPECT_NE(replies.find("354"), std::string::npos);
  rig.writes = 0;
  rig.say("hello\r\n.\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<bob@example.org>\r\n");
  EXPECT_EQ(rig.writes, 0) << "what follows waits for the answer";
  rig.queued->accept(0, 1);
  EXPECT_NE(rig.heard().find("250 2.1.5"), std::string::npos);
  EXPECT_EQ(rig.writes, 2) << "the answer at once, then the group behind it";
}

TEST(Session, TakesAWholeDialogueAtOnce) {
  SessionRig rig;
  std::string all = "EHLO client.example\r\n";
  for (int i = 0; i < 3; ++i)
    all += "MAIL FROM:<a@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n" + lines(40'000) +
           ".\r\n";
  rig.send(all + "QUIT\r\n");
  for (std::size_t i = 0; i < 3; ++i) {
    rig.heard();
    ASSERT_EQ(rig.queued->transactions.size(), i + 1);
    EXPECT_EQ(rig.queued->transactions[i].body, lines(40'000));
    rig.queued->accept(i, i + 1);
  }
  EXPECT_NE(rig.heard().find("221"), std::string::npos);
  EXPECT_EQ(rig.ended, 1);
}

TEST(Session, ARefusedMessageLeavesTheSessionOpen) {
  SessionRig rig;
  bring(rig, Stage::kResult);
  rig.queued->refuse(0, {554, {5, 7, 1}, {"not here"}});
  EXPECT_EQ(rig.heard(), "554 5.7.1 not here\r\n");
  EXPECT_EQ(rig.say("MAIL FROM:<a@client.example>\r\n"), "250 2.1.0 Ok\r\n");
}

TEST(Session, PutsABigBodyIntoAFile) {
  SessionRig rig;
  rig.begin_message();
  const auto body = lines(2'000'000);
  rig.send(body.substr(0, 300'000));
  ASSERT_EQ(rig.queued->large_asked.size(), 1U);
  rig.queued->open_large(0, 900);
  rig.turn();
  rig.send(body.substr(300'000));
  rig.send(".\r\n");
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  const auto& t = rig.queued->transactions[0];
  EXPECT_EQ(t.submit.large, base::MessageId(900));
  EXPECT_EQ(t.submit.body_size, body.size());
  EXPECT_TRUE(t.body.empty());
  EXPECT_EQ(rig.queued->file_content(), body);
  rig.queued->accept(0, 900);
  EXPECT_EQ(rig.heard().substr(0, 3), "250");
  rig.leave();
  EXPECT_TRUE(rig.queued->abandoned.empty());
}

TEST(Session, ABodyWhoseEndComesWhileItsFileIsOpenedIsWhole) {
  SessionRig rig;
  rig.begin_message();
  const auto body = lines(ipc::kMaxInlineBody + 100);
  rig.send(body + ".\r\nNOOP\r\n");
  EXPECT_TRUE(rig.queued->transactions.empty());
  rig.queued->open_large(0, 900);
  rig.turn();
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  EXPECT_EQ(rig.queued->file_content(), body);
  rig.queued->accept(0, 900);
  const auto replies = rig.heard();
  EXPECT_NE(replies.find("queued as"), std::string::npos);
  EXPECT_TRUE(replies.ends_with("250 2.0.0 Ok\r\n")) << replies;
}

TEST(Session, ABodyThatCannotBeKeptIsAnsweredAfterItsEnd) {
  SessionRig rig;
  bring(rig, Stage::kOpening);
  rig.queued->refuse_large(0);
  EXPECT_EQ(rig.heard(), "");
  EXPECT_EQ(rig.say("more\r\n.\r\n").substr(0, 9), "452 4.3.1");
  EXPECT_EQ(rig.say("NOOP\r\n"), "250 2.0.0 Ok\r\n");
  EXPECT_TRUE(rig.queued->transactions.empty());
}

TEST(Session, AFileThatDiedWithItsQueuedIsAnswered451) {
  SessionRig rig;
  bring(rig, Stage::kFile);
  rig.break_channel();
  EXPECT_EQ(rig.say("more\r\n.\r\n").substr(0, 9), "451 4.3.0");
  rig.connect();
  EXPECT_EQ(rig.say("NOOP\r\n"), "250 2.0.0 Ok\r\n");
  EXPECT_TRUE(rig.queued->transactions.empty());
}

TEST(Session, AnAnswerThatNeverComesClosesWithoutAReply) {
  SessionRig rig;
  bring(rig, Stage::kResult);
  rig.clock.advance(QueueLink::kDeadline + base::Millis(1));
  rig.link.check_deadlines();
  EXPECT_EQ(rig.heard(), "");
  EXPECT_TRUE(rig.hung_up);
  EXPECT_EQ(rig.ended, 1);
  rig.queued->accept(0, 1);
  rig.turn();
}

TEST(Session, AMessageThatNoQueuedEverSawIsAnswered451) {
  SessionRig rig(SOCK_STREAM, false);
  bring(rig, Stage::kResult);
  rig.clock.advance(QueueLink::kDeadline + base::Millis(1));
  rig.link.check_deadlines();
  EXPECT_EQ(rig.heard().substr(0, 9), "451 4.3.2");
  EXPECT_EQ(rig.say("NOOP\r\n"), "250 2.0.0 Ok\r\n");
}

TEST(Session, AnswersOnlyWithTheWordOfTheNextQueued) {
  SessionRig rig;
  bring(rig, Stage::kResult);
  rig.break_channel();
  EXPECT_EQ(rig.heard(), "");
  rig.connect();
  ASSERT_EQ(rig.queued->asked.size(), 1U);
  EXPECT_EQ(rig.heard(), "");
  rig.queued->answer_token(0, 5);
  EXPECT_EQ(rig.heard().substr(0, 3), "250");
}

TEST(Session, MailGetsQueuedsRefusalWhileIntakeIsClosed) {
  SessionRig rig;
  bring(rig, Stage::kHello);
  rig.queued->say(ipc::Intake{false, ipc::to_ipc({452, {4, 3, 1}, {"disk is full"}})});
  rig.turn();
  EXPECT_EQ(rig.say("MAIL FROM:<a@client.example>\r\n"), "452 4.3.1 disk is full\r\n");
  rig.queued->say(ipc::Intake{true, {}});
  rig.turn();
  EXPECT_EQ(rig.say("MAIL FROM:<a@client.example>\r\n"), "250 2.1.0 Ok\r\n");
}

// --- The client goes away -----------------------------------------------------------------------

TEST_P(EachStage, AClientThatGoesAwayLeavesNothing) {
  SessionRig rig;
  bring(rig, GetParam());
  rig.leave();
  EXPECT_EQ(rig.ended, 1);
  if (GetParam() == Stage::kOpening) {
    rig.queued->open_large(0, 900);
    rig.turn();
  }
  const bool file = GetParam() == Stage::kOpening || GetParam() == Stage::kFile;
  EXPECT_EQ(rig.queued->abandoned.size(), file ? 1U : 0U);
  if (GetParam() == Stage::kResult) rig.queued->accept(0, 1);
  rig.turn();
  EXPECT_EQ(rig.budget.left(), BodyBudget::kBytes);
  EXPECT_FALSE(rig.queued->ended);
}

TEST_P(EachStage, AClientThatGoesAwayTogetherWithQueuedLeavesNothing) {
  SessionRig rig;
  bring(rig, GetParam());
  rig.client.reset();
  rig.queued.reset();
  rig.turn();
  EXPECT_EQ(rig.ended, 1);
  rig.clock.advance(QueueLink::kDeadline + base::Millis(1));
  rig.link.check_deadlines();
  EXPECT_EQ(rig.budget.left(), BodyBudget::kBytes);
}

TEST(Session, AClientThatWentAwayBehindMoreCommandsIsNoticedWithTheAnswer) {
  SessionRig rig;
  rig.begin_message();
  rig.send("hello\r\n.\r\nNOOP\r\n");
  rig.leave();
  rig.queued->accept(0, 1);
  rig.turn();
  EXPECT_EQ(rig.ended, 1);
}

// --- Shutdown -----------------------------------------------------------------------------------

TEST_P(EachStage, ShutdownServesWhatHasBegunAndEndsTheRest) {
  SessionRig rig;
  bring(rig, GetParam());
  rig.session->shutdown();
  if (!in_message(GetParam())) {
    EXPECT_EQ(rig.heard(), "421 4.3.2 mx.example.org shutting down\r\n");
    EXPECT_EQ(rig.ended, 1);
    return;
  }
  EXPECT_EQ(rig.heard(), "");
  if (GetParam() == Stage::kOpening) {
    rig.queued->open_large(0, 900);
    rig.turn();
  }
  if (GetParam() != Stage::kResult) rig.send(".\r\n");
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  EXPECT_EQ(rig.ended, 0);
  rig.queued->accept(0, 1);
  const auto replies = rig.heard();
  EXPECT_EQ(replies.substr(0, 9), "250 2.0.0");
  EXPECT_TRUE(replies.ends_with("421 4.3.2 mx.example.org shutting down\r\n")) << replies;
  EXPECT_EQ(rig.ended, 1);
}

// --- Time ---------------------------------------------------------------------------------------

TEST_P(EachStage, AClientThatSaysNothingHasItsTimeAndNoMore) {
  SessionRig rig;
  bring(rig, GetParam());
  const auto& limits = rig.service.limits.timeout;
  const bool ours = GetParam() == Stage::kOpening || GetParam() == Stage::kResult;
  const auto time = GetParam() == Stage::kHello ? limits.idle
                    : in_message(GetParam())    ? limits.data
                                                : limits.command;
  rig.clock.advance(time - base::Millis(1));
  rig.session->check_deadline();
  EXPECT_EQ(rig.heard(), "");
  rig.clock.advance(base::Millis(1));
  rig.session->check_deadline();
  if (ours) {  // queued is waited for, and has a deadline of its own
    EXPECT_EQ(rig.heard(), "");
    EXPECT_EQ(rig.ended, 0);
    return;
  }
  EXPECT_EQ(rig.heard(), "421 4.4.2 mx.example.org timeout, closing connection\r\n");
  EXPECT_EQ(rig.ended, 1);
  EXPECT_EQ(rig.queued->abandoned.size(), GetParam() == Stage::kFile ? 1U : 0U);
}

TEST(Session, ALineByteByByteWinsNoTime) {
  SessionRig rig;
  bring(rig, Stage::kMail);
  for (const char* byte : {"N", "O"}) {
    rig.send(byte);
    rig.clock.advance(base::Millis(2'600));
    rig.session->check_deadline();
  }
  EXPECT_EQ(rig.heard().substr(0, 9), "421 4.4.2");
}

std::size_t count(std::string_view text, std::string_view what) {
  std::size_t n = 0;
  for (auto at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

// A client that is silent from now on hears 421 then, and not before.
void expect_to_end_in(SessionRig& rig, base::Millis time) {
  rig.clock.advance(time - base::Millis(1));
  rig.session->check_deadline();
  EXPECT_EQ(rig.heard(), "");
  rig.clock.advance(base::Millis(1));
  rig.session->check_deadline();
  EXPECT_EQ(rig.heard().substr(0, 9), "421 4.4.2");
}

// At 500 bytes a second a piece of 10,000 wins 20 s, which is all the time there is.
TEST(Session, EachPieceOfABodyWinsTheTimeThatItMayTake) {
  SessionRig rig;
  bring(rig, Stage::kBody);
  for (int i = 0; i < 5; ++i) {
    rig.clock.advance(base::Millis(19'000));
    rig.session->check_deadline();
    rig.send(lines(10'000));
  }
  EXPECT_EQ(rig.say(".\r\n"), "");
  EXPECT_EQ(rig.queued->transactions.size(), 1U);
}

TEST(Session, ABodyThatDripsRunsOutOfTime) {
  SessionRig rig;
  bring(rig, Stage::kBody);
  rig.clock.advance(base::Millis(15'000));
  rig.session->check_deadline();
  rig.send("x");
  rig.clock.advance(base::Millis(5'001));
  rig.session->check_deadline();
  EXPECT_EQ(rig.heard(), "");  // its byte was good for two milliseconds
  rig.clock.advance(base::Millis(1));
  rig.session->check_deadline();
  EXPECT_EQ(rig.heard(), "421 4.4.2 mx.example.org timeout, closing connection\r\n");
  EXPECT_TRUE(rig.queued->transactions.empty());
}

TEST(Session, WithoutARateEachPieceOfABodyWinsAllTime) {
  SessionRig rig;
  rig.service.limits.data_rate = 0;
  bring(rig, Stage::kBody);
  for (int i = 0; i < 5; ++i) {
    rig.clock.advance(base::Millis(19'000));
    rig.session->check_deadline();
    rig.send("line\r\n");
  }
  EXPECT_EQ(rig.say(".\r\n"), "");
  EXPECT_EQ(rig.queued->transactions.size(), 1U);
}

// The time in which queued looks for a place is ours, and what was left of the client's own goes on.
TEST(Session, TimeInWhichWeLetABodyWaitDoesNotCount) {
  SessionRig rig;
  bring(rig, Stage::kBody);
  rig.clock.advance(base::Millis(15'000));
  rig.session->check_deadline();
  rig.send(lines(300'000));  // too much for memory; it wins all of the time
  ASSERT_EQ(rig.queued->large_asked.size(), 1U);
  rig.clock.advance(base::Millis(1'000'000));
  rig.session->check_deadline();
  rig.queued->open_large(0, 900);
  rig.turn();
  expect_to_end_in(rig, base::Millis(20'000));
}

TEST(Session, CommandsThatBringNoMessageAreCounted) {
  SessionRig rig;
  bring(rig, Stage::kHello);
  std::string noops;
  for (int n = 0; n < 4'900; ++n) noops += "NOOP\r\n";
  EXPECT_EQ(count(rig.say(noops), "250 2.0.0 Ok\r\n"), 4'900U);
  // A message that is taken begins the count anew, and recipients that are taken do not count.
  rig.say("MAIL FROM:<a@client.example>\r\n");
  std::string recipients;
  for (int n = 0; n < 500; ++n) recipients += "RCPT TO:<bob@example.org>\r\n";
  EXPECT_EQ(count(rig.say(recipients), "250 2.1.5"), 500U);
  rig.say("DATA\r\n.\r\n");
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  rig.queued->accept(0, 1);
  EXPECT_EQ(rig.heard().substr(0, 9), "250 2.0.0");
  for (int n = 0; n < 100; ++n) noops += "RSET\r\n";
  EXPECT_EQ(count(rig.say(noops), "250 2.0.0 Ok\r\n"), 5'000U);
  EXPECT_EQ(rig.say("NOOP\r\n"), "421 4.7.0 Too many commands that bring no message\r\n");
  EXPECT_EQ(rig.ended, 1);
}

TEST(Session, ALimitOfZeroIsNone) {
  SessionRig rig;
  rig.service.limits.timeout = {base::Millis(0), base::Millis(0), base::Millis(0)};
  bring(rig, Stage::kMail);
  rig.clock.advance(base::Millis(1'000'000'000));
  rig.session->check_deadline();
  EXPECT_EQ(rig.say("NOOP\r\n"), "250 2.0.0 Ok\r\n");
}

// --- Chunks -------------------------------------------------------------------------------------

std::string chunk(std::string_view bytes, bool last = false) {
  return "BDAT " + std::to_string(bytes.size()) + (last ? " LAST\r\n" : "\r\n") + std::string(bytes);
}

TEST(Chunks, GoIntoAFileAsABodyDoes) {
  SessionRig rig;
  bring(rig, Stage::kRcpt);
  const auto body = lines(2'000'000);
  rig.send(chunk(body.substr(0, 200'000)));
  EXPECT_EQ(rig.heard(), "250 2.0.0 200000 octets received\r\n");
  rig.send(chunk(body.substr(200'000, 100'000)));
  ASSERT_EQ(rig.queued->large_asked.size(), 1U);
  EXPECT_EQ(rig.heard(), "") << "not before there is a place for it";
  rig.queued->open_large(0, 900);
  rig.turn();
  EXPECT_EQ(rig.heard(), "250 2.0.0 100000 octets received\r\n");
  rig.send(chunk(body.substr(300'000), true) + "NOOP\r\n");
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  const auto& t = rig.queued->transactions[0];
  EXPECT_EQ(t.submit.large, base::MessageId(900));
  EXPECT_EQ(t.submit.body_size, body.size());
  EXPECT_EQ(t.submit.form, ipc::BodyForm::kStuffed);
  EXPECT_EQ(rig.queued->file_content(), body);
  rig.queued->accept(0, 900);
  const auto replies = rig.heard();
  EXPECT_NE(replies.find("queued as"), std::string::npos);
  EXPECT_TRUE(replies.ends_with("250 2.0.0 Ok\r\n")) << replies;
}

TEST(Chunks, OfABinaryMessageAreSubmittedAsSuch) {
  SessionRig rig;
  bring(rig, Stage::kHello);
  rig.say("MAIL FROM:<a@client.example> BODY=BINARYMIME\r\nRCPT TO:<bob@example.org>\r\n");
  rig.say(chunk("a\n.\r") + chunk("\n.", true));
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  const auto& t = rig.queued->transactions[0];
  EXPECT_EQ(t.submit.form, ipc::BodyForm::kBinary);
  EXPECT_TRUE(t.submit.eight_bit);
  EXPECT_EQ(t.body, "a\n..\r\n..");
}

TEST(Chunks, OfAClientThatGoesAwayLeaveNothing) {
  for (const bool inside : {false, true}) {
    SessionRig rig;
    bring(rig, Stage::kRcpt);
    rig.send(chunk(lines(ipc::kMaxInlineBody + 10)));
    rig.queued->open_large(0, 900);
    rig.turn();
    if (inside) rig.send("BDAT 100 LAST\r\nhello");
    rig.leave();
    EXPECT_EQ(rig.ended, 1);
    EXPECT_TRUE(rig.queued->transactions.empty());
    EXPECT_EQ(rig.queued->abandoned.size(), 1U);
    EXPECT_EQ(rig.budget.left(), BodyBudget::kBytes);
  }
}

TEST(Chunks, EachPieceWinsTimeAndTheNextCommandHasItsOwn) {
  SessionRig rig;
  rig.service.limits.data_rate = 0;
  bring(rig, Stage::kRcpt);
  rig.send("BDAT 30\r\n");
  for (int i = 0; i < 5; ++i) {
    rig.clock.advance(base::Millis(19'000));
    rig.session->check_deadline();
    rig.send("line\r\n");
  }
  EXPECT_EQ(rig.heard(), "250 2.0.0 30 octets received\r\n");
  rig.clock.advance(base::Millis(19'000));  // that is too long for a command
  rig.session->check_deadline();
  EXPECT_EQ(rig.heard().substr(0, 9), "421 4.4.2");
  EXPECT_TRUE(rig.queued->transactions.empty());
}

// Its bytes must be passed over before its reply: a client that is slow hears why it is refused.
TEST(Chunks, ThatAreRefusedHaveTheirTimeToo) {
  SessionRig rig;
  bring(rig, Stage::kHello);
  rig.say("MAIL FROM:<a@client.example>\r\nRCPT TO:<nobody@example.org>\r\n");
  for (const char* code : {"554 5.5.1", "554 5.5.1"}) {
    rig.send("BDAT 8 LAST\r\nhe");
    rig.clock.advance(base::Millis(15'000));
    rig.session->check_deadline();
    EXPECT_EQ(rig.heard(), "");
    EXPECT_EQ(rig.say("llo...").substr(0, 9), code);
  }
  rig.send("BDAT 8\r\nhe");
  rig.clock.advance(base::Millis(15'000));
  rig.session->check_deadline();
  rig.send("l");
  rig.clock.advance(base::Millis(5'003));
  rig.session->check_deadline();
  EXPECT_EQ(rig.heard().substr(0, 9), "421 4.4.2");
}

// A chunk of a byte now and then is a body that drips, too.
TEST(Chunks, ThatComeSlowlyUseUpTheTimeOfTheirMessage) {
  SessionRig rig;
  bring(rig, Stage::kRcpt);
  for (int n = 0; n < 4; ++n) {
    ASSERT_EQ(rig.say("BDAT 1\r\nx"), "250 2.0.0 1 octets received\r\n") << n;
    rig.clock.advance(base::Millis(4'999));  // less than a command has
    rig.session->check_deadline();
  }
  EXPECT_EQ(rig.say("BDAT 1\r\nx"), "250 2.0.0 1 octets received\r\n");
  rig.clock.advance(base::Millis(20));
  rig.session->check_deadline();
  EXPECT_EQ(rig.heard().substr(0, 9), "421 4.4.2");
}

TEST(Session, ATimeForBodiesThatAReloadBringsBeginsThen) {
  SessionRig rig;
  const auto limited = rig.service.limits.timeout;
  rig.service.limits.timeout.data = base::Millis(0);
  bring(rig, Stage::kBody);
  rig.clock.advance(base::Millis(1'000'000));
  rig.session->check_deadline();
  rig.service.limits.timeout = limited;
  rig.session->reconfigure(rig.service);
  rig.send("x");
  expect_to_end_in(rig, base::Millis(20'000));
}

// What one chunk has used up of the time for the message the next one does not get back.
TEST(Chunks, ShareTheTimeOfTheirMessage) {
  SessionRig rig;
  bring(rig, Stage::kRcpt);
  rig.send("BDAT 1\r\n");
  rig.clock.advance(base::Millis(15'000));
  rig.session->check_deadline();
  EXPECT_EQ(rig.say("x"), "250 2.0.0 1 octets received\r\n");
  rig.send("BDAT 1 LAST\r\n");
  rig.clock.advance(base::Millis(5'003));
  rig.session->check_deadline();
  EXPECT_EQ(rig.heard().substr(0, 9), "421 4.4.2");
  EXPECT_TRUE(rig.queued->transactions.empty());
}

// --- Clients that do not read -------------------------------------------------------------------

// Sends `line` until nobody takes it any more, at most `most` times; how often it was sent whole.
std::size_t send_until_blocked(SessionRig& rig, const std::string& line, std::size_t most) {
  std::string bytes;
  for (std::size_t i = 0; i < most; ++i) bytes += line;
  std::string_view rest = bytes;
  for (int idle = 0; idle < 20 && !rest.empty();) {
    const auto put = ::send(rig.client.get(), rest.data(), std::min<std::size_t>(rest.size(), 8192),
                            MSG_NOSIGNAL);
    if (put > 0) rest.remove_prefix(static_cast<std::size_t>(put));
    idle = put > 0 ? 0 : idle + 1;
    rig.turn(2);
  }
  return bytes.size() - rest.size();
}

TEST(SlowReader, IsNotReadFromUntilItReads) {
  SessionRig rig;
  rig.service.limits.recipients = 0;
  bring(rig, Stage::kRcpt);
  const std::string line = "RCPT TO:<bob@example.org>\r\n";
  const auto sent = send_until_blocked(rig, line, 1'000'000);
  EXPECT_LT(sent, 4'000'000U) << "somebody kept ten megabytes of commands or their replies";
  std::size_t replies = 0;
  for (int quiet = 0; quiet < 3;) {
    const auto text = rig.heard();
    replies += count(text, "\n");
    quiet = text.empty() ? quiet + 1 : 0;
  }
  EXPECT_EQ(replies, sent / line.size());
}

TEST(SlowReader, OneThatNeverReadsIsEndedByTime) {
  SessionRig rig;
  rig.service.limits.recipients = 0;
  bring(rig, Stage::kRcpt);
  send_until_blocked(rig, "RCPT TO:<bob@example.org>\r\n", 1'000'000);
  rig.clock.advance(base::Millis(5'000));
  rig.session->check_deadline();  // the reply to that waits behind the others
  rig.turn();
  EXPECT_EQ(rig.ended, 0);
  rig.clock.advance(base::Millis(10'000));
  rig.session->check_deadline();
  rig.turn();
  EXPECT_EQ(rig.ended, 1);
}

TEST(Session, ManyCommandsInOnePieceAreAllAnswered) {
  SessionRig rig;
  rig.heard();
  std::string all;
  for (int i = 0; i < 950; ++i) all += "EHLO x.example\r\n";  // 140 KB of replies
  std::string replies;
  for (std::string_view rest = all; !rest.empty();) {
    const auto put = ::send(rig.client.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (put > 0) rest.remove_prefix(static_cast<std::size_t>(put));
    replies += rig.heard();
  }
  replies += rig.heard();
  EXPECT_EQ(count(replies, "250 HELP"), 950U);
}

// One packet of commands, whose replies would be 140 KB; the server may hold but a few portions of
// them.
TEST(Session, ManyCommandsInOnePieceDoNotPileUpTheirReplies) {
  SessionRig rig(SOCK_SEQPACKET);
  rig.heard();
  std::string all;
  for (int i = 0; i < 950; ++i) all += "EHLO x.example\r\n";
  rig.writes = 0;
  rig.send(all);
  EXPECT_EQ(count(rig.heard(), "250 HELP"), 950U);
  EXPECT_GE(rig.writes, 2);
}

// --- Recipients that queued is asked for ------------------------------------------------------------

TEST(Session, WaitsForQueuedsWordOnARecipient) {
  SessionRig rig;
  auto rights = sample_rights();
  rights.domains[0].recipients = config::RecipientsKind::kAsk;
  const config::RightsIndex asking(std::move(rights));
  auto service = rig.service;
  service.rights = &asking;
  rig.session->reconfigure(service);
  rig.heard();
  rig.say("HELO c\r\nMAIL FROM:<a@c.example>\r\n");
  EXPECT_EQ(rig.say("RCPT TO:<bob@example.org>\r\nRCPT TO:<x@example.org>\r\nNOOP\r\n"), "");
  ASSERT_EQ(rig.queued->recipients_asked.size(), 1U);
  rig.clock.advance(base::Millis(15'000));  // beyond the client's own time, which does not run
  rig.session->check_deadline();
  EXPECT_EQ(rig.heard(), "");
  rig.queued->say(ipc::RecipientKnown{rig.queued->recipients_asked[0].request, {}});
  EXPECT_EQ(rig.heard(), "250 2.1.5 Ok\r\n");
  ASSERT_EQ(rig.queued->recipients_asked.size(), 2U);
  rig.queued->say(
      ipc::RecipientKnown{rig.queued->recipients_asked[1].request, {550, 5, 1, 1, "no"}});
  EXPECT_EQ(rig.heard(), "550 5.1.1 no\r\n250 2.0.0 Ok\r\n");
  // One that leaves while it waits is no trouble.
  rig.say("RCPT TO:<y@example.org>\r\n");
  rig.leave();
  rig.queued->say(ipc::RecipientKnown{rig.queued->recipients_asked[2].request, {}});
  rig.turn();
  EXPECT_EQ(rig.ended, 1);
  rig.session.reset();
}

}  // namespace
}  // namespace postern::smtpd::test
