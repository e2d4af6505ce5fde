// Includes: what they match, how they merge, and where their mistakes stand.
#include "common/config/document.h"

#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

class Include : public ConfigTest {
 protected:
  std::string with(const std::string& include) const {
    return mistakes("include = " + include + '\n' + kGood);
  }
};

TEST_F(Include, FilesMergeInSortedOrder) {
  dir_.write("conf.d/20.toml",
             "[[route]]\nto = [\"b.example\"]\nvia = [\"mx\"]\n[log]\nlevel = \"debug\"\n");
  dir_.write("conf.d/10.toml",
             "[[route]]\nto = [\"a.example\"]\nvia = [\"mx\"]\n[log]\nformat = \"json\"\n"
             "[[listen]]\naddress = \"127.0.0.1:2526\"\n");
  dir_.write("conf.d/ignored.conf", "nonsense\n");
  const auto loaded =
      load_text("include = [\"conf.d/*.toml\"]\n" + std::string(kGood) +
                "[[route]]\nto = [\"*\"]\nvia = [\"mx\"]\n[log]\nto = \"stderr\"\n");
  ASSERT_TRUE(loaded);
  ASSERT_EQ(loaded->routes.size(), 3U);
  EXPECT_EQ(loaded->routes[0].to[0], "*");
  EXPECT_EQ(loaded->routes[1].to[0], "a.example");
  EXPECT_EQ(loaded->routes[2].to[0], "b.example");
  EXPECT_EQ(dir_.shortened(loaded->routes[2].where.file), "conf.d/20.toml");
  EXPECT_EQ(loaded->routes[2].where.line, 1U);
  EXPECT_EQ(loaded->listeners.size(), 2U);
  EXPECT_EQ(loaded->log.role.format, LogFormat::kJson);
  EXPECT_EQ(loaded->log.role.level, LogLevel::kDebug);
}

TEST_F(Include, PathsAreSeenFromTheFileThatNamesThem) {
  dir_.write("conf.d/a.toml",
             "[[domain]]\nname = [\"b.example\"]\nrecipients = \"file:users\"\n"
             "[mailbox]\npath = \"maildir:../mail/{user}\"\n");
  dir_.write("conf.d/users", "bob\n");
  const auto loaded = load_text("include = [\"conf.d/a.toml\"]\n" + std::string(kGood));
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->domains[1].users, std::vector<std::string>{"bob"});
  EXPECT_EQ(loaded->domains[1].users_file, dir_.path() + "/conf.d/users");
  EXPECT_EQ(loaded->mailbox.root, dir_.path() + "/mail");
}

TEST_F(Include, MistakesNameTheirFile) {
  dir_.write("conf.d/a.toml", "[log]\nlevel = \"loud\"\ncolour = true\n");
  EXPECT_EQ(
      with("[\"conf.d/*.toml\"]"),
      "conf.d/a.toml:2:9: log.level = \"loud\": expected one of \"debug\", \"info\", \"warning\", "
      "\"error\"\n"
      "conf.d/a.toml:3:1: log.colour: unknown key\n");
}

TEST_F(Include, DoubledKeysNameBothPlaces) {
  dir_.write("a.toml", "spool = \"other\"\n[limits]\nrecipients = 1\n");
  dir_.write("b.toml", "[limits]\nrecipients = 2\n[listen]\naddress = \"127.0.0.1:1\"\n");
  EXPECT_EQ(with("[\"a.toml\", \"b.toml\"]"),
            "a.toml:1:1: spool: this key stands already at postern.toml:4:1\n"
            "b.toml:2:1: limits.recipients: this key stands already at a.toml:3:1\n"
            "b.toml:3:2: listen: this key stands already at postern.toml:6:3\n");
}

TEST_F(Include, WhatCannotBeIncluded) {
  EXPECT_EQ(with("[\"missing.toml\"]"),
            "postern.toml:1:12: include = \"missing.toml\": no such file\n");
  EXPECT_EQ(with("[\"missing/*.toml\", \"*.none\"]"), "");  // a pattern may match nothing
  EXPECT_EQ(with("[\"\", \"a\\u0000b\"]"),
            "postern.toml:1:12: include = \"\": expected a path or a pattern\n"
            "postern.toml:1:16: include = \"a?b\": expected a path or a pattern\n");
  EXPECT_EQ(with("\"a.toml\""),
            "postern.toml:1:11: include: expected an array of strings, not a string\n");
  EXPECT_EQ(
      with("[1]"),
      "postern.toml:1:12: include = 1: expected an array of strings, with nothing else in it, not "
      "a number\n");
  dir_.write("bad.toml", "x =\n");
  dir_.write("worse.toml", "[x\n");
  EXPECT_EQ(with("[\"bad.toml\", \"worse.toml\"]").substr(0, 27), "bad.toml:1:4: not TOML: Err");
  EXPECT_NE(with("[\"bad.toml\", \"worse.toml\"]").find("worse.toml:1:3: not TOML"),
            std::string::npos);
  dir_.write("nested.toml", "include = [\"a.toml\"]\n");
  EXPECT_EQ(with("[\"nested.toml\"]"),
            "nested.toml:1:1: include: only the main file may include others\n");
  dir_.write("dir/x.toml/y", "");
  EXPECT_EQ(with("[\"dir/*.toml\"]"), "dir/x.toml: is not a regular file\n");
}

TEST_F(Include, AFileIsReadOnce) {
  dir_.write("a.toml", "[[route]]\nto = [\"*\"]\nvia = [\"mx\"]\n");
  EXPECT_EQ(with("[\"*.toml\", \"a.toml\", \"./a.toml\"]"), "");
}

TEST_F(Include, ADirectoryMayHaveAnyName) {
  const auto main =
      dir_.write("od[d]*/postern.toml", "include = [\"a.toml\"]\n" + std::string(kGood));
  dir_.write("od[d]*/a.toml", "[log]\nlevel = \"error\"\n");
  dir_.write("od[d]*/users", "it\n");
  const auto loaded = load(main);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->log.role.level, LogLevel::kError);
}

TEST(Resolve, Paths) {
  EXPECT_EQ(resolve("users", "/etc/postern/postern.toml"), "/etc/postern/users");
  EXPECT_EQ(resolve("../x/./y/", "/etc/postern/postern.toml"), "/etc/x/y");
  EXPECT_EQ(resolve("/a//b", "/etc/postern/postern.toml"), "/a/b");
  EXPECT_EQ(resolve("/", "/etc/postern.toml"), "/");
  EXPECT_EQ(resolve("x", "postern.toml"), std::filesystem::current_path().string() + "/x");
}

}  // namespace
}  // namespace postern::config
