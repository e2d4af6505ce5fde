// How much may lie in a mailbox, and the folders that addresses name.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "deliverd/local/drop.h"
#include "deliverd/local/maildir.h"
#include "mailbox_rig.h"

namespace postern::local {
namespace {

struct FakeClock final : base::Clock {
  [[nodiscard]] base::WallTime wall() const noexcept override { return {1'700'000'000'000}; }
  [[nodiscard]] base::SteadyTime steady() const noexcept override { return now + base::Millis(asked++ * each); }
  base::SteadyTime now{3'600'000};
  std::int64_t each = 0;  // milliseconds go by from one question to the next
  mutable std::int64_t asked = 0;
};

void put(const fs::path& path, std::size_t size) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << std::string(size, 'x');
}

// Of 1,000 bytes.
class QuotaTest : public testing::Test {
 protected:
  QuotaTest() : disk_(dir.disk()), quota(*disk_, clock, 1'000) {}

  TempDir dir;
  FakeClock clock;

 private:
  std::unique_ptr<os::Disk> disk_;

 protected:
  Quota quota;
};

TEST(SizeInName, IsWhatMaildirPlusPlusSays) {
  EXPECT_EQ(size_in_name("1.M2P3.host,S=4711"), 4711U);
  EXPECT_EQ(size_in_name("1.M2P3.host,S=4711,W=4800:2,RS"), 4711U);
  EXPECT_EQ(size_in_name("1.M2P3.host:2,S"), std::nullopt);
  EXPECT_EQ(size_in_name("1.M2P3.host:2,S=5"), std::nullopt);
  EXPECT_EQ(size_in_name("1.M2P3.host,S=x"), std::nullopt);
  EXPECT_EQ(size_in_name("1.M2P3.host,S=-1"), std::nullopt);
}

TEST_F(QuotaTest, ACountMayTakeLong) {
  put(dir.path() / "m/new/a", 100);
  clock.each = 3 * Quota::kFresh.count();
  EXPECT_EQ(quota.take_in_maildir("m", 900), Room::kEnough);
  EXPECT_EQ(quota.take_in_maildir("m", 901), Room::kFull) << "it is counted anew";
  EXPECT_EQ(quota.take_in_maildir("m", 900), Room::kEnough);
}

TEST_F(QuotaTest, CountsAllFoldersOfAMaildir) {
  put(dir.path() / "m/new/a", 100);
  put(dir.path() / "m/cur/b,S=200:2,S", 1);  // the name is believed
  put(dir.path() / "m/.Sent/cur/c", 300);
  put(dir.path() / "m/.Sent/tmp/d", 1'000);  // is no mail yet
  put(dir.path() / "m/dovecot.index", 1'000);
  EXPECT_EQ(quota.take_in_maildir("m", 401), Room::kFull);
  EXPECT_EQ(quota.take_in_maildir("m", 400), Room::kEnough);
  EXPECT_EQ(quota.take_in_maildir("m", 1), Room::kFull);
  quota.give_back("m", 400);
  EXPECT_EQ(quota.take_in_maildir("m", 400), Room::kEnough);
  EXPECT_EQ(quota.take_in_maildir("other", 1'000), Room::kEnough);
  EXPECT_EQ(quota.take_in_maildir("m", 1'001), Room::kNever);
}

TEST_F(QuotaTest, IsCountedAnewAfterAWhile) {
  put(dir.path() / "m/new/a", 900);
  EXPECT_EQ(quota.take_in_maildir("m", 200), Room::kFull);
  fs::remove(dir.path() / "m/new/a");
  clock.now = clock.now + Quota::kFresh;
  EXPECT_EQ(quota.take_in_maildir("m", 200), Room::kFull);
  clock.now = clock.now + base::Millis(1);
  EXPECT_EQ(quota.take_in_maildir("m", 200), Room::kEnough);
}

// Nobody is held up by what is no file, nor led elsewhere.
TEST_F(QuotaTest, CountsFilesAlone) {
  put(dir.path() / "elsewhere/large", 900);
  fs::create_directories(dir.path() / "m/new");
  ASSERT_EQ(::mkfifo((dir.path() / "m/new/fifo").c_str(), 0600), 0);
  fs::create_symlink(dir.path() / "elsewhere/large", dir.path() / "m/new/link");
  fs::create_directory_symlink(dir.path() / "elsewhere", dir.path() / "m/cur");
  EXPECT_EQ(quota.take_in_maildir("m", 1'000), Room::kEnough);
}

TEST_F(QuotaTest, CountsADirectory) {
  put(dir.path() / "a.eml", 600);
  EXPECT_EQ(quota.take_in_directory(".", 401), Room::kFull);
  EXPECT_EQ(quota.take_in_directory(".", 400), Room::kEnough);
}

struct Mailboxes {
  explicit Mailboxes(config::LocalConfig config) : maildir(*disk, config, base::system_clock()) {}
  TempDir dir;
  std::unique_ptr<os::Disk> disk = dir.disk();
  Maildir maildir;
  fs::path box = dir.path() / "user";
};

config::LocalConfig with_quota(std::uint64_t quota) {
  auto config = maildirs("{user}");
  config.quota = quota;
  return config;
}

TEST(Maildir, FullIsDeferredAndTooLargeFails) {
  Mailboxes m(with_quota(1'000));
  const auto half = delivery(std::string(500, 'x') + "\r\n");
  EXPECT_EQ(m.maildir.file(half, recipient()).result.result, ipc::Result::kDelivered);
  const auto full = m.maildir.file(half, recipient());
  EXPECT_EQ(full.result.result, ipc::Result::kDeferred);
  EXPECT_EQ(full.result.reply.text, "the mailbox is full");
  EXPECT_EQ(full.result.reply.subject, 2);
  EXPECT_EQ(full.result.reply.detail, 2);
  EXPECT_EQ(full.trouble, "") << "nobody has to look after that";
  EXPECT_EQ(m.maildir.file(half, recipient("other")).result.result, ipc::Result::kDelivered);
  const auto never = m.maildir.file(delivery(std::string(1'001, 'x')), recipient());
  EXPECT_EQ(never.result.result, ipc::Result::kFailed);
  EXPECT_EQ(never.result.reply.subject, 2);
  EXPECT_EQ(never.result.reply.detail, 3);
  EXPECT_EQ(files_in(m.box / "new").size(), 1U);
}

TEST(Maildir, WhatWasNotFiledTakesNoRoom) {
  Mailboxes m(with_quota(1'000));
  fs::create_directories(m.box / "cur");
  fs::create_directory_symlink("/nowhere", m.box / "tmp");
  const auto half = delivery(std::string(500, 'x') + "\r\n");
  for (int i = 0; i < 3; ++i) {
    const auto filed = m.maildir.file(half, recipient());
    EXPECT_EQ(filed.result.result, ipc::Result::kDeferred);
    EXPECT_NE(filed.result.reply.text, "the mailbox is full");
  }
}

TEST(Drop, HasOneQuota) {
  TempDir dir;
  const auto disk = dir.disk();
  auto config = drop_folder();
  config.quota = 1'000;
  Drop drop(*disk, config, base::system_clock());
  auto half = delivery(std::string(500, 'x') + "\r\n");
  EXPECT_EQ(drop.file(half, recipient("a")).result.result, ipc::Result::kDelivered);
  half.lease.message = half.lease.message.next();
  const auto full = drop.file(half, recipient("b"));
  EXPECT_EQ(full.result.result, ipc::Result::kDeferred);
  EXPECT_EQ(full.result.reply.text, "the mailbox is full");
  EXPECT_EQ(files_in(dir.path()).size(), 1U);
}

class Folders : public testing::Test {
 protected:
  Folders() : m(config()) {}
  static config::LocalConfig config() {
    auto config = maildirs("{user}");
    config.folders = true;
    return config;
  }
  void make(const std::string& name) {
    for (const auto* sub : {"tmp", "new", "cur"}) fs::create_directories(m.box / name / sub);
  }
  // Where mail for this address lies then: "" is the mailbox itself.
  std::string place(const std::string& local_part, const std::string& user = "user") {
    ipc::LeaseRecipient to{3, mail::Address::parse(local_part + "@example.org").value(), user, "example.org"};
    const auto filed = m.maildir.file(delivery(), to);
    if (filed.result.result != ipc::Result::kDelivered) return filed.result.reply.text;
    for (const auto& entry : fs::recursive_directory_iterator(m.dir.path() / user))
      if (entry.is_regular_file()) {
        auto folder = entry.path().parent_path().parent_path();
        fs::remove(entry.path());
        return folder == m.dir.path() / user ? "" : folder.filename().string();
      }
    return "nowhere";
  }

  Mailboxes m;
};

TEST_F(Folders, AreNamedByTheExtension) {
  make(".Lists");
  make(".work.todo");
  EXPECT_EQ(place("user"), "");
  EXPECT_EQ(place("user+Lists"), ".Lists");
  EXPECT_EQ(place("USER+work.todo"), ".work.todo");
  EXPECT_EQ(place("User-WORK.todo"), ".work.todo");
  EXPECT_EQ(place("user+lists"), "") << "there is none";
}

// Who sends cannot make one, nor get out of the mailbox.
TEST_F(Folders, OfOthersAreNone) {
  make(".there");
  for (const auto* other : {"user+new", "user+", "\"user+../x\"", "\"user+a/b\"", "\"user+.there\"",
                            "user+th&ere", "users+there", "user+missing"})
    EXPECT_EQ(place(other), "") << other;
  TempDir elsewhere;
  for (const auto* sub : {"tmp", "new", "cur"}) fs::create_directories(elsewhere.path() / sub);
  fs::create_directory_symlink(elsewhere.path(), m.box / ".link");
  EXPECT_EQ(place("user+link"), "");
  EXPECT_TRUE(files_in(elsewhere.path() / "new").empty());
}

TEST_F(Folders, ThatCannotTakeMailAreNone) {
  make(".half");
  fs::remove(m.box / ".half/tmp");
  EXPECT_EQ(place("user+half"), "");
}

TEST_F(Folders, AreUsedOnlyWhereThatIsWanted) {
  Mailboxes plain(maildirs("{user}"));
  for (const auto* sub : {"tmp", "new", "cur"}) fs::create_directories(plain.box / ".x" / sub);
  EXPECT_EQ(plain.maildir.file(delivery(), recipient()).result.result, ipc::Result::kDelivered);
  EXPECT_TRUE(files_in(plain.box / ".x/new").empty());
}

}  // namespace
}  // namespace postern::local
