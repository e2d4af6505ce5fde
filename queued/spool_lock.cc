#include "queued/spool_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>

#include "common/base/text.h"

namespace postern::queued {
namespace {

constexpr int kLockSeconds = 10;
constexpr std::size_t kMostLocks = 100'000;  // lines of /proc/locks
constexpr std::size_t kTitle = 200;

std::string path_of(int root) {
  char path[4096];
  const auto link = fmt::format("/proc/self/fd/{}", root);
  const auto size = ::readlink(link.c_str(), path, sizeof path);
  return {path, size > 0 ? static_cast<std::size_t>(size) : 0};
}

// "3: FLOCK  ADVISORY  WRITE 4711 fe:01:123456 0 EOF": the process that holds the file's lock; 0: unknown.
long holder(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return 0;
  const auto wanted =
      fmt::format("{:02x}:{:02x}:{}", ::gnu_dev_major(info.st_dev), ::gnu_dev_minor(info.st_dev), info.st_ino);
  std::ifstream locks("/proc/locks");
  std::string line;
  for (std::size_t n = 0; n < kMostLocks && std::getline(locks, line); ++n) {
    std::istringstream words(line);
    std::string number, kind, advisory, access, place;
    long pid = 0;
    words >> number >> kind >> advisory >> access >> pid >> place;
    if (kind == "FLOCK" && place == wanted) return pid;
  }
  return 0;
}

std::string describe(long pid) {
  if (pid <= 0) return "another process";
  std::ifstream file(fmt::format("/proc/{}/cmdline", pid), std::ios::binary);
  std::string title;
  std::getline(file, title, '\0');
  title = base::printable(title.substr(0, kTitle), kTitle);
  return title.empty() ? fmt::format("process {}", pid) : fmt::format("process {} ({})", pid, title);
}

}  // namespace

os::Result<base::UniqueFd> lock_spool(int root, LockMode mode) {
  const int flags = mode == LockMode::kMake ? O_RDWR | O_CREAT : O_RDONLY;
  auto fd = base::UniqueFd::adopt(::openat(root, "lock", flags | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid() && mode == LockMode::kTouch && errno == ENOENT) return fd;
  if (!fd.valid()) return os::failure("open the spool's lock");
  for (int tenth = 0;; ++tenth) {
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
    if (errno != EWOULDBLOCK && errno != EINTR) return os::failure("lock the spool");
    if (tenth == kLockSeconds * 10) break;
    const timespec pause{0, 100'000'000};
    ::nanosleep(&pause, nullptr);
  }
  return os::failure(fmt::format("use the spool {}: {} has held it for {} seconds", path_of(root),
                                 describe(holder(fd.get())), kLockSeconds),
                     EBUSY);
}

}  // namespace postern::queued
