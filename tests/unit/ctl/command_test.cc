#include "ctl/command.h"

#include <gtest/gtest.h>

namespace postern::ctl {
namespace {

using Words = std::vector<std::string>;

Command good(const Words& words, bool terminal = false) {
  const auto command = parse_command(words, terminal);
  EXPECT_TRUE(command.has_value()) << (command ? "" : command.error().text);
  return command.value_or(Command{});
}

Ending bad(const Words& words, bool terminal = false) {
  const auto command = parse_command(words, terminal);
  EXPECT_FALSE(command.has_value());
  return command ? Ending{} : command.error();
}

TEST(Command, VerbsAndCommonOptions) {
  EXPECT_EQ(good({"status"}).verb, Verb::kStatus);
  const auto before = good({"--json", "-c", "/etc/p.toml", "queues", "*.example.org"});
  EXPECT_EQ(before.verb, Verb::kQueues);
  EXPECT_TRUE(before.json);
  EXPECT_EQ(before.config, "/etc/p.toml");
  EXPECT_EQ(before.queue, "*.example.org");
  const auto behind = good({"blocks", "--json", "--socket", "/run/s"});
  EXPECT_TRUE(behind.json);
  EXPECT_EQ(behind.socket, "/run/s");
}

TEST(Command, PrefixesAreForPeopleOnly) {
  EXPECT_EQ(good({"mess"}, true).verb, Verb::kMessages);
  EXPECT_EQ(good({"-c", "stop", "q"}, true).verb, Verb::kQueues);
  EXPECT_EQ(bad({"mess"}).exit, 64);
  EXPECT_NE(bad({"b"}, true).text.find("may mean: body, blocks"), std::string::npos);
  EXPECT_NE(bad({"xyz"}, true).text.find("no verb \"xyz\""), std::string::npos);
}

TEST(Command, WhatStopsMailIsWrittenInFull) {
  EXPECT_NE(bad({"outb", "enable"}, true).text.find("in full"), std::string::npos);
  EXPECT_NE(bad({"sto"}, true).text.find("in full"), std::string::npos);
  EXPECT_NE(bad({"st"}, true).text.find("may mean: status, stop"), std::string::npos);
  EXPECT_EQ(good({"stop"}).verb, Verb::kStop);
}

TEST(Command, UsersAreNamedInLowerCase) {
  const auto add = good({"user", "add", "Bob@Example.org"});
  EXPECT_EQ(add.verb, Verb::kUser);
  EXPECT_EQ(add.user, UserAction::kAdd);
  EXPECT_EQ(add.account, "bob@example.org");
  EXPECT_EQ(good({"user", "list"}).user, UserAction::kList);
  const auto lock = good({"user", "lock", "bob", "--reason", "spam"});
  EXPECT_EQ(lock.user, UserAction::kLock);
  EXPECT_EQ(lock.reason, "spam");
  EXPECT_EQ(good({"user", "unlock", "bob"}).user, UserAction::kUnlock);
  EXPECT_NE(bad({"user", "lock", "bob"}).text.find("needs --reason"), std::string::npos);
  EXPECT_NE(bad({"user", "add", "bob", "--reason", "x"}).text.find("takes no reason"),
            std::string::npos);
  for (const Words& words : {Words{"user"}, Words{"user", "add"}, Words{"user", "list", "bob"},
                             Words{"user", "add", "b:b"}, Words{"user", "drop", "bob"}})
    EXPECT_EQ(bad(words).exit, 64);
}

TEST(Command, QueuesMayBeTypedInULabels) {
  EXPECT_EQ(good({"freeze", "B\xc3\xbc" "cher.example", "--reason", "x"}).queue, "xn--bcher-kva.example");
  EXPECT_EQ(good({"unfreeze", "--hop", "*.b\xc3\xbc" "cher.example"}).queue, "*.xn--bcher-kva.example");
  EXPECT_EQ(good({"queues", "b\xc3\xbc" "cher.example"}).queue, "xn--bcher-kva.example");
  EXPECT_EQ(good({"explain", "b\xc3\xbc" "cher.example"}).queue, "xn--bcher-kva.example");
  EXPECT_EQ(good({"messages", "--queue", "b\xc3\xbc" "cher.example"}).selector.queue, "xn--bcher-kva.example");
  EXPECT_NE(bad({"queues", "b\xc3"}).text.find("the queue's name: expected"), std::string::npos);
  EXPECT_EQ(bad({"messages", "--queue", "b\xc3"}).exit, 64);
}

TEST(Command, FreezesNameAQueueOrANextHop) {
  const auto queue =
      good({"freeze", "*.example.org", "--reason", "why", "--until", "18:00", "--keep-clock"});
  EXPECT_EQ(queue.queue, "*.example.org");
  EXPECT_FALSE(queue.hop);
  EXPECT_EQ(queue.until, "18:00");
  EXPECT_TRUE(queue.keep_clock);
  const auto hop = good({"freeze", "--hop", "mx1.example.net", "--reason", "why", "--future"});
  EXPECT_EQ(hop.queue, "mx1.example.net");
  EXPECT_TRUE(hop.hop);
  EXPECT_TRUE(hop.future);
  EXPECT_TRUE(good({"unfreeze", "--hop", "mx1.example.net"}).hop);
  for (const auto& words : {Words{"freeze", "--reason", "x"}, Words{"unfreeze"},
                            Words{"freeze", "a.example", "--hop", "b.example", "--reason", "x"},
                            Words{"unfreeze", "a.example", "--keep-clock"},
                            Words{"unfreeze", "--hop", std::string(256, 'x')}})
    EXPECT_EQ(bad(words).exit, 64) << words.back();
}

TEST(Command, SwitchesOfOutboundAndIntake) {
  EXPECT_TRUE(good({"outbound", "disable", "--reason", "x", "--now"}).now);
  EXPECT_NE(question(good({"outbound", "disable", "--reason", "x", "--now"})).find("twice"),
            std::string::npos);
  EXPECT_EQ(good({"intake", "disable", "--reason", "x"}).verb, Verb::kIntake);
  EXPECT_TRUE(good({"intake", "enable"}).enable);
  EXPECT_FALSE(question(good({"intake", "disable", "--reason", "x"})).empty());
  EXPECT_FALSE(question(good({"intake", "enable"})).empty());
  EXPECT_NE(bad({"int", "enable"}, true).text.find("in full"), std::string::npos);
  for (const auto& words :
       {Words{"intake", "disable"}, Words{"intake"}, Words{"intake", "off", "--reason", "x"},
        Words{"intake", "enable", "--reason", "x"},
        Words{"intake", "disable", "--reason", "x", "--all"}, Words{"outbound", "enable", "--now"}})
    EXPECT_EQ(bad(words).exit, 64) << words.back();
}

TEST(Command, Selector) {
  const auto c =
      good({"messages",  "0123456789ABC", "--queue", "example.net", "--from",  "<>",       "--to",
            "ann@",      "--older",       "2h",      "--newer",     "1d",      "--larger", "100KiB",
            "--smaller", "2000000",       "--state", "retry",       "--error", "greylist"});
  const auto& s = c.selector;
  ASSERT_EQ(s.ids.size(), 1U);
  EXPECT_EQ(base::to_string(s.ids[0]), "0123456789ABC");
  EXPECT_FALSE(s.all);
  EXPECT_EQ(s.queue, "example.net");
  EXPECT_EQ(s.from, "<>");
  EXPECT_EQ(s.to, "ann@");
  EXPECT_EQ(s.older, base::Millis(2 * 3600 * 1000));
  EXPECT_EQ(s.newer, base::Millis(24 * 3600 * 1000));
  EXPECT_EQ(s.larger, 100U * 1024);
  EXPECT_EQ(s.smaller, 2'000'000U);
  EXPECT_EQ(s.state, ipc::State::kRetry);
  EXPECT_EQ(s.error, "greylist");
}

TEST(Command, ANextHopAndNoticesCanBeSelectedButNotOfMailToCome) {
  EXPECT_EQ(good({"retry", "--hop", "MX1.example.net"}).selector.hop, "mx1.example.net");
  EXPECT_TRUE(good({"release", "--bounces"}).selector.bounces);
  EXPECT_FALSE(good({"messages", "--bounces"}).selector.all);
  for (const auto& words : {Words{"hold", "--hop", "a", "--also-new", "--reason", "x"},
                            Words{"hold", "--bounces", "--also-new", "--reason", "x"},
                            Words{"messages", "--hop", std::string(256, 'x')}, Words{"history", "--bounces"}})
    EXPECT_EQ(bad(words).exit, 64) << words[1];
}

TEST(Command, AMessageIdIsTakenAsAWholeAndNotOfTheHistory) {
  for (const auto& typed : {"a@B.example", "<a@B.example>", " <a@B.example> "})
    EXPECT_EQ(good({"messages", "--message-id", typed}).selector.message_id, "a@B.example") << typed;
  EXPECT_FALSE(good({"retry", "--message-id", "<a@b>"}).selector.empty());
  for (const auto& words :
       {Words{"messages", "--message-id", "<>"}, Words{"messages", "--message-id", " "},
        Words{"messages", "--message-id", std::string(999, 'x')},
        Words{"hold", "--message-id", "a@b", "--also-new", "--reason", "x"}})
    EXPECT_EQ(bad(words).exit, 64) << words[2];
  EXPECT_NE(bad({"history", "--message-id", "<a@b>"}).text.find("keeps no Message-ID"), std::string::npos);
}

TEST(Command, QueuesOfASelectorAreNamedInAnyCase) {
  EXPECT_EQ(good({"messages", "--queue", "Example.NET"}).selector.queue, "example.net");
}

TEST(Command, MessagesAreListedInAnOrder) {
  EXPECT_EQ(good({"messages"}).order, Order::kId);
  EXPECT_EQ(good({"messages", "--sort", "age"}).order, Order::kAge);
  EXPECT_EQ(good({"messages", "--sort", "size"}).order, Order::kSize);
  EXPECT_EQ(good({"messages", "--sort", "next"}).order, Order::kNext);
  EXPECT_EQ(bad({"messages", "--sort", "sender"}).exit, 64);
  EXPECT_EQ(bad({"hold", "--all", "--reason", "x", "--sort", "age"}).exit, 64);
}

TEST(Command, SeveralIds) {
  const auto ids = good({"messages", "0000000000003", "--json", "0000000000001"}).selector.ids;
  ASSERT_EQ(ids.size(), 2U);
  EXPECT_EQ(ids[0].value, 3U);
  EXPECT_EQ(ids[1].value, 1U);
  EXPECT_EQ(good({"retry", "0000000000003", "0000000000001"}).selector.ids.size(), 2U);
}

TEST(Command, AnEmptySelectorListsAllButActsOnNothing) {
  EXPECT_TRUE(good({"messages"}).selector.all);
  EXPECT_NE(bad({"retry"}).text.find("needs ids, conditions or --all"), std::string::npos);
  EXPECT_TRUE(good({"retry", "--all", "--dry-run"}).dry_run);
}

TEST(Command, HoldAndRelease) {
  const auto hold = good({"hold", "--from", "spam@", "--client", "10.0.0.0/8", "--also-new",
                          "--reason", "phish"});
  EXPECT_EQ(hold.verb, Verb::kHold);
  EXPECT_TRUE(hold.also_new);
  EXPECT_EQ(hold.selector.client, base::parse_network("10.0.0.0/8"));
  EXPECT_EQ(good({"release", "0000000000001"}).verb, Verb::kRelease);
  EXPECT_NE(bad({"hold", "--reason", "x"}).text.find("hold needs ids"), std::string::npos);
  EXPECT_NE(bad({"release"}).text.find("release needs ids"), std::string::npos);
  for (const auto& words :
       {Words{"hold", "--all"}, Words{"hold", "--all", "--reason", ""},
        Words{"hold", "--all", "--also-new", "--reason", "x"},
        Words{"hold", "--older", "1d", "--also-new", "--reason", "x"},
        Words{"hold", "0000000000001", "--also-new", "--reason", "x"},
        Words{"hold", "--error", "x", "--to", "y", "--also-new", "--reason", "x"},
        Words{"release", "--client", "10.0.0.1/8"}, Words{"release", "--all", "--also-new"}})
    EXPECT_EQ(bad(words).exit, 64) << words[1];
  EXPECT_FALSE(question(good({"hold", "--all", "--reason", "x"})).empty());
  EXPECT_FALSE(question(good({"release", "--all"})).empty());
  EXPECT_TRUE(question(good({"release", "--to", "x"})).empty());
}

TEST(Command, BadValuesAreUsageErrorsThatSayWhatWasExpected) {
  for (const auto& words :
       {Words{"show", "xyz"}, Words{"show"}, Words{"messages", "--older", "soon"},
        Words{"messages", "--larger", "many"}, Words{"messages", "--state", "lost"},
        Words{"freeze", "example.net"}, Words{"freeze", "example.net", "--reason", ""},
        Words{"outbound", "disable"}, Words{"outbound", "stop", "--reason", "x"},
        Words{"outbound", "enable", "--all"}, Words{"status", "--colour"}, Words{},
        Words{"freeze", "example.net", "--reason", std::string(501, 'x')},
        Words{"freeze", std::string(256, 'x'), "--reason", "x"},
        Words{"messages", "--to", std::string(513, 'x')}, Words(5000, "x")}) {
    const auto ending = bad(words);
    EXPECT_EQ(ending.exit, 64) << (words.empty() ? "" : words[0]);
    EXPECT_TRUE(ending.text.starts_with("posternctl: ")) << ending.text;
  }
  Words ids{"retry"};
  ids.insert(ids.end(), 1001, "0123456789ABC");
  EXPECT_EQ(bad(ids).exit, 64);
}

TEST(Command, ExplainTakesAnIdAQueueOrANextHop) {
  EXPECT_EQ(good({"explain", "0000000000007"}).id, base::MessageId(7));
  EXPECT_EQ(good({"explain", "far.example"}).queue, "far.example");
  EXPECT_EQ(good({"explain", "10.9.0.1:2525"}).queue, "10.9.0.1:2525");
  EXPECT_EQ(good({"explain", "far.example"}).id, base::MessageId());
  EXPECT_EQ(bad({"explain", std::string(256, 'x')}).exit, 64);
  EXPECT_EQ(bad({"explain"}).exit, 64);
}

TEST(Command, ForeignWordsAreEscaped) {
  EXPECT_EQ(bad({"\x1b[2J"}).text.find('\x1b'), std::string::npos);
  EXPECT_EQ(bad({"show", "\x1b[2J"}).text.find('\x1b'), std::string::npos);
  EXPECT_EQ(bad({"status", "--\x1b[2J"}).text.find('\x1b'), std::string::npos);
}

TEST(Command, HelpAndVersionEndWell) {
  const auto help = bad({"--help"});
  EXPECT_EQ(help.exit, 0);
  EXPECT_NE(help.text.find("freeze"), std::string::npos);
  EXPECT_NE(bad({"freeze", "--help"}).text.find("--future"), std::string::npos);
  EXPECT_EQ(bad({"--version"}).exit, 0);
  EXPECT_NE(bad({"--version"}).text.find("posternctl " POSTERN_VERSION), std::string::npos);
}

TEST(Command, WhatIsLargeIsAskedAbout) {
  EXPECT_NE(question(good({"outbound", "disable", "--reason", "x"})).find("but by internal"),
            std::string::npos);
  EXPECT_EQ(
      question(good({"outbound", "disable", "--reason", "x", "--all"})).find("but by internal"),
      std::string::npos);
  EXPECT_FALSE(question(good({"outbound", "enable"})).empty());
  EXPECT_FALSE(question(good({"stop"})).empty());
  EXPECT_FALSE(question(good({"retry", "--all"})).empty());
  EXPECT_TRUE(question(good({"retry", "--all", "--dry-run"})).empty());
  EXPECT_TRUE(question(good({"retry", "--queue", "example.net"})).empty());
  EXPECT_TRUE(question(good({"status"})).empty());
  EXPECT_TRUE(question(good({"messages", "--all"})).empty());
}

}  // namespace
}  // namespace postern::ctl
