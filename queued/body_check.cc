#include "queued/body_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "common/base/crc32c.h"
#include "common/base/text.h"
#include "queued/blocks.h"
#include "queued/cold.h"
#include "queued/history_line.h"

namespace postern::queued {
namespace {

constexpr std::size_t kPage = 256 * 1024;
constexpr std::size_t kHistorySlice = 512 * 1024;
constexpr std::size_t kMostFiles = 100'000;
constexpr std::size_t kMostFindings = 20;  // in one slice of a history file
constexpr std::uint64_t kMaxBlocksFile = 64 << 20;

std::string check_large(os::Disk& disk, const BodyToCheck& body) {
  const auto path = "large/" + base::to_string(body.id);
  const auto wrong = [&](std::string_view what) {
    return fmt::format("message {}: its body, file {}: {}", base::to_string(body.id), path, what);
  };
  const auto file = disk.open(path, os::OpenMode::kRead);
  if (!file) return wrong(file.error().number == ENOENT ? "is missing" : file.error().text());
  const auto size = (*file)->size();
  if (!size) return wrong(size.error().text());
  if (*size != body.body_size)
    return wrong(fmt::format("has {} bytes instead of {}", *size, body.body_size));
  std::uint32_t crc = 0;
  for (std::uint64_t at = 0; at < *size;) {
    const auto bytes =
        (*file)->read_at(at, static_cast<std::size_t>(std::min<std::uint64_t>(kPage, *size - at)));
    if (!bytes) return wrong(bytes.error().text());
    if (bytes->empty()) return wrong("ends early");
    crc = base::crc32c(*bytes, crc);
    at += bytes->size();
  }
  return crc == body.body_crc ? std::string() : wrong("has a wrong checksum");
}

os::Result<std::vector<std::string>> history_names(os::Disk& disk) {
  auto names = disk.list("history");
  if (!names && names.error().number == ENOENT) return std::vector<std::string>();
  if (!names) return names;
  std::erase_if(*names, [](const std::string& name) { return !name.ends_with(".log"); });
  if (names->size() > kMostFiles) return os::failure("read history/: too many files", EFBIG);
  std::sort(names->begin(), names->end());
  return names;
}

class HistorySlice {
 public:
  HistorySlice(const std::string& name, CheckPlace& place, CheckSlice& slice)
      : name_(name), place_(place), slice_(slice) {}

  // True: the file goes on.
  bool read(os::Disk& disk) {
    const auto file = disk.open("history/" + name_, os::OpenMode::kRead);
    if (!file) return wrong(file.error().text());
    const auto bytes = (*file)->read_at(place_.offset, kHistorySlice);
    if (!bytes) return wrong(bytes.error().text());
    const bool last = bytes->size() < kHistorySlice;
    std::string_view rest = *bytes;
    const auto head = (*file)->read_at(0, kHistoryHeader.size());
    if (!head) return wrong(head.error().text());
    if (!header(*head)) return false;
    if (place_.offset == 0) rest.remove_prefix(rest.find('\n') + 1);
    while (!rest.empty()) {  // ends: each turn takes a line
      const auto end = rest.find('\n');
      if (end == std::string_view::npos) break;
      line(rest.substr(0, end), place_.offset + (bytes->size() - rest.size()));
      rest.remove_prefix(end + 1);
    }
    if (!last && rest.size() < bytes->size()) {
      place_.offset += bytes->size() - rest.size();
      return true;
    }
    if (!rest.empty())
      wrong(fmt::format("its last line, at byte {}, has no end",
                        place_.offset + (bytes->size() - rest.size())));
    return false;
  }

 private:
  bool wrong(std::string_view what) {
    if (++found_ <= kMostFindings)
      slice_.findings.push_back(fmt::format("file history/{}: {}", base::printable(name_, 40), what));
    return false;
  }
  bool header(std::string_view beginning) {
    version_ = history_version(beginning);
    if (version_) return true;
    // A later version's file is left alone, as the server does.
    if (beginning.starts_with(kHistoryMagic)) return false;
    return wrong("its first line does not say what it is");
  }
  // A line feed alone ends what a crash had cut off.
  void line(std::string_view text, std::uint64_t offset) {
    if (text.empty() || decode_history(text, *version_))
      ++slice_.counts.history_lines;
    else
      wrong(fmt::format("the line at byte {} makes no sense", offset));
  }

  const std::string& name_;
  CheckPlace& place_;
  CheckSlice& slice_;
  std::optional<std::uint32_t> version_;  // of the file
  std::size_t found_ = 0;
};

}  // namespace

BodyToCheck body_to_check(const Message& message, std::shared_ptr<os::File> segment,
                          std::string file) {
  return {message.id,        message.place, message.prefix_size, message.body_size,
          message.body_crc,  message.large, message.damaged,     std::move(segment),
          std::move(file)};
}

std::string check_body(os::Disk& disk, const BodyToCheck& body) {
  const auto where = fmt::format("message {}: its record at byte {} of segment {} of the journal{}",
                                 base::to_string(body.id), body.place.offset, body.place.segment,
                                 body.file.empty() ? "" : " (file " + body.file + ")");
  if (body.damaged)
    return fmt::format("message {}: its body was damaged before, and is lost", base::to_string(body.id));
  const auto record = read_record(body.segment.get(), body.place, body.id);
  if (!record) return fmt::format("{}: {}", where, record.error().text());
  if (record->prefix.size() != body.prefix_size)
    return fmt::format("{}: its trace header has another size than is known", where);
  if (body.large) return check_large(disk, body);
  if (record->body.size() != body.body_size)
    return fmt::format("{}: its body has another size than is known", where);
  return {};
}

void check_history(os::Disk& disk, CheckPlace& place, CheckSlice& slice) {
  const auto names = history_names(disk);
  if (!names) {
    slice.findings.push_back(names.error().text());
    place.part = CheckPlace::Part::kDone;
    return;
  }
  // The file where the last slice ended, or the first one behind it.
  auto at = std::lower_bound(names->begin(), names->end(), place.file);
  if (at != names->end() && *at != place.file) place.offset = 0;
  if (at == names->end()) {
    place.part = CheckPlace::Part::kDone;
    return;
  }
  place.file = *at;
  if (HistorySlice(*at, place, slice).read(disk)) return;
  place.offset = 0;
  if (++at == names->end())
    place.part = CheckPlace::Part::kDone;
  else
    place.file = *at;
}

void check_blocks(os::Disk& disk, CheckSlice& slice) {
  const auto file = disk.open("control.json", os::OpenMode::kRead);
  if (!file && file.error().number == ENOENT) return;
  auto text = file ? (*file)->read_at(0, kMaxBlocksFile) : std::unexpected(file.error());
  if (!text) {
    slice.findings.push_back(fmt::format("file control.json: {}", text.error().text()));
    return;
  }
  if (const auto blocks = Blocks::from_text(*text); !blocks)
    slice.findings.push_back(fmt::format("file control.json: {}", base::printable(blocks.error(), 200)));
}

}  // namespace postern::queued
