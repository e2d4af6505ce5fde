#include "ctl/export_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "common/base/text.h"
#include "common/os/error.h"

namespace postern::ctl {
namespace {

constexpr std::string_view kPart = ".part";

std::unexpected<Ending> failed(int exit, const std::string& path, std::string_view what) {
  return std::unexpected(
      Ending{exit, fmt::format("posternctl: {}: {}\n", base::printable(path), what)});
}
std::unexpected<Ending> failed(int exit, const std::string& path, int error) {
  return failed(exit, path, ::strerrordesc_np(error));
}

os::Result<std::string> read_some(int fd) {
  std::string bytes(ipc::kSpoolSlice, '\0');
  for (;;) {
    const auto size = ::read(fd, bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return os::failure("read", errno);
    bytes.resize(static_cast<std::size_t>(size));
    return bytes;
  }
}

// The facts that stand in what the reader has been fed.
std::expected<void, std::string> take(transfer::Reader& reader, ExportFacts& facts,
                                      base::MessageId& now) {
  for (;;) {  // ends: each item takes bytes
    const auto item = reader.next();
    if (!item) return std::unexpected(item.error());
    if (!*item) return {};
    if (const auto* header = std::get_if<transfer::Header>(&**item)) facts.header = *header;
    if (const auto* message = std::get_if<transfer::Message>(&**item)) now = message->envelope.id;
    if (std::holds_alternative<transfer::Whole>(**item)) facts.ids.push_back(now);
  }
}

}  // namespace

bool is_there(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

std::expected<ExportFacts, Ending> read_export(const std::string& path, const ExportPiece& piece) {
  const auto fd = base::UniqueFd::adopt(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return failed(EX_NOINPUT, path, errno);
  ExportFacts facts;
  transfer::Reader reader;
  base::MessageId now;
  auto bytes = read_some(fd.get());
  if (bytes && bytes->empty())
    return failed(EX_DATAERR, path, "it is empty: no file that posternctl export wrote");
  while (bytes && !bytes->empty()) {
    auto following = read_some(fd.get());
    if (!following) return failed(EX_IOERR, path, following.error().number);
    reader.feed(*bytes);
    if (auto good = take(reader, facts, now); !good) return failed(EX_DATAERR, path, "it " + good.error());
    if (piece)
      if (auto taken = piece(*bytes, following->empty()); !taken)
        return std::unexpected(std::move(taken.error()));
    bytes = std::move(following);
  }
  if (!bytes) return failed(EX_IOERR, path, bytes.error().number);
  if (auto whole = reader.finish(); !whole) return failed(EX_DATAERR, path, "it " + whole.error());
  facts.counts = reader.counts();
  return facts;
}

// --- Writing ----------------------------------------------------------------------------------------

std::expected<NewExport, Ending> NewExport::begin(const std::string& path) {
  if (is_there(path)) return failed(EX_CANTCREAT, path, "it is there already; nothing was done");
  const auto part = path + std::string(kPart);
  auto fd = base::UniqueFd::adopt(
      ::open(part.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return failed(EX_CANTCREAT, part, errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return failed(EX_TEMPFAIL, part, "another export is writing it");
  // What an export left that was killed.
  if (::ftruncate(fd.get(), 0) != 0) return failed(EX_CANTCREAT, part, errno);
  return NewExport(path, std::move(fd));
}

NewExport::~NewExport() {
  if (fd_.valid()) ::unlink((path_ + std::string(kPart)).c_str());
}

std::expected<void, Ending> NewExport::write(std::string_view bytes) {
  while (!bytes.empty()) {  // ends: each turn writes some
    const auto size = ::write(fd_.get(), bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return failed(EX_IOERR, path_ + std::string(kPart), errno);
    bytes.remove_prefix(static_cast<std::size_t>(size));
  }
  return {};
}

std::expected<void, Ending> NewExport::finish() {
  const auto part = path_ + std::string(kPart);
  if (::fsync(fd_.get()) != 0) return failed(EX_IOERR, part, errno);
  if (::renameat2(AT_FDCWD, part.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) != 0)
    return failed(EX_CANTCREAT, path_, errno);
  fd_.reset();
  const auto slash = path_.rfind('/');
  const auto folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const auto directory =
      base::UniqueFd::adopt(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0) return failed(EX_IOERR, folder, errno);
  return {};
}

}  // namespace postern::ctl
