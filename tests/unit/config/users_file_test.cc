#include "common/config/users_file.h"

#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

class UsersFile : public ConfigTest {
 protected:
  static constexpr const char* kTwoNames = R"(hostname = "mx.example.org"
postmaster = "it@elsewhere.example"
spool = "spool"
[[listen]]
address = "127.0.0.1:2525"
[[domain]]
name = ["example.org", "example.net"]
recipients = "file:users"
)";
};

TEST_F(UsersFile, Entries) {
  dir_.write("users",
             "# people\n\n  Alice \t\nbob#smith # the other bob\r\nCarol@Example.NET\n\"quoted "
             "local\"\n\"at@sign\"\nalice\ndave\t# and so on\nerin@example.org");
  const auto loaded = load_text(kTwoNames);
  ASSERT_TRUE(loaded) << mistakes(kTwoNames);
  const auto& domain = loaded->domains[0];
  EXPECT_EQ(domain.users,
            (std::vector<std::string>{"alice", "at@sign", "bob#smith", "dave", "quoted local"}));
  EXPECT_EQ(domain.addresses, (std::vector<std::string>{"carol@example.net", "erin@example.org"}));
}

TEST_F(UsersFile, BadLines) {
  dir_.write(
      "users",
      "alice bob\nalice@other.example\n\n a..b\nalice:x\n@example.org\n\"open\n\xff@x.y\n" +
          std::string(65, 'x') + "\nslash/ed\n\".hidden\"\n");
  EXPECT_EQ(
      mistakes(kTwoNames),
      "users:1:1: \"alice bob\": expected an address: bad character in local part\n"
      "users:2:1: \"alice@other.example\": expected an address in example.org: other.example is no "
      "name "
      "of this [[domain]]\n"
      "users:4:2: \"a..b\": expected an address: dot out of place in local part\n"
      "users:5:1: \"alice:x\": expected an address: bad character in local part\n"
      "users:6:1: \"@example.org\": expected an address: empty local part\n"
      "users:7:1: \"\"open\": expected an address: quote is not closed\n"
      "users:8:1: \"\\xff@x.y\": expected an address: local part is not plain UTF-8\n"
      "users:9:1: \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\": expected an "
      "address: local part longer than 64 characters\n"
      "users:10:1: \"slash/ed\": a name with a slash or a leading dot cannot be the name of a "
      "mailbox\n"
      "users:11:1: \"\".hidden\"\": a name with a slash or a leading dot cannot be the name of a "
      "mailbox\n");
}

TEST_F(UsersFile, NamesBeyondAsciiAreFolded) {
  dir_.write("users", "J\xc3\x9crg\nbo\xcc\x88" "b@example.org\n");  // o and a combining diaeresis
  const auto loaded = load_text(kTwoNames);
  ASSERT_TRUE(loaded) << mistakes(kTwoNames);
  EXPECT_EQ(loaded->domains[0].users, (std::vector<std::string>{"j\xc3\xbcrg"}));
  EXPECT_EQ(loaded->domains[0].addresses, (std::vector<std::string>{"b\xc3\xb6" "b@example.org"}));
}

TEST_F(UsersFile, ElsewhereAnyNameIsGood) {
  dir_.write("users", "slash/ed\n\".hidden\"\n");
  EXPECT_EQ(mistakes(std::string(kTwoNames) + "deliver = \"smtp://10.0.0.1\"\n"), "");
}

TEST_F(UsersFile, ManyBadLinesAreCounted) {
  std::string text;
  for (int i = 0; i < 250; ++i) text += "a b\n";
  dir_.write("users", text);
  const auto loaded = load_text(kTwoNames);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().size(), kMaxBadLines + 1);
  EXPECT_EQ(loaded.error().front().text, "150 more bad lines");
}

TEST_F(UsersFile, AnEmptyFileIsASectionWithoutUsers) {
  dir_.write("users", "");
  EXPECT_EQ(mistakes(kTwoNames), "");
}

TEST_F(UsersFile, OneFileMayServeSeveralSections) {
  dir_.write("users", "alice\n");
  EXPECT_EQ(mistakes(std::string(kTwoNames) +
                     "[[domain]]\nname = [\"b.example\"]\nrecipients = \"file:users\"\n"),
            "");
}

TEST_F(UsersFile, ManyUsers) {
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += "user" + std::to_string(i) + '\n';
  dir_.write("users", text);
  const auto loaded = load_text(kTwoNames);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->domains[0].users.size(), 200'000U);
}

}  // namespace
}  // namespace postern::config
