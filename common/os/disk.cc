#include "common/os/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "common/base/check.h"

namespace postern::os {
namespace {

template <class Call>
auto retry_interrupted(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

class RealFile final : public File {
 public:
  RealFile(base::UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

  Result<void> write_at(std::uint64_t offset, std::string_view bytes) override {
    while (!bytes.empty()) {
      const auto put = retry_interrupted([&] {
        return ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      });
      if (put < 0) return failure("write " + name_);
      offset += static_cast<std::uint64_t>(put);
      bytes.remove_prefix(static_cast<std::size_t>(put));
    }
    return {};
  }

  Result<std::string> read_at(std::uint64_t offset, std::size_t size) override {
    std::string bytes(size, '\0');
    std::size_t have = 0;
    while (have < size) {
      const auto got = retry_interrupted([&] {
        return ::pread(fd_.get(), bytes.data() + have, size - have, static_cast<off_t>(offset + have));
      });
      if (got < 0) return failure("read " + name_);
      if (got == 0) break;
      have += static_cast<std::size_t>(got);
    }
    bytes.resize(have);
    return bytes;
  }

  std::optional<std::string> read_cached(std::uint64_t offset, std::size_t size) override {
    std::string bytes;
    bytes.resize_and_overwrite(size, [&](char* into, std::size_t room) {
      const iovec all{into, room};
      const auto got = ::preadv2(fd_.get(), &all, 1, static_cast<off_t>(offset), RWF_NOWAIT);
      return static_cast<std::size_t>(std::max<ssize_t>(got, 0));
    });
    if (bytes.size() < size) return std::nullopt;
    return bytes;
  }

  Result<void> flush_data() override {
    if (retry_interrupted([&] { return ::fdatasync(fd_.get()); }) != 0) return failure("flush " + name_);
    return {};
  }

  Result<void> flush() override {
    if (retry_interrupted([&] { return ::fsync(fd_.get()); }) != 0) return failure("flush " + name_);
    return {};
  }

  Result<std::uint64_t> size() override {
    struct stat info {};
    if (::fstat(fd_.get(), &info) != 0) return failure("stat " + name_);
    return static_cast<std::uint64_t>(info.st_size);
  }

  Result<void> set_modified(base::WallTime t) override {
    timespec times[2] = {};
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_sec = t.ms / 1000;
    times[1].tv_nsec = t.ms % 1000 * 1'000'000;
    if (::futimens(fd_.get(), times) != 0) return failure("set the time of " + name_);
    return {};
  }

  Result<base::UniqueFd> duplicate() override {
    auto copy = base::UniqueFd::adopt(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy.valid()) return failure("duplicate " + name_);
    return copy;
  }

  Result<void> set_lease_read() override {
    if (::fcntl(fd_.get(), F_SETLEASE, F_RDLCK) != 0) return failure("lease " + name_);
    ::fcntl(fd_.get(), F_SETLEASE, F_UNLCK);
    return {};
  }

 private:
  base::UniqueFd fd_;
  std::string name_;
};

class RealDisk final : public Disk {
 public:
  explicit RealDisk(base::UniqueFd directory) : root_(std::move(directory)) { CHECK(root_.valid()); }

  Result<std::unique_ptr<File>> open(std::string_view path, OpenMode mode) override {
    auto fd = open_beneath(path, flags(mode), mode == OpenMode::kRead || mode == OpenMode::kReadWrite ? 0 : 0600);
    if (!fd) return std::unexpected(std::move(fd.error()));
    return std::make_unique<RealFile>(*std::move(fd), std::string(path));
  }

  Result<void> rename(std::string_view from, std::string_view to) override {
    const auto source = parent_of(from);
    if (!source) return std::unexpected(source.error());
    const auto target = parent_of(to);
    if (!target) return std::unexpected(target.error());
    if (::renameat(source->first.get(), source->second.c_str(), target->first.get(),
                   target->second.c_str()) != 0)
      return failure("rename " + std::string(from) + " to " + std::string(to));
    return {};
  }

  Result<void> unlink(std::string_view path) override {
    const auto place = parent_of(path);
    if (!place) return std::unexpected(place.error());
    if (::unlinkat(place->first.get(), place->second.c_str(), 0) != 0)
      return failure("unlink " + std::string(path));
    return {};
  }

  Result<void> make_directory(std::string_view path) override {
    const auto place = parent_of(path);
    if (!place) return std::unexpected(place.error());
    if (::mkdirat(place->first.get(), place->second.c_str(), 0700) != 0 && errno != EEXIST)
      return failure("make directory " + std::string(path));
    return {};
  }

  Result<void> flush_directory(std::string_view path) override {
    const auto fd = open_beneath(path, O_RDONLY | O_DIRECTORY, 0);
    if (!fd) return std::unexpected(fd.error());
    if (retry_interrupted([&] { return ::fsync(fd->get()); }) != 0)
      return failure("flush directory " + std::string(path));
    return {};
  }

  Result<std::vector<std::string>> list(std::string_view path) override {
    auto fd = open_beneath(path, O_RDONLY | O_DIRECTORY, 0);
    if (!fd) return std::unexpected(std::move(fd.error()));
    DIR* directory = ::fdopendir(fd->get());
    if (directory == nullptr) return failure("list " + std::string(path));
    (void)fd->release();  // closedir closes it
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(directory)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int error = errno;
    ::closedir(directory);
    if (error != 0) return failure("list " + std::string(path), error);
    return names;
  }

  Result<bool> exists(std::string_view path) override {
    const auto place = parent_of(path);
    if (!place) {
      if (place.error().number == ENOENT) return false;
      return std::unexpected(place.error());
    }
    struct stat info {};
    if (::fstatat(place->first.get(), place->second.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) return true;
    if (errno == ENOENT) return false;
    return failure("look for " + std::string(path));
  }

  Result<std::uint64_t> free_bytes() override {
    struct statvfs info {};
    if (::fstatvfs(root_.get(), &info) != 0) return failure("stat file system");
    return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
  }

 private:
  static int flags(OpenMode mode) {
    switch (mode) {
      case OpenMode::kRead: return O_RDONLY | O_NONBLOCK;  // a FIFO does not hold us up
      case OpenMode::kReadWrite: return O_RDWR;
      case OpenMode::kCreateExclusive: return O_RDWR | O_CREAT | O_EXCL;
      case OpenMode::kCreateWriteOnly: return O_WRONLY | O_CREAT | O_EXCL;
    }
    CHECK(false);
  }

  // The kernel itself refuses what would leave the root: "..", absolute paths, symbolic links.
  Result<base::UniqueFd> open_beneath(std::string_view path, int open_flags, unsigned mode) const {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(open_flags | O_CLOEXEC | O_NOFOLLOW);
    how.mode = mode;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const std::string name(path);
    const auto fd = retry_interrupted(
        [&] { return ::syscall(SYS_openat2, root_.get(), name.c_str(), &how, sizeof how); });
    if (fd < 0) return failure("open " + name);
    return base::UniqueFd::adopt(static_cast<int>(fd));
  }

  // The directory that holds `path`, and the last component.
  Result<std::pair<base::UniqueFd, std::string>> parent_of(std::string_view path) const {
    const auto slash = path.rfind('/');
    const auto directory = slash == std::string_view::npos ? "." : path.substr(0, slash);
    const auto name = slash == std::string_view::npos ? path : path.substr(slash + 1);
    if (name.empty() || name == "." || name == "..") return failure("use the path " + std::string(path), EINVAL);
    auto fd = open_beneath(directory, O_PATH | O_DIRECTORY, 0);
    if (!fd) return std::unexpected(std::move(fd.error()));
    return std::pair(*std::move(fd), std::string(name));
  }

  base::UniqueFd root_;
};

}  // namespace

std::unique_ptr<File> real_file(base::UniqueFd fd, std::string name) {
  CHECK(fd.valid());
  return std::make_unique<RealFile>(std::move(fd), std::move(name));
}

std::unique_ptr<Disk> real_disk(base::UniqueFd directory) {
  return std::make_unique<RealDisk>(std::move(directory));
}

}  // namespace postern::os
