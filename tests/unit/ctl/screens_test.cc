#include "ctl/screens.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "ctl/json.h"
#include "ctl/json_row.h"

namespace postern::ctl {
namespace {

using base::Millis;
using base::WallTime;
using nlohmann::json;

constexpr WallTime kNow{1'790'000'000'000};  // Mon 2026-09-21 14:13:20 UTC

class Screens : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
  }
};

mail::ReversePath path(std::string_view text) {
  return mail::ReversePath(mail::Address::parse(text).value());
}

ipc::Status status() {
  ipc::Status s;
  s.version = "0.1.0";
  s.hostname = "mx1.example.org";
  s.now = kNow;
  s.uptime = Millis(41LL * 86'400'000 + 3 * 3'600'000);
  s.messages = 12408;
  s.bytes = 412ULL << 20;
  s.oldest = kNow - Millis(52LL * 3'600'000);
  s.expiring = 31;
  s.expiring_when = kNow;
  s.retry = 96;
  s.off = 11898;
  s.frozen = 402;
  s.disk_free = 3ULL << 30;
  s.stop_intake = 1ULL << 30;
  s.journal_bytes = 512ULL << 20;
  s.flush_p99 = Millis(4);
  s.accepted_minute = 118;
  s.processes = {{ipc::Role::kSmtpd, 2, 2, 1}, {ipc::Role::kQueued, 1, 1, 0}};
  return s;
}

TEST_F(Screens, StatusWhenAllIsWell) {
  EXPECT_EQ(status_screen(status()),
            "postern 0.1.0  mx1.example.org  up 41d03h              Mon 14:13:20 UTC\n"
            "OUTBOUND  on, 0 in flight\n"
            "INTAKE    on, 118/min; refused 0/min\n"
            "QUEUE     12408 messages 412M; oldest 2d04h; expire within 24h: 31\n"
            "          ready 0  retry 96  off 11898  frozen 402  held 0  delivering 0\n"
            "OUT       delivered 0/min  deferred 0/min  failed 0/min  bounces 0/min\n"
            "DISK      3.0G free; intake stops at 1.0G; journal 512M  large 0\n"
            "          flush p99 4ms; 0 records in 0 flushes\n"
            "PROCESS   smtpd 2/2  queued 1/1; deaths: 1\n");
}

TEST_F(Screens, StatusWhileMailWaitsForACall) {
  auto s = status();
  s.uncalled = 7;
  EXPECT_NE(status_screen(s).find("\n          ready 0  uncalled 7  retry 96  off 11898  frozen 402  held 0"),
            std::string::npos);
}

