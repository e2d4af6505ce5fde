#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <map>

#include "deliverd/local/clerk.h"
#include "deliverd/local/drop.h"
#include "deliverd/local/maildir.h"
#include "deliverd/local/thread_filer.h"
#include "fake_queued.h"
#include "mailbox_rig.h"
#include "tests/unit/event/until.h"

namespace postern::local {
namespace {

// Passes everything on, writes down what was done, and fails what the test wants.
class WatchedDisk final : public os::Disk {
 public:
  explicit WatchedDisk(std::unique_ptr<os::Disk> real) : real_(std::move(real)) {}

  os::Result<std::unique_ptr<os::File>> open(std::string_view path, os::OpenMode mode) override {
    if (auto e = note("open", path)) return std::unexpected(*e);
    auto file = real_->open(path, mode);
    if (!file) return file;
    return std::make_unique<WatchedFile>(*this, *std::move(file), std::string(path));
  }
  os::Result<void> rename(std::string_view from, std::string_view to) override {
    if (auto e = note("rename", to)) return std::unexpected(*e);
    return real_->rename(from, to);
  }
  os::Result<void> unlink(std::string_view path) override {
    if (auto e = note("unlink", path)) return std::unexpected(*e);
    return real_->unlink(path);
  }
  os::Result<void> make_directory(std::string_view path) override {
    if (auto e = note("mkdir", path)) return std::unexpected(*e);
    return real_->make_directory(path);
  }
  os::Result<void> flush_directory(std::string_view path) override {
    if (auto e = note("flush_directory", path)) return std::unexpected(*e);
    return real_->flush_directory(path);
  }
  os::Result<std::vector<std::string>> list(std::string_view path) override {
    return real_->list(path);
  }
  os::Result<bool> exists(std::string_view path) override { return real_->exists(path); }
  os::Result<std::uint64_t> free_bytes() override { return real_->free_bytes(); }

  // "write tmp", "rename new": what, and the directory's name where it is one of a Maildir's.
  std::vector<std::string> done;
  std::map<std::string, int> fail;  // "write tmp" -> errno

 private:
  class WatchedFile final : public os::File {
   public:
    WatchedFile(WatchedDisk& disk, std::unique_ptr<os::File> real, std::string path)
        : disk_(disk), real_(std::move(real)), path_(std::move(path)) {}
    os::Result<void> write_at(std::uint64_t offset, std::string_view bytes) override {
      if (auto e = disk_.note("write", path_)) return std::unexpected(*e);
      return real_->write_at(offset, bytes);
    }
    os::Result<std::string> read_at(std::uint64_t offset, std::size_t size) override {
      return real_->read_at(offset, size);
    }
    os::Result<void> flush_data() override { return real_->flush_data(); }
    os::Result<void> flush() override {
      if (auto e = disk_.note("flush", path_)) return std::unexpected(*e);
      return real_->flush();
    }
    os::Result<std::uint64_t> size() override { return real_->size(); }
    os::Result<void> set_modified(base::WallTime t) override {
      if (auto e = disk_.note("set_modified", path_)) return std::unexpected(*e);
      return real_->set_modified(t);
    }
    os::Result<base::UniqueFd> duplicate() override { return real_->duplicate(); }
    os::Result<void> set_lease_read() override { return real_->set_lease_read(); }

   private:
    WatchedDisk& disk_;
    std::unique_ptr<os::File> real_;
    std::string path_;
  };

  std::optional<os::Error> note(std::string_view what, std::string_view path) {
    auto text = std::string(what);
    for (const auto* sub : {"tmp", "new", "cur"})
      if (path.find(std::string("/") + sub) != std::string_view::npos)
        text += std::string(" ") + sub;
    if (text == what) text += " " + std::string(path);
    done.push_back(text);
    const auto at = fail.find(text);
    if (at == fail.end()) return std::nullopt;
    return os::Error{at->second, text};
  }

