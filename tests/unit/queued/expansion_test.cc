// Aliases become the recipients that they stand for, and wishes for reports what RFC 3461 makes of them.
#include "queued/expansion.h"

#include <gtest/gtest.h>

#include "common/base/utf8.h"
#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {
namespace {

std::shared_ptr<const config::Alias> alias(const char* name, std::vector<config::AliasTarget> targets,
                                           bool list = false) {
  return std::make_shared<const config::Alias>(
      config::Alias{address(name).local_part(), address(name), static_cast<std::uint32_t>(targets.size()), list,
                    std::move(targets)});
}

Named named(const char* text, std::shared_ptr<const config::Alias> stands_for = nullptr, const char* notify = "",
            const char* orcpt = "") {
  return {address(text), mail::Notify::parse(notify).value_or(mail::Notify()),
          mail::OriginalRecipient::parse(orcpt).value_or(mail::OriginalRecipient()),
          {.verdict = config::Verdict::kLocal, .alias = std::move(stands_for)}};
}

// As for a domain of ours: local parts in any case.
std::string key_of(const mail::Address& address) {
  return address.domain().text() == "example.org" ? base::folded(address.text()) : address.text();
}

// "address notify orcpt alias sender", a line each; "-" for nothing.
std::string expanded(std::vector<Named> all, bool null_sender = false) {
  const auto text = [](const std::string& part) { return ' ' + (part.empty() ? "-" : part); };
  std::string out;
  std::uint32_t number = 0;
  for (const auto& one : expand(std::move(all), null_sender, key_of)) {
    EXPECT_EQ(one.number, number++);
    out += one.address.text() + text(one.notify.text()) + text(one.orcpt.text()) + text(one.alias) +
           text(one.sender ? one.sender->text() : "");
    if (one.expanded != Expanded::kNo) out += one.expanded == Expanded::kList ? " LIST" : " ALIAS";
    out += '\n';
  }
  return out;
}

const config::AliasTarget kAnn{address("ann@example.org"), {}};
const config::AliasTarget kFar{address("x@far.example"), {}};

TEST(Expand, WhoIsNoAliasStaysAsHeIs) {
  EXPECT_EQ(expanded({named("ann@example.org", nullptr, "SUCCESS", "rfc822;old@example.org"), named("x@far.example"),
                      named("ann@example.org", nullptr, "DELAY")}),
            "ann@example.org SUCCESS,DELAY rfc822;old@example.org - -\n"
            "x@far.example - - - -\n");
}

TEST(Expand, OneMailboxIsOneRecipientHoweverItIsWritten) {
  const config::AliasTarget loud{address("ANN@example.org"), {}};
  EXPECT_EQ(expanded({named("Ann@example.org", nullptr, "SUCCESS"), named("ann@example.org", nullptr, "DELAY"),
                      named("all@example.org", alias("all@example.org", {kFar, loud})), named("X@far.example")}),
            "Ann@example.org SUCCESS,FAILURE,DELAY - - -\n"
            "x@far.example - rfc822;all@example.org all@example.org -\n"
            "X@far.example - - - -\n");
}

TEST(Expand, WhoIsRewrittenIsNamedAsHeWasNamed) {
  auto one = named("postmaster@example.org");
  one.decision.rewritten = address("ann@example.org");
  auto other = named("bob@old.example", nullptr, "", "rfc822;older@example.org");
  other.decision.rewritten = address("bob@example.org");
  EXPECT_EQ(expanded({one, other}), "ann@example.org - rfc822;postmaster@example.org - -\n"
                                    "bob@example.org - rfc822;older@example.org - -\n");
}

TEST(Expand, AnAliasForOneHandsAllOn) {
  EXPECT_EQ(expanded({named("a@example.org", alias("a@example.org", {kFar}), "SUCCESS,FAILURE")}),
            "x@far.example SUCCESS,FAILURE rfc822;a@example.org a@example.org -\n");
  EXPECT_EQ(expanded({named("a@example.org", alias("a@example.org", {kFar}), "NEVER", "rfc822;b@example.org")}),
            "x@far.example NEVER rfc822;b@example.org a@example.org -\n");
}

TEST(Expand, ForSeveralItIsReportedItselfWhereThatIsWanted) {
  const auto team = alias("team@example.org", {kAnn, kFar});
  EXPECT_EQ(expanded({named("Team+x@example.org", team)}),
            "ann@example.org - rfc822;Team+x@example.org Team+x@example.org -\n"
            "x@far.example - rfc822;Team+x@example.org Team+x@example.org -\n");
  EXPECT_EQ(expanded({named("team@example.org", team, "SUCCESS,DELAY")}),
            "ann@example.org DELAY rfc822;team@example.org team@example.org -\n"
            "x@far.example DELAY rfc822;team@example.org team@example.org -\n"
            "team@example.org SUCCESS rfc822;team@example.org team@example.org - ALIAS\n");
  // Who wants to hear of success alone hears of nothing else. Named twice it is reported once.
  EXPECT_EQ(expanded({named("team@example.org", team, "SUCCESS"), named("TEAM@example.org", team, "SUCCESS")}),
            "ann@example.org NEVER rfc822;team@example.org team@example.org -\n"
            "x@far.example NEVER rfc822;team@example.org team@example.org -\n"
            "team@example.org SUCCESS rfc822;team@example.org team@example.org - ALIAS\n");
}

// RFC 3461 5.2.3 (a): for each of them that was named there is a report.
TEST(Expand, TwoNamesOfOneAreReportedBoth) {
  const auto a = alias("a@example.org", {kAnn}), b = alias("b@example.org", {kAnn});
  EXPECT_EQ(expanded({named("a@example.org", a, "SUCCESS"), named("b@example.org", b, "SUCCESS,FAILURE")}),
            "ann@example.org SUCCESS,FAILURE rfc822;a@example.org a@example.org -\n"
            "b@example.org SUCCESS rfc822;b@example.org b@example.org - ALIAS\n");
  // Nor does one hear of the other's.
  EXPECT_EQ(expanded({named("a@example.org", a, "FAILURE"), named("b@example.org", b, "SUCCESS")}),
            "ann@example.org FAILURE rfc822;a@example.org a@example.org -\n"
            "b@example.org SUCCESS rfc822;b@example.org b@example.org - ALIAS\n");
  EXPECT_EQ(expanded({named("a@example.org", a, "SUCCESS"), named("a@example.org", a, "SUCCESS")}),
            "ann@example.org SUCCESS rfc822;a@example.org a@example.org -\n");
  EXPECT_EQ(expanded({named("a@example.org", a), named("b@example.org", b)}),
            "ann@example.org - rfc822;a@example.org a@example.org -\n");
}

// The list's delivery is the alias's (5.2.7.1), of whom its members are told nothing.
TEST(Expand, AnAliasForAListIsReportedAsIt) {
  const auto owner = address("owner-news@example.org"), other = address("owner-old@example.org");
  const config::AliasTarget ann{kAnn.address, owner}, far{kFar.address, owner}, old{kFar.address, other};
  EXPECT_EQ(expanded({named("a@example.org", alias("a@example.org", {ann}), "SUCCESS")}),
            "ann@example.org - - a@example.org owner-news@example.org\n"
            "a@example.org SUCCESS rfc822;a@example.org a@example.org - LIST\n");
  EXPECT_EQ(expanded({named("a@example.org", alias("a@example.org", {ann, far}), "SUCCESS")}),
            "ann@example.org - - a@example.org owner-news@example.org\n"
            "x@far.example - - a@example.org owner-news@example.org\n"
            "a@example.org SUCCESS rfc822;a@example.org a@example.org - LIST\n");
  // Two lists, or a list and somebody else, are several.
  for (const auto& second : {old, kFar})
    EXPECT_TRUE(expanded({named("a@example.org", alias("a@example.org", {ann, second}), "SUCCESS")})
                    .ends_with("a@example.org SUCCESS rfc822;a@example.org a@example.org - ALIAS\n"));
}

TEST(Expand, AListHasItsOwnersMessage) {
  const config::AliasTarget ann{kAnn.address, address("owner-news@example.org")};
  const auto news = alias("news@example.org", {ann}, true);
  EXPECT_EQ(expanded({named("news@example.org", news, "SUCCESS,FAILURE")}),
            "ann@example.org - - news@example.org owner-news@example.org\n"
            "news@example.org SUCCESS rfc822;news@example.org news@example.org - LIST\n");
  // The null sender stays, and nothing is reported to it.
  EXPECT_EQ(expanded({named("news@example.org", news, "SUCCESS,FAILURE")}, true),
            "ann@example.org SUCCESS,FAILURE rfc822;news@example.org news@example.org -\n");
  // Who is named himself is no member for this message.
  for (const bool first : {false, true}) {
    std::vector<Named> both{named("news@example.org", news), named("ann@example.org", nullptr, "NEVER")};
    if (first) std::swap(both[0], both[1]);
    EXPECT_EQ(expanded(std::move(both)), "ann@example.org NEVER - - -\n");
  }
}

TEST(Expand, AnAliasOfUtf8IsNamedInIt) {
  EXPECT_EQ(original_of(address("t\xc3\xa9" "am@example.org")).text(), "utf-8;t\xc3\xa9" "am@example.org");
}

// --- On its way ------------------------------------------------------------------------------------

class AliasesTest : public ::testing::Test, protected EngineRig {
 protected:
  void SetUp() override {
    const auto add = [&](const char* name, std::vector<config::AliasTarget> targets, bool list = false) {
      config.rights.domains[0].aliases.push_back(*alias(name, std::move(targets), list));
    };
    const auto owner = address("owner-news@example.org");
    add("team@example.org", {kFar, {address("y@far.example"), {}}});
    add("news@example.org", {{address("n@far.example"), owner}, {address("m@far.example"), owner}}, true);
    add("owner-news@example.org", {{address("o1@own.example"), {}}, {address("o2@own.example"), {}}});
    begin();
    connect(relay);
    connect(smtpd);
  }
  base::MessageId submit(const std::vector<std::string>& to, mail::Notify notify = {}, const char* from = "s@far.example") {
    ++number;
    auto frame = submit_frame(number, number, 0);
    frame.from = mail::ReversePath(address(from));
    frame.envid = mail::EnvelopeId::parse("E1").value();
    frame.recipient_count = static_cast<std::uint32_t>(to.size());
    ipc::SubmitRecipients part{frame.request, {}};
    for (const auto& one : to) part.recipients.push_back({address(one), notify, {}});
    smtpd.connection->send(frame);
    smtpd.connection->send(part);
    turn();
    return smtpd.submitted.empty() ? base::MessageId() : smtpd.submitted.back().id;
  }
  // All transactions until nothing moves, sorted: "<from> to to". What has a sender ends with `result`.
  std::vector<std::string> deliver(ipc::Result result, std::uint16_t code) {
    std::vector<std::string> all;
    const auto ask = [&](const ipc::Grant& grant) { asked[relay.ask(grant)] = grant; };
    for (int round = 0; round < 20; ++round) {
      turn();
      while (grants < relay.grants.size()) ask(ipc::Grant(relay.grants[grants++]));
      turn();
      while (leases < relay.leases.size()) {
        const auto lease = relay.leases[leases++];
        std::string text = '<' + lease.from.text() + '>';
        for (const auto& recipient : lease.recipients) text += ' ' + recipient.address.text();
        if (!lease.envid.empty()) text += " ENVID=" + lease.envid.text();
        all.push_back(std::move(text));
        relay.answer(lease, lease.from.is_null() ? ipc::Result::kDelivered : result, code, "said");
        ask(ipc::Grant(asked[lease.request]));
        turn();
      }
    }
    std::sort(all.begin(), all.end());
    return all;
  }
  std::map<base::RequestId, ipc::Grant> asked;
  std::size_t grants = 0, leases = 0;
  FakeRelay relay;
  FakeSmtpd smtpd;
  std::uint8_t number = 0;
};

TEST_F(AliasesTest, AListAndOthersGoInTransactionsOfTheirOwn) {
  const auto id = submit({"z@far.example", "news@example.org", "team@example.org"});
  const Message* message = look(id);
  ASSERT_NE(message, nullptr);
  EXPECT_EQ(message->recipients.size(), 5U);
  EXPECT_EQ(prefix(id).find("Delivered-To"), std::string::npos);
  EXPECT_EQ(deliver(ipc::Result::kDelivered, 250),
            (std::vector<std::string>{"<owner-news@example.org> n@far.example m@far.example",
                                      "<s@far.example> z@far.example x@far.example y@far.example ENVID=E1"}));
  EXPECT_EQ(store->count(), 0U);
}

TEST_F(AliasesTest, AliasAloneIsMarkedForWhenItComesBack) {
  const auto id = submit({"team+x@example.org"});
  EXPECT_TRUE(prefix(id).starts_with("Delivered-To: team@example.org\r\nReceived: ")) << prefix(id);
  EXPECT_NE(prefix(id).find("for <team@example.org>"), std::string::npos);
}

TEST_F(AliasesTest, FailuresOfAListAreItsOwnersOnes) {
  submit({"z@far.example", "news@example.org"});
  // The first sender hears of whom he named himself, and at once.
  EXPECT_EQ(deliver(ipc::Result::kFailed, 550),
            (std::vector<std::string>{"<> o1@own.example o2@own.example", "<> s@far.example",
                                      "<owner-news@example.org> n@far.example m@far.example",
                                      "<s@far.example> z@far.example ENVID=E1"}));
  EXPECT_EQ(store->count(), 0U);
}

TEST_F(AliasesTest, ANoticeGoesToAFewAtMost) {
  std::vector<config::AliasTarget> many;
  for (int n = 0; n < 20; ++n) many.push_back({address(("m" + std::to_string(n) + "@own.example").c_str()), {}});
  auto more = config;
  more.rights.domains[0].aliases.push_back(*alias("all@example.org", std::move(many)));
  engine->configure(more);
  submit({"z@far.example"}, {}, "all@example.org");
  const auto all = deliver(ipc::Result::kFailed, 550);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0], "<> m0@own.example m1@own.example m2@own.example m3@own.example m4@own.example m5@own.example "
                    "m6@own.example m7@own.example");
}

TEST_F(AliasesTest, SuccessIsReportedOfTheAliasItself) {
  const auto success = mail::Notify::parse("SUCCESS").value();
  const struct {
    const char* to;
    const char* action;
  } kTable[] = {{"team@example.org", "expanded"}, {"news@example.org", "delivered"}};
  for (const auto& row : kTable) {
    submit({row.to}, success, "ann@example.org");
    turn();
    std::string notice;
    for (const auto& message : messages())
      if (message.notice) notice += body(message.id);
    EXPECT_NE(notice.find(std::string("Final-Recipient: rfc822; ") + row.to + "\r\nAction: " + row.action), std::string::npos)
        << notice;
  }
}

TEST_F(AliasesTest, WhoIsNoAliasAnyMoreIsRefused) {
  EXPECT_EQ(submit({"gone@example.org"}), base::MessageId());
  EXPECT_EQ(text_of(smtpd.submitted.back().refusal).substr(0, 9), "550 5.1.1");
}

}  // namespace
}  // namespace postern::queued
