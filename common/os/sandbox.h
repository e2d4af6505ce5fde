// The sandbox of a role: what a process gives up before it reads its first foreign byte. Everything is
// applied by enter_sandbox(), in one order, in sandbox.cc; the system calls that each role keeps stand in
// seccomp.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/os/error.h"

namespace postern::os {

// What kind of work the process does afterwards; each has its own lists.
enum class SandboxKind : std::uint8_t {
  kAccepting,   // smtpd: accepts and talks; writes to files it is given; opens nothing, connects nowhere
  kStoring,     // queued: files below its root, threads; no network
  kConnecting,  // relay: outgoing TCP and UDP, from the address that it wants; no files, no listening
  kFiling,      // local: files below its root, threads; no network
  kSigning,     // key: its channels and nothing else
  kAuthenticating,  // auth: likewise, and threads for what takes long
  kFetching,    // fetch: outgoing TCP and UDP; writes to the one file that it is given, and opens none
};

struct SandboxPlan {
  SandboxKind kind = SandboxKind::kAccepting;
  int root = -1;  // directory: chroot there as root; Landlock leaves only this tree to kStoring, kFiling
  int badmail = -1;  // another directory that Landlock leaves to kStoring; -1: none
  struct Identity {
    std::uint32_t uid = 0, gid = 0;
  };
  std::optional<Identity> identity;  // as root: chroot and become this; otherwise stay who we are
  std::uint64_t open_files = 1024;   // RLIMIT_NOFILE
  std::vector<std::uint16_t> ports;  // kFetching: Landlock lets it connect by TCP to no others
};

// Gives up everything that the plan does not leave: chroot, groups and ids, resource limits,
// no_new_privs, Landlock (as far as the kernel has it), seccomp. An error means: do not go on.
[[nodiscard]] Result<void> enter_sandbox(const SandboxPlan& plan);

// The seccomp part alone (in seccomp.cc); a call outside the list kills the process with SIGSYS.
[[nodiscard]] Result<void> restrict_system_calls(SandboxKind kind);

}  // namespace postern::os
