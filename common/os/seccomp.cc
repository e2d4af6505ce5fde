// The system calls that each kind of process keeps. Everything else ends the process.
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <initializer_list>
#include <memory>

#include "common/os/sandbox.h"

namespace postern::os {
namespace {

struct Release {
  void operator()(void* filter) const noexcept { ::seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, Release>;

// Collects the first error, so that a list of rules reads like a list.
class Rules {
 public:
  explicit Rules(std::uint32_t otherwise) : filter_(::seccomp_init(otherwise)) {
    if (!filter_) error_ = ENOMEM;
  }

  Rules& allow(std::initializer_list<int> calls) {
    for (const int call : calls) check(::seccomp_rule_add(filter_.get(), SCMP_ACT_ALLOW, call, 0));
    return *this;
  }
  Rules& allow_if(int call, scmp_arg_cmp condition) {
    check(::seccomp_rule_add_array(filter_.get(), SCMP_ACT_ALLOW, call, 1, &condition));
    return *this;
  }
  Rules& refuse(int call, int error_number) {
    check(::seccomp_rule_add(filter_.get(), SCMP_ACT_ERRNO(static_cast<std::uint16_t>(error_number)),
                             call, 0));
    return *this;
  }
  Result<void> load() {
    if (error_ == 0) check(::seccomp_load(filter_.get()));
    if (error_ != 0) return failure("load the seccomp filter", error_);
    return {};
  }

 private:
  void check(int result) {
    if (result < 0 && error_ == 0) error_ = -result;
  }
  Filter filter_;
  int error_ = 0;
};

// Every kind: memory (never executable), time, descriptors that are there, the loop.
void add_common(Rules& rules) {
  rules.allow({
      SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(close),
      SCMP_SYS(fstat), SCMP_SYS(lseek), SCMP_SYS(fcntl), SCMP_SYS(pread64),  // a new configuration
      SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg),
      SCMP_SYS(shutdown), SCMP_SYS(getsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
      SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl), SCMP_SYS(poll),
      SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
      SCMP_SYS(futex), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
      SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall), SCMP_SYS(sched_yield),
      SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(clock_nanosleep),
      SCMP_SYS(nanosleep), SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid),
      SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(exit), SCMP_SYS(exit_group),
  });
  const auto without_exec = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
  rules.allow_if(SCMP_SYS(mmap), without_exec);
  rules.allow_if(SCMP_SYS(mprotect), without_exec);
  // fstat(2) of glibc; the empty path names the descriptor itself.
  rules.allow_if(SCMP_SYS(newfstatat), SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH));
  // abort(3) signals itself, nobody else.
  rules.allow_if(SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid())));
  // glibc asks how many arenas its malloc should have, and what kind of file a stream is; a "no" is
  // good enough.
  rules.refuse(SCMP_SYS(ioctl), ENOTTY);
#ifndef POSTERN_SANITIZE
  rules.refuse(SCMP_SYS(sched_getaffinity), EPERM);
#else
  // The sanitizers' runtime, when it reports.
  rules.refuse(SCMP_SYS(open), EACCES);
  rules.refuse(SCMP_SYS(readlink), EACCES);
  // pipe2: how it asks whether memory may be read, at a check of a virtual call. sched_getaffinity: how
  // it learns of a thread's stack.
  rules.allow({SCMP_SYS(pipe2), SCMP_SYS(sched_getaffinity), SCMP_SYS(readlinkat), SCMP_SYS(getppid),
               SCMP_SYS(prctl), SCMP_SYS(getrlimit), SCMP_SYS(prlimit64), SCMP_SYS(uname),
               SCMP_SYS(membarrier)});
#endif
}

