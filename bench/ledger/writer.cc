#include "bench/ledger/writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

namespace postern::bench {
namespace {

constexpr mode_t kMode = 0644;

// The place behind the last whole line.
os::Result<off_t> whole_lines(int fd) {
  off_t end = ::lseek(fd, 0, SEEK_END);
  std::array<char, 4096> block;
  while (end > 0) {
    const auto size = std::min<off_t>(end, static_cast<off_t>(block.size()));
    const auto got = ::pread(fd, block.data(), static_cast<std::size_t>(size), end - size);
    if (got != size) return os::failure("read the ledger", got < 0 ? errno : EIO);
    const std::string_view text(block.data(), static_cast<std::size_t>(got));
    if (const auto lf = text.rfind('\n'); lf != std::string_view::npos)
      return end - size + static_cast<off_t>(lf) + 1;
    end -= size;
  }
  return 0;
}

}  // namespace

os::Result<LedgerWriter> LedgerWriter::open(const std::string& path) {
  LedgerWriter writer;
  writer.path_ = path;
  writer.fd_ =
      base::UniqueFd::adopt(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, kMode));
  if (!writer.fd_.valid()) return os::failure("open " + path);
  const auto end = whole_lines(writer.fd_.get());
  if (!end) return std::unexpected(end.error());
  if (::ftruncate(writer.fd_.get(), *end) != 0) return os::failure("cut " + path);
  return writer;
}

os::Result<void> LedgerWriter::flush() {
  std::string_view rest = lines_;
  while (!rest.empty() && on()) {
    const auto put = ::write(fd_.get(), rest.data(), rest.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return os::failure("write " + path_);
    rest.remove_prefix(static_cast<std::size_t>(put));
  }
  lines_.clear();
  return {};
}

}  // namespace postern::bench
