// [policy] and its files.
#include "common/config/policy_file.h"

#include "common/config/cut.h"
#include "common/config/summary.h"
#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

class PolicyFile : public ConfigTest {
 protected:
  static std::string with(const std::string& lines) {
    return std::string(kGood) + "[policy]\n" + lines;
  }
  static std::string text_of(const std::vector<PolicyRule>& rules) {
    static constexpr const char* kSubjects[] = {"client", "hello", "sender", "recipient"};
    std::string text;
    for (const auto& rule : rules) {
      text += std::string(kSubjects[static_cast<int>(rule.subject)]) + ' ' + rule.pattern;
      text += rule.reply.empty() ? "\n" : " -> " + rule.reply + '\n';
    }
    return text;
  }
};

TEST_F(PolicyFile, IsNothingUnlessItIsWritten) {
  const auto loaded = load_text(with("clients = []\ndeny = \"\"\nallow = \"\"\nrate = \"0\"\n"));
  ASSERT_TRUE(loaded);
  EXPECT_TRUE(loaded->policy.clients.empty() && loaded->policy.not_clients.empty());
  EXPECT_TRUE(loaded->policy.deny.empty() && loaded->policy.allow.empty());
  EXPECT_EQ(loaded->policy.rate, Rate{});
}

TEST_F(PolicyFile, ReadsRulesAndTheirReplies) {
  dir_.write("deny",
             "# what we do not want\n"
             "\n"
             "client 192.0.2.0/24\tYour network is on our list\n"
             "  client 2001:db8::1   550 5.7.1 Not you  \r\n"
             "hello *.Dyn.example 450 Use your provider\n"
             "sender *@SPAM.example 554 5.7.999 # is no comment here\n"
             "sender <> 450 4.7.1\n"
             "sender *@*.b\xc3\xbc" "cher.example\n"
             "recipient Old@Example.org 550 5.1.6 Moved to new@example.org\n"
             "recipient abuse@* 551\n"
             "recipient J\xc3\x9crg@example.org\n"
             "sender BO\xcc\x88" "b@*\n"
             "sender \"X@y\"@*\n"
             "recipient * 5.7.1 apples\n");
  dir_.write("allow", "recipient postmaster@*\nclient 10.0.0.0/8\n");
  const auto text = with("deny = \"deny\"\nallow = \"allow\"\nrate = \"60/min\"\n"
                         "clients = [\"10.0.0.0/8\", \"!10.9.0.0/16\", \"!2001:db8::/32\"]\n");
  const auto loaded = load_text(text);
  ASSERT_TRUE(loaded) << mistakes(text);
  EXPECT_EQ(text_of(loaded->policy.deny),
            "client 192.0.2.0/24 -> 550 5.7.1 Your network is on our list\n"
            "client 2001:db8::1/128 -> 550 5.7.1 Not you\n"
            "hello *.dyn.example -> 450 4.7.1 Use your provider\n"
            "sender *@spam.example -> 554 5.7.999 # is no comment here\n"
            "sender <> -> 450 4.7.1 Refused by the policy of this server\n"
            "sender *@*.xn--bcher-kva.example -> 550 5.7.1 Refused by the policy of this server\n"
            "recipient old@example.org -> 550 5.1.6 Moved to new@example.org\n"
            "recipient abuse@* -> 551 5.7.1 Refused by the policy of this server\n"
            "recipient j\xc3\xbcrg@example.org -> 550 5.7.1 Refused by the policy of this server\n"
            "sender b\xc3\xb6" "b@* -> 550 5.7.1 Refused by the policy of this server\n"
            "sender \"x@y\"@* -> 550 5.7.1 Refused by the policy of this server\n"
            "recipient * -> 550 5.7.1 apples\n");
  EXPECT_EQ(text_of(loaded->policy.allow), "recipient postmaster@*\nclient 10.0.0.0/8\n");
  EXPECT_EQ(loaded->policy.rate, (Rate{60, 60}));
  ASSERT_EQ(loaded->policy.clients.size(), 1U);
  ASSERT_EQ(loaded->policy.not_clients.size(), 2U);
  EXPECT_EQ(cut_smtpd(*loaded).policy.deny.size(), 12U);
  const auto summary = dir_.shortened(rights_summary(*loaded));
  EXPECT_NE(summary.find("POLICY  whose mail is refused\n"
                         "  only clients in 10.0.0.0/8\n"
                         "  no clients in 10.9.0.0/16, 2001:db8::/32\n"
                         "  12 rules of what is denied, in deny\n"
                         "  2 rules of what is not denied, in allow\n"
                         "  60 messages of one client in 1m\n"),
            std::string::npos)
      << summary;
}

