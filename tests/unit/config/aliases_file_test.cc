// Aliases from the file to the recipients that they stand for, and alias domains.
#include "common/config/aliases_file.h"

#include "common/config/alias_expansion.h"
#include "common/config/summary.h"
#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

class AliasesFile : public ConfigTest {
 protected:
  static constexpr const char* kOne = R"(hostname = "mx.example.org"
postmaster = "it@example.org"
spool = "spool"
[[listen]]
address = "127.0.0.1:2525"
[[domain]]
name = ["example.org", "example.net"]
recipients = "file:users"
aliases = "aliases"
)";
  static constexpr const char* kTwo = R"([[domain]]
name = ["any.example"]
recipients = "any"
aliases = "others"
[domains]
alias = { "old.example" = "example.net" }
)";

  AliasesFile() {
    dir_.write("users", "it\nalice\nbob\ncarol\n\"first last\"\n");
    dir_.write("others", "");
  }

  // "name: recipients", a line each; "[owner]" behind whose sender is another.
  std::string expanded(const std::string& aliases, const std::string& others = "") {
    dir_.write("aliases", aliases);
    dir_.write("others", others);
    const auto text = std::string(kOne) + kTwo;
    const auto loaded = load_text(text);
    if (!loaded) return mistakes(text);
    std::string all;
    for (const auto& domain : loaded->domains)
      for (const auto& alias : domain.aliases) {
        EXPECT_EQ(alias.count, alias.targets.size());
        all += alias.name + (alias.list ? " (list):" : ":");
        for (const auto& target : alias.targets)
          all += ' ' + target.address.text() + (target.sender ? '[' + target.sender->text() + ']' : "");
        all += '\n';
      }
    return all;
  }
  std::string warned() {
    std::string all;
    const auto loaded = load_text(std::string(kOne) + kTwo);
    if (!loaded) return "refused";
    for (const auto& line : loaded->alias_warnings) all += dir_.shortened(line) + '\n';
    return all;
  }
};

TEST_F(AliasesFile, NamesListsAndComments) {
  EXPECT_EQ(expanded("# everybody\n"
                     "\n"
                     "Team: alice, bob@example.net,\tcarol@far.example # and so on\r\n"
                     "\n"
                     "   # a comment does not end the entry\n"
                     "   \"first last\" , # more\n"
                     "\tBob Smith <bob@x.example>, \"Jones, Carol\" <carol(here)@y.example>\n"
                     "\"two words\" : alice\n"
                     "q\xc3\xa4: alice+q\n"),
            "team: alice@example.org bob@example.net carol@far.example \"first last\"@example.org bob@x.example "
            "carol@y.example\n"
            "two words: alice@example.org\n"
            "q\xc3\xa4: alice+q@example.org\n");
}

TEST_F(AliasesFile, AliasesOfAliasesAreFollowedAndEachRecipientCountsOnce) {
  EXPECT_EQ(expanded("all: staff, alice, guests@any.example\n"
                     "staff: alice, bob, Staff+x@old.example, postmaster\n",
                     "guests: dora, alice@example.org, eve@far.example\n"),
            "aliases:2:20: this leads back to where it came from: staff -> staff; a backslash before a name means its "
            "mailbox\n");
  EXPECT_EQ(expanded("all: staff, alice, guests@any.example\n"
                     "staff: alice, bob@old.example, Bob+x@old.example, postmaster\n",
                     "guests: dora, alice@example.org, eve@far.example, staff@example.net\n"),
            "all: alice@example.org bob@example.net Bob+x@example.net it@example.org dora@any.example eve@far.example\n"
            "staff: alice@example.org bob@example.net Bob+x@example.net it@example.org\n"
            "guests: dora@any.example alice@example.org eve@far.example bob@example.net Bob+x@example.net it@example.org\n");
}

TEST_F(AliasesFile, ABackslashOrItsOwnNameMeansTheMailbox) {
  EXPECT_EQ(expanded("bob: bob, alice@far.example\n"
                     "alice: \\alice, bob\n"
                     "dora: dora@any.example\n",
                     "dora: DORA, carol@example.org\n"),
            "bob: bob@example.org alice@far.example\n"
            "alice: alice@example.org bob@example.org alice@far.example\n"
            "dora: DORA@any.example carol@example.org\n"
            "dora: DORA@any.example carol@example.org\n");
}

