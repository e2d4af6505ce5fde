// The real postern-smtpd in its real sandbox, under a parent and with a queued of the test's own.
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "common/os/process.h"
#include "common/os/socket.h"
#include "parent/child_link.h"
#include "tests/unit/smtpd/rig.h"

namespace postern::smtpd::test {
namespace {

constexpr std::uint32_t kNobody = 65534;

enum class Mode {
  kDropped,  // started by root: chroot, own user
  kKept,     // started by root, which keeps its user
  kUser,     // started by an ordinary user
};
// What this test may try: as an ordinary user nothing but that.
std::vector<Mode> modes() {
  if (::geteuid() != 0) return {Mode::kUser};
  return {Mode::kDropped, Mode::kKept, Mode::kUser};
}
std::string name(Mode mode) {
  static constexpr const char* kNames[] = {"dropped", "kept", "user"};
  return kNames[static_cast<int>(mode)];
}

config::SmtpdConfig sample_config(std::size_t listeners = 1) {
  config::SmtpdConfig config;
  config.hostname = "mx.example.org";
  config.rights = sample_rights();
  config.listeners.resize(listeners);
  config.rights.listeners.resize(listeners, config.rights.listeners[0]);
  return config;
}

// As the parent does; for kUser under another user.
pid_t start(Mode mode, base::UniqueFd channel) {
  if (mode != Mode::kUser || ::geteuid() != 0)
    return os::spawn(POSTERN_SMTPD, {"smtpd"}, std::move(channel)).value();
  const pid_t pid = ::fork();
  CHECK(pid >= 0);
  if (pid > 0) return pid;
  const int fd = ::fcntl(channel.get(), F_DUPFD_CLOEXEC, os::kInheritedChannel + 1);
  if (::setgroups(0, nullptr) != 0 || ::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) ::_exit(90);
  ::dup2(fd, os::kInheritedChannel);
  ::closefrom(os::kInheritedChannel + 1);
  ::execl(POSTERN_SMTPD, POSTERN_SMTPD, "smtpd", nullptr);
  ::_exit(91);
}

class Client {
 public:
  explicit Client(const sockaddr_in& address)
      : fd_(base::UniqueFd::adopt(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))) {
    CHECK(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    CHECK(::fcntl(fd_.get(), F_SETFL, O_NONBLOCK) == 0);
  }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto put = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(put));
    }
  }
  // Reads what is there; true if anything was.
  void look() {
    char piece[4096];
    for (ssize_t got; (got = ::recv(fd_.get(), piece, sizeof piece, 0)) >= 0;) {
      if (got == 0) {
        closed = true;
        return;
      }
      heard.append(piece, static_cast<std::size_t>(got));
    }
  }
  std::string heard;
  bool closed = false;

 private:
  base::UniqueFd fd_;
};

