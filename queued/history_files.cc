#include "queued/history_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "common/base/text.h"

namespace postern::queued {
namespace {

constexpr std::string_view kFolder = "history";
constexpr std::uint64_t kShare = 16;                // one file's part of what all may have
constexpr std::uint64_t kLeastFile = 64 * 1024;     // bytes
constexpr std::size_t kDay = 8;                     // of a name: 20261123-0001.log
constexpr base::Millis kDayLength{24LL * 3600 * 1000};
constexpr base::Millis kMostPause = 7 * kDayLength;  // of the server, that counts as time gone by
constexpr std::size_t kMaxFiles = 100'000;

std::string path(const std::string& name) { return fmt::format("{}/{}", kFolder, name); }

std::string day_of(base::WallTime time) {
  auto day = base::iso8601(time).substr(0, 10);
  std::erase(day, '-');
  return day;
}

// Midnight (UTC) of a name's day; no such day: of one that is not later.
base::WallTime begin_of(std::string_view name) {
  const auto number = [&](std::size_t at, std::size_t size) {
    return static_cast<unsigned>(base::parse_number(name.substr(at, size)).value_or(0));
  };
  using namespace std::chrono;
  const sys_days midnight = year_month_day(year(static_cast<int>(number(0, 4))), month(number(4, 2)),
                                           day(number(6, 2)));
  return {duration_cast<milliseconds>(midnight.time_since_epoch()).count()};
}

bool is_ours(std::string_view name) {
  const auto is_number = [&](std::size_t from, std::size_t size) {
    return std::all_of(name.begin() + static_cast<std::ptrdiff_t>(from),
                       name.begin() + static_cast<std::ptrdiff_t>(from + size),
                       [](char c) { return c >= '0' && c <= '9'; });
  };
  return name.size() == kDay + 9 && is_number(0, kDay) && name[kDay] == '-' &&
         is_number(kDay + 1, 4) && name.ends_with(".log");
}

// The name behind `last` on this day; days never go back, whatever the clock does.
std::string name_behind(const std::string& last, const std::string& today) {
  if (last.empty() || last.substr(0, kDay) < today) return today + "-0001.log";
  const auto number = base::parse_number(std::string_view(last).substr(kDay + 1, 4)).value_or(0);
  return fmt::format("{}-{:04}.log", last.substr(0, kDay), std::min<std::uint64_t>(number + 1, 9999));
}

}  // namespace

os::Result<void> HistoryFiles::begin() {
  if (begun_) return {};
  if (auto made = disk_.make_directory(kFolder); !made) return made;
  const auto names = disk_.list(kFolder);
  if (!names) return std::unexpected(names.error());
  if (names->size() > kMaxFiles) return os::failure("read history/: too many files", EFBIG);
  files_.clear();
  for (const auto& name : *names) {
    if (!is_ours(name)) continue;
    auto file = disk_.open(path(name), os::OpenMode::kRead);
    if (!file) return std::unexpected(file.error());
    const auto size = (*file)->size();
    if (!size) return std::unexpected(size.error());
    files_[name] = *size;
  }
  begun_ = true;
  return {};
}

os::Result<void> HistoryFiles::append(std::string_view lines, base::WallTime now,
                                      const HistoryLimits& limits) {
  if (auto begun = begin(); !begun) return begun;
  const auto most = std::max(limits.size / kShare, kLeastFile);
  if (auto opened = open_current(now, most); !opened) return opened;
  auto& size = files_[current_];
  if (auto written = file_->write_at(size, lines); !written) {
    file_.reset();  // a line that was written in part ends when the file is opened anew
    return written;
  }
  size += lines.size();
  return {};
}

os::Result<void> HistoryFiles::open_current(base::WallTime now, std::uint64_t most) {
  const auto today = day_of(now);
  const auto last = files_.empty() ? std::string() : files_.rbegin()->first;
  const bool fits = !last.empty() && last.substr(0, kDay) >= today && files_[last] < most;
  if (fits && file_ && current_ == last) return {};
  file_.reset();
  if (fits)
    if (auto opened = open_existing(last); !opened || file_) return opened;
  return open_new(name_behind(last, today));
}

// Leaves `file_` null if the file is not one that we may go on with.
os::Result<void> HistoryFiles::open_existing(const std::string& name) {
  auto file = disk_.open(path(name), os::OpenMode::kReadWrite);
  if (!file) return std::unexpected(file.error());
  const auto size = (*file)->size();
  if (!size) return std::unexpected(size.error());
  const auto head = (*file)->read_at(0, kHistoryHeader.size());
  if (!head) return std::unexpected(head.error());
  if (*head != kHistoryHeader) return {};
  const auto end = (*file)->read_at(*size - 1, 1);
  if (!end) return std::unexpected(end.error());
  files_[name] = *size;
  // The end of a line that a crash cut off: it ends here, and is passed over.
  if (*end != "\n") {
    if (auto ended = (*file)->write_at(*size, "\n"); !ended) return ended;
    ++files_[name];
  }
  current_ = name;
  file_ = *std::move(file);
  return {};
}

os::Result<void> HistoryFiles::open_new(const std::string& name) {
  auto file = disk_.open(path(name), os::OpenMode::kCreateExclusive);
  if (!file) return std::unexpected(file.error());
  if (auto written = (*file)->write_at(0, kHistoryHeader); !written) {
    (void)disk_.unlink(path(name));
    return written;
  }
  files_[name] = kHistoryHeader.size();
  current_ = name;
  file_ = *std::move(file);
  return {};
}

// What the wall clock would show had it never jumped. Whoever set it ten years ahead by mistake still has his
// history afterwards.
base::WallTime HistoryFiles::believed(base::WallTime wall, base::SteadyTime steady) {
  if (!aged_from_) {
    if (!files_.empty())
      wall = std::min(wall, begin_of(files_.rbegin()->first) + kDayLength + kMostPause);
    aged_from_ = Reading{wall, steady};
  }
  return aged_from_->wall + (steady - aged_from_->steady);
}

os::Result<void> HistoryFiles::trim(base::WallTime wall, base::SteadyTime steady,
                                    const HistoryLimits& limits) {
  if (auto begun = begin(); !begun) return begun;
  const auto now = believed(wall, steady);
  std::uint64_t sum = 0;
  for (const auto& [name, size] : files_) sum += size;
  const auto oldest = day_of(now - limits.keep - kDayLength);
  while (!files_.empty() && (sum > limits.size || files_.begin()->first.substr(0, kDay) < oldest)) {
    const auto [name, size] = *files_.begin();
    if (name == current_) file_.reset();
    if (auto gone = disk_.unlink(path(name)); !gone && gone.error().number != ENOENT) return gone;
    files_.erase(name);
    sum -= size;
  }
  return {};
}

os::Result<bool> HistoryFiles::read(HistoryCursor& cursor, base::WallTime since,
                                    const Visit& visit) {
  if (auto begun = begin(); !begun) return std::unexpected(begun.error());
  const auto at = files_.lower_bound(std::max(cursor.file, day_of(since)));
  if (at == files_.end()) return false;
  if (at->first != cursor.file) cursor = {at->first, 0, 0};
  auto file = disk_.open(path(at->first), os::OpenMode::kRead);
  if (!file) return std::unexpected(file.error());
  const auto head = (*file)->read_at(0, kHistoryHeader.size());
  if (!head) return std::unexpected(head.error());
  const auto bytes = (*file)->read_at(cursor.offset, kSlice);
  if (!bytes) return std::unexpected(bytes.error());
  const auto version = history_version(*head);
  const bool at_end = bytes->size() < kSlice || !version;
  if (version && !read_lines(*bytes, *version, cursor, visit)) return true;
  if (!at_end) return true;
  cursor = {at->first + '~', 0, 0};  // behind it, and before the next
  return files_.upper_bound(cursor.file) != files_.end();
}

// False: the reader wants no more now. The cursor moves behind what was read.
bool HistoryFiles::read_lines(std::string_view bytes, std::uint32_t version, HistoryCursor& cursor,
                              const Visit& visit) {
  std::size_t begin = 0;
  for (auto end = bytes.find('\n'); end != std::string_view::npos; end = bytes.find('\n', begin)) {
    const auto line = decode_history(bytes.substr(begin, end - begin), version);
    for (; line && cursor.recipients < line->recipients.size(); ++cursor.recipients)
      if (!visit(*line, line->recipients[cursor.recipients])) return false;
    cursor.recipients = 0;
    cursor.offset += end + 1 - begin;
    begin = end + 1;
  }
  if (begin == 0) cursor.offset += bytes.size();  // no line of ours is as long
  return true;
}

}  // namespace postern::queued
