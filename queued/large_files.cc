#include "queued/large_files.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/base/crc32c.h"
#include "common/base/fault.h"
#include "common/log/log.h"

namespace postern::queued {
namespace {

constexpr std::size_t kChunk = 64 * 1024;  // is still in the cache when its checksum is taken
constexpr int kSealAttempts = 50;
constexpr base::Millis kPause{20};
constexpr int kLoadPauses = 50;  // a second

std::string path(base::MessageId id) { return "large/" + base::to_string(id); }

// The file's checksum; an error unless it is exactly `size` bytes long.
os::Result<std::uint32_t> checksum(os::File& file, std::uint64_t size, base::MessageId id) {
  const auto found = file.size();
  if (!found) return std::unexpected(found.error());
  if (*found != size) return os::failure("size of " + path(id), EIO);
  std::uint32_t crc = 0;
  for (std::uint64_t at = 0; at < size;) {
    const auto bytes = file.read_at(at, kChunk);
    if (!bytes) return std::unexpected(bytes.error());
    if (bytes->empty()) return os::failure("read " + path(id), EIO);
    crc = base::crc32c(*bytes, crc);
    at += bytes->size();
  }
  return crc;
}

}  // namespace

struct LargeFiles::Sealing {
  base::MessageId id;
  std::uint64_t size = 0;
  Store::LargeSealed sealed;
  int attempts = 0;
};

struct LargeFiles::Loading {
  base::MessageId id;
  std::uint64_t size = 0;
  std::uint32_t crc = 0;
  bool check = false;
  Store::Loaded loaded;
};

LargeFiles::LargeFiles(event::Loop& loop, os::Disk& disk, Worker& worker, Reserve& reserve)
    : disk_(disk), worker_(worker), reserve_(reserve), pause_(loop, [this]() noexcept {
        pause_over();
      }) {}

void LargeFiles::later(int pauses, event::Callback what) {
  waiting_.emplace_back(pauses, std::move(what));
  if (!pause_.running()) pause_.start(kPause);
}

void LargeFiles::pause_over() {
  for (auto& [pauses, what] : std::exchange(waiting_, {}))
    if (--pauses > 0)
      waiting_.emplace_back(pauses, std::move(what));
    else
      what();
  if (!waiting_.empty() && !pause_.running()) pause_.start(kPause);
}

os::Result<void> LargeFiles::sweep(bool keep, const std::function<bool(base::MessageId)>& is_named) {
  if (auto made = disk_.make_directory("large"); !made) return made;
  const auto names = disk_.list("large");
  if (!names) return std::unexpected(names.error());
  if (keep)
    if (auto made = disk_.make_directory("orphans"); !made) return made;
  for (const auto& name : *names) {
    const auto id = base::parse_message_id(name);
    if (id && is_named(*id)) continue;
    const auto file = "large/" + name;
    const auto done = keep ? disk_.rename(file, "orphans/" + name) : disk_.unlink(file);
    // It does no harm where it is, and the next start tries again.
    if (!done) log::warning("large.unswept").field("reason", done.error().text());
  }
  // Lest a power cut brings an orphan back, for a later start that knows of no damage to delete it.
  if (keep)
    if (auto flushed = disk_.flush_directory("orphans"); !flushed) return flushed;
  return disk_.flush_directory(".");
}

void LargeFiles::open(base::MessageId id, std::uint64_t room, Store::LargeOpened opened) {
  worker_.post([this, id, room, opened = std::move(opened)]() mutable noexcept -> event::Callback {
    const auto free = disk_.free_bytes();
    auto file = free && *free < room ? os::failure("make " + path(id), ENOSPC)
                                     : disk_.open(path(id), os::OpenMode::kCreateWriteOnly);
    auto fd = file ? (*file)->duplicate() : std::unexpected(file.error());
    if (file && !fd) (void)disk_.unlink(path(id));
    return [id, opened = std::move(opened), fd = std::move(fd)]() mutable noexcept {
      if (fd)
        opened(LargeFile{id, *std::move(fd)});
      else
        opened(std::unexpected(fd.error()));
    };
  });
}

void LargeFiles::seal(base::MessageId id, std::uint64_t size, Store::LargeSealed sealed) {
  try_seal(std::make_shared<Sealing>(Sealing{id, size, std::move(sealed), 0}));
}

void LargeFiles::try_seal(std::shared_ptr<Sealing> sealing) {
  worker_.post([this, sealing = std::move(sealing)]() mutable noexcept -> event::Callback {
    auto crc = measure(sealing->id, sealing->size);
    return [this, crc = std::move(crc), sealing = std::move(sealing)]() mutable noexcept {
      const bool busy = !crc && crc.error().number == EAGAIN;
      if (!busy || ++sealing->attempts >= kSealAttempts) return sealing->sealed(std::move(crc));
      later(1, [this, sealing = std::move(sealing)]() noexcept { try_seal(sealing); });
    };
  });
}

// EAGAIN: a writer is left.
os::Result<std::uint32_t> LargeFiles::measure(base::MessageId id, std::uint64_t size) {
  auto file = disk_.open(path(id), os::OpenMode::kRead);
  if (!file) return std::unexpected(file.error());
  if (auto lease = (*file)->set_lease_read(); !lease) return std::unexpected(lease.error());
  // Nobody can write any more: what is measured and flushed now is what the record will name.
  auto crc = checksum(**file, size, id);
  if (!crc) return crc;
  if (auto flushed = (*file)->flush(); !flushed) return std::unexpected(flushed.error());
  if (fault::planted(fault::Fault::kNoDirectoryFlush)) return crc;
  if (auto flushed = disk_.flush_directory("large"); !flushed)
    return std::unexpected(flushed.error());
  return crc;
}

void LargeFiles::write(base::MessageId id, std::uint64_t offset, std::string bytes,
                       Store::Saved written) {
  worker_.post([this, id, offset, bytes = std::move(bytes),
                written = std::move(written)]() mutable noexcept -> event::Callback {
    auto file = disk_.open(path(id), os::OpenMode::kReadWrite);
    auto done = file ? (*file)->write_at(offset, bytes) : std::unexpected(file.error());
    return [written = std::move(written), done = std::move(done)]() mutable noexcept {
      written(std::move(done));
    };
  });
}

void LargeFiles::drop(base::MessageId id) {
  worker_.post([this, id]() noexcept -> event::Callback {
    // One that stays is swept at the next start.
    (void)reserve_.persist([&] { return disk_.unlink(path(id)); });
    return {};
  });
}

void LargeFiles::load(const Message& message, bool check, Store::Loaded loaded) {
  try_load(std::make_shared<Loading>(
      Loading{message.id, message.body_size, message.body_crc, check, std::move(loaded)}));
}

void LargeFiles::try_load(std::shared_ptr<Loading> loading) {
  worker_.post([this, loading = std::move(loading)]() mutable noexcept -> event::Callback {
    auto body = reserve_.persist([&] { return read(*loading); });
    return [this, loading = std::move(loading), body = std::move(body)]() mutable noexcept {
      if (body || !is_exhausted(body.error())) return loading->loaded(std::move(body));
      later(kLoadPauses, [this, loading = std::move(loading)]() noexcept { try_load(loading); });
    };
  });
}

os::Result<LoadedBody> LargeFiles::read(const Loading& loading) {
  LoadedBody body;
  auto file = disk_.open(path(loading.id), os::OpenMode::kRead);
  if (!file) return std::unexpected(file.error());
  const auto crc = loading.check ? checksum(**file, loading.size, loading.id)
                                 : os::Result<std::uint32_t>(loading.crc);
  if (!crc) return std::unexpected(crc.error());
  if (*crc != loading.crc) return os::failure("checksum of " + path(loading.id), EIO);
  auto fd = (*file)->duplicate();
  if (!fd) return std::unexpected(fd.error());
  body.file = *std::move(fd);
  return body;
}

void LargeFiles::load_part(base::MessageId id, std::uint64_t offset, std::size_t limit,
                           Store::Head part) {
  worker_.post([this, id, offset, limit,
                part = std::move(part)]() mutable noexcept -> event::Callback {
    auto file = reserve_.persist([&] { return disk_.open(path(id), os::OpenMode::kRead); });
    auto bytes = file ? (*file)->read_at(offset, limit) : std::unexpected(file.error());
    return [part = std::move(part), bytes = std::move(bytes)]() mutable noexcept {
      part(bytes ? *std::move(bytes) : std::string());
    };
  });
}

}  // namespace postern::queued
