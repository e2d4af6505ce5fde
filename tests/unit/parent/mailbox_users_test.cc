// Who files into which mailbox: users of this host, looked up when the configuration is loaded.
#include "parent/mailbox_users.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/unit/config/temp_dir.h"

namespace postern::parent {
namespace {

class Users : public config::ConfigTest {
 protected:
  static constexpr const char* kOwn = "[mailbox]\nowner = \"user\"\n";

  std::expected<MailboxUsers, std::vector<config::Mistake>> found(const std::string& text) {
    const auto loaded = load_text(kGood + text);
    EXPECT_TRUE(loaded) << mistakes(kGood + text);
    asked.clear();
    return MailboxUsers::find_all(*loaded, [this](const std::string& name) -> std::expected<MailboxUsers::Identity, std::string> {
      asked.push_back(name);
      if (const auto at = host.find(name); at != host.end()) return at->second;
      return std::unexpected("nobody is called so");
    });
  }
  std::string wrong(const std::string& text) {
    const auto users = found(text);
    std::string lines;
    if (!users)
      for (const auto& mistake : users.error()) lines += dir_.shortened(config::to_string(mistake)) + '\n';
    return lines;
  }

  std::map<std::string, MailboxUsers::Identity> host{{"it", {1001, 101}}, {"alice", {1002, 102}}, {"daemon", {1, 1}}};
  std::vector<std::string> asked;
};

TEST_F(Users, AreAskedForWhereMailboxesAreTheirs) {
  ASSERT_TRUE(found(""));
  EXPECT_TRUE(asked.empty());
  const auto users = found(kOwn);
  ASSERT_TRUE(users);
  EXPECT_EQ(asked, (std::vector<std::string>{"alice", "it"}));
  const auto* const alice = users->find("alice", "example.org");
  ASSERT_NE(alice, nullptr);
  EXPECT_EQ(alice->uid, 1002U);
  EXPECT_EQ(alice->gid, 102U);
  EXPECT_EQ(users->find("daemon", "example.org"), nullptr) << "he is a user, but has no mailbox";
  EXPECT_EQ(users->find("alice", "b.example"), nullptr);
  EXPECT_EQ(users->find("../alice", "example.org"), nullptr);
}

TEST_F(Users, AreAskedForOnce) {
  dir_.write("others", "alice\nalice@c.example\n");
  host["alice@c.example"] = {1003, 103};
  const auto users = found(std::string(kOwn) + "[[domain]]\nname = [\"b.example\", \"c.example\"]\nrecipients = \"file:others\"\n");
  ASSERT_TRUE(users);
  EXPECT_EQ(asked, (std::vector<std::string>{"alice", "it", "alice@c.example"}));
  EXPECT_EQ(users->find("alice", "b.example")->uid, 1002U);
  EXPECT_EQ(users->find("alice@c.example", "b.example")->uid, 1003U);
  EXPECT_EQ(users->find("alice@c.example", "c.example"), nullptr) << "that is the other name of the section";
}

TEST_F(Users, NamesThatNobodyHasAreMistakes) {
  dir_.write("users", "it\n# people\n  bob\nalice\ncarol # gone\n");
  EXPECT_EQ(wrong(kOwn), "users:3:3: \"bob\": nobody is called so\nusers:5:1: \"carol\": nobody is called so\n");
  EXPECT_EQ(wrong(""), "");
}

TEST_F(Users, ASmallUidIsAMistake) {
  dir_.write("users", "it\ndaemon\n");
  EXPECT_EQ(wrong(kOwn),
            "users:2:1: \"daemon\": the uid of this user, 1, is below mailbox.min_uid (1000)\n");
  EXPECT_EQ(wrong(std::string(kOwn) + "min_uid = 1\n"), "");
  host["daemon"].uid = 0;
  EXPECT_EQ(wrong(std::string(kOwn) + "min_uid = 1\n"),
            "users:2:1: \"daemon\": the uid of this user, 0, is below mailbox.min_uid (1)\n");
}

TEST_F(Users, MoreThanPeopleReadAreCounted) {
  std::string names = "it\n";
  for (int i = 0; i < 103; ++i) names += "u" + std::to_string(i) + '\n';
  dir_.write("users", names);
  const auto lines = wrong(kOwn);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 101);
  EXPECT_TRUE(lines.ends_with("users: 3 more entries have no mailbox that a user of this host owns\n")) << lines;
}

TEST(UsersOfThisHost, AreThoseOfTheSystem) {
  const auto root = MailboxUsers::of_this_host("root");
  ASSERT_TRUE(root);
  EXPECT_EQ(root->uid, 0U);
  const auto nobody = MailboxUsers::of_this_host("no-such-user-here");
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error(), "no user of this host has this name, so its mailbox has no owner");
}

}  // namespace
}  // namespace postern::parent
