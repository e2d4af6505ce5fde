// Submissions over a real channel: assembled, judged, stored, answered; and smtpds that break rules.
#include <gtest/gtest.h>

#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

class IntakeTest : public ::testing::Test, protected EngineRig {
 protected:
  void SetUp() override {
    begin();
    connect(smtpd);
  }
  // Its answer as text: an id's presence, or the refusal.
  std::string submit(ipc::Submit frame, const std::vector<std::string>& to, const std::string& text) {
    frame.recipient_count = static_cast<std::uint32_t>(to.size());
    frame.body_size = text.size();
    const auto before = smtpd.submitted.size();
    send(smtpd, frame, to, text);
    turn();
    if (smtpd.submitted.size() == before) return smtpd.is_closed ? "closed" : "nothing";
    const auto& answer = smtpd.submitted.back();
    if (answer.id.value != 0) return "accepted";
    return text_of(answer.refusal).substr(0, 9);
  }
  FakeSmtpd smtpd;
};

TEST_F(IntakeTest, ASubmissionIsStoredWithItsTrace) {
  ASSERT_EQ(smtpd.intake.size(), 1U);
  EXPECT_TRUE(smtpd.intake[0].open);
  const std::string text(150'000, 'x');
  EXPECT_EQ(submit(submit_frame(1, 1, 0), {"a@far.example"}, text), "accepted");
  const Message* message = look(smtpd.submitted[0].id);
  ASSERT_NE(message, nullptr);
  EXPECT_EQ(body(message->id), text);
  EXPECT_NE(prefix(message->id).find(base::to_string(message->id)), std::string::npos);
  EXPECT_NE(prefix(message->id).find("for <a@far.example>"), std::string::npos);
  EXPECT_EQ(submit(submit_frame(2, 2, 0), {"a@far.example", "b@far.example", "a@far.example"}, ""),
            "accepted");
  message = look(smtpd.submitted[1].id);
  EXPECT_EQ(message->recipients.size(), 2U);  // the same one twice is one
  EXPECT_EQ(prefix(message->id).find("for <"), std::string::npos);
}

TEST_F(IntakeTest, NoAnswerComesBeforeTheFlush) {
  disk.fail_at = disk.operations + 1;
  EXPECT_EQ(submit(submit_frame(1, 1, 0), {"a@far.example"}, "x\r\n"), "nothing");
  EXPECT_FALSE(fatal.empty());
}

// A token is for whoever has not heard the answer; who says that he has needs it no more.
TEST_F(IntakeTest, TokensAreForgottenWhenTheirAnswersWereHeard) {
  EXPECT_EQ(submit(submit_frame(5, 1, 0), {"a@far.example"}, "x\r\n"), "accepted");
  EXPECT_EQ(submit(submit_frame(6, 2, 0), {"a@far.example"}, "x\r\n"), "accepted");
  auto frame = submit_frame(7, 3, 0);
  frame.heard = base::RequestId(6);
  EXPECT_EQ(submit(frame, {"a@far.example"}, "x\r\n"), "accepted");
  EXPECT_FALSE(store->find_token(token(1)));
  EXPECT_TRUE(store->find_token(token(2)));
  EXPECT_TRUE(store->find_token(token(3)));
  // What another one says counts for its own alone, and nothing where the channel broke meanwhile.
  FakeSmtpd other;
  connect(other, 1);
  frame = submit_frame(100, 4, 0);
  frame.heard = frame.request;
  send(other, frame, {"a@far.example"}, "");
  turn();
  connect(smtpd);
  frame = submit_frame(101, 5, 0);
  frame.heard = frame.request;
  EXPECT_EQ(submit(frame, {"a@far.example"}, "x\r\n"), "accepted");
  EXPECT_TRUE(store->find_token(token(2)));
  EXPECT_TRUE(store->find_token(token(3)));
}

// Of who has logged in counts what auth said, not what smtpd says.
TEST_F(IntakeTest, ALoginCountsByItsTicketAlone) {
  config.rights.listeners[0].service = config::Service::kSubmission;
  engine->configure(config);
  auto frame = submit_frame(1, 1, 0);
  frame.origin = base::parse_ip("192.0.2.1").value();
  frame.esmtp = true;
  frame.session.bytes.fill(7);
  EXPECT_EQ(submit(frame, {"a@far.example"}, "x"), "451 4.7.0");
  intake->tickets().give(frame.session, 1, "bob");  // of another smtpd
  frame.request = base::RequestId(2);
  frame.token.bytes[0] = 2;
  EXPECT_EQ(submit(frame, {"a@far.example"}, "x"), "451 4.7.0");
  intake->tickets().give(frame.session, 0, "bob");
  frame.request = base::RequestId(3);
  frame.token.bytes[0] = 3;
  ASSERT_EQ(submit(frame, {"a@far.example"}, "x"), "accepted");
  EXPECT_NE(prefix(smtpd.submitted.back().id).find("with ESMTPA"), std::string::npos);
  intake->tickets().drop(frame.session);
  frame.request = base::RequestId(4);
  frame.token.bytes[0] = 4;
  EXPECT_EQ(submit(frame, {"a@far.example"}, "x"), "451 4.7.0");
}

// RFC 6409 8: of a user's message what its header lacks is added; what others send is left as it is.
TEST_F(IntakeTest, AUsersMessageGetsTheFieldsThatItLacks) {
  base::Token bob;
  bob.bytes.fill(7);
  intake->tickets().give(bob, 0, "bob");
  std::uint64_t request = 0;
  const auto fields = [&](base::Token session, bool has_date, bool has_message_id) {
    ++request;
    auto frame = submit_frame(request, static_cast<std::uint8_t>(request), 0);
    frame.session = session;
    frame.has_date = has_date;
    frame.has_message_id = has_message_id;
    EXPECT_EQ(submit(frame, {"a@far.example"}, "x"), "accepted");
    const auto id = smtpd.submitted.back().id;
    const auto text = prefix(id);
    EXPECT_TRUE(text.starts_with("Received: ")) << text;
    const auto message_id = "\r\nMessage-ID: <" + base::to_string(id) + "@mx.example.org>\r\n";
    return std::pair(text.find("\r\nDate: ") != std::string::npos,
                     text.find(message_id) != std::string::npos);
  };
  EXPECT_EQ(fields(bob, false, false), std::pair(true, true));
  EXPECT_EQ(fields(bob, true, false), std::pair(false, true));
  EXPECT_EQ(fields(bob, false, true), std::pair(true, false));
  EXPECT_EQ(fields(bob, true, true), std::pair(false, false));
  EXPECT_EQ(fields({}, false, false), std::pair(false, false));
}

// Of an account its mail counts, and what comes in from others never.
TEST_F(IntakeTest, AnAccountSendsNoMoreThanItMay) {
  config.accounts = {{"*", {{2, 3600}}, {{3, 3600}}}};
  engine->configure(config);
  std::uint64_t request = 0;
  base::Token bob;
  bob.bytes.fill(7);
  intake->tickets().give(bob, 0, "bob");
  const auto send = [&](base::Token session, std::size_t recipients) {
    ++request;
    auto frame = submit_frame(request, static_cast<std::uint8_t>(request), 0);
    frame.session = session;
    std::vector<std::string> to;
    for (std::size_t i = 0; i < recipients; ++i) to.push_back("r" + std::to_string(i) + "@far.example");
    return submit(frame, to, "x\r\n");
  };
  for (int i = 0; i < 5; ++i) EXPECT_EQ(send({}, 3), "accepted");
  EXPECT_EQ(send(bob, 4), "550 5.7.1");
  EXPECT_EQ(send(bob, 2), "accepted");
  EXPECT_EQ(send(bob, 2), "452 4.7.1");
  EXPECT_EQ(send(bob, 1), "accepted");
  EXPECT_EQ(send(bob, 1), "452 4.7.1");
  EXPECT_EQ(send({}, 3), "accepted");
  clock.advance(base::Millis(3'700'000));
  EXPECT_EQ(send(bob, 3), "accepted");
}

// The sender is asked as he is written, and as the mailbox behind him is called.
TEST_F(IntakeTest, AnAccountSendsAsNobodyElse) {
  config.accounts = {{.name = "*", .senders = {"{account}", "*@lists.example"}}};
  config.default_domain = mail::Domain::parse("example.org").value();
  config.rights.alias_domains = {{mail::Domain::parse("old.example").value(), config.default_domain}};
  engine->configure(config);
  base::Token ann;
  ann.bytes.fill(7);
  intake->tickets().give(ann, 0, "ann");
  std::uint64_t request = 0;
  const auto send = [&](base::Token session, const std::string& from) {
    ++request;
    auto frame = submit_frame(request, static_cast<std::uint8_t>(request), 0);
    frame.session = session;
    frame.from = from.empty() ? mail::ReversePath() : mail::ReversePath(address(from));
    return submit(frame, {"a@far.example"}, "x\r\n");
  };
  for (const auto* own : {"ann@example.org", "Ann@Example.ORG", "ann+x@example.org", "ann@old.example", "ann+y@old.example",
                          "eve@lists.example", ""})
    EXPECT_EQ(send(ann, own), "accepted") << own;
  for (const auto* other : {"bob@example.org", "ann@far.example", "annx@example.org", "+ann@example.org", "ann@lists.example.org"})
    EXPECT_EQ(send(ann, other), "550 5.7.1") << other;
  EXPECT_EQ(send({}, "bob@example.org"), "accepted") << "who has not logged in is not asked";
}

// One that finds no room costs its account nothing.
TEST_F(IntakeTest, WhatIsNotStoredIsNotCounted) {
  config.accounts = {{"bob", {{1, 3600}}, {}}};
  engine->configure(config);
  base::Token bob;
  bob.bytes.fill(7);
  intake->tickets().give(bob, 0, "bob");
  auto frame = submit_frame(1'000, 250, 0);
  frame.session = bob;
  disk.full = true;
  const std::string large(200'000, 'x');
  std::string said = "accepted";
  for (std::uint64_t n = 1; n < 200 && said == "accepted"; ++n) {  // until the journal is full
    auto other = submit_frame(100 + n, static_cast<std::uint8_t>(n), 0);
    said = submit(other, {"a@far.example"}, large);
  }
  ASSERT_EQ(said, "452 4.3.1");
  EXPECT_EQ(submit(frame, {"a@far.example"}, large), "452 4.3.1");
  EXPECT_FALSE(intake->usage().refusal(config.accounts[0], "bob", 1, engine->now()));
}

// Before they are replaced: a stolen smtpd may name one list again and again.
TEST_F(IntakeTest, WhatBecomesTooManyIsNotReplaced) {
  config::Alias list;
  list.name = "all";
  list.address = address("all@example.org");
  for (int i = 0; i < 20'000; ++i) list.targets.push_back({address("m" + std::to_string(i) + "@far.example"), {}});
  list.count = static_cast<std::uint32_t>(list.targets.size());
  config.rights.domains[0].aliases = {list};
  engine->configure(config);
  EXPECT_EQ(submit(submit_frame(1, 1, 0, 30), std::vector<std::string>(30, "all@example.org"), "x\r\n"), "452 4.5.3");
}

// ETRN: from networks and accounts that may; what is blocked stays blocked.
TEST_F(IntakeTest, AClientMayHaveAQueueStarted) {
  config.rights.listeners[0].etrn_from = {base::parse_network("10.9.0.0/16").value()};
  config.accounts = {{"amy", {}, {}, true}, {"bob", {}, {}, false}};
  engine->configure(config);
  base::Token amy, bob;
  amy.bytes.fill(1);
  bob.bytes.fill(2);
  intake->tickets().give(amy, 0, "amy");
  intake->tickets().give(bob, 0, "bob");
  std::uint64_t request = 0;
  const auto etrn = [&](std::string_view client, const base::Token& session, const std::string& queue) {
    ipc::StartQueue start;
    start.request = base::RequestId(++request);
    start.origin = base::parse_ip(client).value();
    start.session = session;
    start.queue = queue;
    smtpd.connection->send(start);
    turn();
    EXPECT_EQ(smtpd.queues_started.back().request, start.request);
    return text_of(smtpd.queues_started.back().reply);
  };
  EXPECT_EQ(etrn("10.1.2.3", {}, "far.example"), "459 4.7.1 Node far.example not allowed");
  EXPECT_EQ(etrn("10.1.2.3", bob, "far.example"), "459 4.7.1 Node far.example not allowed");
  EXPECT_EQ(etrn("10.9.2.3", {}, "far.example"), "251 2.0.0 No messages waiting for node far.example");
  ASSERT_EQ(submit(submit_frame(100, 1, 0), {"a@far.example"}, "x\r\n"), "accepted");
  ASSERT_EQ(submit(submit_frame(101, 2, 0), {"b@far.example"}, "x\r\n"), "accepted");
  EXPECT_EQ(etrn("10.9.2.3", {}, "far.example"), "253 2.0.0 2 pending messages for node far.example started");
  EXPECT_EQ(etrn("192.0.2.1", amy, "far.example"), "253 2.0.0 2 pending messages for node far.example started");
  EXPECT_EQ(etrn("192.0.2.1", amy, "other.example"), "251 2.0.0 No messages waiting for node other.example");
}

// Each retry is a record: who asks all the time makes no more of them than who asks now and then.
TEST_F(IntakeTest, AQueueIsNotStartedAgainAtOnce) {
  config.rights.listeners[0].etrn_from = {base::parse_network("10.0.0.0/8").value()};
  engine->configure(config);
  ASSERT_EQ(submit(submit_frame(100, 1, 0), {"a@far.example"}, "x\r\n"), "accepted");
  std::uint64_t request = 0;
  const auto records = [&](int times) {
    const auto before = store->health().records;
    for (int i = 0; i < times; ++i) {
      ipc::StartQueue start;
      start.request = base::RequestId(++request);
      start.origin = base::parse_ip("10.1.2.3").value();
      start.queue = "far.example";
      smtpd.connection->send(start);
      turn();
      EXPECT_EQ(text_of(smtpd.queues_started.back().reply), "253 2.0.0 1 pending messages for node far.example started");
    }
    return store->health().records - before;
  };
  const auto once = records(1);
  EXPECT_GT(once, 0U);
  EXPECT_EQ(records(50), 0U);
  clock.advance(base::Millis(10'000));
  turn();
  EXPECT_EQ(records(50), once);
}

TEST_F(IntakeTest, ALockEndsTheSessionsOfItsAccount) {
  base::Token bob, amy;
  bob.bytes.fill(1);
  amy.bytes.fill(2);
  intake->tickets().give(bob, 0, "bob");
  intake->tickets().give(amy, 0, "amy");
  bool done = false;
  engine->change_blocks(
      [](Blocks& blocks) noexcept { return blocks.lock({.account = "bob", .reason = "spam"}); },
      [&](Blocks::Said said) noexcept { done = said.has_value(); });
  turn();
  EXPECT_TRUE(done);
  EXPECT_EQ(smtpd.ended, std::vector<std::string>{"bob"});
  EXPECT_EQ(intake->tickets().account_of(bob, 0), nullptr);
  ASSERT_NE(intake->tickets().account_of(amy, 0), nullptr);
}

TEST_F(IntakeTest, RightsAreDecidedAgain) {
  auto stranger = submit_frame(1, 1, 0);
  stranger.origin = base::parse_ip("192.0.2.1").value();
  EXPECT_EQ(submit(stranger, {"a@far.example"}, "x"), "550 5.7.1");
  stranger = submit_frame(2, 2, 0);
  stranger.origin = base::parse_ip("192.0.2.1").value();
  EXPECT_EQ(submit(stranger, {"nobody@example.org"}, "x"), "550 5.1.1");
  stranger.request = base::RequestId(3);
  EXPECT_EQ(submit(stranger, {"ann@example.org"}, "x"), "accepted");
  // A listener that the parent did not name for this channel.
  auto other = submit_frame(4, 4, 0);
  other.listener = base::ListenerIndex(1);
  EXPECT_EQ(submit(other, {"a@far.example"}, "x"), "550 5.7.1");
  EXPECT_EQ(store->count(), 1U);
  EXPECT_EQ(engine->counters().refused.total(), 3U);
}

// However smtpd came to believe it: nobody speaks for another whom the listener does not name.
TEST_F(IntakeTest, WhoSpeaksForWhomIsDecidedAgain) {
  auto changed = config;
  changed.rights.listeners[0].proxy_from = {base::parse_network("192.0.2.1").value()};
  changed.rights.listeners[0].xclient_from = {base::parse_network("192.0.2.2").value()};
  engine->configure(changed);
  const auto insider = base::parse_ip("10.1.2.3").value();
  auto frame = submit_frame(1, 1, 0);
  frame.origin = base::parse_ip("192.0.2.3").value();
  frame.origin.proxied = insider;
  EXPECT_EQ(submit(frame, {"ann@example.org"}, "x"), "550 5.7.1");
  frame = submit_frame(2, 2, 0);
  frame.origin = base::parse_ip("192.0.2.1").value();
  frame.origin.claimed = insider;
  EXPECT_EQ(submit(frame, {"ann@example.org"}, "x"), "550 5.7.1");
  frame = submit_frame(3, 3, 0);
  frame.origin = base::parse_ip("192.0.2.1").value();
  frame.origin.proxied = insider;
  EXPECT_EQ(submit(frame, {"a@far.example"}, "x"), "accepted");
  EXPECT_EQ(messages().at(0).client, insider);
  frame = submit_frame(4, 4, 0);
  frame.origin = base::parse_ip("192.0.2.2").value();
  frame.origin.claimed = insider;
  frame.client_name = "client.example";
  frame.forwarded = "first.example [198.51.100.7]";
  EXPECT_EQ(submit(frame, {"a@far.example"}, "x"), "accepted");
  const auto trace = prefix(smtpd.submitted.back().id);
  EXPECT_NE(trace.find("(client.example [10.1.2.3])"), std::string::npos) << trace;
  EXPECT_NE(trace.find("(forwarded first.example [198.51.100.7])"), std::string::npos) << trace;
}

TEST_F(IntakeTest, WhatTheRulesBeforeAReloadAllowedIsStillTaken) {
  auto changed = config;
  changed.rights.listeners[0].relay_from.clear();
  engine->configure(changed);
  EXPECT_EQ(submit(submit_frame(1, 1, 0), {"a@far.example"}, "x"), "accepted");
  clock.advance(base::Millis(16 * 60 * 1000));
  EXPECT_EQ(submit(submit_frame(2, 2, 0), {"a@far.example"}, "x"), "550 5.7.1");
}

TEST_F(IntakeTest, SizeRecipientsAndRoomAreLimited) {
  config.message_size = 1000;
  config.recipients = 2;
  engine->configure(config);
  EXPECT_EQ(submit(submit_frame(1, 1, 0), {"a@far.example"}, std::string(5000, 'x')), "552 5.3.4");
  EXPECT_EQ(submit(submit_frame(2, 2, 0), {"a@f.example", "b@f.example", "c@f.example"}, "x"),
            "452 4.5.3");
  disk.free = 1000;
  store->tick();
  turn();
  intake->check_room();
  turn();
  ASSERT_EQ(smtpd.intake.size(), 2U);
  EXPECT_FALSE(smtpd.intake[1].open);
  EXPECT_EQ(smtpd.intake[1].refusal.code, 452);
  EXPECT_EQ(submit(submit_frame(3, 3, 0), {"a@far.example"}, "x"), "452 4.3.1");
  disk.free = 100ULL << 30;
  store->tick();
  turn();
  intake->check_room();
  turn();
  EXPECT_TRUE(smtpd.intake.back().open);
}

TEST_F(IntakeTest, ASubmissionThatFindsNoRoomIsRefusedForGood) {
  disk.full = true;
  std::uint64_t n = 0;
  std::string said;
  while (n < 100 && said != "452 4.3.1") {
    ++n;
    said = submit(submit_frame(n, static_cast<std::uint8_t>(n), 0), {"a@far.example"},
                  std::string(100'000, 'x'));
    ASSERT_TRUE(said == "accepted" || said == "452 4.3.1") << said;
  }
  ASSERT_EQ(said, "452 4.3.1");
  EXPECT_EQ(store->count(), n - 1);
  EXPECT_TRUE(intake->idle());
  smtpd.connection->send(ipc::AskToken{base::RequestId(500), token(static_cast<std::uint8_t>(n))});
  turn();
  EXPECT_EQ(smtpd.tokens.back().id.value, 0U);
  intake->check_room();
  turn();
  EXPECT_FALSE(smtpd.intake.back().open);
  disk.full = false;
  store->tick();
  turn();
  intake->check_room();
  turn();
  EXPECT_TRUE(smtpd.intake.back().open);
  EXPECT_EQ(submit(submit_frame(200, 200, 0), {"a@far.example"}, "x"), "accepted");
}

TEST_F(IntakeTest, LargeBodiesUnderWayCountAsIfTheyWereWritten) {
  config.message_size = 3 << 20;
  config.stop_intake = 40 << 20;
  engine->configure(config);
  disk.free = (40 << 20) + 2 * ((4 << 20) + 1024);
  for (std::uint64_t n = 1; n <= 3; ++n) smtpd.connection->send(ipc::OpenLarge{base::RequestId(n)});
  turn();
  ASSERT_EQ(smtpd.large.size(), 3U);
  EXPECT_NE(smtpd.large[0].large.value, 0U);
  EXPECT_NE(smtpd.large[1].large.value, 0U);
  EXPECT_EQ(smtpd.large[2].large.value, 0U);
  disk.free -= 1;
  store->tick();
  turn();
  intake->check_room();
  EXPECT_FALSE(intake->open());
  smtpd.connection->send(ipc::AbandonLarge{smtpd.large[0].large});
  smtpd.connection->send(ipc::AbandonLarge{smtpd.large[1].large});
  smtpd.connection->send(ipc::OpenLarge{base::RequestId(4)});
  turn();
  ASSERT_EQ(smtpd.large.size(), 4U);
  EXPECT_NE(smtpd.large[3].large.value, 0U);
  intake->check_room();
  EXPECT_TRUE(intake->open());
}

TEST_F(IntakeTest, ATokenIsAnsweredForGood) {
  const auto ask = [&](FakeSmtpd& from, std::uint64_t request, std::uint8_t byte) {
    from.connection->send(ipc::AskToken{base::RequestId(request), token(byte)});
    turn();
    return from.tokens.empty() ? base::MessageId(99) : from.tokens.back().id;
  };
  EXPECT_EQ(submit(submit_frame(1, 7, 0), {"a@far.example"}, "x"), "accepted");
  const auto id = smtpd.submitted[0].id;
  EXPECT_EQ(ask(smtpd, 10, 7), id);
  EXPECT_EQ(ask(smtpd, 11, 8), base::MessageId(0));
  // It comes again by a mistake of smtpd: one message, the same answer.
  EXPECT_EQ(submit(submit_frame(2, 7, 0), {"a@far.example"}, "x"), "accepted");
  EXPECT_EQ(smtpd.submitted[1].id, id);
  EXPECT_EQ(store->count(), 1U);
  // The next queued knows it too.
  smtpd.connection.reset();
  end();
  begin();
  FakeSmtpd next;
  connect(next);
  EXPECT_EQ(ask(next, 12, 7), id);
}

TEST_F(IntakeTest, ATokenUnderWayIsWaitedFor) {
  send(smtpd, submit_frame(1, 7, 1), {"a@far.example"}, "x");
  smtpd.connection->send(ipc::AskToken{base::RequestId(2), token(7)});
  for (int n = 0; n < 4 && smtpd.tokens.empty(); ++n) loop->run_once(false);
  EXPECT_TRUE(smtpd.tokens.empty());  // nothing was flushed yet
  turn();
  ASSERT_EQ(smtpd.tokens.size(), 1U);
  EXPECT_EQ(smtpd.tokens[0].id, smtpd.submitted[0].id);
}

TEST_F(IntakeTest, AHalfSubmissionIsForgottenWithItsChannel) {
  smtpd.connection->send(submit_frame(1, 7, 100));
  turn();
  FakeSmtpd fresh;
  connect(fresh);  // takes the place of the former
  fresh.connection->send(ipc::AskToken{base::RequestId(1), token(7)});
  turn();
  ASSERT_EQ(fresh.tokens.size(), 1U);
  EXPECT_EQ(fresh.tokens[0].id.value, 0U);
  EXPECT_EQ(store->count(), 0U);
}

TEST_F(IntakeTest, WhatTheFormerChannelStillHoldsIsNeverTaken) {
  send(smtpd, submit_frame(1, 7, 1), {"a@far.example"}, "x");
  smtpd.connection->channel().flush();  // in the socket, unread
  FakeSmtpd fresh;
  auto pair = ipc::make_channel_pair();
  fresh.connection = std::make_unique<FakeSmtpd::Connection>(*loop, std::move(pair.a), fresh);
  intake->connect(0, {base::ListenerIndex(0)}, std::move(pair.b));
  fresh.connection->send(ipc::AskToken{base::RequestId(1), token(7)});
  turn();
  ASSERT_EQ(fresh.tokens.size(), 1U);
  EXPECT_EQ(fresh.tokens[0].id.value, 0U);
  EXPECT_EQ(store->count(), 0U);
}

TEST_F(IntakeTest, WrongCountsCostTheChannelAndNobodyElse) {
  FakeSmtpd other;
  connect(other, 1);
  using Break = std::function<void(FakeSmtpd&)>;
  const std::vector<Break> breaks = {
      [&](FakeSmtpd& s) { s.connection->send(submit_frame(1, 1, 1, 0)); },
      [&](FakeSmtpd& s) { send(s, submit_frame(1, 1, 1), {"a@f.example", "b@f.example"}, ""); },
      [&](FakeSmtpd& s) { send(s, submit_frame(1, 1, 3), {"a@f.example"}, "four"); },
      [&](FakeSmtpd& s) { s.connection->send(submit_frame(1, 1, ipc::kMaxInlineBody + 1)); },
      [&](FakeSmtpd& s) { s.connection->send(ipc::SubmitBody{base::RequestId(1), {"x"}}); },
      [&](FakeSmtpd& s) {
        s.connection->send(submit_frame(1, 1, 5));
        s.connection->send(submit_frame(2, 2, 5));
      },
      [&](FakeSmtpd& s) { s.connection->send(ipc::AbandonLarge{base::MessageId(5)}); },
  };
  for (const auto& one : breaks) {
    FakeSmtpd bad;
    connect(bad, 0);
    one(bad);
    turn();
    EXPECT_TRUE(bad.is_closed);
  }
  send(other, submit_frame(1, 9, 1), {"a@far.example"}, "x");
  turn();
  EXPECT_EQ(other.submitted.size(), 1U);
  EXPECT_EQ(store->count(), 1U);
}

TEST_F(IntakeTest, ALargeBodyIsSealedBeforeItCounts) {
  smtpd.connection->send(ipc::OpenLarge{base::RequestId(1)});
  smtpd.connection->send(ipc::OpenLarge{base::RequestId(2)});
  turn();
  ASSERT_EQ(smtpd.large.size(), 2U);
  const auto id = smtpd.large[0].large;
  const auto path = "large/" + base::to_string(id);
  ASSERT_TRUE(disk.has(path));
  disk.content(path) = "a large body\r\n";
  auto frame = submit_frame(3, 3, 14);
  frame.large = id;
  send(smtpd, frame, {"a@far.example"}, "");
  turn();
  ASSERT_EQ(smtpd.submitted.size(), 1U);
  EXPECT_EQ(smtpd.submitted[0].id, id);
  EXPECT_TRUE(look(id)->large);
  // The channel ends: the file that was never submitted goes, the other one stays.
  smtpd.connection.reset();
  turn();
  EXPECT_TRUE(disk.has(path));
  EXPECT_FALSE(disk.has("large/" + base::to_string(smtpd.large[1].large)));
}

TEST_F(IntakeTest, PostmasterGoesToTheConfiguredOne) {
  auto stranger = submit_frame(1, 1, 0);
  stranger.origin = base::parse_ip("192.0.2.1").value();
  EXPECT_EQ(submit(stranger, {"PostMaster"}, "x"), "accepted");
  EXPECT_EQ(messages().at(0).recipients[0].address.text(), "ann@example.org");
}

}  // namespace
}  // namespace postern::queued
