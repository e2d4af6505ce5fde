#include "common/os/owned_directory.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string_view>

namespace postern::os {
namespace {

constexpr unsigned kOwn = 0700, kShared = 0755;

Result<base::UniqueFd> open_level(int parent, const std::string& name) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long fd = ::syscall(SYS_openat2, parent, name.c_str(), &how, sizeof how);
  if (fd < 0) return failure("open");
  return base::UniqueFd::adopt(static_cast<int>(fd));
}

// As the user, so that nothing can be given to him but what he could have made himself: all names there are his.
Result<void> make_as_user(int level, const std::string& name, std::uint32_t uid, std::uint32_t gid) {
  ::setfsgid(gid);
  ::setfsuid(uid);
  const int made = ::mkdirat(level, name.c_str(), kOwn);
  const int error = errno;
  ::setfsuid(::geteuid());
  ::setfsgid(::getegid());
  if (made != 0 && error != EEXIST) return failure("make", error);
  return {};
}

// In a directory of root's, where nobody else touches a name. It has its name when it has its owner, so that a crash
// leaves nothing with a wrong one.
Result<void> make_as_root(int level, const std::string& name, unsigned mode, std::uint32_t uid, std::uint32_t gid) {
  const auto fresh = '.' + name + ".new";
  if (::mkdirat(level, fresh.c_str(), kOwn) != 0 && errno != EEXIST) return failure("make");
  const auto fd = open_level(level, fresh);
  if (!fd) return fd.error().number == ENOENT ? Result<void>() : std::unexpected(fd.error());
  if (::fchmod(fd->get(), mode) != 0 || ::fchown(fd->get(), uid, gid) != 0) return failure("give away");
  if (::fsync(fd->get()) != 0) return failure("flush");
  if (::renameat2(level, fresh.c_str(), level, name.c_str(), RENAME_NOREPLACE) == 0) return {};
  if (errno == EEXIST) ::unlinkat(level, fresh.c_str(), AT_REMOVEDIR);
  else if (errno != ENOENT) return failure("name");
  return {};  // another process was faster
}

Result<void> make_level(int level, const std::string& name, bool shared, const OwnedDirectory& wanted) {
  struct stat info {};
  if (::fstat(level, &info) != 0) return failure("look at");
  if (shared) return make_as_root(level, name, kShared, ::geteuid(), ::getegid());
  if (info.st_uid == wanted.uid) return make_as_user(level, name, wanted.uid, wanted.gid);
  return make_as_root(level, name, kOwn, wanted.uid, wanted.gid);
}

std::unexpected<Error> told(const std::string& place, const Error& error) {
  if (error.number == ELOOP) return failure(place + " is a symbolic link, which is not followed", 0);
  return failure(error.what + ' ' + place, error.number);
}

Result<void> check(int directory, const std::string& place, std::uint32_t uid) {
  if (const auto why = strangers_hand(directory, uid); !why.empty()) return failure(place + ' ' + why, 0);
  return {};
}

Result<void> check_own(int directory, const std::string& place, std::uint32_t uid) {
  struct stat info {};
  if (::fstat(directory, &info) != 0) return failure("look at " + place);
  if (info.st_uid != uid)
    return failure(place + " belongs to uid " + std::to_string(info.st_uid) + ", not to its user (uid " +
                       std::to_string(uid) + ')',
                   0);
  return {};
}

// One level deeper.
Result<base::UniqueFd> descend(int level, const std::string& name, bool shared, const OwnedDirectory& wanted) {
  if (name.empty() || name == "." || name == "..") return failure("open", EINVAL);
  auto next = open_level(level, name);
  if (!next && next.error().number == ENOENT) {
    if (auto made = make_level(level, name, shared, wanted); !made) return std::unexpected(made.error());
    next = open_level(level, name);
  }
  // One that is merely seen may still be lost with the power.
  if (next && ::fsync(level) != 0) return failure("flush the directory of");
  return next;
}

}  // namespace

std::string strangers_hand(int directory, std::uint32_t uid) {
  struct stat info {};
  if (::fstat(directory, &info) != 0) return "cannot be looked at";
  if (info.st_uid != ::geteuid() && info.st_uid != uid)
    return "belongs to uid " + std::to_string(info.st_uid) + ", neither to root nor to its user (uid " +
           std::to_string(uid) + ')';
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) == 0) return {};
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", info.st_mode & 07777U);
  return std::string("may be written to by others (mode ") + mode + ')';
}

Result<base::UniqueFd> open_owned(const OwnedDirectory& wanted) {
  auto level = base::UniqueFd::adopt(::fcntl(wanted.root, F_DUPFD_CLOEXEC, 0));
  if (!level.valid()) return failure("open " + wanted.root_name);
  auto place = wanted.root_name;
  if (auto good = check(level.get(), place, wanted.uid); !good) return std::unexpected(good.error());
  std::string_view rest = wanted.path;
  for (std::size_t depth = 0; depth == 0 || !rest.empty(); ++depth) {
    const std::string name(rest.substr(0, rest.find('/')));
    rest.remove_prefix(std::min(name.size() + 1, rest.size()));
    auto next = descend(level.get(), name, depth < wanted.shared, wanted);
    place += '/' + name;
    if (!next) return told(place, next.error());
    if (auto good = check(next->get(), place, wanted.uid); !good) return std::unexpected(good.error());
    level = *std::move(next);
  }
  if (auto good = check_own(level.get(), place, wanted.uid); !good) return std::unexpected(good.error());
  return level;
}

}  // namespace postern::os
