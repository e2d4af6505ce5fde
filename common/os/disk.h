// Disk: the one way in which Postern touches files after its sandbox, as a narrow interface, so that a
// test can record, fail and replay every operation. Paths are relative to a directory descriptor and
// never leave it (no "..", no absolute path, symbolic links are not followed). Thread-safe: it keeps no
// state but the directory.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/unique_fd.h"
#include "common/os/error.h"

namespace postern::os {

// An open file. All calls retry EINTR and short transfers.
class File {
 public:
  virtual ~File() = default;
  // Writes all of `bytes` at `offset`.
  virtual Result<void> write_at(std::uint64_t offset, std::string_view bytes) = 0;
  // Reads up to `size` bytes at `offset`; fewer only at the end of the file.
  virtual Result<std::string> read_at(std::uint64_t offset, std::size_t size) = 0;
  // Likewise all of it, if that needs no wait for the disk; nullopt: read_at() may wait for it, or says what is wrong.
  virtual std::optional<std::string> read_cached(std::uint64_t, std::size_t) { return std::nullopt; }
  virtual Result<void> flush_data() = 0;  // fdatasync(2)
  virtual Result<void> flush() = 0;       // fsync(2)
  virtual Result<std::uint64_t> size() = 0;
  // Sets the modification time (arrival of a mail in a Maildir).
  virtual Result<void> set_modified(base::WallTime t) = 0;
  // A descriptor to pass on to another process; the file stays open here.
  virtual Result<base::UniqueFd> duplicate() = 0;
  virtual Result<void> set_lease_read() = 0;  // F_SETLEASE F_RDLCK: fails while a writer is left; released at once
};

enum class OpenMode : std::uint8_t {
  kRead,
  kReadWrite,
  kCreateExclusive,  // read and write; EEXIST if it is there
  kCreateWriteOnly,  // exclusive, write only
};

class Disk {
 public:
  virtual ~Disk() = default;
  virtual Result<std::unique_ptr<File>> open(std::string_view path, OpenMode mode) = 0;
  virtual Result<void> rename(std::string_view from, std::string_view to) = 0;  // replaces
  virtual Result<void> unlink(std::string_view path) = 0;
  virtual Result<void> make_directory(std::string_view path) = 0;  // 0700; an existing one is no error
  virtual Result<void> flush_directory(std::string_view path) = 0;  // fsync(2); "." is the root
  virtual Result<std::vector<std::string>> list(std::string_view path) = 0;  // without . and ..
  virtual Result<bool> exists(std::string_view path) = 0;
  virtual Result<std::uint64_t> free_bytes() = 0;  // of the file system, for unprivileged users
};

// An open file that somebody else gave; `name` is for messages.
[[nodiscard]] std::unique_ptr<File> real_file(base::UniqueFd fd, std::string name);
// The real one, below `directory`.
[[nodiscard]] std::unique_ptr<Disk> real_disk(base::UniqueFd directory);

}  // namespace postern::os
