// LMDB is a shared library: what this program defines under these names, it calls.
#undef _FILE_OFFSET_BITS  // else pwrite() here would be pwrite64(), which only our own code calls
#undef _FORTIFY_SOURCE
#include "tests/unit/queued/lmdb_calls.h"

#include <dlfcn.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <string_view>

namespace postern::queued {

LmdbCalls g_lmdb_calls;

namespace {

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

bool fails(int fd, const char* what) {
  auto& calls = g_lmdb_calls;
  if (calls.directory.empty()) return false;
  const auto link = "/proc/self/fd/" + std::to_string(fd);
  std::array<char, 4096> path{};
  const auto size = ::readlink(link.c_str(), path.data(), path.size());
  const std::string_view name(path.data(), size < 0 ? 0 : static_cast<std::size_t>(size));
  if (!name.starts_with(calls.directory + "/")) return false;
  if (calls.calls++ != calls.fail_call) return false;
  calls.failed = std::string(what).append(" ").append(name.substr(calls.directory.size() + 1));
  errno = calls.error;
  return true;
}

}  // namespace
}  // namespace postern::queued

extern "C" {

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  static const auto real =
      postern::queued::next<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return postern::queued::fails(fd, "pwrite") ? -1 : real(fd, bytes, size, offset);
}
ssize_t write(int fd, const void* bytes, size_t size) {
  static const auto real = postern::queued::next<ssize_t(int, const void*, size_t)>("write");
  return postern::queued::fails(fd, "write") ? -1 : real(fd, bytes, size);
}
ssize_t writev(int fd, const iovec* parts, int count) {
  static const auto real = postern::queued::next<ssize_t(int, const iovec*, int)>("writev");
  return postern::queued::fails(fd, "writev") ? -1 : real(fd, parts, count);
}
int ftruncate(int fd, off_t size) noexcept {
  static const auto real = postern::queued::next<int(int, off_t)>("ftruncate");
  return postern::queued::fails(fd, "ftruncate") ? -1 : real(fd, size);
}
int fdatasync(int fd) {
  static const auto real = postern::queued::next<int(int)>("fdatasync");
  return postern::queued::fails(fd, "fdatasync") ? -1 : real(fd);
}
int fsync(int fd) {
  static const auto real = postern::queued::next<int(int)>("fsync");
  return postern::queued::fails(fd, "fsync") ? -1 : real(fd);
}

}  // extern "C"
