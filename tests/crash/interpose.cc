// The C library's calls that change a disk, defined in this program: what is linked into it, and
// every shared library that it loads (LMDB), calls these. Each forwards to the real one and tells
// the recorder what was done; those that a story wants to fail are not done.
#undef _FILE_OFFSET_BITS  // else open() and open64() are one
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/crash/recorder.h"
#include "tests/crash/story_clock.h"

namespace {

using postern::crash::Kind;
using postern::crash::Recorder;

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

// Does the call, unless the story wants it to fail, and tells of it if it succeeded, as one step.
// `of` says of which operation on what: a descriptor, or a directory and a path in it.
template <class Call, class Tell, class... What>
auto recorded(Call call, Tell tell, Kind kind, What... of) -> decltype(call()) {
  Recorder* recorder = Recorder::active();
  if (recorder == nullptr) return call();
  const std::lock_guard lock(recorder->mutex());
  if (const int planned = recorder->failure(kind, of...); planned != 0) {
    errno = planned;
    return -1;
  }
  const auto result = call();
  const int error = errno;
  if (result >= 0) tell(*recorder, result);
  errno = error;
  return result;
}

template <class Call>
int opening(Call call, int directory, const char* path, int flags) {
  Recorder* recorder = Recorder::active();
  if (recorder == nullptr || (flags & (O_CREAT | O_TRUNC)) == 0) return call();
  const std::lock_guard lock(recorder->mutex());
  const bool fresh = (flags & O_CREAT) != 0 && !recorder->knows(directory, path);
  if (const int planned = fresh ? recorder->failure(Kind::kCreate, directory, path) : 0;
      planned != 0) {
    errno = planned;
    return -1;
  }
  const int fd = call();
  const int error = errno;
  if (fd >= 0 && fresh) recorder->opened_new(fd, directory, path);
  if (fd >= 0 && !fresh && (flags & O_TRUNC) != 0) recorder->truncated(fd, 0);
  errno = error;
  return fd;
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

std::string gather(const iovec* parts, int count, std::size_t size) {
  std::string bytes;
  for (int i = 0; i < count && bytes.size() < size; ++i)
    bytes.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
  bytes.resize(size);
  return bytes;
}

ssize_t wrote_here(Recorder& recorder, int fd, const void* bytes, ssize_t size) {
  const auto end = ::lseek(fd, 0, SEEK_CUR);  // not a file: nothing to tell
  if (end >= size && size > 0)
    recorder.wrote(fd, static_cast<std::uint64_t>(end - size), bytes,
                   static_cast<std::size_t>(size));
  return size;
}

ssize_t pwrite_with(const char* name, int fd, const void* bytes, size_t size, off_t offset) {
  const auto real = next<ssize_t(int, const void*, size_t, off_t)>(name);
  return recorded([&] { return real(fd, bytes, size, offset); },
                  [&](Recorder& recorder, ssize_t put) {
                    recorder.wrote(fd, static_cast<std::uint64_t>(offset), bytes,
                                   static_cast<std::size_t>(put));
                  },
                  Kind::kWrite, fd);
}

ssize_t pwritev_with(const char* name, int fd, const iovec* parts, int count, off_t offset) {
  const auto real = next<ssize_t(int, const iovec*, int, off_t)>(name);
  return recorded([&] { return real(fd, parts, count, offset); },
                  [&](Recorder& recorder, ssize_t put) {
                    const auto bytes = gather(parts, count, static_cast<std::size_t>(put));
                    recorder.wrote(fd, static_cast<std::uint64_t>(offset), bytes.data(),
                                   bytes.size());
                  },
                  Kind::kWrite, fd);
}

int truncate_with(const char* name, int fd, off_t size) {
  const auto real = next<int(int, off_t)>(name);
  return recorded(
      [&] { return real(fd, size); },
      [&](Recorder& recorder, int) { recorder.truncated(fd, static_cast<std::uint64_t>(size)); },
      Kind::kTruncate, fd);
}

int allocate_with(const char* name, int fd, off_t offset, off_t size) {
  const auto real = next<int(int, off_t, off_t)>(name);
  return recorded([&] { return -real(fd, offset, size); },
                  [&](Recorder& recorder, int) {
                    recorder.allocated(fd, static_cast<std::uint64_t>(offset + size));
                  },
                  Kind::kTruncate, fd);
}

int open_with(const char* name, int directory, const char* path, int flags, mode_t mode) {
  const auto real = next<int(int, const char*, int, mode_t)>(name);
  return opening([&] { return real(directory, path, flags, mode); }, directory, path, flags);
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const auto mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_with("openat", AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const auto mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_with("openat64", AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const auto mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_with("openat", directory, path, flags, mode);
}
int openat64(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const auto mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_with("openat64", directory, path, flags, mode);
}

// os::Disk opens with openat2(2), for which there is no other function.
long syscall(long number, ...) noexcept {
  va_list list;
  va_start(list, number);
  long a[6];
  for (auto& argument : a) argument = va_arg(list, long);
  va_end(list);
  const auto real = next<long(long, ...)>("syscall");
  const auto call = [&] { return real(number, a[0], a[1], a[2], a[3], a[4], a[5]); };
  if (number != SYS_openat2) return call();
  const auto flags = *reinterpret_cast<const std::uint64_t*>(a[2]);  // the first of open_how
  return opening([&] { return static_cast<int>(call()); }, static_cast<int>(a[0]),
                 reinterpret_cast<const char*>(a[1]), static_cast<int>(flags));
}

ssize_t write(int fd, const void* bytes, size_t size) {
  static const auto real = next<ssize_t(int, const void*, size_t)>("write");
  return recorded([&] { return real(fd, bytes, size); },
                  [&](Recorder& recorder, ssize_t put) { wrote_here(recorder, fd, bytes, put); },
                  Kind::kWrite, fd);
}
ssize_t writev(int fd, const iovec* parts, int count) {
  static const auto real = next<ssize_t(int, const iovec*, int)>("writev");
  return recorded([&] { return real(fd, parts, count); },
                  [&](Recorder& recorder, ssize_t put) {
                    wrote_here(recorder, fd,
                               gather(parts, count, static_cast<std::size_t>(put)).data(), put);
                  },
                  Kind::kWrite, fd);
}
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  return pwrite_with("pwrite", fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t offset) {
  return pwrite_with("pwrite64", fd, bytes, size, offset);
}
ssize_t pwritev(int fd, const iovec* parts, int count, off_t offset) {
  return pwritev_with("pwritev", fd, parts, count, offset);
}
ssize_t pwritev64(int fd, const iovec* parts, int count, off64_t offset) {
  return pwritev_with("pwritev64", fd, parts, count, offset);
}

int ftruncate(int fd, off_t size) noexcept {
  return truncate_with("ftruncate", fd, size);
}
int ftruncate64(int fd, off64_t size) noexcept {
  return truncate_with("ftruncate64", fd, size);
}
int fallocate(int fd, int mode, off_t offset, off_t size) {
  static const auto real = next<int(int, int, off_t, off_t)>("fallocate");
  return recorded([&] { return real(fd, mode, offset, size); },
                  [&](Recorder& recorder, int) {
                    if (mode == 0)
                      recorder.allocated(fd, static_cast<std::uint64_t>(offset + size));
                  },
                  Kind::kTruncate, fd);
}
int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
  return fallocate(fd, mode, offset, size);
}
int posix_fallocate(int fd, off_t offset, off_t size) {
  return -allocate_with("posix_fallocate", fd, offset, size);
}
int posix_fallocate64(int fd, off64_t offset, off64_t size) {
  return -allocate_with("posix_fallocate64", fd, offset, size);
}

int fdatasync(int fd) {
  static const auto real = next<int(int)>("fdatasync");
  return recorded([&] { return real(fd); },
                  [&](Recorder& recorder, int) { recorder.flushed(fd, Kind::kFlushData); },
                  Kind::kFlushData, fd);
}
int fsync(int fd) {
  static const auto real = next<int(int)>("fsync");
  return recorded([&] { return real(fd); },
                  [&](Recorder& recorder, int) { recorder.flushed(fd, Kind::kFlush); },
                  Kind::kFlush, fd);
}
// Nothing may be written through a map: what it holds cannot be told from outside.
int msync(void* address, size_t size, int flags) {
  static const auto real = next<int(void*, size_t, int)>("msync");
  if (Recorder::active() == nullptr) return real(address, size, flags);
  std::fputs("a file is written through its map\n", stderr);
  std::abort();
}

int renameat(int from, const char* path, int to, const char* to_path) noexcept {
  static const auto real = next<int(int, const char*, int, const char*)>("renameat");
  return recorded([&] { return real(from, path, to, to_path); },
                  [&](Recorder& recorder, int) { recorder.renamed(from, path, to, to_path); },
                  Kind::kRename, from, path);
}
int rename(const char* path, const char* to_path) noexcept {
  return renameat(AT_FDCWD, path, AT_FDCWD, to_path);
}
int unlinkat(int directory, const char* path, int flags) noexcept {
  static const auto real = next<int(int, const char*, int)>("unlinkat");
  return recorded([&] { return real(directory, path, flags); },
                  [&](Recorder& recorder, int) { recorder.unlinked(directory, path); },
                  Kind::kUnlink, directory, path);
}
int unlink(const char* path) noexcept {
  return unlinkat(AT_FDCWD, path, 0);
}
int mkdirat(int directory, const char* path, mode_t mode) noexcept {
  static const auto real = next<int(int, const char*, mode_t)>("mkdirat");
  return recorded([&] { return real(directory, path, mode); },
                  [&](Recorder& recorder, int) { recorder.made_directory(directory, path); },
                  Kind::kMakeDirectory, directory, path);
}
int mkdir(const char* path, mode_t mode) noexcept {
  return mkdirat(AT_FDCWD, path, mode);
}

int futimens(int fd, const timespec times[2]) noexcept {
  static const auto real = next<int(int, const timespec*)>("futimens");
  return recorded([&] { return real(fd, times); },
                  [&](Recorder& recorder, int) {
                    recorder.set_time(fd, times[1].tv_sec * 1000 + times[1].tv_nsec / 1'000'000);
                  },
                  Kind::kSetTime, fd);
}

// Timers go by the story's clock, so that it is the same each time that it is told.
int clock_gettime(clockid_t which, timespec* time) noexcept {
  static const auto real = next<int(clockid_t, timespec*)>("clock_gettime");
  const auto* clock = postern::crash::StoryClock::present();
  if (clock == nullptr) return real(which, time);
  const bool wall = which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE;
  const auto ms = wall ? clock->wall_ms : clock->steady_ms;
  *time = {ms / 1000, ms % 1000 * 1'000'000};
  return 0;
}

}  // extern "C"