  std::unique_ptr<os::Disk> real_;
};

struct Maildirs {
  TempDir dir;
  WatchedDisk disk{dir.disk()};
  Maildir maildir{disk, maildirs("{domain}/{user}"), base::system_clock()};
  fs::path box = dir.path() / "example.org" / "user";
};

TEST(Maildir, FilesAMessage) {
  Maildirs m;
  const auto filed = m.maildir.file(delivery(), recipient());
  EXPECT_EQ(filed.result.result, ipc::Result::kDelivered);
  EXPECT_EQ(filed.result.number, 3U);
  EXPECT_EQ(filed.trouble, "");
  const auto files = files_in(m.box / "new");
  ASSERT_EQ(files.size(), 1U);
  EXPECT_EQ(
      read(files[0]),
      "Return-Path: <a@b.example>\nDelivered-To: User+x@example.org\nReceived: by us\n\tfor you\n"
      "Subject: x\n\n.dot\nend\n");
  struct stat info {};
  ASSERT_EQ(::stat(files[0].c_str(), &info), 0);
  EXPECT_EQ(info.st_mtim.tv_sec, 1'234'567'890);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  ASSERT_EQ(::stat((m.box / "cur").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0700U);
  EXPECT_TRUE(files_in(m.box / "tmp").empty());
  const auto name = files[0].filename().string();
  EXPECT_NE(name.find(base::to_string(delivery().lease.message) + "R3."), std::string::npos)
      << name;
  EXPECT_TRUE(name.ends_with(".mx1.example.org,S=" + std::to_string(fs::file_size(files[0])))) << name;
}

TEST(Maildir, TheOrderOfDurability) {
  Maildirs m;
  static_cast<void>(m.maildir.file(delivery(), recipient()));
  EXPECT_EQ(m.disk.done,
            (std::vector<std::string>{
                "mkdir example.org", "flush_directory .", "mkdir example.org/user",
                "flush_directory example.org", "mkdir tmp", "mkdir new", "mkdir cur",
                "flush_directory example.org/user", "open tmp", "write tmp", "set_modified tmp",
                "flush tmp", "rename new", "flush_directory new"}));
  m.disk.done.clear();
  static_cast<void>(m.maildir.file(delivery(), recipient()));
  EXPECT_EQ(m.disk.done,
            (std::vector<std::string>{"open tmp", "write tmp", "set_modified tmp", "flush tmp",
                                      "rename new", "flush_directory new"}));
  EXPECT_EQ(files_in(m.box / "new").size(), 2U) << "names never collide";
}

TEST(Maildir, EveryFailureDefersAndLeavesNothing) {
  for (const auto* step :
       {"open tmp", "write tmp", "set_modified tmp", "flush tmp", "rename new"}) {
    Maildirs m;
    m.disk.fail[step] = ENOSPC;
    const auto filed = m.maildir.file(delivery(), recipient());
    EXPECT_EQ(filed.result.result, ipc::Result::kDeferred) << step;
    EXPECT_EQ(filed.result.failure, ipc::FailureClass::kLocal);
    EXPECT_EQ(filed.result.reply.subject, 3);
    EXPECT_EQ(filed.result.reply.detail, 1);
    EXPECT_EQ(filed.result.reply.text, "the mailbox cannot be written: No space left on device");
    EXPECT_NE(filed.trouble, "");
    EXPECT_TRUE(files_in(m.box / "tmp").empty()) << step;
    EXPECT_TRUE(files_in(m.box / "new").empty()) << step;
  }
}

// The message is there, but may be lost with the power: it is not delivered, and will come twice.
TEST(Maildir, UnflushedDirectoryIsNotDelivered) {
  Maildirs m;
  m.disk.fail["flush_directory new"] = EIO;
  EXPECT_EQ(m.maildir.file(delivery(), recipient()).result.result, ipc::Result::kDeferred);
}

TEST(Maildir, OverQuotaIsSaidSo) {
  Maildirs m;
  m.disk.fail["write tmp"] = EDQUOT;
  const auto filed = m.maildir.file(delivery(), recipient());
  EXPECT_EQ(filed.result.reply.subject, 2);
  EXPECT_EQ(filed.result.reply.detail, 2);
}

TEST(Maildir, MadeAgainWhenItWasRemoved) {
  Maildirs m;
  static_cast<void>(m.maildir.file(delivery(), recipient()));
  fs::remove_all(m.box);
  EXPECT_EQ(m.maildir.file(delivery(), recipient()).result.result, ipc::Result::kDelivered);
  fs::remove_all(m.box / "new");
  EXPECT_EQ(m.maildir.file(delivery(), recipient()).result.result, ipc::Result::kDelivered);
  EXPECT_EQ(files_in(m.box / "new").size(), 1U);
}

TEST(Maildir, RefusesNamesThatAreNone) {
  Maildirs m;
  for (const auto* user : {"", ".", "..", ".hidden", "a/b", "../x", "a\nb", "/etc"})
    EXPECT_EQ(m.maildir.file(delivery(), recipient(user)).result.result, ipc::Result::kFailed)
        << user;
  for (const auto* domain : {"", "..", "a/b", ".x"})
    EXPECT_EQ(m.maildir.file(delivery(), recipient("user", domain)).result.result,
              ipc::Result::kFailed)
        << domain;
  EXPECT_EQ(m.maildir.file(delivery(), recipient(std::string(256, 'x'))).result.result,
            ipc::Result::kFailed);
  EXPECT_TRUE(m.disk.done.empty()) << "decided before the disk is touched";
}

TEST(Maildir, NamesThatLookLikeMarksStayNames) {
  Maildirs m;
  EXPECT_EQ(m.maildir.file(delivery(), recipient("{domain}")).result.result,
            ipc::Result::kDelivered);
  EXPECT_TRUE(fs::exists(m.dir.path() / "example.org" / "{domain}" / "new"));
  EXPECT_EQ(m.maildir.file(delivery(), recipient("u", "{user}")).result.result,
            ipc::Result::kDelivered);
  EXPECT_TRUE(fs::exists(m.dir.path() / "{user}" / "u" / "new"));
}

TEST(Maildir, FollowsNoSymbolicLink) {
  for (const auto* link :
       {"example.org", "example.org/user", "example.org/user/tmp", "example.org/user/new"}) {
    Maildirs m;
    TempDir elsewhere;
    for (const auto* sub : {"", "user", "user/tmp", "user/new", "tmp", "new", "cur"})
      fs::create_directories(elsewhere.path() / sub);
    const auto place = m.dir.path() / link;
    fs::create_directories(place.parent_path());
    fs::create_directory_symlink(elsewhere.path(), place);
    EXPECT_EQ(m.maildir.file(delivery(), recipient()).result.result, ipc::Result::kDeferred)
        << link;
    for (const auto& entry : fs::recursive_directory_iterator(elsewhere.path()))
      EXPECT_TRUE(entry.is_directory()) << entry.path();
  }
}

TEST(Maildir, LargeBodiesComeFromTheirFile) {
  Maildirs m;
  std::string stuffed, plain;
  for (int i = 0; i < 20'000; ++i) {
    stuffed += "..line with a dot, and a lone \r in it\r\n";
    plain += ".line with a dot, and a lone \r in it\n";
  }
  auto d = delivery("");
  d.lease.large = true;
  d.lease.body_size = stuffed.size();
  d.file = base::UniqueFd::adopt(::memfd_create("body", 0));
  ASSERT_EQ(::write(d.file.get(), stuffed.data(), stuffed.size()),
            static_cast<ssize_t>(stuffed.size()));
  ASSERT_EQ(m.maildir.file(d, recipient()).result.result, ipc::Result::kDelivered);
  EXPECT_TRUE(read(files_in(m.box / "new").at(0)).ends_with("\tfor you\n" + plain));
  d.lease.body_size += 1;  // the file is shorter than it should be
  EXPECT_EQ(m.maildir.file(d, recipient()).result.result, ipc::Result::kDeferred);
}

// A CR LF in it may be part of a picture, so nothing of it changes.
TEST(Maildir, BinaryIsFiledByteForByte) {
  Maildirs m;
  using namespace std::string_literals;
  const auto stuffed = "Subject: x\r\n\r\n..\n\r\n\0\r..\n...\r"s;
  const auto plain = "Subject: x\r\n\r\n.\n\r\n\0\r..\n..\r"s;
  for (const bool large : {false, true}) {
    auto d = delivery(large ? "" : stuffed);
    d.lease.form = ipc::BodyForm::kBinary;
    d.lease.large = large;
    d.lease.body_size = stuffed.size();
    if (large) {
      d.file = base::UniqueFd::adopt(::memfd_create("body", 0));
      ASSERT_EQ(::write(d.file.get(), stuffed.data(), stuffed.size()),
                static_cast<ssize_t>(stuffed.size()));
    }
    ASSERT_EQ(m.maildir.file(d, recipient()).result.result, ipc::Result::kDelivered);
    const auto file = files_in(m.box / "new").at(0);
    const auto text = read(file);
    EXPECT_TRUE(text.starts_with("Return-Path: <")) << text;
    EXPECT_TRUE(text.ends_with("Received: by us\r\n\tfor you\r\n" + plain)) << testing::PrintToString(text);
    fs::remove(file);
  }
}

TEST(Drop, FilesAMessage) {
  TempDir dir;
  const auto disk = dir.disk();
  Drop drop(*disk, drop_folder(), base::system_clock());
  // What a delivery that was cut off has left.
  std::ofstream(dir.path() / (".tmp-" + base::to_string(delivery().lease.message) + "-3"))
      << "half";
  EXPECT_EQ(drop.file(delivery(), recipient()).result.result, ipc::Result::kDelivered);
  EXPECT_EQ(drop.file(delivery(), recipient()).result.result, ipc::Result::kDelivered)
      << "a repetition";
  const auto files = files_in(dir.path());
  ASSERT_EQ(files.size(), 1U);
  EXPECT_EQ(files[0].filename(), base::to_string(delivery().lease.message) + "-3.eml");
  EXPECT_EQ(
      read(files[0]),
      "X-Sender: a@b.example\r\nX-Receiver: User+x@example.org\r\nReceived: by us\r\n\tfor you\r\n"
      "Subject: x\r\n\r\n.dot\r\nend\r\n");
  struct stat info {};
  ASSERT_EQ(::stat(files[0].c_str(), &info), 0);
  EXPECT_EQ(info.st_mtim.tv_sec, 1'234'567'890);
}

TEST(Drop, NullSender) {
  TempDir dir;
  const auto disk = dir.disk();
  Drop drop(*disk, drop_folder(), base::system_clock());
  auto d = delivery();
  d.lease.from = {};
  static_cast<void>(drop.file(d, recipient()));
  EXPECT_TRUE(read(files_in(dir.path()).at(0)).starts_with("X-Sender: <>\r\n"));
}

TEST(Drop, FailureDefers) {
  TempDir dir;
  WatchedDisk disk{dir.disk()};
  Drop drop(disk, drop_folder(), base::system_clock());
  for (const auto* what : {"write", "flush", "rename"}) {
    const auto stem = base::to_string(delivery().lease.message) + "-3";
    const auto name = std::string(what) == "rename" ? stem + ".eml" : ".tmp-" + stem;
    disk.fail = {{std::string(what) + " " + name, EIO}};
    EXPECT_EQ(drop.file(delivery(), recipient()).result.result, ipc::Result::kDeferred) << what;
    EXPECT_TRUE(files_in(dir.path()).empty()) << what;
  }
}

// --- The desk of local delivery
// -------------------------------------------------------------------

struct NoSockets final : relay::Sockets {
  void connect(const std::string&, Connected) override { ADD_FAILURE() << "nothing leads there"; }
};

struct Office {
  using Queued = deliverd::FakeQueued<ipc::Role::kLocal>;
  Office()
      : disk(dir.disk()),
        filer(loop, 3, std::make_shared<Maildir>(*disk, maildirs("{user}"), base::system_clock())) {
    clerk.emplace(loop, filer, sockets, "us.example", []() noexcept {});
    connect(1);
  }
  void connect(std::uint64_t epoch) {
    auto pair = ipc::make_channel_pair();
    queued = std::make_unique<Queued>(loop, std::move(pair.a), epoch);
    clerk->connect(std::move(pair.b));
  }
  template <class Done>
  void until(Done done) {
    event::until(loop, std::move(done));
  }
  event::Loop loop;
  TempDir dir;
  std::unique_ptr<os::Disk> disk;
  ThreadFiler filer;
  NoSockets sockets;
  std::optional<Clerk> clerk;
  std::unique_ptr<Queued> queued;
};

TEST(Clerk, FilesForEachRecipient) {
  Office o;
  for (int i = 0; i < 3; ++i) o.queued->grant("local", {config::HopKind::kMailbox, "", 0});
  o.until([&] { return o.queued->asks.size() == 3; });
  for (int i = 0; i < 3; ++i)
    o.queued->lease("Subject: x\r\n\r\nhello\r\n", {"a@example.org", "b@example.org"});
  o.until([&] { return o.queued->outcomes.size() == 3; });
  EXPECT_EQ(files_in(o.dir.path() / "user" / "new").size(), 6U);
  for (const auto& outcome : o.queued->outcomes) {
    ASSERT_EQ(outcome.results.size(), 2U);
    EXPECT_EQ(outcome.results[1].number, 6U);
    EXPECT_EQ(outcome.results[1].result, ipc::Result::kDelivered);
  }
  o.until([&] { return o.queued->asks.size() == 3; });
  o.queued->no_work();
  o.until([&] { return o.queued->ended.size() == 1; });
  EXPECT_EQ(o.queued->ended[0].end, ipc::GrantEnd::kClosed);
}

TEST(Clerk, StopFinishesWhatWasBegun) {
  Office o;
  o.queued->grant("local", {config::HopKind::kMailbox, "", 0});
  o.queued->grant("local", {config::HopKind::kMailbox, "", 0});
  o.until([&] { return o.queued->asks.size() == 2; });
  o.queued->lease("hello\r\n");
  // The message is on its way to the disk when the stop comes.
  while (o.queued->outcomes.empty() && files_in(o.dir.path()).empty()) o.loop.run_once(true);
  bool stopped = false;
  o.clerk->stop([&]() noexcept { stopped = true; });
  o.until([&] { return stopped && o.queued->ended.size() == 2; });
  ASSERT_EQ(o.queued->outcomes.size(), 1U);
  EXPECT_EQ(o.queued->outcomes[0].results[0].result, ipc::Result::kDelivered);
}

TEST(Clerk, OutcomesOutliveTheChannel) {
  Office o;
  o.queued->saves = false;
  o.queued->grant("local", {config::HopKind::kMailbox, "", 0});
  o.until([&] { return o.queued->asks.size() == 1; });
  const auto lease = o.queued->lease("hello\r\n");
  o.until([&] { return o.queued->outcomes.size() == 1; });
  o.connect(2);
  o.until([&] { return o.queued->outcomes.size() == 1; });
  EXPECT_EQ(o.queued->held.at(0).lease, lease.lease);
  EXPECT_EQ(o.queued->outcomes[0].epoch, base::Epoch(1));
  EXPECT_EQ(files_in(o.dir.path() / "user" / "new").size(), 1U) << "nothing is filed twice";
}

}  // namespace
}  // namespace postern::local
