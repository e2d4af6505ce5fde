// Who is told what, and when: RFC 3461's table, occasions, copies, badmail.
#include "queued/notices.h"

#include <gtest/gtest.h>

#include "tests/unit/queued/notices_rig.h"

namespace postern::queued {
namespace {

using enum mail::ReportAction;

// --- The table --------------------------------------------------------------------------------------

TEST(ReportOn, WhichReportForWhichWishAndOutcome) {
  using Reported = std::optional<mail::ReportAction>;
  const Reported none;
  const struct {
    const char* notify;  // "": not said
    Reported failed, late, in_time, stored, relayed, answerable;
  } kTable[] = {
      {"", kFailed, kDelayed, none, none, none, none},
      {"NEVER", none, none, none, none, none, none},
      {"FAILURE", kFailed, none, none, none, none, none},
      {"DELAY", none, kDelayed, none, none, none, none},
      {"SUCCESS", none, none, none, kDelivered, kRelayed, none},
      {"SUCCESS,FAILURE", kFailed, none, none, kDelivered, kRelayed, none},
      {"SUCCESS,DELAY", none, kDelayed, none, kDelivered, kRelayed, none},
      {"FAILURE,DELAY", kFailed, kDelayed, none, none, none, none},
      {"SUCCESS,FAILURE,DELAY", kFailed, kDelayed, none, kDelivered, kRelayed, none},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(row.notify);
    const auto notify = mail::Notify::parse(row.notify).value_or(mail::Notify());
    for (const auto arrival :
         {ipc::Arrival::kFinal, ipc::Arrival::kRelayed, ipc::Arrival::kAnswerable}) {
      EXPECT_EQ(report_on(notify, Fate::kFailed, arrival, false), row.failed);
      EXPECT_EQ(report_on(notify, Fate::kFailed, arrival, true), row.failed);
      EXPECT_EQ(report_on(notify, Fate::kDeferred, arrival, true), row.late);
      EXPECT_EQ(report_on(notify, Fate::kDeferred, arrival, false), row.in_time);
    }
    for (const bool late : {false, true}) {
      EXPECT_EQ(report_on(notify, Fate::kDelivered, ipc::Arrival::kFinal, late), row.stored);
      EXPECT_EQ(report_on(notify, Fate::kDelivered, ipc::Arrival::kRelayed, late), row.relayed);
      EXPECT_EQ(report_on(notify, Fate::kDelivered, ipc::Arrival::kAnswerable, late),
                row.answerable);
    }
  }
}

TEST(WantedOfOriginal, OnlyAFailureBringsBackTheWholeAndOnlyASmallOne) {
  Message message;
  message.body_size = 1000;
  const auto report = [](mail::ReportAction action) { return std::vector{Report{0, action, {}, {}, {}}}; };
  EXPECT_EQ(wanted_of_original(message, report(kFailed)), kNoticeHeader);
  message.ret = mail::Return::kHeaders;
  EXPECT_EQ(wanted_of_original(message, report(kFailed)), kNoticeHeader);
  message.ret = mail::Return::kFull;
  EXPECT_EQ(wanted_of_original(message, report(kFailed)), kNoticeWhole);
  for (const auto action : {kDelayed, kRelayed, kDelivered})
    EXPECT_EQ(wanted_of_original(message, report(action)), kNoticeHeader);
  message.tls_wish = mail::TlsWish::kRequired;  // RFC 8689 5
  EXPECT_EQ(wanted_of_original(message, report(kFailed)), kNoticeHeader);
  message.tls_wish = mail::TlsWish::kUnsaid;
  message.body_size = kNoticeWhole;
  EXPECT_EQ(wanted_of_original(message, report(kFailed)), kNoticeWhole);
  message.prefix_size = 1;
  EXPECT_EQ(wanted_of_original(message, report(kFailed)), kNoticeHeader);
  message.prefix_size = 0;
  message.recipients.push_back({.number = 0, .sender = address("owner-news@example.org")});  // who did not ask for it
  EXPECT_EQ(wanted_of_original(message, report(kFailed)), kNoticeHeader);
  message.recipients.clear();
  message.form = ipc::BodyForm::kBinary;
  EXPECT_EQ(wanted_of_original(message, report(kFailed)), kNoticeHeader);
}

// --- Occasions --------------------------------------------------------------------------------------

TEST_F(NoticesTest, OneForAnOccasionWithAllItsRecipients) {
  begin();
  const auto id = post({{"a@far.example"}, {"b@far.example", "NEVER"}, {"c@far.example", "SUCCESS"},
                        {"d@far.example", "SUCCESS", "rfc822;old@far.example"}});
  conclude(id, {failed(), failed(), delivered(ipc::Arrival::kFinal), delivered(ipc::Arrival::kRelayed)});
  const auto text = only_notice();
  EXPECT_TRUE(has(text, "Original-Envelope-Id: QQ+1\r\n"));
  EXPECT_TRUE(has(text, "Final-Recipient: rfc822; a@far.example\r\nAction: failed\r\n"));
  EXPECT_FALSE(has(text, "b@far.example"));
  EXPECT_TRUE(has(text, "Final-Recipient: rfc822; c@far.example\r\nAction: delivered\r\n"));
  EXPECT_TRUE(has(text, "Original-Recipient: rfc822; old@far.example\r\n"
                        "Final-Recipient: rfc822; d@far.example\r\nAction: relayed\r\n"));
  EXPECT_EQ(engine->counters().bounces.total(), 1U);
}

// RFC 3464 2.3.4 wants the class of the last failure, RFC 3461 6.3 its very words.
TEST_F(NoticesTest, OfAnExpiredOneTheLastAnswerIsTold) {
  struct Case {
    Attempt last;
    std::string status, diagnostic;
  };
  const Case cases[] = {
      {deferred(), "4.2.0", "smtp; 451 4.2.0 later"},
      {{ipc::Result::kDeferred, {}, {451, 0, 0, 0, "later"}, {}}, "4.4.7", "smtp; 451 later"},
      {{ipc::Result::kDeferred, {}, {554, 5, 7, 1, "go away"}, {}}, "4.4.7", "smtp; 554 5.7.1 go away"},
      {{ipc::Result::kDeferred, {}, {0, 4, 4, 1, "connecting: refused"}, {}}, "4.4.1",
       "x-postern; 4.4.1 connecting: refused"},
      {{ipc::Result::kUnknown, {}, {}, {}}, "4.4.2",
       "x-postern; 4.4.2 no answer after the final dot; it may have\r\n    arrived"},
  };
  for (const auto& one : cases) {
    begin();
    const auto id = post({{"a@far.example"}});
    pass(base::Millis(2'000'000));
    conclude(id, {one.last});
    const auto text = only_notice();
    EXPECT_TRUE(has(text, "The time for its delivery is over. The last attempt:\r\n    mx.far.example"));
    EXPECT_TRUE(has(text, "Action: failed\r\nStatus: " + one.status + "\r\n")) << text;
    EXPECT_TRUE(has(text, "Diagnostic-Code: " + one.diagnostic + "\r\n")) << text;
    EXPECT_TRUE(has(text, "Please try again later"));
    conclude(notices().at(0).id, {delivered(ipc::Arrival::kFinal)});
    end();
  }
}

TEST_F(NoticesTest, ASuccessAndItsReportAreOneRecord) {
  begin();
  const auto id = post({{"a@far.example", "SUCCESS"}});
  conclude(id, {delivered(ipc::Arrival::kRelayed)});
  EXPECT_EQ(look(id), nullptr);
  EXPECT_TRUE(has(only_notice(), "Action: relayed\r\nStatus: 2.0.0\r\n"));
  EXPECT_EQ(engine->counters().bounces.total(), 0U);
  end();
  begin();
  EXPECT_EQ(look(id), nullptr);
  EXPECT_TRUE(has(only_notice(), "Action: relayed\r\n"));
}

TEST_F(NoticesTest, ANextHopThatReportsIsLeftToDoSo) {
  begin();
  const auto id = post({{"a@far.example", "SUCCESS"}});
  conclude(id, {delivered(ipc::Arrival::kAnswerable)});
  EXPECT_EQ(store->count(), 0U);
}

TEST_F(NoticesTest, ADiscardedMessageIsNotCalledDelivered) {
  config.routes.push_back({{"*"}, {{.kind = config::HopKind::kDiscard}}, 1, false, 1});
  begin();
  (void)post({{"a@far.example", "SUCCESS"}});
  EXPECT_EQ(store->count(), 0U);
  EXPECT_EQ(engine->counters().delivered.total(), 1U);
}

TEST_F(NoticesTest, AMailboxIsNoRemoteHost) {
  begin();
  conclude(post({{"bob@example.org", "SUCCESS"}}), {delivered(ipc::Arrival::kFinal)}, "local");
  const auto text = only_notice();
  EXPECT_TRUE(has(text, "Action: delivered\r\n"));
  EXPECT_FALSE(has(text, "Remote-MTA"));
}

TEST_F(NoticesTest, TheWholeMessageGoesBackToWhoAsksForIt) {
  begin();
  conclude(post({{"a@far.example"}}, mail::Return::kFull), {failed()});
  EXPECT_TRUE(has(only_notice(),
                  "\r\nContent-Type: message/rfc822\r\n\r\nReceived: by test\r\nSubject: x\r\n\r\n"
                  "..hello\r\n\r\n--"));
}

TEST_F(NoticesTest, AMessageTooLargeForItGoesBackAsItsHeader) {
  begin();
  std::string text = "Subject: x\r\n\r\n";
  while (text.size() < kNoticeWhole) text += "a line of text\r\n";
  conclude(post({{"a@far.example"}}, mail::Return::kFull, text), {failed()});
  const auto notice = only_notice();
  EXPECT_TRUE(has(notice, "\r\nContent-Type: text/rfc822-headers\r\n\r\nReceived: by test\r\nSubject: x\r\n"));
  EXPECT_FALSE(has(notice, "a line of text"));
}

// RFC 8689 5: it goes back the way that its message wanted to go, and its body stays here whatever was asked for.
TEST_F(NoticesTest, OfAMessageThatRequiresTlsTheHeaderGoesBackAndRequiresIt) {
  begin();
  tls_wish = mail::TlsWish::kRequired;
  const auto id = post({{"a@far.example"}, {"b@far.example", "SUCCESS"}}, mail::Return::kFull);
  tls_wish = mail::TlsWish::kUnsaid;
  conclude(id, {failed(), delivered(ipc::Arrival::kRelayed)});
  ASSERT_EQ(notices().size(), 1U);
  EXPECT_EQ(notices()[0].tls_wish, mail::TlsWish::kRequired);
  const auto text = only_notice();
  EXPECT_TRUE(has(text, "\r\nContent-Type: text/rfc822-headers\r\n\r\nReceived: by test\r\nSubject: x\r\n"));
  EXPECT_FALSE(has(text, "hello"));
  const auto notice = notices()[0].id;
  conclude(post({{"a@far.example"}}, mail::Return::kFull), {failed()});
  ASSERT_EQ(notices().size(), 2U);
  for (const auto& message : notices())
    EXPECT_EQ(message.tls_wish == mail::TlsWish::kRequired, message.id == notice);
}

TEST_F(NoticesTest, OneThatRequiresTlsDoesSoWithLessToo) {
  begin();
  conclude(post({{"a@far.example"}}, mail::Return::kFull, "Subject: x\r\n\r\ngr\xc3\xbc\xc3\x9f\r\n"), {failed()});
  const auto text = only_notice();
  auto record = envelope(1);
  record.from = {};
  record.notice = record.eight_bit = true;
  record.tls_wish = mail::TlsWish::kRequired;
  record.prefix.clear();
  const auto id = post(std::move(record), text);
  conclude(id, {{ipc::Result::kFailed, {}, {0, 5, 6, 3, "8-bit data"}, {}}});
  ASSERT_EQ(look(id), nullptr);
  ASSERT_EQ(notices().size(), 2U);
  EXPECT_EQ(notices()[1].tls_wish, mail::TlsWish::kRequired);
  EXPECT_TRUE(has(body(notices()[1].id), "Content-Type: text/rfc822-headers\r\n\r\n"));
}

TEST_F(NoticesTest, EightBitsThatGoBackAreAnnounced) {
  begin();
  conclude(post({{"a@far.example"}}, mail::Return::kFull, "Subject: x\r\n\r\ngr\xC3\xBC\xC3\x9F\r\n"), {failed()});
  ASSERT_EQ(notices().size(), 1U);
  EXPECT_TRUE(notices()[0].eight_bit);
}

// RFC 6533: a notice needs SMTPUTF8 where its reader's address does, and nowhere else.
TEST_F(NoticesTest, ANoticeIsUtf8ForWhomItCanBe) {
  begin();
  smtputf8 = true;
  const std::string text = "Subject: gr\xC3\xBC\xC3\x9F\r\n\r\nhi\r\n";
  conclude(post({{"j\xc3\xbcrg@far.example"}}, {}, text, "b\xc3\xb6" "b@away.example"), {failed()});
  ASSERT_EQ(notices().size(), 1U);
  EXPECT_TRUE(notices()[0].smtputf8);
  EXPECT_TRUE(notices()[0].eight_bit);
  EXPECT_TRUE(has(only_notice(), "\r\nFinal-Recipient: utf-8; j\xc3\xbcrg@far.example\r\n"));
  EXPECT_TRUE(has(only_notice(), "\r\nContent-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n"));
  conclude(post({{"j\xc3\xbcrg@far.example"}}, {}, text), {failed()});
  ASSERT_EQ(notices().size(), 2U);
  EXPECT_FALSE(notices()[1].smtputf8);
  EXPECT_FALSE(notices()[1].eight_bit);
  EXPECT_TRUE(has(body(notices()[1].id), "\r\nFinal-Recipient: utf-8; j\\x{FC}rg@far.example\r\n"));
}

TEST_F(NoticesTest, ACopyOfABounceGoesToWhomTheConfigurationNames) {
  config.bounce_copy_to = address("bob@example.org");
  begin();
  const auto id = post({{"a@far.example"}, {"b@far.example", "SUCCESS"}});
  conclude(id, {failed(), deferred()});
  ASSERT_EQ(notices().size(), 1U);
  const auto bounce = notices()[0];
  ASSERT_EQ(bounce.recipients.size(), 2U);
  EXPECT_EQ(bounce.recipients[0].address.text(), "ann@example.org");
  EXPECT_EQ(bounce.recipients[1].address.text(), "bob@example.org");
  engine->conclude(id, {{1, delivered(ipc::Arrival::kFinal)}}, "", {});
  turn();
  ASSERT_EQ(notices().size(), 2U);
  EXPECT_EQ(notices()[1].recipients.size(), 1U);  // no bounce, no copy
  // Not twice to the same.
  conclude(post({{"a@far.example"}}, {}, "\r\n", "bob@example.org"), {failed()});
  ASSERT_EQ(notices().size(), 3U);
  EXPECT_EQ(notices()[2].recipients.size(), 1U);
}

// What it brings back is beyond what is taken there, not what it says.
TEST_F(NoticesTest, OneOfEightBitsGoesOnceMoreWithLess) {
  config.bounce_copy_to = address("bob@example.org");
  begin();
  conclude(post({{"a@far.example"}}, mail::Return::kFull, "Subject: x\r\n\r\ngr\xc3\xbc\xc3\x9f\r\n"), {failed()});
  ASSERT_EQ(notices().size(), 1U);
  const auto whole = notices()[0];
  EXPECT_TRUE(whole.eight_bit);
  const Attempt narrow{ipc::Result::kFailed, {}, {0, 5, 6, 3, "8-bit data"}, {}};
  conclude(whole.id, {narrow, narrow});
  EXPECT_EQ(look(whole.id), nullptr);
  ASSERT_EQ(notices().size(), 1U);
  const auto header = notices()[0];
  EXPECT_FALSE(header.eight_bit);
  ASSERT_EQ(header.recipients.size(), 2U);
  EXPECT_EQ(header.recipients[0].address.text(), "ann@example.org");
  EXPECT_EQ(header.recipients[1].address.text(), "bob@example.org");
  const auto text = body(header.id);
  EXPECT_TRUE(has(text, "Content-Type: text/rfc822-headers\r\n\r\n"));
  EXPECT_TRUE(has(text, "Subject: x\r\n\r\n--"));
  EXPECT_TRUE(has(text, "Action: failed\r\n"));
  EXPECT_FALSE(disk.exists("badmail").value_or(true));
  // It is like any other now, and one that fails otherwise goes into badmail at once.
  conclude(header.id, {narrow, failed()});
  EXPECT_TRUE(notices().empty());
  EXPECT_TRUE(disk.exists("badmail").value_or(false));
}

// --- One for many leases ----------------------------------------------------------------------------

class ManyRecipients : public NoticesTest {
 protected:
  static constexpr std::uint32_t kMany = 4 * ipc::kLeaseRecipients;

