// Each kind of process tries what it may not; in a child of its own, since there is no way back.
#include "common/os/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <thread>

#include "common/os/disk.h"
#include "common/os/socket.h"

namespace postern::os {
namespace {

constexpr int kDone = 7;     // the act went through
constexpr int kRefused = 8;  // an error came back
constexpr int kNoSandbox = 9;

class Sandbox : public ::testing::TestWithParam<SandboxKind> {
 protected:
  Sandbox() {
    root_path_ = (std::filesystem::temp_directory_path() / "postern-box-XXXXXX").string();
    EXPECT_NE(::mkdtemp(root_path_.data()), nullptr);
    root_ = base::UniqueFd::adopt(::open(root_path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  ~Sandbox() override { std::filesystem::remove_all(root_path_); }

  // What became of `act` in a process of this kind: an exit status, or minus the signal.
  int outcome(SandboxKind kind, const std::function<bool()>& act) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      (void)!::freopen("/dev/null", "w", stderr);
      SandboxPlan plan;
      plan.kind = kind;
      plan.root = root_.get();
      plan.ports = ports_;
      if (!enter_sandbox(plan)) ::_exit(kNoSandbox);
      ::_exit(act() ? kDone : kRefused);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }
  bool forbidden(SandboxKind kind, const std::function<bool()>& act) {
    const int result = outcome(kind, act);
    EXPECT_NE(result, kNoSandbox);
    return result == kRefused || result == -SIGSYS;
  }
  std::string root_path_;
  base::UniqueFd root_;
  std::vector<std::uint16_t> ports_;
};

TEST_P(Sandbox, ForbidsWhatNoRoleNeeds) {
  const auto kind = GetParam();
  EXPECT_EQ(outcome(kind, [] { return true; }), kDone);
  EXPECT_TRUE(forbidden(kind, [] { return ::open("/etc/passwd", O_RDONLY) >= 0; }));
  EXPECT_TRUE(forbidden(kind, [] { return ::execl("/bin/true", "true", nullptr) == 0; }));
  EXPECT_TRUE(forbidden(kind, [] { return ::fork() > 0; }));
  EXPECT_TRUE(forbidden(kind, [] { return ::kill(::getppid(), 0) == 0; }));
  EXPECT_TRUE(forbidden(kind, [] { return ::socket(AF_UNIX, SOCK_STREAM, 0) >= 0; }));
  EXPECT_TRUE(forbidden(kind, [] { return ::setuid(0) == 0; }));
  EXPECT_TRUE(forbidden(kind, [] { return ::chroot("/") == 0; }));
  EXPECT_TRUE(forbidden(kind, [] { return ::mkdir("/tmp/postern-x", 0700) == 0; }));
  EXPECT_TRUE(forbidden(kind, [] { return ::unlink("/tmp/postern-x") == 0; }));
}

TEST_P(Sandbox, GivesTheNetworkToThoseThatConnectOnly) {
  const auto kind = GetParam();
  const auto socket = [] { return ::socket(AF_INET, SOCK_STREAM, 0) >= 0; };
  if (kind == SandboxKind::kConnecting || kind == SandboxKind::kFetching)
    EXPECT_EQ(outcome(kind, socket), kDone);
  else
    EXPECT_TRUE(forbidden(kind, socket));
  EXPECT_TRUE(forbidden(kind, [] {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in any{};
    any.sin_family = AF_INET;
    return ::bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0 && ::listen(fd, 1) == 0;
  }));
}

TEST_P(Sandbox, LetsThoseThatTurnConnectionsRoundMakePairs) {
  const auto kind = GetParam();
  const auto pair_of = [](int family) {
    return [family] {
      int ends[2];
      return ::socketpair(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0;
    };
  };
  if (kind == SandboxKind::kConnecting || kind == SandboxKind::kStoring)
    EXPECT_EQ(outcome(kind, pair_of(AF_UNIX)), kDone);
  else
    EXPECT_TRUE(forbidden(kind, pair_of(AF_UNIX)));
  EXPECT_TRUE(forbidden(kind, pair_of(AF_NETLINK)));
}

// Where the kernel's Landlock knows of ports (ABI 4), the kernel chooses the port.
TEST_P(Sandbox, RelayAloneChoosesWhereItSendsFrom) {
  const auto kind = GetParam();
  const auto bind_to = [](std::uint16_t port) {
    return [port] {
      sockaddr_storage where{};
      const auto size = base::to_sockaddr({*base::parse_ip("127.0.0.2"), port}, where);
      const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
      return ::bind(fd, reinterpret_cast<const sockaddr*>(&where), size) == 0;
    };
  };
  constexpr std::uint16_t kAnyPort = 0, kOurs = 61'007;
  if (kind != SandboxKind::kConnecting) {
    EXPECT_TRUE(forbidden(kind, bind_to(kAnyPort)));
    return;
  }
  EXPECT_EQ(outcome(kind, bind_to(kAnyPort)), kDone);
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1);
  EXPECT_EQ(outcome(kind, bind_to(kOurs)), abi >= 4 ? kRefused : kDone);
  EXPECT_EQ(outcome(kind, [] { return ::listen(::socket(AF_INET, SOCK_STREAM, 0), 1) == 0; }), -SIGSYS);
}

TEST_P(Sandbox, GivesFilesBelowTheRootToThoseThatKeepThem) {
  const auto kind = GetParam();
  const auto create = [this] {
    auto disk = real_disk(base::UniqueFd::adopt(::fcntl(root_.get(), F_DUPFD_CLOEXEC, 0)));
    auto file = disk->open("file", OpenMode::kCreateExclusive);
    return file && (*file)->write_at(0, "x") && (*file)->flush_data();
  };
  if (kind == SandboxKind::kStoring || kind == SandboxKind::kFiling)
    EXPECT_EQ(outcome(kind, create), kDone);
  else
    EXPECT_TRUE(forbidden(kind, create));
}

// queued's loop reads what memory has. Where a file system cannot say what that is, it is told so.
TEST_P(Sandbox, AReadOfManyPiecesIsQueuedsAndMayNotWait) {
  const auto kind = GetParam();
  const auto path = root_path_ + "/cached";
  const auto file = base::UniqueFd::adopt(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::write(file.get(), "x", 1), 1);
  const auto read = [&](int flags) {
    return [&file, flags] {
      char byte = 0;
      const iovec all{&byte, 1};
      const auto got = ::preadv2(file.get(), &all, 1, 0, flags);
      return got == 1 || errno == EAGAIN || errno == EOPNOTSUPP;
    };
  };
  if (kind == SandboxKind::kStoring)
    EXPECT_EQ(outcome(kind, read(RWF_NOWAIT)), kDone);
  else
    EXPECT_TRUE(forbidden(kind, read(RWF_NOWAIT)));
  EXPECT_TRUE(forbidden(kind, read(0)));
  EXPECT_TRUE(forbidden(kind, read(RWF_HIPRI)));
}

// Where the kernel's Landlock knows of ports (ABI 4).
TEST_P(Sandbox, FetchConnectsToItsPortsOnly) {
  if (GetParam() != SandboxKind::kFetching) return;
  const auto listener = [] { return listen_tcp({*base::parse_ip("127.0.0.1"), 0}).value(); };
  const auto address_of = [](const base::UniqueFd& fd) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    return address;
  };
  const auto mine = listener();
  const auto other = listener();
  const auto connect = [](sockaddr_in to) {
    return [to] {
      const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
      return ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    };
  };
  ports_ = {ntohs(address_of(mine).sin_port)};
  EXPECT_EQ(outcome(SandboxKind::kFetching, connect(address_of(mine))), kDone);
  EXPECT_EQ(outcome(SandboxKind::kConnecting, connect(address_of(other))), kDone);
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1);
  EXPECT_EQ(outcome(SandboxKind::kFetching, connect(address_of(other))), abi >= 4 ? kRefused : kDone);
}

// fetch keeps its policies in a file that it could not open, of a size that has an end.
TEST_P(Sandbox, AFileThatIsGivenOpenIsFetchsOnly) {
  const auto kind = GetParam();
  const auto path = root_path_ + "/given";
  const auto given = [&] {
    return real_file(base::UniqueFd::adopt(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)), "given");
  };
  const auto file = given();
  const auto write_at = [&](std::uint64_t offset) {
    return [&file, offset] {
      return file->write_at(offset, "x") && file->flush_data() && file->read_at(offset, 1);
    };
  };
  if (kind == SandboxKind::kStoring || kind == SandboxKind::kFiling || kind == SandboxKind::kFetching)
    EXPECT_EQ(outcome(kind, write_at(1U << 20)), kDone);
  else
    EXPECT_TRUE(forbidden(kind, write_at(1U << 20)));
  if (kind == SandboxKind::kFetching) {
    EXPECT_EQ(outcome(kind, write_at(64U << 20)), -SIGXFSZ) << "no more than 64 MiB";
  }
}

TEST_P(Sandbox, AllowsThreadsOnlyWhereCallsBlock) {
  const auto kind = GetParam();
  const auto thread = [] {
    bool ran = false;
    try {
      std::thread([&] { ran = true; }).join();
    } catch (const std::system_error&) {
    }
    return ran;
  };
  if (kind == SandboxKind::kStoring || kind == SandboxKind::kFiling ||
      kind == SandboxKind::kAuthenticating)
    EXPECT_EQ(outcome(kind, thread), kDone);
  else
    EXPECT_TRUE(forbidden(kind, thread));
}

INSTANTIATE_TEST_SUITE_P(EachKind, Sandbox,
                         ::testing::Values(SandboxKind::kAccepting, SandboxKind::kStoring,
                                           SandboxKind::kConnecting, SandboxKind::kFiling,
                                           SandboxKind::kSigning, SandboxKind::kAuthenticating,
                                           SandboxKind::kFetching));

}  // namespace
}  // namespace postern::os
