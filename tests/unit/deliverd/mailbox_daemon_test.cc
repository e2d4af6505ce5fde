// The process of one mailbox, in the test's loop and without its sandbox.
#include "deliverd/local/mailbox_daemon.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/log/log.h"
#include "mailbox_rig.h"

namespace postern::local {
namespace {

struct NoHost final : role::Host {
  void set_state(std::string_view) override {}
  void peer_lost(ipc::Role) override {}
  void ask_reload(Answer) override {}
  void ask_stop(Answer) override {}
  [[noreturn]] void fatal(const std::string&) override { std::abort(); }
};

// The local deliverer's end.
struct Deliverer {
  Deliverer(event::Loop& loop, base::UniqueFd fd)
      : connection(std::make_unique<Connection>(loop, std::move(fd), *this)) {}
  using Connection = ipc::Connection<Deliverer, ipc::Role::kLocal, ipc::Role::kMailbox>;
  void on(const ipc::MailFiled& filed) { results.push_back(filed); }
  void closed() noexcept { is_closed = true; }
  std::vector<ipc::MailFiled> results;
  bool is_closed = false;
  std::unique_ptr<Connection> connection;
};

class MailboxDaemonTest : public testing::Test {
 protected:
  MailboxDaemonTest() {
    log::set_level(log::Format::kText, log::Level::kError);
    config.local.hostname = "mx1.example.org";
    config.local.path = "{domain}/{user}";
    config.root = "/mail";
    config.user = "bob";
    config.domain = "example.org";
  }
  ~MailboxDaemonTest() override {
    deliverer.reset();
    turn();
  }
  os::Result<void> prepare() {
    role::Directories directories;
    directories.root = base::UniqueFd::adopt(::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
    ipc::Boot boot;
    boot.uid = ::geteuid();
    boot.gid = ::getegid();
    return daemon.prepare(ipc::encode(config), std::move(directories), boot);
  }
  void begin() {
    ASSERT_TRUE(prepare());
    daemon.start(loop);
    auto ends = ipc::make_channel_pair();
    deliverer = std::make_unique<Deliverer>(loop, std::move(ends.a));
    daemon.peer({ipc::Role::kLocal, 0, {}}, std::move(ends.b));
  }
  void turn() {
    for (int i = 0; i < 20; ++i) loop.run_once(false);
  }
  ipc::FileMail mail(std::uint64_t size, bool large = false) {
    const auto like = delivery().lease;
    request = request.next();
    auto to = recipient("bob");
    return {request, like.message, like.arrived, like.from, to, false, like.form, like.prefix, size, large};
  }
  void send(const std::string& body, bool again = false) {
    auto one = mail(body.size());
    one.again = again;
    deliverer->connection->send(one);
    for (std::size_t at = 0; at < body.size(); at += ipc::kBodySlice)
      deliverer->connection->send(ipc::FileBody{one.request, {std::string_view(body).substr(at, ipc::kBodySlice)}});
    turn();
  }
  // Malformed: it ends the channel, and files nothing.
  void expect_broken() {
    turn();
    EXPECT_TRUE(deliverer->is_closed);
    EXPECT_FALSE(fs::exists(box / "new"));
  }

  event::Loop loop;
  TempDir dir;
  NoHost host;
  config::MailboxConfig config;
  MailboxDaemon daemon{host};
  std::unique_ptr<Deliverer> deliverer;
  base::RequestId request;
  fs::path box = dir.path() / "example.org" / "bob";
};

TEST_F(MailboxDaemonTest, FilesIntoItsMailbox) {
  begin();
  EXPECT_GE(daemon.root(), 0);
  send("Subject: x\r\n\r\nhi\r\n");
  send("");
  ASSERT_EQ(deliverer->results.size(), 2U);
  EXPECT_EQ(deliverer->results[0].result.result, ipc::Result::kDelivered);
  EXPECT_EQ(deliverer->results[0].result.number, 3U);
  EXPECT_EQ(deliverer->results[0].trouble, "");
  EXPECT_EQ(files_in(box / "new").size(), 2U);
  EXPECT_TRUE(files_in(box / "tmp").empty());
  EXPECT_TRUE(fs::is_directory(box / "cur"));
  bool found = false;
  for (const auto& file : files_in(box / "new"))
    found = found || read(file).ends_with("for you\nSubject: x\n\nhi\n");
  EXPECT_TRUE(found);
}

TEST_F(MailboxDaemonTest, TakesLargeBodiesInPiecesAndByFile) {
  begin();
  std::string body;
  for (int i = 0; i < 10'000; ++i) body += "a line of it\r\n";
  send(body);
  auto large = mail(body.size(), true);
  ipc::Descriptors descriptors;
  descriptors.push_back(base::UniqueFd::adopt(::memfd_create("body", MFD_CLOEXEC)));
  ASSERT_EQ(::write(descriptors[0].get(), body.data(), body.size()), static_cast<ssize_t>(body.size()));
  deliverer->connection->send(large, std::move(descriptors));
  turn();
  const auto files = files_in(box / "new");
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(read(files[0]), read(files[1]));
  EXPECT_GT(fs::file_size(files[0]), 100'000U);
}

TEST_F(MailboxDaemonTest, WhatWasFiledBeforeIsNotFiledAgain) {
  begin();
  send("hi\r\n", true);
  EXPECT_EQ(files_in(box / "new").size(), 1U) << "the one that died had not filed it";
  send("hi\r\n", true);
  ASSERT_EQ(deliverer->results.size(), 2U);
  EXPECT_EQ(deliverer->results[1].result.result, ipc::Result::kDelivered);
  EXPECT_EQ(files_in(box / "new").size(), 1U);
  const auto file = files_in(box / "new").at(0);
  fs::rename(file, box / "cur" / (file.filename().string() + ":2,S"));
  send("hi\r\n", true);
  EXPECT_TRUE(files_in(box / "new").empty()) << "its reader has seen it";
  send("hi\r\n");
  EXPECT_EQ(files_in(box / "new").size(), 1U) << "nobody asked";
}

// By an owner who exchanges his directories while the one that files for him is killed.
TEST_F(MailboxDaemonTest, WhatLiesInNewUnfinishedIsFiledAgain) {
  begin();
  send("hi\r\n");
  const auto file = files_in(box / "new").at(0);
  auto unfinished = file.filename().string();
  unfinished.resize(unfinished.find(",S="));
  fs::rename(file, box / "new" / unfinished);
  send("hi\r\n", true);
  EXPECT_EQ(files_in(box / "new").size(), 2U);
}

TEST_F(MailboxDaemonTest, QuotaAndFolders) {
  config.local.quota = 300;
  config.local.folders = true;
  begin();
  send("");
  for (const auto* sub : {".x", ".x/tmp", ".x/new", ".x/cur"}) fs::create_directory(box / sub);
  auto to_folder = mail(0);
  to_folder.recipient.address = mail::Address::parse("bob+x@example.org").value();
  deliverer->connection->send(to_folder);
  turn();
  EXPECT_EQ(files_in(box / ".x/new").size(), 1U);
  send("");
  send("");
  EXPECT_EQ(deliverer->results.back().result.reply.text, "the mailbox is full");
  EXPECT_EQ(deliverer->results.back().result.result, ipc::Result::kDeferred);
}

TEST_F(MailboxDaemonTest, SaysWhyItCannotOpenItsMailbox) {
  fs::create_directories(dir.path() / "example.org");
  fs::create_directory_symlink("/tmp", box);
  auto prepared = prepare();
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().text(), "/mail/example.org/bob is a symbolic link, which is not followed");
  config.user = "../bob";
  prepared = prepare();
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().text(), "this is no name of a mailbox");
  bool stopped = false;
  daemon.stop([&]() noexcept { stopped = true; });
  EXPECT_TRUE(stopped);
}

TEST_F(MailboxDaemonTest, ABodyWithoutAMessage) {
  begin();
  deliverer->connection->send(ipc::FileBody{base::RequestId(9), {"hi"}});
  expect_broken();
}

TEST_F(MailboxDaemonTest, AMessageWithinAnother) {
  begin();
  deliverer->connection->send(mail(5));
  deliverer->connection->send(mail(0));
  expect_broken();
}

TEST_F(MailboxDaemonTest, ABodyLargerThanItWasAnnounced) {
  begin();
  const auto one = mail(5);
  deliverer->connection->send(one);
  deliverer->connection->send(ipc::FileBody{one.request, {"123456"}});
  expect_broken();
}

TEST_F(MailboxDaemonTest, ALargeMessageWithoutItsFile) {
  begin();
  deliverer->connection->send(mail(5, true));
  expect_broken();
}

TEST_F(MailboxDaemonTest, StopsWhenTheDelivererHasClosedItsChannel) {
  begin();
  bool stopped = false;
  daemon.stop([&]() noexcept { stopped = true; });
  send("hi\r\n");
  EXPECT_EQ(files_in(box / "new").size(), 1U) << "it was on its way";
  EXPECT_FALSE(stopped);
  deliverer->connection.reset();
  turn();
  EXPECT_TRUE(stopped);
}

}  // namespace
}  // namespace postern::local