TEST_F(Screens, StatusTellsWhenItCountedWhatExpires) {
  auto s = status();
  s.expiring_when = kNow - Millis(4'999);
  EXPECT_NE(status_screen(s).find("; expire within 24h: 31\n"), std::string::npos);
  s.expiring_when = kNow - Millis(180'000);
  EXPECT_NE(status_screen(s).find("; expire within 24h: 31 (counted 3m ago)\n"), std::string::npos) << status_screen(s);
  s.expiring = {};
  s.expiring_when = {};
  EXPECT_NE(status_screen(s).find("; expire within 24h: not counted yet\n"), std::string::npos);
  s.messages = 0;
  EXPECT_EQ(status_screen(s).find("expire"), std::string::npos);
}

TEST_F(Screens, StatusWhenSomebodyStoppedThings) {
  auto s = status();
  s.attention = {"outbound off", "2 queues frozen"};
  s.outbound_enabled = false;
  s.outbound_reason = "spam \x1b[2Jrun";
  s.outbound_who = "anna";
  s.outbound_since = kNow - Millis(60'000);
  s.outbound_spared = {"corp.example", "*.corp.example"};
  s.intake_open = false;
  s.intake_reason = "disk full";
  const auto screen = status_screen(s);
  EXPECT_NE(screen.find("ATTENTION outbound off; 2 queues frozen\n"), std::string::npos);
  EXPECT_NE(screen.find(
                "OUTBOUND  DISABLED 14:12:20 by anna: \"spam \\x1b[2Jrun\""
                "   clocks stopped\n          0 in flight; spared: corp.example, *.corp.example\n"),
            std::string::npos)
      << screen;
  EXPECT_NE(screen.find("INTAKE    CLOSED: disk full; 118/min"), std::string::npos);
  EXPECT_EQ(screen.find('\x1b'), std::string::npos);
}

TEST_F(Screens, StatusTellsOfFreezesAndOfIntake) {
  auto s = status();
  s.intake_open = false;
  s.intake_disabled = true;
  s.intake_reason = "moving";
  s.intake_who = "eve";
  s.intake_since = kNow - Millis(60'000);
  s.freezes = {
      {.name = "far.example", .reason = "slow", .who = "anna", .until = kNow + Millis(3'600'000)},
      {.name = "mx1.example.net", .reason = "dead", .who = "bob", .hop = true, .keep_clock = true}};
  s.freeze_count = 3;
  const auto screen = status_screen(s);
  EXPECT_NE(screen.find("INTAKE    DISABLED 14:12:20 by eve: \"moving\"\n"
                        "          118/min; refused 0/min\n"),
            std::string::npos)
      << screen;
  EXPECT_NE(screen.find("FROZEN    far.example until 15:13:20 by anna: \"slow\"\n"
                        "          --hop mx1.example.net by bob: \"dead\"   clocks go on\n"
                        "          and 1 more: posternctl blocks\n"),
            std::string::npos)
      << screen;
}

TEST_F(Screens, WhatWasStoppedIsTold) {
  EXPECT_EQ(stopped_line({{}, 0, "far.example is frozen", 3}, {}, kNow),
            "far.example is frozen, 3 in flight\n");
  EXPECT_EQ(stopped_line({{}, 0, "far.example is frozen", 0}, kNow + Millis(60'000), kNow),
            "far.example is frozen until 14:14:20, 0 in flight\n");
  EXPECT_EQ(quiet_lines({.in_flight = 2}), "2 in flight\n");
  EXPECT_EQ(
      quiet_lines({.may_repeat = {base::MessageId(7)}, .may_repeat_count = 1}),
      "0 in flight\n1 message may arrive twice, for the final dot had been sent:\n0000000000007\n");
  EXPECT_EQ(
      quiet_lines({.may_repeat = {base::MessageId(7)}, .may_repeat_count = 3}),
      "0 in flight\n3 messages may arrive twice, for the final dot had been sent:\n0000000000007\n"
      "and 2 more; their last reply tells\n");
}

TEST_F(Screens, QueueRows) {
  auto table = queue_table(0);
  ipc::QueueRow row{
      .queue = "example.net", .state = ipc::State::kRetry, .messages = 3, .bytes = 4200};
  row.oldest = kNow - Millis(8'000);
  row.next_try = kNow + Millis(720'000);
  row.last_reply = "450 4.2.1 later\r\nX";
  add_row(table, row, kNow);
  row.state = ipc::State::kFrozen;
  row.why = "moving house";
  add_row(table, row, kNow);
  row.until = kNow + Millis(3'600'000);
  add_row(table, row, kNow);
  EXPECT_EQ(
      table.take(),
      "QUEUE        STATE   MESSAGES  SIZE  OLDEST  NEXT TRY  CONNECTIONS  WHY\n"
      "example.net  retry          3  4.1K      8s    in 12m            0  450 4.2.1 "
      "later\\x0d\\x0aX\n"
      "example.net  frozen         3  4.1K      8s         -            0  moving house\n"
      "example.net  frozen         3  4.1K      8s         -            0  until 15:13:20: moving "
      "house\n");
}

TEST_F(Screens, MessageRows) {
  auto table = message_table(0);
  ipc::MessageRow row;
  row.id = base::MessageId(1);
  row.arrived = kNow - Millis(61'000);
  row.size = 100;
  row.to = "ann@example.net";
  row.recipients = 4;
  add_row(table, row, kNow);
  row.from = path("bob@example.org");
  row.recipients = 1;
  row.state = ipc::State::kOff;
  add_row(table, row, kNow);
  EXPECT_EQ(table.take(),
            "ID             STATE  AGE  SIZE  NEXT TRY  FROM             TO                  WHY\n"
            "0000000000001  ready   1m   100       now  <>               ann@example.net +3\n"
            "0000000000001  off     1m   100         -  bob@example.org  ann@example.net\n");
}

TEST_F(Screens, BlockRows) {
  auto table = block_table(0);
  const auto add = [&](ipc::BlockRow row) {
    row.who = "anna";
    row.since = kNow;
    add_row(table, row, kNow);
  };
  add({.kind = ipc::BlockKind::kFreeze, .name = "*.example.net", .reason = "slow"});
  add({.kind = ipc::BlockKind::kFreeze,
       .name = "mx1.example.net",
       .reason = "dead",
       .until = kNow + Millis(3'600'000),
       .hop = true,
       .keep_clock = true});
  add({.kind = ipc::BlockKind::kException, .name = "a.example.net"});
  add({.kind = ipc::BlockKind::kOutbound, .reason = "spam", .all = true});
  add({.kind = ipc::BlockKind::kOutbound, .reason = "spam"});
  add({.kind = ipc::BlockKind::kIntake, .reason = "moving"});
  EXPECT_EQ(table.take(),
            "BLOCK      NAME                   SINCE     UNTIL     CLOCKS   WHO   REASON\n"
            "freeze     *.example.net          14:13:20  -         stopped  anna  slow\n"
            "freeze     --hop mx1.example.net  14:13:20  15:13:20  go on    anna  dead\n"
            "exception  a.example.net          14:13:20  -         -        anna\n"
            "outbound   all                    14:13:20  -         stopped  anna  spam\n"
            "outbound   but internal routes    14:13:20  -         stopped  anna  spam\n"
            "intake                            14:13:20  -         -        anna  moving\n");
}

TEST_F(Screens, HistoryRows) {
  auto table = history_table(0);
  ipc::HistoryRow row;
  row.id = base::MessageId(1);
  row.ended = kNow;
  row.arrived = kNow - Millis(61'000);
  row.size = 100;
  row.to = "ann@example.net";
  row.end = ipc::HistoryEnd::kBounced;
  row.tries = 3;
  row.remote = "mx\x1b[31m";
  row.reply = "550 5.1.1 no";
  row.tls = "none: refused: \x1b[31m";
  add_row(table, row, kNow);
  EXPECT_EQ(table.take(),
            "ENDED     ID             END      AFTER  TRIES  SIZE  FROM  TO               "
            "REMOTE      REPLY         TLS\n"
            "14:13:20  0000000000001  bounced     1m      3   100  <>    ann@example.net  "
            "mx\\x1b[31m  550 5.1.1 no  none: refused: \\x1b[31m\n");
  const auto object = to_json(row);
  EXPECT_NE(object.find("\"end\":\"bounced\""), std::string::npos);
  EXPECT_NE(object.find("\"tls\":\"none: refused: "), std::string::npos);
  EXPECT_EQ(object.find('\x1b'), std::string::npos);
}

ipc::Shown shown() {
  ipc::Shown s;
  s.found = true;
  s.from = path("bob@example.org");
  s.hello = "pc\x7f";
  s.client = base::parse_ip("10.0.0.17").value();
  s.arrived = kNow - Millis(3'600'000);
  s.expires = kNow + Millis(100LL * 3'600'000);
  s.size = 4200;
  ipc::RecipientRow open;
  open.address = mail::Address::parse("ann@example.net").value();
  open.queue = "example.net";
  open.state = ipc::State::kRetry;
  open.tries = 2;
  open.last_try = kNow - Millis(60'000);
  open.next_try = kNow + Millis(600'000);
  open.last_reply = "450 later";
  open.remote = "mx[192.0.2.1]:25";
  auto done = open;
  done.tls = "none: not offered; opportunistic: no policy";
  done.end = ipc::RecipientEnd::kDelivered;
  done.last_reply = "250 ok";
  s.recipients = {open, done};
  return s;
}

TEST_F(Screens, MessagePage) {
  EXPECT_EQ(message_page(base::MessageId(1), shown(), kNow),
            "0000000000001 from bob@example.org, 4.1K, 13:13:20 (1h00m ago)\n"
            "  client 10.0.0.17 (pc\\x7f); expires Fri 18:13\n"
            "ann@example.net  RETRY in 10m (14:23:20)\n"
            "  Queue    example.net\n"
            "  Tries    2, last 14:12:20\n"
            "  Reply    450 later  from mx[192.0.2.1]:25\n"
            "ann@example.net  DELIVERED\n"
            "  Queue    example.net\n"
            "  Tries    2, last 14:12:20\n"
            "  Reply    250 ok  from mx[192.0.2.1]:25\n"
            "  TLS      none: not offered; opportunistic: no policy\n");
  EXPECT_NE(to_json(base::MessageId(1), shown()).find("\"tls\":\"none: not offered; "), std::string::npos);
}

TEST_F(Screens, AMessageThatRequiresTlsSaysSo) {
  auto s = shown();
  EXPECT_NE(to_json(base::MessageId(1), s).find("\"requires_tls\":false"), std::string::npos);
  s.requires_tls = true;
  EXPECT_NE(message_page(base::MessageId(1), s, kNow)
                .find("; expires Fri 18:13\n  its sender requires TLS on its whole way (REQUIRETLS)\nann@"),
            std::string::npos);
  EXPECT_NE(to_json(base::MessageId(1), s).find("\"requires_tls\":true"), std::string::npos);
}

TEST_F(Screens, AddressesBeyondAsciiAreReadable) {
  auto s = shown();
  s.from = mail::ReversePath(mail::Address::parse("b\xc3\xb6" "b@b\xc3\xbc" "cher.example").value());
  const auto page = message_page(base::MessageId(1), s, kNow);
  EXPECT_TRUE(page.starts_with("0000000000001 from b\xc3\xb6" "b@xn--bcher-kva.example, 4.1K")) << page;
  EXPECT_TRUE(ascii_text(page).starts_with("0000000000001 from b\\xc3\\xb6" "b@xn--")) << page;
}

TEST(TerminalText, IsUtf8WhereTheLocaleSaysSo) {
  EXPECT_TRUE(shows_utf8("", "", "de_DE.UTF-8"));
  EXPECT_TRUE(shows_utf8("C.utf8", "", "C"));
  EXPECT_TRUE(shows_utf8("", "C.UTF-8", "C"));
  EXPECT_FALSE(shows_utf8("C", "", "de_DE.UTF-8"));
  EXPECT_FALSE(shows_utf8("", "", ""));
}

TEST(TerminalText, KeepsLinesAndNothingThatSteers) {
  EXPECT_EQ(terminal_text("a\tb\\\n\x1b[2J\r\x80"), "a\tb\\\n\\x1b[2J\\x0d\\x80");
  EXPECT_EQ(plain("one\ntw\x1bo"), "one\ntw\\x1bo\n");
  EXPECT_EQ(plain(""), "");
}

TEST(Json, VersionComesFirstAndTimesAreUtc) {
  auto s = status();
  s.attention = {"outbound off"};
  const auto line = to_json(s);
  EXPECT_TRUE(line.starts_with("{\"v\":1,\"version\":\"0.1.0\",")) << line;
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto parsed = json::parse(line);
  EXPECT_EQ(parsed["now"], "2026-09-21T14:13:20.000Z");
  EXPECT_EQ(parsed["outbound"]["since"], nullptr);
  EXPECT_EQ(parsed["queue"]["messages"], 12408);
  EXPECT_EQ(parsed["queue"]["expire_within_24h"], 31);
  EXPECT_EQ(parsed["queue"]["expire_counted"], "2026-09-21T14:13:20.000Z");
  s.expiring = {};
  s.expiring_when = {};
  const auto uncounted = json::parse(to_json(s));
  EXPECT_EQ(uncounted["queue"]["expire_within_24h"], nullptr);
  EXPECT_EQ(uncounted["queue"]["expire_counted"], nullptr);
  EXPECT_EQ(parsed["attention"], json::array({"outbound off"}));
  EXPECT_EQ(parsed["processes"][0]["role"], "smtpd");
  EXPECT_EQ(parsed["processes"][0]["deaths"], 1);
}

TEST(Json, ForeignBytesAreEscapedAndNeverBreakTheLine) {
  ipc::QueueRow row;
  row.queue = "example.net";
  row.last_reply = "450 \x1b[2J\n\x7f\xff\xc2\x9b";
  const auto line = to_json(row);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  for (const char c : line.substr(0, line.size() - 1)) EXPECT_TRUE(c >= 0x20 && c < 0x7F);
  EXPECT_EQ(json::parse(line)["state"], "ready");
}

// Rows of long listings are written by hand: as the library writes all others.
TEST(Json, ARowIsWrittenAsTheLibraryWouldWriteIt) {
  const auto replace = json::error_handler_t::replace;
  for (const std::string text : {"", "plain", "~ }{[],:/", "a\"b", "a\\b", "\b\f\n\r\t\x01\x1f", "\x7f", "b\xc3\xb6" "b",
                                 "\xe4\xb8\xad", "\xf0\x9f\x98\x80", "\xff", "\xc3", "\xe4\xb8 x", "\xed\xa0\x80"}) {
    JsonRow row;
    row.text("key", text);
    EXPECT_EQ(row.line(), "{\"v\":1,\"key\":" + json(text).dump(-1, ' ', true, replace) + "}\n");
  }
  JsonRow row;
  row.number("none", 0);
  row.number("most", UINT64_MAX);
  row.time("never", {});
  row.time("now", kNow);
  EXPECT_EQ(row.line(), "{\"v\":1,\"none\":0,\"most\":18446744073709551615,\"never\":null,"
                        "\"now\":\"" + base::iso8601(kNow) + "\"}\n");
}

TEST(Json, MessageAndBlockAndShow) {
  ipc::MessageRow row;
  row.id = base::MessageId(1);
  row.from = path("bob@example.org");
  const auto message = json::parse(to_json(row));
  EXPECT_EQ(message["v"], 1);
  EXPECT_EQ(message["id"], "0000000000001");
  EXPECT_EQ(message["from"], "bob@example.org");
  EXPECT_EQ(message["next_try"], nullptr);
  const auto block = json::parse(
      to_json(ipc::BlockRow{ipc::BlockKind::kFreeze, "example.net", "slow", "root", kNow, {}}));
  EXPECT_EQ(block["kind"], "freeze");
  EXPECT_EQ(block["reason"], "slow");
  const auto page = json::parse(to_json(base::MessageId(1), shown()));
  EXPECT_EQ(page["client"], "10.0.0.17");
  EXPECT_EQ(page["recipients"].size(), 2U);
  EXPECT_EQ(page["recipients"][0]["state"], "retry");
  EXPECT_EQ(page["recipients"][1]["state"], nullptr);
  EXPECT_EQ(page["recipients"][1]["end"], "delivered");
  ipc::Done done;
  done.exit = 65;
  done.text = "no such queue";
  EXPECT_EQ(to_json(done), "{\"v\":1,\"exit\":65,\"text\":\"no such queue\"}\n");
}

// --- explain ----------------------------------------------------------------------------------------

ipc::Explanation waiting() {
  ipc::Explanation e;
  e.recipients = {mail::Address::parse("ann@corp.example").value()};
  e.queue = "corp.example";
  e.state = ipc::State::kRetry;
  e.next = kNow + Millis(9'251'000);
  e.obstacles = {{.blocker = ipc::Blocker::kHopDead,
                  .name = "10.9.0.1:2525",
                  .reason = "connect timed out",
                  .since = kNow - Millis(60'000),
                  .until = e.next,
                  .count = 4},
                 {.blocker = ipc::Blocker::kTurn, .name = "corp.example", .count = 12}};
  e.passed = {"hold", "freeze", "outbound (internal route)"};
  e.way = {.by = ipc::RoutedBy::kRoute,
           .place = "postern.toml:46",
           .via = "smtp://10.9.0.1:2525",
           .hop = "10.9.0.1:2525"};
  e.retry = {.place = "postern.toml:67",
             .failure = ipc::FailureClass::kConnect,
             .wait = Millis(4 * 3'600'000),
             .repeats = true};
  e.tries = 2;
  e.last_try = kNow - Millis(3'600'000);
  e.last_reply = "451 4.3.0 try later";
  e.remote = "mx[192.0.2.9]:25";
  e.tls = "TLSv1.3 x; dane: mx; dane: 2 TLSA records";
  e.notice = kNow + Millis(8 * 3'600'000);
  e.expires = kNow + Millis(4LL * 86'400'000);
  return e;
}

MessageStory story(std::vector<ipc::Explanation> explanations) {
  MessageStory s{.id = base::MessageId(7), .queued = {}, .ended = {}};
  s.queued.found = true;
  s.queued.from = path("bob@example.org");
  s.queued.size = 4200;
  s.queued.arrived = kNow - Millis(3 * 3'600'000);
  s.queued.client = base::parse_ip("10.0.0.17").value();
  s.queued.hello = "client.example";
  s.queued.explanations = std::move(explanations);
  return s;
}

TEST_F(Screens, ExplainAMessage) {
  EXPECT_EQ(explain_page(story({waiting()}), kNow),
            "0000000000007 from bob@example.org, 4.1K, 11:13:20 (3h00m ago)\n"
            "  client 10.0.0.17 (client.example)\n"
            "ann@corp.example: RETRY in 2h34m (16:47:31)\n"
            "  Because  next hop 10.9.0.1:2525 is dead until 16:47:31 after 4 failures, the last "
            "14:12:20: connect timed out\n"
            "  and      12 messages of its queue go before it\n"
            "  Queue    corp.example\n"
            "  Route    postern.toml:46  smtp://10.9.0.1:2525\n"
            "  Retry    postern.toml:67 (connect)\n"
            "  Tries    2, the last 13:13:20: 451 4.3.0 try later from mx[192.0.2.9]:25\n"
            "  TLS      TLSv1.3 x; dane: mx; dane: 2 TLSA records\n"
            "  Passed   hold, freeze, outbound (internal route)\n"
            "  Then     after a failure every 4h00m; notice at one after 22:13:20; bounce at one after Fri 14:13\n"
            "  Try      posternctl retry 0000000000007\n");
}

TEST_F(Screens, ExplainWhatPeopleStopped) {
  auto e = waiting();
  e.state = ipc::State::kFrozen;
  e.next = {};
  e.clock_stands = true;
  e.notice = {};
  e.obstacles = {{.blocker = ipc::Blocker::kFrozen,
                  .name = "*.example",
                  .who = "anna",
                  .reason = "mo\x1bving",
                  .since = kNow - Millis(60'000)},
                 {.blocker = ipc::Blocker::kOff,
                  .who = "configuration",
                  .reason = "delivery.start is \"disabled\"",
                  .place = "postern.toml:12",
                  .since = kNow - Millis(30'000)}};
  const auto page = explain_page(story({e}), kNow);
  EXPECT_NE(page.find("ann@corp.example: FROZEN\n"
                      "  Because  frozen by the pattern *.example by anna since 14:12:20: "
                      "\"mo\\x1bving\"\n"
                      "  and      outbound is disabled by configuration since 14:12:50: "
                      "\"delivery.start is \"disabled\"\"  (postern.toml:12)\n"),
            std::string::npos)
      << page;
  EXPECT_NE(page.find("  Then     nothing by itself; after a failure every 4h00m; bounce when its "
                      "clock ran 4d00h more\n"
                      "  Try      posternctl unfreeze corp.example\n"),
            std::string::npos)
      << page;
}

// Each blocker has a sentence, and none of them is empty.
// By the name that lifts it.
TEST_F(Screens, AFrozenNextHopIsUnfrozenAsItWasFrozen) {
  const auto page = [](const char* hop, const char* freeze) {
    ipc::QueueExplained q;
    q.name = "corp.example";
    q.state = ipc::State::kFrozen;
    q.obstacles = {{.blocker = ipc::Blocker::kHopFrozen, .name = hop, .freeze = freeze}};
    return explain_page(q, kNow);
  };
  const auto try_of = [&](const char* hop, const char* freeze) {
    const auto text = page(hop, freeze);
    const auto at = text.find("Try      posternctl unfreeze --hop ");
    return at == std::string::npos ? text : text.substr(at + 35, text.find('\n', at) - at - 35);
  };
  EXPECT_EQ(try_of("mx1.example.net:25", "mx1.example.net"), "mx1.example.net");
  EXPECT_EQ(try_of("mx1.example.net:25/verified", "mx1.example.net:25"), "mx1.example.net:25");
  EXPECT_EQ(try_of("mx1.example.net:25", "*.example.net"), "mx1.example.net:25");
  EXPECT_EQ(try_of("mx1.example.net,mx2.example.net:25", "*.example.net"), "'*.example.net'");
  EXPECT_NE(page("mx1.example.net,mx2.example.net:25", "mx2.example.net")
                .find("next hop mx1.example.net,mx2.example.net:25 is frozen as --hop mx2.example.net\n"),
            std::string::npos);
  EXPECT_NE(page("10.9.0.1:2525", "10.9.0.1:2525").find("next hop 10.9.0.1:2525 is frozen\n"), std::string::npos);
}

TEST_F(Screens, EachBlockerIsTold) {
  std::set<std::string> sentences;
  for (std::size_t i = 0; i < ipc::kBlockers; ++i) {
    auto e = waiting();
    e.obstacles = {{.blocker = static_cast<ipc::Blocker>(i), .name = "10.9.0.1:2525", .count = 2, .of = 20}};
    const auto page = explain_page(story({e}), kNow);
    const auto at = page.find("  Because  ");
    ASSERT_NE(at, std::string::npos) << i;
    sentences.insert(page.substr(at, page.find('\n', at) - at));
  }
  EXPECT_EQ(sentences.size(), ipc::kBlockers);
}

TEST_F(Screens, ExplainAFinishedMessage) {
  MessageStory s{.id = base::MessageId(7), .queued = {}, .ended = {}};
  auto& row = s.ended.emplace_back();
  row.from = path("bob@example.org");
  row.size = 4200;
  row.arrived = kNow - Millis(120'000);
  row.ended = kNow - Millis(60'000);
  row.client = base::parse_ip("10.0.0.17").value();
  row.to = "ann@corp.example";
  row.queue = "corp.example";
  row.tries = 1;
  row.remote = "mx[192.0.2.9]:25";
  row.reply = "250 2.0.0 ok";
  row.tls = "TLSv1.3 x; mta-sts: mx; mta-sts: enforce, policy 7 of corp.example";
  EXPECT_EQ(explain_page(s, kNow),
            "0000000000007 from bob@example.org, 4.1K, 14:11:20 (2m ago)\n"
            "  client 10.0.0.17; finished: nothing of it is in the queue\n"
            "ann@corp.example: DELIVERED 14:12:20, 1m after it came, 1 try\n"
            "  Queue    corp.example\n"
            "  Reply    250 2.0.0 ok from mx[192.0.2.9]:25\n"
            "  TLS      TLSv1.3 x; mta-sts: mx; mta-sts: enforce, policy 7 of corp.example\n");
  const auto object = json::parse(to_json(s));
  EXPECT_EQ(object.at("queued"), false);
  EXPECT_EQ(object.at("from"), "bob@example.org");
  EXPECT_EQ(object.at("ended")[0].at("reply"), "250 2.0.0 ok");
  EXPECT_EQ(object.at("ended")[0].at("tls"), row.tls);
}

TEST_F(Screens, ExplainAQueueAndANextHop) {
  ipc::QueueExplained q;
  q.found = true;
  q.name = "corp.example";
  q.state = ipc::State::kRetry;
  q.obstacles = {waiting().obstacles[0]};
  q.next = q.obstacles[0].until;
  q.way = waiting().way;
  q.retry = waiting().retry;
  q.messages = 12;
  q.bytes = 4200;
  q.oldest = kNow - Millis(60'000);
  q.ready = 9;
  q.held = 3;
  q.hops = {{.name = "10.9.0.1:2525",
             .current = true,
             .connections = 3,
             .opening = 1,
             .limit = 20,
             .queues = 4,
             .failures = 4}};
  auto page = explain_page(q, kNow);
  EXPECT_TRUE(page.starts_with("corp.example: RETRY in 2h34m (16:47:31); 12 messages 4.1K, the oldest 1m\n"))
      << page;
  EXPECT_NE(page.find("  Mail     ready 9  retry 0  held 3  delivering 0\n"
                      "  Next hop 10.9.0.1:2525: 3 of 20 connections, 1 opening, shared by 4 "
                      "queues; 4 failures in a row\n"),
            std::string::npos)
      << page;
  EXPECT_NE(page.find("  Try      posternctl retry --queue corp.example\n"), std::string::npos);
  const auto object = json::parse(to_json(q));
  EXPECT_EQ(object.at("queue"), "corp.example");
  EXPECT_EQ(object.at("because")[0].at("blocker"), "hop dead");
  EXPECT_EQ(object.at("hops")[0].at("limit"), 20);
  q.is_hop = true;
  q.name = "10.9.0.1:2525";
  q.queues = {"a.example", "b.example"};
  page = explain_page(q, kNow);
  EXPECT_TRUE(page.starts_with("10.9.0.1:2525: RETRY in 2h34m (16:47:31)\n")) << page;
  EXPECT_NE(page.find("  Queues   a.example, b.example and 2 more\n"), std::string::npos) << page;
}

TEST_F(Screens, ExplainAsJson) {
  const auto object = json::parse(to_json(story({waiting()})));
  EXPECT_EQ(object.at("v"), 1);
  const auto& one = object.at("explanations")[0];
  EXPECT_EQ(one.at("addresses")[0], "ann@corp.example");
  EXPECT_EQ(one.at("because")[0].at("blocker"), "hop dead");
  EXPECT_EQ(one.at("because")[1].at("count"), 12);
  EXPECT_EQ(one.at("route").at("place"), "postern.toml:46");
  EXPECT_EQ(one.at("retry").at("wait_seconds"), 4 * 3600);
  EXPECT_EQ(one.at("next"), one.at("because")[0].at("until"));
}

}  // namespace
}  // namespace postern::ctl
