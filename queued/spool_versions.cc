// Of what is in a spool, every header says its version. They are read before a start touches anything;
// but for the index, whose own opening does that.
#include <fmt/format.h>

#include <cerrno>

#include "common/base/text.h"
#include "queued/blocks.h"
#include "queued/journal_files.h"
#include "queued/segment.h"
#include "queued/spool_check.h"

namespace postern::queued {
namespace {

constexpr std::size_t kMostFiles = 100'000;
constexpr std::uint64_t kMaxBlocksFile = 64 << 20;

// Empty: not there, or not to be read, which others will tell.
std::string beginning(os::Disk& disk, const std::string& path, std::size_t size) {
  const auto file = disk.open(path, os::OpenMode::kRead);
  if (!file) return {};
  return (*file)->read_at(0, size).value_or(std::string());
}

std::unexpected<os::Error> later(const std::string& file, std::uint64_t version, std::uint64_t known) {
  return os::failure(fmt::format("use the spool: a later version of Postern wrote its file {} (format {}, "
                                 "this one knows formats up to {}); nothing was touched",
                                 base::printable(file, 80), version, known),
                     EPROTO);
}

}  // namespace

os::Result<void> check_versions(os::Disk& disk) {
  if (const auto names = disk.list("journal"); names && names->size() <= kMostFiles)
    for (const auto& name : *names) {
      const auto block = beginning(disk, journal_path(name), kBlock);
      // A damaged header's number means nothing.
      if (const auto version = whole_version(block); version > kFormatVersion)
        return later(journal_path(name), version, kFormatVersion);
    }
  const auto blocks = beginning(disk, "control.json", kMaxBlocksFile);
  if (const auto version = Blocks::version_of(blocks); version > Blocks::kVersion)
    return later("control.json", static_cast<std::uint64_t>(version), Blocks::kVersion);
  constexpr std::string_view kRecovering = "POSTERN RECOVERING ";
  const auto recovering = beginning(disk, "recovering", 64);
  if (recovering.starts_with(kRecovering)) {
    const auto number = recovering.substr(kRecovering.size(), recovering.find('\n') - kRecovering.size());
    if (const auto version = base::parse_number(number); version && *version > 1)
      return later("recovering", *version, 1);
  }
  return {};
}

}  // namespace postern::queued