TEST_F(AliasesFile, AnOwnerBecomesTheSenderOfItsList) {
  EXPECT_EQ(expanded("news: alice, inner, plain\n"
                     "owner-news: bob\n"
                     "inner: carol\n"
                     "owner-inner: carol\n"
                     "plain: it\n"
                     "outer: news, bob\n"),
            "news (list): alice@example.org[owner-news@example.org] carol@example.org[owner-inner@example.org] "
            "it@example.org[owner-news@example.org]\n"
            "owner-news: bob@example.org\n"
            "inner (list): carol@example.org[owner-inner@example.org]\n"
            "owner-inner: carol@example.org\n"
            "plain: it@example.org\n"
            "outer: alice@example.org[owner-news@example.org] carol@example.org[owner-inner@example.org] "
            "it@example.org[owner-news@example.org] bob@example.org\n");
}

TEST_F(AliasesFile, IncludedFilesCountAsIfTheyStoodThere) {
  dir_.write("lists/news", "# members\nalice\nbob, \"Carol\" <carol@far.example>\n:include:more\n");
  dir_.write("lists/more", "eve@far.example # the last one");
  EXPECT_EQ(expanded("news: it, :include:lists/news, \":include:lists/more\"\n"),
            "news: it@example.org alice@example.org bob@example.org carol@far.example eve@far.example\n");
}

TEST_F(AliasesFile, IncludedFilesEnd) {
  dir_.write("round", "alice\n:include:round\n");
  EXPECT_EQ(expanded("a: :include:round\nb: :include:nowhere\nc: :include:\n"),
            "aliases:2:4: \":include:nowhere\": the file nowhere cannot be read: No such file or directory\n"
            "aliases:3:4: \":include:\": expected the name of a file behind \":include:\"\n"
            "round:2:1: \":include:round\": files include each other more than 8 deep\n");
}

TEST_F(AliasesFile, WhatIsNotForMailIsRefused) {
  EXPECT_EQ(expanded("a: |/usr/bin/vacation, \"|sh -c 'x, y'\"\n"
                     "b: /dev/null, \"/var/mail/b\"\n"
                     "c: :fail: gone\n"),
            "aliases:1:4: \"|/usr/bin/vacation\": mail is handed to no program: deliver it to a mailbox, or to a host by "
            "SMTP or LMTP\n"
            "aliases:1:24: \"\"|sh -c 'x, y'\"\": mail is handed to no program: deliver it to a mailbox, or to a host by "
            "SMTP or LMTP\n"
            "aliases:2:4: \"/dev/null\": mail is written to no file: name a mailbox; what is to vanish goes to a domain "
            "whose route is \"discard\"\n"
            "aliases:2:15: \"\"/var/mail/b\"\": mail is written to no file: name a mailbox; what is to vanish goes to a "
            "domain whose route is \"discard\"\n"
            "aliases:3:4: \":fail: gone\": expected an address, or \":include:\" and the name of a file\n");
}

TEST_F(AliasesFile, BadLines) {
  EXPECT_EQ(expanded("  alice\nno colon\n: alice\na..b: alice\nx@example.org: alice\nempty:\nEmpty: alice\n"
                     "\"open: alice\nbad: a b, <alice, alice>, x@, \\\nq: alice (a, bob\n"),
            "aliases:1:3: \"alice\": this line begins with a space, so it goes on with the one before, and there is none\n"
            "aliases:2:1: \"no colon\": expected a name, a colon, and whom it stands for\n"
            "aliases:3:1: \": alice\": expected a name, a colon, and whom it stands for\n"
            "aliases:4:1: \"a..b\": expected an address: dot out of place in local part\n"
            "aliases:5:1: \"x@example.org\": expected a name without a domain: it is valid in every name of this "
            "[[domain]]\n"
            "aliases:6:1: \"empty\": expected at least one address behind the colon\n"
            "aliases:7:1: \"Empty\": this name stands already at aliases:6\n"
            "aliases:8:1: \"\"open: alice\": expected a name, a colon, and whom it stands for\n"
            "aliases:9:6: \"a b\": expected an address: bad character in local part\n"
            "aliases:9:11: \"<alice\": expected \">\" behind the address\n"
            "aliases:9:19: \"alice>\": expected an address: bad character in local part\n"
            "aliases:9:27: \"x@\": expected an address: empty domain\n"
            "aliases:9:31: \"\\\\\": expected an address\n"
            "aliases:10:4: \"alice (a, bob\": expected \")\" behind the comment\n");
}