  base::MessageId post_many(const char* notify = "") {
    auto record = envelope(0);
    record.from = mail::ReversePath(address("ann@example.org"));
    for (std::uint32_t n = 0; n < kMany; ++n)
      record.recipients.push_back({.number = n,
                                   .address = address("u" + std::to_string(n) + "@far.example"),
                                   .notify = mail::Notify::parse(notify).value_or(mail::Notify())});
    return post(std::move(record), "hello\r\n");
  }
  // Asks on the next grant, or again on the last one.
  void ask() {
    if (asked_ < relay.grants.size()) ++asked_;
    ASSERT_GT(asked_, 0U);
    relay.ask(relay.grants[asked_ - 1]);
    turn();
  }
  void refuse(std::size_t which) {
    relay.answer(relay.leases.at(which), ipc::Result::kFailed, 550, "no such user");
    turn();
  }
  // All four leases are out.
  base::MessageId all_leased() {
    begin();
    const auto id = post_many();
    connect(relay);
    for (int n = 0; n < 4; ++n) ask();
    EXPECT_EQ(relay.leases.size(), 4U);
    return id;
  }
  static std::size_t recipients_in(const std::string& text) {
    std::size_t count = 0;
    for (auto at = text.find("Action: failed"); at != std::string::npos;
         at = text.find("Action: failed", at + 1))
      ++count;
    return count;
  }
  FakeRelay relay;

