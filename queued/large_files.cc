#include "queued/large_files.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/base/crc32c.h"

namespace postern::queued {
namespace {

constexpr std::size_t kChunk = 1 << 20;
constexpr int kSealAttempts = 50;
constexpr base::Millis kSealPause{20};

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
  Sealing(event::Loop& loop, base::MessageId named, std::uint64_t announced,
          Store::LargeSealed callback)
      : id(named), size(announced), sealed(std::move(callback)), timer(loop, [this]() noexcept {
          again();
        }) {}
  base::MessageId id;
  std::uint64_t size;
  Store::LargeSealed sealed;
  int attempts = 0;
  event::Callback again;
  event::Timer timer;
};

LargeFiles::LargeFiles(event::Loop& loop, os::Disk& disk, Worker& worker)
    : loop_(loop), disk_(disk), worker_(worker) {}
LargeFiles::~LargeFiles() { *alive_ = false; }

os::Result<void> LargeFiles::sweep(bool keep, const std::function<bool(base::MessageId)>& is_named) {
  if (auto made = disk_.make_directory("large"); !made) return made;
  const auto names = disk_.list("large");
  if (!names) return std::unexpected(names.error());
  if (keep)
    if (auto made = disk_.make_directory("orphans"); !made) return made;
  for (const auto& name : *names) {
    const auto id = base::parse_message_id(name);
    if (id && is_named(*id)) continue;
    const auto done = keep ? disk_.rename("large/" + name, "orphans/" + name)
                           : disk_.unlink("large/" + name);
    if (!done) return done;
  }
  return disk_.flush_directory(".");
}

void LargeFiles::open(base::MessageId id, Store::LargeOpened opened) {
  worker_.post([this, id, opened = std::move(opened)]() mutable noexcept -> event::Callback {
    auto file = disk_.open(path(id), os::OpenMode::kCreateWriteOnly);
    auto fd = file ? (*file)->duplicate() : std::unexpected(file.error());
    return [id, opened = std::move(opened), fd = std::move(fd)]() mutable noexcept {
      if (fd)
        opened(LargeFile{id, *std::move(fd)});
      else
        opened(std::unexpected(fd.error()));
    };
  });
}

void LargeFiles::seal(base::MessageId id, std::uint64_t size, Store::LargeSealed sealed) {
  auto sealing = std::make_shared<Sealing>(loop_, id, size, std::move(sealed));
  try_seal(std::move(sealing));
}

void LargeFiles::try_seal(std::shared_ptr<Sealing> sealing) {
  worker_.post([this, sealing = std::move(sealing)]() mutable noexcept -> event::Callback {
    const auto id = sealing->id;
    os::Result<std::uint32_t> crc = os::failure("seal " + path(id), EIO);
    bool busy = false;
    auto file = disk_.open(path(id), os::OpenMode::kRead);
    if (!file) {
      crc = std::unexpected(file.error());
    } else if (auto lease = (*file)->set_lease_read(); !lease) {
      busy = lease.error().number == EAGAIN;
      crc = std::unexpected(lease.error());
    } else {
      // Nobody can write any more: what is measured and flushed now is what the record will name.
      crc = checksum(**file, sealing->size, id);
      if (crc)
        if (auto flushed = (*file)->flush(); !flushed) crc = std::unexpected(flushed.error());
      if (crc)
        if (auto flushed = disk_.flush_directory("large"); !flushed)
          crc = std::unexpected(flushed.error());
    }
    return [this, busy, crc = std::move(crc), sealing = std::move(sealing)]() mutable noexcept {
      if (!busy || ++sealing->attempts >= kSealAttempts) return sealing->sealed(std::move(crc));
      auto& waiting = *sealing;
      waiting.again = [this, key = sealing.get()]() noexcept {
        // The timer's own callback must not end its owner: that happens when the turn is over.
        loop_.defer([this, key, alive = alive_]() noexcept {
          if (!*alive) return;
          const auto at = std::find_if(sealings_.begin(), sealings_.end(),
                                       [&](const auto& s) { return s.get() == key; });
          auto mine = std::move(*at);
          sealings_.erase(at);
          try_seal(std::move(mine));
        });
      };
      sealings_.push_back(std::move(sealing));
      waiting.timer.start(kSealPause);
    };
  });
}

void LargeFiles::drop(base::MessageId id) {
  worker_.post([this, id]() noexcept -> event::Callback {
    (void)disk_.unlink(path(id));  // one that stays is swept at the next start
    return {};
  });
}

void LargeFiles::load(const Message& message, bool check, Store::Loaded loaded) {
  worker_.post([this, id = message.id, size = message.body_size, crc = message.body_crc, check,
                loaded = std::move(loaded)]() mutable noexcept -> event::Callback {
    os::Result<LoadedBody> body = LoadedBody{};
    auto file = disk_.open(path(id), os::OpenMode::kRead);
    if (!file) {
      body = std::unexpected(file.error());
    } else {
      const auto found = check ? checksum(**file, size, id) : os::Result<std::uint32_t>(crc);
      if (!found)
        body = std::unexpected(found.error());
      else if (*found != crc)
        body = os::failure("checksum of " + path(id), EIO);
      else if (auto fd = (*file)->duplicate(); fd)
        body->file = *std::move(fd);
      else
        body = std::unexpected(fd.error());
    }
    return [loaded = std::move(loaded), body = std::move(body)]() mutable noexcept {
      loaded(std::move(body));
    };
  });
}

void LargeFiles::load_part(base::MessageId id, std::uint64_t offset, std::size_t limit,
                           Store::Head part) {
  worker_.post([this, id, offset, limit,
                part = std::move(part)]() mutable noexcept -> event::Callback {
    auto file = disk_.open(path(id), os::OpenMode::kRead);
    auto bytes = file ? (*file)->read_at(offset, limit) : std::unexpected(file.error());
    return [part = std::move(part), bytes = std::move(bytes)]() mutable noexcept {
      part(bytes ? *std::move(bytes) : std::string());
    };
  });
}

}  // namespace postern::queued