class Process : public parent::ChildLink::Listener {
 public:
  explicit Process(Mode mode) {
    CHECK(::mkdtemp(folder_.data()) != nullptr);
    CHECK(::chmod(folder_.c_str(), 0755) == 0);
    auto pair = ipc::make_channel_pair();
    pid = start(mode, std::move(pair.b));
    link = parent::make_child_link(loop, ipc::Role::kSmtpd, std::move(pair.a), *this);
    auto pipe = os::make_pipe();
    log_ = std::move(pipe->first);
    ipc::Boot boot;
    boot.role = ipc::Role::kSmtpd;
    boot.drop_rights = mode == Mode::kDropped;
    boot.uid = boot.gid = kNobody;
    boot.generation = base::Generation(1);
    ipc::Descriptors d;
    d.push_back(os::sealed_memory("config", ipc::encode(sample_config())).value());
    d.push_back(std::move(pipe->second));
    d.push_back(base::UniqueFd::adopt(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    link->send(boot, std::move(d));
  }
  ~Process() override {
    if (pid > 0) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    std::filesystem::remove_all(folder_);
    if (::testing::Test::HasFailure()) std::fputs(log_text().c_str(), stderr);
  }

  void on_ready(const ipc::Ready& message) override { ready_pid = message.pid; }
  void on_configured(const ipc::Configured& answer) override {
    configured.push_back(answer.accepted);
  }
  void on_peer_lost(ipc::Role role) override { lost.push_back(role); }
  void on_ask_socket(const ipc::AskSocket&) override {}
  void on_ask_mailbox(const ipc::AskMailbox&) override {}
  void on_drop_mailbox(const ipc::DropMailbox&) override {}
  void on_unable(const ipc::Unable&) override {}
  void on_reload(base::RequestId) override {}
  void on_stop_server(base::RequestId) override {}
  void on_link_closed() override { link_closed = true; }

  template <class Done>
  [[nodiscard]] bool until(Done done, std::int64_t seconds = 20) {
    bool late = false;
    event::Timer guard(loop, [&]() noexcept { late = true; });
    guard.start(base::Millis(seconds * 1000));
    event::Timer tick(
        loop, [&]() noexcept { tick.start(base::Millis(2)); });  // the clients are not in the loop
    tick.start(base::Millis(0));
    while (!late) {
      if (done()) return true;
      loop.run_once(true);
    }
    return false;
  }
  void serve(std::uint32_t index = 0) {
    auto listener = os::listen_tcp({{base::IpFamily::kV4, {127, 0, 0, 1}}, 0});
    CHECK(listener);
    socklen_t size = sizeof address;
    CHECK(::getsockname(listener->get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    link->send(ipc::Listen{base::ListenerIndex(index)}, *std::move(listener));
  }
  void connect_queued() {
    auto pair = ipc::make_channel_pair();
    queued = std::make_unique<FakeQueued>(loop, std::move(pair.a));
    link->send(ipc::Peer{ipc::Role::kQueued, 0, {}}, std::move(pair.b));
  }
  // Ready, with a listener and a queued.
  void bring_up() {
    ASSERT_TRUE(until([&] { return ready_pid != 0 || link_closed; }));
    ASSERT_FALSE(link_closed) << log_text();
    serve();
    connect_queued();
  }
  [[nodiscard]] bool hears(Client& client, std::string_view what) {
    return until([&] {
      client.look();
      return client.heard.find(what) != std::string::npos;
    });
  }
  // The exit status, or -1 after `seconds`.
  int ends(std::int64_t seconds) {
    int status = 0;
    if (!until([&] { return ::waitpid(pid, &status, WNOHANG) == pid; }, seconds)) return -1;
    pid = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  [[nodiscard]] std::string status_line(const std::string& key) const {
    std::ifstream file("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(file, line);)
      if (line.starts_with(key + ":")) {
        const auto at = line.find_first_not_of(" \t", key.size() + 1);
        return at == std::string::npos ? "" : line.substr(at);
      }
    return "?";
  }
  // Kinds of descriptors above the standard ones, with how many there are.
  [[nodiscard]] std::map<std::string, int> descriptors() const {
    std::map<std::string, int> kinds;
    for (const auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
      if (std::stoi(entry.path().filename()) <= STDERR_FILENO) continue;
      const auto target = std::filesystem::read_symlink(entry.path()).string();
      ++kinds[target.substr(0, target.find(":["))];
    }
    return kinds;
  }
  std::string log_text() {
    std::string text(64 * 1024, '\0');
    const auto got = ::read(log_.get(), text.data(), text.size());
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
  }

  event::Loop loop;
  std::unique_ptr<parent::ChildLink> link;
  std::unique_ptr<FakeQueued> queued;
  sockaddr_in address{};
  pid_t pid = -1;
  std::uint32_t ready_pid = 0;
  bool link_closed = false;
  std::vector<bool> configured;
  std::vector<ipc::Role> lost;

 private:
  std::string folder_ = "/tmp/postern-role-XXXXXX";
  base::UniqueFd log_;
};

constexpr const char* kToBob =
    "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n";

class EachMode : public ::testing::TestWithParam<Mode> {};
INSTANTIATE_TEST_SUITE_P(SmtpdProcess, EachMode, ::testing::ValuesIn(modes()),
                         [](const auto& mode) { return name(mode.param); });

TEST_P(EachMode, StandsInItsSandboxWithNothingToSpare) {
  Process process(GetParam());
  process.bring_up();
  Client client(process.address);
  ASSERT_TRUE(process.hears(client, "220 mx.example.org"));
  EXPECT_EQ(process.ready_pid, static_cast<std::uint32_t>(process.pid));
  EXPECT_EQ(process.status_line("Seccomp"), "2");
  EXPECT_EQ(process.status_line("NoNewPrivs"), "1");
  EXPECT_EQ(process.status_line("Threads"), "1");
  EXPECT_EQ(process.status_line("CapEff"),
            GetParam() == Mode::kKept ? process.status_line("CapPrm") : "0000000000000000");
  if (GetParam() == Mode::kDropped) {
    EXPECT_EQ(process.status_line("Uid"), "65534\t65534\t65534\t65534");
    EXPECT_EQ(process.status_line("Gid"), "65534\t65534\t65534\t65534");
    EXPECT_EQ(process.status_line("Groups"), "");
  }
  if (::geteuid() == 0) {  // only root may look
    // The parent's channel, queued's, the listener, the client; the log, and the loop's own pair
    // for signals; the loop.
    const std::map<std::string, int> expected{{"socket", 4}, {"pipe", 3}, {"anon_inode", 1}};
    auto kinds = process.descriptors();
    if (const auto loop = kinds.extract("anon_inode:[eventpoll]"); loop)
      kinds["anon_inode"] += loop.mapped();
    EXPECT_EQ(kinds, expected);
    if (GetParam() == Mode::kDropped) {
      EXPECT_TRUE(std::filesystem::is_empty("/proc/" + std::to_string(process.pid) + "/root"));
    }
  }
}

TEST_P(EachMode, TakesSmallAndLargeMail) {
  Process process(GetParam());
  process.bring_up();
  Client client(process.address);
  client.send(kToBob);
  ASSERT_TRUE(process.hears(client, "354"));
  client.send("hello\r\n.\r\n");
  ASSERT_TRUE(process.until([&] { return process.queued->transactions.size() == 1; }));
  EXPECT_EQ(process.queued->transactions[0].body, "hello\r\n");
  process.queued->accept(0, 7);
  ASSERT_TRUE(process.hears(client, "queued as " + base::to_string(base::MessageId(7))));

  client.heard.clear();
  client.send(kToBob);
  ASSERT_TRUE(process.hears(client, "354"));
  const auto body = lines(400'000);
  client.send(std::string_view(body).substr(0, 270'000));
  ASSERT_TRUE(process.until([&] { return process.queued->large_asked.size() == 1; }));
  process.queued->open_large(0, 900);
  client.send(std::string_view(body).substr(270'000));
  client.send(".\r\n");
  ASSERT_TRUE(process.until([&] { return process.queued->transactions.size() == 2; }));
  EXPECT_EQ(process.queued->transactions[1].submit.large, base::MessageId(900));
  EXPECT_EQ(process.queued->file_content(), body);
  process.queued->accept(1, 900);
  EXPECT_TRUE(process.hears(client, base::to_string(base::MessageId(900))));
}

TEST_P(EachMode, EndsWithItsParentAndSaysGoodBye) {
  Process process(GetParam());
  process.bring_up();
  Client client(process.address);
  ASSERT_TRUE(process.hears(client, "220"));
  process.link.reset();
  EXPECT_EQ(process.ends(5), 0);
  client.look();
  EXPECT_NE(client.heard.find("421 4.3.2"), std::string::npos);
  EXPECT_TRUE(client.closed);
}

TEST(SmtpdProcess, EndsWithItsParentEvenInTheMiddleOfABody) {
  Process process(modes().front());
  process.bring_up();
  Client client(process.address);
  client.send(kToBob);
  ASSERT_TRUE(process.hears(client, "354"));
  process.link.reset();
  EXPECT_EQ(process.ends(6), 0) << "five seconds, and one for a slow machine";
}

TEST(SmtpdProcess, OutlivesQueuedAndAsksTheNextOne) {
  Process process(modes().front());
  process.bring_up();
  Client client(process.address);
  client.send(kToBob);
  ASSERT_TRUE(process.hears(client, "354"));
  client.send("hello\r\n.\r\n");
  ASSERT_TRUE(process.until([&] { return process.queued->transactions.size() == 1; }));
  const auto token = process.queued->transactions[0].submit.token;
  process.queued.reset();
  process.connect_queued();
  ASSERT_TRUE(process.until([&] { return process.queued->asked.size() == 1; }));
  EXPECT_EQ(process.queued->asked[0].token, token);
  client.look();
  EXPECT_EQ(client.heard.find("queued as"), std::string::npos);
  process.queued->answer_token(0, 0);
  ASSERT_TRUE(process.until([&] { return process.queued->transactions.size() == 1; }));
  process.queued->accept(0, 8);
  EXPECT_TRUE(process.hears(client, "queued as"));
}

TEST(SmtpdProcess, AsksItsParentForAChannelUntilItHasOne) {
  Process process(modes().front());
  process.bring_up();
  Client client(process.address);
  ASSERT_TRUE(process.hears(client, "220"));
  process.queued.reset();
  ASSERT_TRUE(process.until([&] { return process.lost.size() == 2; }));
  EXPECT_EQ(process.lost[0], ipc::Role::kQueued);
  process.connect_queued();
  client.send(std::string(kToBob));
  ASSERT_TRUE(process.hears(client, "354"));
  client.send(".\r\n");
  EXPECT_TRUE(process.until([&] { return process.queued->transactions.size() == 1; }));
}

TEST(SmtpdProcess, StopServesWhatIsPastTheDotFirst) {
  Process process(modes().front());
  process.bring_up();
  Client waiting(process.address), idle(process.address);
  waiting.send(kToBob);
  ASSERT_TRUE(process.hears(waiting, "354"));
  ASSERT_TRUE(process.hears(idle, "220"));
  waiting.send("hello\r\n.\r\n");
  ASSERT_TRUE(process.until([&] { return process.queued->transactions.size() == 1; }));
  process.link->send(ipc::Stop{5});
  ASSERT_TRUE(process.hears(idle, "421"));
  process.queued->accept(0, 8);
  EXPECT_EQ(process.ends(4), 0) << "as soon as all is done";
  waiting.look();
  EXPECT_NE(waiting.heard.find("queued as"), std::string::npos);
  EXPECT_NE(waiting.heard.find("421"), std::string::npos);
}

TEST(SmtpdProcess, StopEndsInTimeWithoutAnAnswerFromQueued) {
  Process process(modes().front());
  process.bring_up();
  Client client(process.address);
  client.send(kToBob);
  ASSERT_TRUE(process.hears(client, "354"));
  client.send("hello\r\n.\r\n");
  ASSERT_TRUE(process.until([&] { return process.queued->transactions.size() == 1; }));
  process.link->send(ipc::Stop{1});
  EXPECT_EQ(process.ends(3), 0);
  client.look();
  EXPECT_TRUE(client.closed);
  EXPECT_TRUE(client.heard.ends_with("<CR><LF>.<CR><LF>\r\n"))
      << "no reply is better than a wrong one";
}

TEST(SmtpdProcess, StopBehindBootIsAnOrderlyEnd) {
  Process process(modes().front());
  process.link->send(ipc::Stop{2});
  EXPECT_EQ(process.ends(5), 0);
}

TEST(SmtpdProcess, TakesNewListenersByAReloadAndGoesBack) {
  Process process(modes().front());
  process.bring_up();
  Client client(process.address);
  ASSERT_TRUE(process.hears(client, "220"));
  const auto configure = [&](std::uint64_t request, const config::SmtpdConfig& config) {
    process.link->send(ipc::Configure{base::RequestId(request), base::Generation(request)},
                       os::sealed_memory("config", ipc::encode(config)).value());
    return process.until([&] { return process.configured.size() == request; });
  };
  ASSERT_TRUE(configure(1, sample_config(2)));
  ASSERT_TRUE(configure(2, sample_config(1)));  // taken back: nobody listens on the second yet
  ASSERT_TRUE(configure(3, sample_config(2)));
  process.serve(1);
  Client other(process.address);
  ASSERT_TRUE(process.hears(other, "220"));
  ASSERT_TRUE(configure(4, sample_config(1)));
  EXPECT_EQ(process.configured, (std::vector<bool>{true, true, true, false}));
  client.send("NOOP\r\n");
  EXPECT_TRUE(process.hears(client, "250 2.0.0 Ok"));
}

TEST(SmtpdProcess, AWrongWordFromTheParentOrNoWordEndsIt) {
  auto pair = ipc::make_channel_pair();
  const pid_t pid = start(modes().front(), std::move(pair.b));
  pair.a.reset();
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 71);
}

}  // namespace
}  // namespace postern::smtpd::test
