#include "queued/reserve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "queued/segment.h"

namespace postern::queued {
namespace {

constexpr std::string_view kFolder = "reserve";
constexpr std::uint64_t kShare = 8;  // of the whole reserve
constexpr std::uint64_t kMost = 16ULL << 20;
constexpr std::size_t kAtOnce = 1 << 20;

bool is_room(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }
bool is_descriptors(int error) { return error == EMFILE || error == ENFILE; }

}  // namespace

bool is_exhausted(const os::Error& error) {
  return is_room(error.number) || is_descriptors(error.number) || error.number == ENOMEM;
}

Reserve::Reserve(os::Disk& disk, std::uint64_t configured)
    : disk_(disk), piece_size_(round_up(std::min(configured / kShare, kMost) / kPieces)) {
  if (piece_size_ == 0) return;
  for (std::size_t number = 0; number < kPieces; ++number)
    pieces_.push_back({fmt::format("{}/{:02}", kFolder, number), false, nullptr});
}

// Errors are nothing here: what cannot be read is made anew when there is room.
void Reserve::begin() {
  for (auto& piece : pieces_) {
    auto file = disk_.open(piece.path, os::OpenMode::kRead);
    if (!file) continue;
    const auto size = (*file)->size();
    piece.made = size && *size == piece_size_;
    if (piece.made)
      piece.file = *std::move(file);
    else
      (void)disk_.unlink(piece.path);  // cut short, or of another configured size
  }
}

bool Reserve::give_up(const os::Error& error, std::size_t keep) {
  const std::lock_guard lock(mutex_);
  const bool room = is_room(error.number);
  if (!room && !is_descriptors(error.number)) return false;
  const auto has = [room](const Piece& p) { return room ? p.made : p.file != nullptr; };
  const auto left = std::count_if(pieces_.begin(), pieces_.end(), has);
  if (static_cast<std::size_t>(left) <= keep) return false;
  for (auto& piece : pieces_) {
    if (!has(piece)) continue;
    piece.file.reset();
    if (!room) return true;
    piece.made = false;
    if (disk_.unlink(piece.path)) return true;
  }
  return false;
}

void Reserve::refill() {
  const std::lock_guard lock(mutex_);
  for (auto& piece : pieces_) {
    if (piece.made && piece.file) continue;
    if (auto made = make(piece); !made) {
      lack_ = "the reserve is not whole: " + made.error().text();
      return;
    }
  }
  lack_ = find_lack();
}

os::Result<void> Reserve::make(Piece& piece) {
  if (piece.made) {  // only its descriptor is missing
    auto file = disk_.open(piece.path, os::OpenMode::kRead);
    if (!file) return std::unexpected(file.error());
    piece.file = *std::move(file);
    return {};
  }
  // Not the last that is there: others write to this disk too.
  const auto free = disk_.free_bytes();
  if (!free) return std::unexpected(free.error());
  if (*free < 2 * piece_size_) return os::failure("make " + piece.path, ENOSPC);
  if (auto folder = disk_.make_directory(kFolder); !folder) return folder;
  (void)disk_.unlink(piece.path);  // one that could not be removed before
  auto file = disk_.open(piece.path, os::OpenMode::kCreateExclusive);
  if (!file) return std::unexpected(file.error());
  const std::string zeros(std::min<std::uint64_t>(kAtOnce, piece_size_), '\0');
  os::Result<void> done;
  for (std::uint64_t at = 0; at < piece_size_ && done; at += zeros.size())
    done = (*file)->write_at(at, std::string_view(zeros).substr(
                                     0, std::min<std::uint64_t>(zeros.size(), piece_size_ - at)));
  if (!done) {
    (void)disk_.unlink(piece.path);
    return done;
  }
  piece.made = true;
  piece.file = *std::move(file);
  return {};
}

// One more than those that are held must be there.
std::string Reserve::find_lack() {
  if (pieces_.empty()) return {};
  const auto probe = disk_.open(pieces_.front().path, os::OpenMode::kRead);
  return probe ? std::string() : "no descriptor is left: " + probe.error().text();
}

std::string Reserve::lack() const {
  const std::lock_guard lock(mutex_);
  return lack_;
}

}  // namespace postern::queued