 private:
  std::size_t asked_ = 0;
};

TEST_F(ManyRecipients, ThatOneHostRefusesAreOneNotice) {
  const auto id = all_leased();
  for (std::size_t n = 0; n < 4; ++n) {
    EXPECT_TRUE(notices().empty());
    // Not in the journal, so the deliverer keeps it.
    EXPECT_TRUE(relay.saved.empty());
    EXPECT_FALSE(engine->idle() && n > 0);
    refuse(n);
  }
  EXPECT_EQ(recipients_in(only_notice()), kMany);
  EXPECT_EQ(relay.saved.size(), 4U);
  EXPECT_EQ(look(id), nullptr);
  EXPECT_TRUE(engine->idle());
  EXPECT_EQ(engine->counters().failed.total(), kMany);
  EXPECT_EQ(engine->counters().bounces.total(), 1U);
  // Both are one record: another life knows the same.
  end();
  begin();
  EXPECT_EQ(look(id), nullptr);
  EXPECT_EQ(recipients_in(only_notice()), kMany);
}

TEST_F(ManyRecipients, WhatIsReadyCountsAsComing) {
  begin();
  const auto id = post_many();
  connect(relay);
  ask();
  refuse(0);  // the others are ready, and nobody has asked for them
  EXPECT_TRUE(notices().empty());
  for (int n = 1; n < 4; ++n) {
    ask();
    refuse(static_cast<std::size_t>(n));
  }
  EXPECT_EQ(recipients_in(only_notice()), kMany);
  EXPECT_EQ(look(id), nullptr);
}

TEST_F(ManyRecipients, ADeliveryNeverWaitsForThem) {
  const auto id = all_leased();
  refuse(0);
  auto outcome = relay.leases[1];
  ipc::Outcome mixed{base::RequestId(++relay.request), outcome.lease, outcome.epoch, id, "mx", {}};
  for (const auto& recipient : outcome.recipients) {
    const bool taken = recipient.number % 2 == 0;
    mixed.results.push_back({recipient.number,
                             taken ? ipc::Result::kDelivered : ipc::Result::kFailed,
                             {},
                             {static_cast<std::uint16_t>(taken ? 250 : 550), {}, {}, {}, "said"},
                             ipc::Arrival::kFinal});
  }
  relay.connection->send(mixed);
  turn();
  EXPECT_EQ(engine->counters().delivered.total(), ipc::kLeaseRecipients / 2);
  EXPECT_TRUE(notices().empty());
  EXPECT_TRUE(relay.saved.empty());  // half of it is not in the journal
  // A crash now: what was delivered is known, the refused ones are tried again, and told of once.
  end();
  begin();
  const auto* message = look(id);
  ASSERT_NE(message, nullptr);
  EXPECT_EQ(message->open, kMany - ipc::kLeaseRecipients / 2);
  EXPECT_TRUE(notices().empty());
}

TEST_F(ManyRecipients, DifferentHostsAreNamedEachWithWhatItSaid) {
  const auto id = all_leased();
  for (std::size_t n = 0; n < 4; ++n) {
    const auto& lease = relay.leases[n];
    ipc::Outcome outcome{base::RequestId(++relay.request), lease.lease, lease.epoch, id,
                         "mx" + std::to_string(n % 2) + ".far.example[192.0.2.9]:25", {}};
    for (const auto& recipient : lease.recipients)
      outcome.results.push_back({recipient.number, ipc::Result::kFailed, {}, {550, 5, 1, 1, "no"}, {}});
    relay.connection->send(outcome);
    turn();
  }
  const auto text = only_notice();
  EXPECT_TRUE(has(text, "Remote-MTA: dns; mx0.far.example\r\n"));
  EXPECT_TRUE(has(text, "Remote-MTA: dns; mx1.far.example\r\n"));
}

TEST_F(ManyRecipients, TheyWaitOnlySoLong) {
  const auto id = all_leased();
  refuse(0);
  pass(Engine::kGatherTime - base::Millis(1));
  EXPECT_TRUE(notices().empty());
  refuse(1);
  pass(base::Millis(1));
  turn();
  EXPECT_EQ(recipients_in(only_notice()), 2 * ipc::kLeaseRecipients);
  EXPECT_EQ(relay.saved.size(), 2U);
  refuse(2);
  refuse(3);
  EXPECT_EQ(notices().size(), 2U);
  EXPECT_EQ(look(id), nullptr);
}

TEST_F(ManyRecipients, AStopDoesNotWait) {
  (void)all_leased();
  refuse(0);
  refuse(1);
  delivery->stop();
  turn();
  EXPECT_EQ(recipients_in(only_notice()), 2 * ipc::kLeaseRecipients);
  EXPECT_EQ(relay.saved.size(), 2U);
  refuse(2);
  EXPECT_EQ(notices().size(), 2U);
}

TEST_F(ManyRecipients, AReloadLosesNoneOfThem) {
  const auto id = all_leased();
  refuse(0);
  engine->configure(config);
  turn(20);
  EXPECT_FALSE(engine->schedule().leased(id, relay.leases[0].recipients[0].number));
  for (std::size_t n = 1; n < 4; ++n) refuse(n);
  EXPECT_EQ(recipients_in(only_notice()), kMany);
}

TEST_F(ManyRecipients, ADeferredRestMeansThatNothingMoreComes) {
  const auto id = all_leased();
  refuse(0);
  for (std::size_t n = 1; n < 4; ++n) {
    relay.answer(relay.leases[n], ipc::Result::kDeferred, 451, "later");
    turn();
  }
  EXPECT_EQ(recipients_in(only_notice()), ipc::kLeaseRecipients);
  EXPECT_EQ(look(id)->open, 3 * ipc::kLeaseRecipients);
}

TEST_F(ManyRecipients, ADeathOfTheirDelivererEndsTheWaiting) {
  const auto id = all_leased();
  refuse(0);
  relay.connection.reset();
  turn(20);
  EXPECT_EQ(recipients_in(only_notice()), ipc::kLeaseRecipients);
  EXPECT_EQ(look(id)->open, 3 * ipc::kLeaseRecipients);
}

// The last failure comes, and somewhere in what follows the power goes.
class ManyRecipientsCrash : public ManyRecipients,
                            public ::testing::WithParamInterface<std::uint64_t> {};

TEST_P(ManyRecipientsCrash, LosesNoNoticeAndMakesNoneTwice) {
  const auto id = all_leased();
  for (std::size_t n = 0; n < 3; ++n) refuse(n);
  disk.halt_at = disk.operations + GetParam();
  refuse(3);
  end();
  disk.cut_power(GetParam());
  begin();
  std::size_t told = 0;
  for (const auto& notice : notices()) told += recipients_in(body(notice.id));
  const auto* message = look(id);
  EXPECT_EQ(told + (message == nullptr ? 0 : message->open), kMany);
  EXPECT_TRUE(told == 0 || told == kMany) << told;
}

INSTANTIATE_TEST_SUITE_P(AtEachOperation, ManyRecipientsCrash, ::testing::Range<std::uint64_t>(0, 16));

// --- Badmail ----------------------------------------------------------------------------------------

class BadmailTest : public NoticesTest {
 protected:
  std::string file(const std::string& name) {
    const auto opened = disk.open(name, os::OpenMode::kRead);
    if (!opened) return "(none)";
    return (*opened)->read_at(0, 1 << 20).value();
  }
  static std::string named(base::MessageId id, const char* kind) {
    return "badmail/" + base::to_string(id) + kind;
  }
};

TEST_F(BadmailTest, WhatCannotBeReturnedIsKeptWithItsReason) {
  begin();
  const auto id = mail("a@far.example", "Subject: x\r\n\r\n..hello\r\n", true);
  conclude(id, {failed()});
  EXPECT_EQ(store->count(), 0U);
  EXPECT_EQ(engine->counters().bounces.total(), 0U);
  EXPECT_EQ(file(named(id, ".eml")), "Received: by test\r\nSubject: x\r\n\r\n.hello\r\n");
  const auto reason = file(named(id, ".reason"));
  EXPECT_TRUE(has(reason, "Message: " + base::to_string(id) + "\n"));
  EXPECT_TRUE(has(reason, "\nFrom: <>\n"));
  EXPECT_TRUE(has(reason, "\nTo: <a@far.example>\nRemote: mx.far.example[192.0.2.9]:25\n"
                          "Reply: 550 5.1.1 no such user\n"));
}

TEST_F(BadmailTest, EachOccasionAddsToTheReason) {
  begin();
  auto record = envelope(2);
  record.from = {};
  const auto id = record.id;
  store->accept(std::move(record), std::make_shared<const std::string>(),
                [this, id](bool) noexcept { engine->admit(id); });
  turn();
  conclude(id, {failed(), deferred()});
  const auto first = file(named(id, ".reason"));
  EXPECT_FALSE(has(first, "r1@example.com"));
  engine->conclude(id, {{1, failed()}}, "", {});
  turn();
  EXPECT_TRUE(file(named(id, ".reason")).starts_with(first));
  EXPECT_TRUE(has(file(named(id, ".reason")), "\nTo: <r1@example.com>\n"));
}

TEST_F(BadmailTest, ALargeBodyIsCopied) {
  begin();
  std::string text = "Subject: x\r\n\r\n";
  while (text.size() < (3U << 20)) text += "..a line of text that begins with a dot\r\n";
  const auto id = accept_large_body(text);
  const auto* message = look(id);
  ASSERT_NE(message, nullptr);
  std::optional<bool> done;
  store->put_into_badmail(id, badmail_reason(*message, {}, ""),
                          [&](os::Result<void> result) noexcept { done = result.has_value(); });
  turn();
  EXPECT_EQ(done, true);
  const auto kept = file(named(id, ".eml"));
  EXPECT_TRUE(has(kept, "\r\n.a line of text"));
  EXPECT_FALSE(has(kept, "\r\n..a line of text"));
}

// The rigs keep nothing in memory that has a row, so each of these messages has to be read again.
TEST_F(BadmailTest, AnOutcomeIsNotLostWhileItsMessageLeavesMemory) {
  begin();
  const auto large = accept_large_body("Subject: x\r\n\r\nhello\r\n");
  const auto null = mail("a@far.example", "hello\r\n", true);
  (void)mail("b@far.example");  // so that checkpoints go on
  turn(20);
  ASSERT_EQ(store->find(large), nullptr);
  ASSERT_EQ(store->find(null), nullptr);
  bool first = false, second = false;
  engine->conclude(large, {{0, failed()}}, "", [&]() noexcept { first = true; });
  engine->conclude(null, {{0, failed()}}, "", [&]() noexcept { second = true; });
  turn(20);
  EXPECT_TRUE(first && second);
  EXPECT_EQ(look(large), nullptr);
  EXPECT_EQ(look(null), nullptr);
  EXPECT_EQ(notices().size(), 1U);
  EXPECT_NE(file(named(null, ".eml")), "(none)");
}

TEST_F(BadmailTest, WithoutRoomForItItIsTriedAgain) {
  begin();
  const auto id = mail("a@far.example", "Subject: x\r\n\r\nhello\r\n", true);
  disk.full = true;
  conclude(id, {failed()});
  ASSERT_NE(look(id), nullptr);
  EXPECT_TRUE(look(id)->recipients[0].open());
  EXPECT_EQ(file(named(id, ".eml")), "(none)");
  EXPECT_EQ(file(named(id, ".eml.new")), "(none)");
  disk.full = false;
  conclude(id, {failed()});
  EXPECT_EQ(look(id), nullptr);
  EXPECT_NE(file(named(id, ".eml")), "(none)");
}

// The copy lies there, whole, before the recipient has failed; whatever happens between, it is not lost.
TEST_F(BadmailTest, ACrashAtAnyOperationLosesNothing) {
  begin();
  const auto before = disk.operations;
  conclude(mail("a@far.example", "hello\r\n", true), {failed()});
  const auto operations = disk.operations - before;
  ASSERT_GT(operations, 5U);
  for (std::uint64_t at = 0; at < operations; ++at) {
    const auto id = mail("a@far.example", "hello\r\n", true);
    disk.halt_at = disk.operations + at;
    conclude(id, {failed()});
    end();
    disk.cut_power(at);
    begin();
    const bool lives = look(id) != nullptr;
    if (!lives) {
      EXPECT_EQ(file(named(id, ".eml")), "Received: by test\r\nhello\r\n") << at;
      EXPECT_TRUE(has(file(named(id, ".reason")), "a@far.example")) << at;
    } else {
      conclude(id, {failed()});
      EXPECT_EQ(look(id), nullptr) << at;
    }
    const auto reason = file(named(id, ".reason"));
    EXPECT_EQ(reason.find("To: <"), reason.rfind("To: <")) << at;
  }
}

TEST_F(BadmailTest, WhoWantsToHearNothingLeavesNothing) {
  begin();
  conclude(post({{"a@far.example", "NEVER"}}), {failed()});
  EXPECT_EQ(store->count(), 0U);
  EXPECT_EQ(engine->counters().bounces.total(), 0U);
  EXPECT_FALSE(disk.exists("badmail").value_or(true));
}

}  // namespace
}  // namespace postern::queued
