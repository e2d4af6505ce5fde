#include "common/os/sandbox.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/unique_fd.h"
#include "common/log/log.h"

namespace postern::os {
namespace {

// linux/landlock.h as of ABI 6; Debian 12's own header stops at ABI 2.
struct RulesetAttributes {
  std::uint64_t handled_access_fs;
  std::uint64_t handled_access_net;
  std::uint64_t scoped;
};
struct PathBeneathAttributes {
  std::uint64_t allowed_access;
  std::int32_t parent_fd;
} __attribute__((packed));
constexpr unsigned kVersionFlag = 1;  // LANDLOCK_CREATE_RULESET_VERSION
constexpr int kRulePathBeneath = 1;
struct NetPortAttributes {
  std::uint64_t allowed_access;
  std::uint64_t port;
};
constexpr int kRuleNetPort = 2;
constexpr long kNetAbi = 4;  // from which on there is one

enum FsAccess : std::uint64_t {
  kExecute = 1U << 0, kWriteFile = 1U << 1, kReadFile = 1U << 2, kReadDir = 1U << 3,
  kRemoveDir = 1U << 4, kRemoveFile = 1U << 5, kMakeChar = 1U << 6, kMakeDir = 1U << 7,
  kMakeReg = 1U << 8, kMakeSock = 1U << 9, kMakeFifo = 1U << 10, kMakeBlock = 1U << 11,
  kMakeSym = 1U << 12, kRefer = 1U << 13, kTruncate = 1U << 14, kIoctlDev = 1U << 15,
};
constexpr std::uint64_t kBindTcp = 1U << 0, kConnectTcp = 1U << 1;
constexpr std::uint64_t kScopeAbstractSocket = 1U << 0, kScopeSignal = 1U << 1;

constexpr std::uint64_t kGivenFile = 64U << 20;  // the most that kFetching makes of its file

// Files and directories, no links, devices, sockets or programs.
constexpr std::uint64_t kFileWork = kWriteFile | kReadFile | kReadDir | kRemoveFile | kMakeDir |
                                    kMakeReg | kRefer | kTruncate;

std::uint64_t all_fs_access(long abi) {
  std::uint64_t all = (1U << 13) - 1;
  if (abi >= 2) all |= kRefer;
  if (abi >= 3) all |= kTruncate;
  if (abi >= 5) all |= kIoctlDev;
  return all;
}

bool works_on_files(SandboxKind kind) {
  return kind == SandboxKind::kStoring || kind == SandboxKind::kFiling;
}

// The ports at either end of TCP that are left of what is handled.
std::vector<NetPortAttributes> port_rules(const SandboxPlan& plan) {
  std::vector<NetPortAttributes> rules;
  // Where to send from is its choice, but at a port of the kernel's.
  if (plan.kind == SandboxKind::kConnecting) rules.push_back({kBindTcp, 0});
  if (plan.kind == SandboxKind::kFetching)
    for (const auto port : plan.ports) rules.push_back({kConnectTcp, port});
  return rules;
}

Result<void> restrict_with_landlock(const SandboxPlan& plan) {
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kVersionFlag);
  if (abi < 1) {
    log::warning("sandbox.landlock").field("state", "not offered by this kernel");
    return {};
  }
  RulesetAttributes ruleset{};
  ruleset.handled_access_fs = all_fs_access(abi);
  if (abi >= kNetAbi)
    ruleset.handled_access_net = plan.kind == SandboxKind::kConnecting ? kBindTcp : kBindTcp | kConnectTcp;
  if (abi >= 6) ruleset.scoped = kScopeAbstractSocket | kScopeSignal;
  const std::size_t size = abi >= 6 ? 24 : abi >= kNetAbi ? 16 : 8;
  auto fd = base::UniqueFd::adopt(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &ruleset, size, 0)));
  if (!fd.valid()) return failure("make a Landlock ruleset");
  if (works_on_files(plan.kind)) {
    for (const int directory : {plan.root, plan.badmail}) {
      if (directory < 0) continue;
      const PathBeneathAttributes rule{kFileWork & ruleset.handled_access_fs, directory};
      if (::syscall(SYS_landlock_add_rule, fd.get(), kRulePathBeneath, &rule, 0) != 0)
        return failure("add a Landlock rule");
    }
  }
  if (abi >= kNetAbi) {
    for (const auto& rule : port_rules(plan))
      if (::syscall(SYS_landlock_add_rule, fd.get(), kRuleNetPort, &rule, 0) != 0)
        return failure("add a Landlock rule");
  }
  if (::syscall(SYS_landlock_restrict_self, fd.get(), 0) != 0) return failure("enter Landlock");
  return {};
}

Result<void> become(const SandboxPlan& plan) {
  if (!plan.identity) return {};
  if (::fchdir(plan.root) != 0 || ::chroot(".") != 0) return failure("chroot");
  const auto uid = plan.identity->uid;
  const auto gid = plan.identity->gid;
  if (::setgroups(0, nullptr) != 0 || ::setresgid(gid, gid, gid) != 0 ||
      ::setresuid(uid, uid, uid) != 0)
    return failure("change user");
  // The way back must be closed, whatever the kernel said before.
  if (::setuid(0) == 0) return failure("give up root", EPERM);
  return {};
}

Result<void> limit(int resource, std::uint64_t value) {
  rlimit limits{value, value};
  rlimit current{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &current) != 0) return failure("getrlimit");
  if (limits.rlim_max > current.rlim_max) limits = {current.rlim_max, current.rlim_max};
  if (::setrlimit(static_cast<__rlimit_resource>(resource), &limits) != 0) return failure("setrlimit");
  return {};
}

Result<void> set_limits(const SandboxPlan& plan) {
  if (auto done = limit(RLIMIT_NOFILE, plan.open_files); !done) return done;
  if (auto done = limit(RLIMIT_CORE, 0); !done) return done;
  if (auto done = limit(RLIMIT_MEMLOCK, 0); !done) return done;
  if (!works_on_files(plan.kind) && plan.kind != SandboxKind::kAuthenticating)  // no threads, no processes
    if (auto done = limit(RLIMIT_NPROC, 0); !done) return done;
  if (plan.kind == SandboxKind::kConnecting || plan.kind == SandboxKind::kSigning ||
      plan.kind == SandboxKind::kAuthenticating)
    if (auto done = limit(RLIMIT_FSIZE, 0); !done) return done;
  if (plan.kind == SandboxKind::kFetching)
    if (auto done = limit(RLIMIT_FSIZE, kGivenFile); !done) return done;
  return {};
}

}  // namespace

Result<void> enter_sandbox(const SandboxPlan& plan) {
  // Limits come first, while a higher one may still be set by root.
  if (auto done = set_limits(plan); !done) return done;
  if (auto done = become(plan); !done) return done;
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) return failure("forbid dumps");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failure("set no_new_privs");
  if (auto done = restrict_with_landlock(plan); !done) return done;
  return restrict_system_calls(plan.kind);
}

}  // namespace postern::os