TEST_F(AliasesFile, LoopsAreNamed) {
  EXPECT_EQ(expanded("a: b\nb: c, alice\nc: a+x@old.example\nnobody: nobody\n"),
            "aliases:3:4: this leads back to where it came from: a -> b -> c -> a; a backslash before a name means its "
            "mailbox\n"
            "aliases:4:9: this leads back to where it came from: nobody -> nobody; a backslash before a name means its "
            "mailbox\n");
}

TEST_F(AliasesFile, DepthAndNumberAreLimited) {
  std::string deep;
  for (int i = 0; i < 60; ++i) deep += "a" + std::to_string(i) + ": a" + std::to_string(i + 1) + '\n';
  EXPECT_NE(expanded(deep + "a60: alice\n").find("aliases lead to each other more than 50 deep"), std::string::npos);

  std::string many = "many: x0@far.example";
  for (int i = 1; i < 14'000; ++i) many += ", x" + std::to_string(i) + "@far.example";
  EXPECT_NE(expanded(many + '\n').find("aliases:1:1: this stands for more than "), std::string::npos);
}

TEST_F(AliasesFile, WhoIsNobodyIsWarnedOf) {
  EXPECT_EQ(expanded("team: alice, dora, eve@example.net, x@any.example, y@far.example\npostmaster: alice\n"),
            "team: alice@example.org dora@example.org eve@example.net x@any.example y@far.example\n"
            "postmaster: alice@example.org\n");
  EXPECT_EQ(warned(),
            "aliases:1:14: alias team: dora@example.org is nobody here: what is sent to it comes back\n"
            "aliases:1:20: alias team: eve@example.net is nobody here: what is sent to it comes back\n"
            "aliases:2:1: alias postmaster: it is not used, for postmaster's mail goes to it@example.org (postmaster)\n");
}

TEST_F(AliasesFile, PostmasterMayBeAnAlias) {
  dir_.write("users", "alice\nbob\n");
  EXPECT_EQ(expanded("it: alice, bob\nabuse: postmaster\n"),
            "it: alice@example.org bob@example.org\nabuse: alice@example.org bob@example.org\n");
  EXPECT_NE(expanded("it: postmaster\n").find("it -> it"), std::string::npos);
}

TEST_F(AliasesFile, TheFileMustBeThere) {
  EXPECT_EQ(mistakes(kOne), "postern.toml:9:11: domain.aliases: the file aliases cannot be read: No such file or directory\n");
}

TEST_F(AliasesFile, AliasDomains) {
  dir_.write("aliases", "");
  const auto with = [&](const std::string& table) { return std::string(kOne) + "[domains]\nalias = " + table + '\n'; };
  const auto loaded = load_text(with(R"({ "Old.example" = "Example.net", "b\u00fccher.example" = "example.org" })"));
  ASSERT_TRUE(loaded);
  ASSERT_EQ(loaded->alias_domains.size(), 2U);
  EXPECT_EQ(loaded->alias_domains[0].name.text(), "old.example");
  EXPECT_EQ(loaded->alias_domains[0].target.text(), "example.net");
  EXPECT_EQ(loaded->alias_domains[1].name.text(), "xn--bcher-kva.example");
  EXPECT_NE(rights_summary(*loaded).find("\n  old.example: stands for example.net\n"), std::string::npos);

  EXPECT_EQ(mistakes(with(R"({ "a.example" = "far.example", "b.example" = 1, "c d" = "example.org" })")),
            "postern.toml:11:25: domains.alias = \"far.example\": expected a domain that a [[domain]] names: mail for it "
            "is ours\n"
            "postern.toml:11:54: domains.alias = 1: expected names of domains, like { \"example.net\" = \"example.org\" }\n"
            "postern.toml:11:65: domains.alias = \"example.org\": expected a domain: bad character in domain\n");
  EXPECT_NE(mistakes(with(R"({ "example.net" = "example.org" })")).find("example.net stands already at "),
            std::string::npos);
  EXPECT_NE(mistakes(with(R"({ "old.example" = "example.org" })") + "[[route]]\nto = [\"old.example\"]\nvia = [\"mx\"]\n")
                .find("no route leads there"),
            std::string::npos);
}

}  // namespace
}  // namespace postern::config
