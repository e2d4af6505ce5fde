// Directories of users below one of root's: what is made, what is refused, and that nothing leads out. As an ordinary
// user, "root" is that user; who is root tries it with others' too.
#include "common/os/owned_directory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace postern::os {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kUser = 61'001, kOther = 61'002;  // nobody has them

class Owned : public testing::Test {
 protected:
  Owned() {
    std::string name = fs::temp_directory_path() / "postern-owned-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~Owned() override { fs::remove_all(path_); }

  [[nodiscard]] static bool is_root() { return ::geteuid() == 0; }
  [[nodiscard]] static std::uint32_t user() { return is_root() ? kUser : ::geteuid(); }
  Result<base::UniqueFd> open(const std::string& path = "example.org/bob", std::size_t shared = 1) {
    const auto root = base::UniqueFd::adopt(::open(path_.c_str(), O_RDONLY | O_DIRECTORY));
    return open_owned({root.get(), "/mail", path, shared, user(), is_root() ? kUser : ::getegid()});
  }
  // Empty, or why it cannot be opened.
  std::string why(const std::string& path = "example.org/bob", std::size_t shared = 1) {
    const auto opened = open(path, shared);
    return opened ? "" : opened.error().text();
  }
  void make(const std::string& path, std::uint32_t uid, unsigned mode = 0700) {
    fs::create_directories(path_ / path);
    ASSERT_EQ(::chmod((path_ / path).c_str(), mode), 0);
    if (is_root()) {
      ASSERT_EQ(::chown((path_ / path).c_str(), uid, uid), 0);
    }
  }
  // "UID MODE" of what is there; of nobody's where it is not root who asks.
  std::string look(const std::string& path) {
    struct stat info {};
    if (::lstat((path_ / path).c_str(), &info) != 0) return "missing";
    char text[40];
    std::snprintf(text, sizeof text, "%s %04o",
                  info.st_uid == ::geteuid() && is_root() ? "root" : info.st_uid == user() ? "user" : "other",
                  info.st_mode & 07777U);
    return text;
  }
  static std::string root() { return is_root() ? "root" : "user"; }

  fs::path path_;
};

TEST_F(Owned, MakesWhatIsMissing) {
  const auto opened = open("example.org/bob/Maildir");
  ASSERT_TRUE(opened) << opened.error().text();
  EXPECT_EQ(look("example.org"), root() + " 0755");
  EXPECT_EQ(look("example.org/bob"), "user 0700");
  EXPECT_EQ(look("example.org/bob/Maildir"), "user 0700");
  struct stat here {}, there {};
  ASSERT_EQ(::fstat(opened->get(), &here), 0);
  ASSERT_EQ(::stat((path_ / "example.org/bob/Maildir").c_str(), &there), 0);
  EXPECT_EQ(here.st_ino, there.st_ino);
  for (const auto& entry : fs::recursive_directory_iterator(path_))
    EXPECT_NE(entry.path().filename().string().front(), '.') << entry.path();
  EXPECT_EQ(why("example.org/bob/Maildir"), "") << "as it is there now";
}

TEST_F(Owned, WhateverTheMaskOfModesIs) {
  const auto before = ::umask(0077);
  EXPECT_EQ(why(), "");
  ::umask(before);
  EXPECT_EQ(look("example.org"), root() + " 0755");
}

TEST_F(Owned, GoesOnWhereACrashStopped) {
  if (!is_root()) return;  // all directories are the user's then
  make("example.org", 0, 0755);
  make("example.org/.bob.new", 0);
  EXPECT_EQ(why(), "");
  EXPECT_EQ(look("example.org/bob"), "user 0700");
  EXPECT_EQ(look("example.org/.bob.new"), "missing");
}

TEST_F(Owned, FollowsNoLink) {
  make("elsewhere", user());
  make("example.org", 0, 0755);
  fs::create_directory_symlink(path_ / "elsewhere", path_ / "example.org/bob");
  EXPECT_EQ(why(), "/mail/example.org/bob is a symbolic link, which is not followed");
  fs::create_directory_symlink("example.org", path_ / "example.net");
  EXPECT_EQ(why("example.net/bob"), "/mail/example.net is a symbolic link, which is not followed");
  fs::create_directory_symlink("nowhere", path_ / "dangling");
  EXPECT_EQ(why("dangling/bob"), "/mail/dangling is a symbolic link, which is not followed");
}

TEST_F(Owned, OpensDirectoriesAlone) {
  make("example.org", 0, 0755);
  std::ofstream(path_ / "example.org/bob") << "a file";
  EXPECT_EQ(why(), "open /mail/example.org/bob: Not a directory");
  ASSERT_EQ(::mkfifo((path_ / "example.org/ann").c_str(), 0600), 0);
  EXPECT_EQ(why("example.org/ann"), "open /mail/example.org/ann: Not a directory");
}

TEST_F(Owned, LeadsNowhereElse) {
  for (const auto* bad : {"", ".", "..", "example.org/../bob", "example.org//bob", "/example.org"})
    EXPECT_NE(why(bad).find("Invalid argument"), std::string::npos) << bad << ": " << why(bad);
}

TEST_F(Owned, RefusesWhereOthersMayWrite) {
  make("example.org", 0, 0755);
  make("example.org/bob", user(), 0770);
  EXPECT_EQ(why(), "/mail/example.org/bob may be written to by others (mode 0770)");
  make("example.org/bob", user(), 0707);
  EXPECT_EQ(why(), "/mail/example.org/bob may be written to by others (mode 0707)");
  make("example.org/bob", user(), 0755);
  EXPECT_EQ(why(), "");
  make("example.org", 0, 01777);
  EXPECT_EQ(why(), "/mail/example.org may be written to by others (mode 1777)");
  make("example.org", 0, 0755);
  ASSERT_EQ(::chmod(path_.c_str(), 0775), 0);
  EXPECT_EQ(why(), "/mail may be written to by others (mode 0775)");
}

TEST_F(Owned, RefusesWhatOthersOwn) {
  if (!is_root()) return;  // it can make nothing that is another's
  make("example.org", 0, 0755);
  make("example.org/bob", kOther);
  EXPECT_EQ(why(), "/mail/example.org/bob belongs to uid 61002, neither to root nor to its user (uid 61001)");
  make("example.org/bob", 0);
  EXPECT_EQ(why(), "/mail/example.org/bob belongs to uid 0, not to its user (uid 61001)");
  make("example.org", kOther, 0755);
  EXPECT_EQ(why(), "/mail/example.org belongs to uid 61002, neither to root nor to its user (uid 61001)");
  make("example.org", kUser, 0755);
  make("example.org/bob", kUser);
  EXPECT_EQ(why(), "") << "all of the way may be the user's";
}

// What is made in a directory of the user's is made by himself: what root has there already is not given to him.
TEST_F(Owned, GivesNothingOfRootsAway) {
  if (!is_root()) return;
  make("bob", kUser, 0755);
  EXPECT_EQ(why("bob/Maildir", 0), "");
  EXPECT_EQ(look("bob/Maildir"), "user 0700");
  fs::remove(path_ / "bob/Maildir");
  make("bob/.Maildir.new", 0);  // it is for a name of root's directories alone
  EXPECT_EQ(why("bob/Maildir", 0), "");
  EXPECT_EQ(look("bob/.Maildir.new"), "root 0700");
  EXPECT_EQ(::geteuid(), 0U);
  std::ofstream(path_ / "as-root") << "still";
  EXPECT_EQ(look("as-root").substr(0, 4), "root") << "it is root again";
}

}  // namespace
}  // namespace postern::os
