// Mailboxes that are their users' own: what the configuration must say, and where the entries of users files stand.
#include "common/config/cut.h"
#include "common/config/summary.h"
#include "common/config/users_file.h"
#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

class MailboxOwner : public ConfigTest {
 protected:
  static constexpr const char* kOwn = "[mailbox]\nowner = \"user\"\n";
  Config config(const std::string& text) const {
    auto loaded = load_text(kGood + text);
    EXPECT_TRUE(loaded) << mistakes(kGood + text);
    return loaded ? *std::move(loaded) : Config();
  }
  std::string behind(const std::string& text) const { return mistakes(kGood + text); }
};

TEST_F(MailboxOwner, IsOneUserUnlessItIsSaid) {
  const auto one = config("");
  EXPECT_FALSE(files_as_users(one));
  EXPECT_FALSE(cut_local(one).as_users);
  EXPECT_EQ(one.mailbox.min_uid, 1000U);
  const auto own = config(std::string(kOwn) + "min_uid = 500\npath = \"maildir:/home/{user}/Maildir\"\n");
  EXPECT_TRUE(files_as_users(own));
  EXPECT_TRUE(cut_local(own).as_users);
  EXPECT_EQ(own.mailbox.min_uid, 500U);
  EXPECT_NE(rights_summary(own).find("maildir:/home/{user}/Maildir, filed into as its user\n"), std::string::npos);
}

TEST_F(MailboxOwner, TheProcessOfAMailboxKnowsThatAlone) {
  const auto own = config(std::string(kOwn) + "quota = \"5MiB\"\nfolders = true\n"
                          "[[route]]\nto = [\"*\"]\nvia = [\"lmtp:unix:/run/lmtp\"]\n");
  const auto cut = cut_mailbox(own, "alice", "example.org");
  EXPECT_EQ(cut.user, "alice");
  EXPECT_EQ(cut.domain, "example.org");
  EXPECT_EQ(cut.root, "/var/mail");
  EXPECT_EQ(cut.local.path, "{domain}/{user}");
  EXPECT_EQ(cut.local.hostname, "mx.example.org");
  EXPECT_EQ(cut.local.quota, 5U << 20);
  EXPECT_TRUE(cut.local.folders);
  EXPECT_TRUE(cut.local.sockets.empty());
  EXPECT_EQ(cut_local(own).sockets.size(), 1U);
  const auto bytes = ipc::encode(cut);
  const auto back = ipc::decode<MailboxConfig>(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(ipc::encode(*back), bytes);
}

TEST_F(MailboxOwner, ADropIsNobodysOwn) {
  EXPECT_EQ(behind(std::string(kOwn) + "path = \"drop:/srv/drop\"\n"),
            "postern.toml:12:9: mailbox.owner: a drop is no user's own: name one user, or a path \"maildir:...\" "
            "with {user}\n");
}

TEST_F(MailboxOwner, NeedsAFileOfUsers) {
  const std::string any = "[[domain]]\nname = [\"b.example\"]\nrecipients = \"any\"\n";
  EXPECT_EQ(behind(any), "");
  EXPECT_EQ(behind(kOwn + any),
            "postern.toml:13:1: domain.recipients: mailboxes that are their users' own need a file of them "
            "(postern.toml:12): say \"file:\" and its name\n");
  EXPECT_EQ(behind(kOwn + any + "deliver = \"smtp://10.0.0.1\"\n"), "") << "it has no mailboxes";
}

TEST_F(MailboxOwner, TheLeastUidIsNeverRoots) {
  for (const auto* bad : {"0", "-1", "4294967295"})
    EXPECT_NE(behind(std::string(kOwn) + "min_uid = " + bad + '\n').find("postern.toml:13:11: mailbox.min_uid"),
              std::string::npos)
        << bad;
  EXPECT_EQ(behind(std::string(kOwn) + "min_uid = 1\n"), "");
  EXPECT_EQ(behind("[mailbox]\nmin_uid = 5\n"), "") << "it says nothing then";
}

TEST_F(MailboxOwner, EntriesNameMailboxes) {
  dir_.write("users", "it\n# people\n  Bob  # twice\nbob\nann@example.org\nANN@example.net\n\"a b\"\n");
  std::string text = kGood;
  text.replace(text.find("[\"example.org\"]"), 15, "[\"example.org\", \"example.net\"]");
  const auto loaded = load_text(text);
  ASSERT_TRUE(loaded) << mistakes(text);
  const auto& domain = loaded->domains[0];
  EXPECT_EQ(mailboxes_of(domain), (std::vector<std::string>{"a b", "ann", "ann@example.net", "bob", "it"}));
  std::vector<std::string> places;
  for (const auto& [mailbox, where] : places_of_mailboxes(domain))
    places.push_back(mailbox + ':' + std::to_string(where.line) + ':' + std::to_string(where.column));
  EXPECT_EQ(places, (std::vector<std::string>{"it:1:1", "bob:3:3", "ann:5:1", "ann@example.net:6:1", "a b:7:1"}));
  // Each is what RightsIndex names it.
  const RightsIndex index(rights_of(*loaded));
  for (const auto& [recipient, mailbox] :
       {std::pair("bob@example.net", "bob"), std::pair("ann@example.org", "ann"),
        std::pair("Ann+x@example.net", "ann@example.net"), std::pair("\"a b\"@example.org", "a b")})
    EXPECT_EQ(index.place(mail::Address::parse(recipient).value()).user, mailbox);
  std::filesystem::remove(dir_.path() + "/users");
  EXPECT_TRUE(places_of_mailboxes(domain).empty());
}

}  // namespace
}  // namespace postern::config
