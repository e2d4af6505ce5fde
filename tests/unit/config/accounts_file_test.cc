// The section [auth] and the password file.
#include "common/config/accounts_file.h"

#include <gtest/gtest.h>

#include "common/config/cut.h"
#include "common/config/parse.h"
#include "common/config/summary.h"
#include "common/sasl/scram_verifier.h"
#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

const std::string kHash = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC";

std::string verifier() {
  static const auto text = sasl::ScramVerifier::make("pw", "0123456789abcdef", 4096).text();
  return text;
}

std::string wrong(const std::string& line) {
  const auto entry = parse_account(line);
  return entry ? "" : std::to_string(entry.error().at) + ": " + entry.error().text;
}

TEST(AccountLine, HasAHashOrAVerifierOrBoth) {
  const auto hash = parse_account("bob:" + kHash);
  ASSERT_TRUE(hash) << hash.error().text;
  EXPECT_EQ(hash->name, "bob");
  EXPECT_EQ(hash->hash, kHash);
  EXPECT_EQ(hash->verifier, "");
  const auto both = parse_account("bob@example.org:" + kHash + ":" + verifier());
  ASSERT_TRUE(both) << both.error().text;
  EXPECT_EQ(both->hash, kHash);
  EXPECT_EQ(both->verifier, verifier());
  const auto scram = parse_account("bob:" + verifier());
  ASSERT_TRUE(scram) << scram.error().text;
  EXPECT_EQ(scram->hash, "");
  for (const auto& line : {"bob:" + kHash, "bob:" + kHash + ":" + verifier(), "bob:" + verifier()})
    EXPECT_EQ(account_line(*parse_account(line)), line);
}

TEST(AccountLine, MistakesNameTheirPlace) {
  EXPECT_EQ(wrong("bob"), "3: expected NAME:HASH, or NAME:HASH:VERIFIER");
  EXPECT_EQ(wrong(":" + kHash), "0: expected the name of an account");
  EXPECT_EQ(wrong("Bob:" + kHash), "0: expected the name in lower case");
  EXPECT_TRUE(wrong("b b:" + kHash).starts_with("0: expected a name of printable ASCII"));
  EXPECT_TRUE(wrong("bob:secret").starts_with("4: expected a hash of crypt(3)"));
  EXPECT_TRUE(wrong("bob:").starts_with("4: expected a hash of crypt(3)"));
  EXPECT_TRUE(wrong("bob:" + kHash + ":").starts_with(std::to_string(5 + kHash.size())));
  EXPECT_TRUE(wrong("bob:" + kHash + ":" + verifier() + ":x").starts_with(std::to_string(5 + kHash.size())));
  EXPECT_TRUE(wrong("bob:" + kHash + " ").starts_with("4: "));
  EXPECT_TRUE(wrong("bob:" + std::string(2000, 'x')).starts_with("1024: "));
}

struct AuthSection : testing::Test {
  TempDir dir;
  std::string base = R"(hostname = "mx.example.org"
postmaster = "it@example.org"
spool = "spool"
[[listen]]
address = "127.0.0.1:2525"
service = "submission"
)";

  std::expected<Config, std::vector<Mistake>> read(const std::string& text, const std::string& accounts) {
    dir.write("accounts", accounts);
    return load(dir.write("postern.toml", text));
  }
  std::string mistakes(const std::string& text, const std::string& accounts = "") {
    const auto config = read(text, accounts);
    std::string all;
    if (!config)
      for (const auto& mistake : config.error()) all += to_string(mistake) + '\n';
    // The directory has another name each time.
    for (auto at = all.find(dir.path()); at != std::string::npos; at = all.find(dir.path()))
      all.erase(at, dir.path().size() + 1);
    return all;
  }
};

TEST_F(AuthSection, ReadsTheFile) {
  const auto config = read(base + "[auth]\naccounts = \"accounts\"\nallow_plaintext = true\n",
                           "# people\n\nbob:" + kHash + "\r\namy:" + verifier() + "\n");
  ASSERT_TRUE(config) << to_string(config.error().front());
  ASSERT_EQ(config->auth.accounts.size(), 2U);
  EXPECT_EQ(config->auth.accounts[0].name, "bob");
  EXPECT_TRUE(needs_auth(*config));
  const auto cut = cut_auth(*config);
  EXPECT_EQ(cut.accounts.size(), 2U);
  const auto summary = rights_summary(*config);
  EXPECT_NE(summary.find("who logs in (PLAIN, LOGIN, SCRAM-SHA-256, without TLS too, 2 accounts of"),
            std::string::npos) << summary;
  EXPECT_NE(summary.find("passwords cross the network in clear text"), std::string::npos);
  EXPECT_NE(summary.find("1 of 2 accounts have no SCRAM verifier"), std::string::npos);
}

TEST_F(AuthSection, MistakesOfTheFileNameLineAndColumnAndNoPassword) {
  EXPECT_EQ(mistakes(base + "[auth]\naccounts = \"accounts\"\nallow_plaintext = true\n",
                     "bob:" + kHash + "\nbob:" + kHash + "\namy:hunter2\n"),
            "accounts:2:1: \"bob\": this account stands already in line 1\n"
            "accounts:3:5: \"amy\": expected a hash of crypt(3) by yescrypt ($y$), SHA-512 ($6$), "
            "SHA-256 ($5$), scrypt ($7$) or bcrypt ($2b$)\n");
}

TEST_F(AuthSection, WhatCannotWorkIsRefused) {
  EXPECT_NE(mistakes(base).find("say who they are in [auth]"), std::string::npos);
  EXPECT_NE(mistakes(base + "[auth]\naccounts = \"accounts\"\n").find("nobody could log in"),
            std::string::npos);
  EXPECT_NE(mistakes(base + "[auth]\naccounts = \"missing\"\n").find("auth.accounts"), std::string::npos);
  EXPECT_NE(mistakes(base + "[auth]\naccounts = \"accounts\"\nmechanisms = [\"CRAM-MD5\"]\n")
                .find("expected \"PLAIN\""), std::string::npos);
  EXPECT_NE(mistakes(base + "[auth]\naccounts = \"accounts\"\ndovecot = \"unix:/run/x\"\n")
                .find("not both"), std::string::npos);
  EXPECT_NE(mistakes(base + "[auth]\ndovecot = \"/run/x\"\n").find("expected \"unix:\""),
            std::string::npos);
  EXPECT_NE(mistakes(base + "[auth]\ndovecot = \"unix:/run/x\"\nmechanisms = [\"SCRAM-SHA-256\"]\n")
                .find("by \"PLAIN\" and \"LOGIN\" alone"), std::string::npos);
}

}  // namespace
}  // namespace postern::config