void add_threads(Rules& rules) {
  // clone3 hides its flags in memory; refused, glibc falls back to clone, whose flags can be seen.
  rules.refuse(SCMP_SYS(clone3), ENOSYS);
  rules.allow_if(SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
  // eventfd2: an event::Waker for each thread, made when it starts.
  rules.allow({SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(eventfd2)});
  rules.allow_if(SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
}

// Files; Landlock says below which directory.
void add_files(Rules& rules) {
  rules.allow({SCMP_SYS(openat2), SCMP_SYS(pwrite64), SCMP_SYS(pwritev),
               SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(renameat), SCMP_SYS(renameat2),
               SCMP_SYS(unlinkat), SCMP_SYS(mkdirat), SCMP_SYS(getdents64), SCMP_SYS(fstatfs),
               SCMP_SYS(newfstatat), SCMP_SYS(utimensat), SCMP_SYS(flock), SCMP_SYS(ftruncate)});
}

// What LMDB calls beyond that, in queued: it opens its three descriptors by path (openat: from the working
// directory, which is the spool; openat2 can name no more), writes neighbouring pages with lseek and writev,
// asks for the kernel's version because fdatasync was broken in an old one, and locks with the fcntl and
// futex that all have. fallocate: our own, so that the checkpoint has room on a full disk.
void add_index(Rules& rules) {
  rules.allow({SCMP_SYS(openat), SCMP_SYS(uname), SCMP_SYS(fallocate)});
}

// A read that does not wait for the disk, and no other: bodies that memory has anyway.
void add_cached_reads(Rules& rules) {
  rules.allow_if(SCMP_SYS(preadv2), SCMP_A5(SCMP_CMP_EQ, RWF_NOWAIT));
}

void add_outgoing(Rules& rules) {
  rules.allow_if(SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_INET));
  rules.allow_if(SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_INET6));
  rules.allow({SCMP_SYS(connect), SCMP_SYS(setsockopt)});
}

// A connection turned round (RFC 2645) is lent to another process as one end of a pair, which reaches nobody
// but whom it is handed to.
void add_pairs(Rules& rules) {
  rules.allow_if(SCMP_SYS(socketpair), SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
}

void add_kind(Rules& rules, SandboxKind kind) {
  switch (kind) {
    case SandboxKind::kAccepting:
      // sync_file_range: a hint for the file of a large body, which it may write anyway.
      rules.allow({SCMP_SYS(accept4), SCMP_SYS(setsockopt), SCMP_SYS(sync_file_range)});
      return;
    case SandboxKind::kStoring:
      add_files(rules);
      add_index(rules);
      add_cached_reads(rules);
      add_threads(rules);
      rules.allow({SCMP_SYS(accept4)});
      add_pairs(rules);
      return;
    case SandboxKind::kConnecting:
      add_outgoing(rules);
      rules.allow({SCMP_SYS(bind)});  // to an address to send from; nobody can listen there
      add_pairs(rules);
      return;
    case SandboxKind::kFiling:
      add_files(rules);
      add_threads(rules);
      return;
    case SandboxKind::kSigning:
      return;
    case SandboxKind::kAuthenticating:
      add_threads(rules);
      return;
    case SandboxKind::kFetching:
      add_outgoing(rules);
      rules.allow({SCMP_SYS(pwrite64), SCMP_SYS(fdatasync)});
      return;
  }
}

#if defined(POSTERN_SANITIZE) || defined(POSTERN_FAULTS)
// Test builds name the call before they die of it.
void report_violation(int, siginfo_t* info, void*) {
  char text[80];
  const int size = std::snprintf(text, sizeof text, "forbidden system call %d\n", info->si_syscall);
  (void)!::write(STDERR_FILENO, text, static_cast<std::size_t>(size));
  ::signal(SIGSYS, SIG_DFL);
  ::raise(SIGSYS);
  ::_exit(128 + SIGSYS);
}
std::uint32_t violation() {
  struct sigaction action {};
  action.sa_sigaction = report_violation;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;  // so that the signal raised in it ends the process
  ::sigaction(SIGSYS, &action, nullptr);
  return SCMP_ACT_TRAP;
}
#else
std::uint32_t violation() { return SCMP_ACT_KILL_PROCESS; }
#endif

}  // namespace

Result<void> restrict_system_calls(SandboxKind kind) {
  Rules rules(violation());
  add_common(rules);
  add_kind(rules, kind);
#ifdef POSTERN_SANITIZE
  if (kind != SandboxKind::kStoring) rules.refuse(SCMP_SYS(openat), EACCES);  // as open above
#endif
  return rules.load();
}

}  // namespace postern::os