TEST_F(PolicyFile, BadLines) {
  dir_.write("deny",
             "clients 192.0.2.1\n"
             "client\n"
             "client mx.example.net\n"
             "client 192.0.2.1/24\n"
             "  hello two..dots, no\n"
             "sender spam.example\n"
             "sender *@*\n"
             "sender a..b@c.example\n"
             "recipient <>\n"
             "client 192.0.2.1 250 Ok\n"
             "client 192.0.2.1 421 Bye\n"
             "client 192.0.2.1 Gr\xc3\xbc\xc3\x9f" "e\n"
             "client 192.0.2.1 " + std::string(400, 'x') + "\n");
  dir_.write("allow", "recipient abuse@* 250 Ok\n");
  EXPECT_EQ(
      mistakes(with("deny = \"deny\"\nallow = \"allow\"\n")),
      "allow:1:19: \"250 Ok\": what is allowed has no reply: expected nothing here\n"
      "deny:1:1: \"clients\": expected \"client\", \"hello\", \"sender\" or \"recipient\"\n"
      "deny:2:1: \"client\": expected a pattern behind this\n"
      "deny:3:8: \"mx.example.net\": expected a network like \"192.0.2.0/24\" or an address, with no "
      "bit set behind the prefix\n"
      "deny:4:8: \"192.0.2.1/24\": expected a network like \"192.0.2.0/24\" or an address, with no bit "
      "set behind the prefix\n"
      "deny:5:9: \"two..dots,\": expected a host name, \"*.example.net\" or \"*\"\n"
      "deny:6:8: \"spam.example\": expected an address, \"*@example.net\", \"*@*.example.net\", "
      "\"user@*\" or \"*\"\n"
      "deny:7:8: \"*@*\": expected an address, \"*@example.net\", \"*@*.example.net\", \"user@*\" or "
      "\"*\"\n"
      "deny:8:8: \"a..b@c.example\": expected an address: dot out of place in local part\n"
      "deny:9:11: \"<>\": expected an address, \"*@example.net\", \"*@*.example.net\", \"user@*\" or "
      "\"*\"\n"
      "deny:10:18: \"250 Ok\": expected a code from 400 to 559, and not 421\n"
      "deny:11:18: \"421 Bye\": expected a code from 400 to 559, and not 421\n"
      "deny:12:18: \"Gr\\xc3\\xbc\\xc3\\x9fe\": expected a text in printable ASCII\n"
      "deny:13:18: \"" + std::string(60, 'x') + "...\": expected at most 400 characters\n");
}

TEST_F(PolicyFile, TellsWhatElseIsWrong) {
  EXPECT_EQ(mistakes(with("clients = [\"10.0.0.1/8\", \"!\", \"all\"]\n")),
            "postern.toml:12:12: policy.clients = \"10.0.0.1/8\": expected a network like "
            "\"192.0.2.0/24\" or an address, with no bit set behind the prefix; with \"!\" before it, "
            "without these\n"
            "postern.toml:12:26: policy.clients = \"!\": expected a network like \"192.0.2.0/24\" or an "
            "address, with no bit set behind the prefix; with \"!\" before it, without these\n"
            "postern.toml:12:31: policy.clients = \"all\": expected a network like \"192.0.2.0/24\" or "
            "an address, with no bit set behind the prefix; with \"!\" before it, without these\n");
  EXPECT_EQ(mistakes(with("rate = \"often\"\n")),
            "postern.toml:12:8: policy.rate = \"often\": expected messages in a time, like \"60/min\", "
            "or \"0\"\n");
  EXPECT_NE(mistakes(with("deny = \"missing\"\n")).find("policy.deny: the file missing "),
            std::string::npos);
}

}  // namespace
}  // namespace postern::config
