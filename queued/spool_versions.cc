// Of what is in a spool, every header says its version. They are read before a start touches anything.
#include <fmt/format.h>

#include <cerrno>
#include <optional>

#include "common/base/text.h"
#include "queued/blocks.h"
#include "queued/history_line.h"
#include "queued/index_check.h"
#include "queued/index_row.h"
#include "queued/journal_files.h"
#include "queued/local_store.h"
#include "queued/segment.h"
#include "queued/spool_check.h"
#include "queued/usage_file.h"

namespace postern::queued {
namespace {

constexpr std::size_t kMostFiles = 100'000;
constexpr std::uint64_t kMaxBlocksFile = 64 << 20;
constexpr std::size_t kFirstLine = 64;  // bytes in which a text says its version

using Judged = os::Result<void>;

// Empty: not there, or not to be read, which others will tell.
std::string beginning(os::Disk& disk, const std::string& path, std::size_t size) {
  const auto file = disk.open(path, os::OpenMode::kRead);
  if (!file) return {};
  return (*file)->read_at(0, size).value_or(std::string());
}

Judged judge(const std::string& file, std::uint64_t version, std::uint64_t oldest,
             std::uint64_t newest) {
  if (version >= oldest && version <= newest) return {};
  const bool later = version > newest;
  return os::failure(
      fmt::format("use the spool: {} version of Postern wrote its file {} (format {}, this one {} {}); "
                  "nothing was touched",
                  later ? "a later" : "an earlier", base::printable(file, 80), version,
                  later ? "knows formats up to" : "reads formats from", later ? newest : oldest),
      EPROTO);
}

// The number behind `name` in the first line; nullopt: there is none.
std::optional<std::uint64_t> text_version(std::string_view text, std::string_view name) {
  const auto end = text.find('\n');
  if (!text.starts_with(name) || end == std::string_view::npos) return std::nullopt;
  return base::parse_number(text.substr(name.size(), end - name.size()));
}

Judged judge_journal(os::Disk& disk) {
  const auto names = disk.list("journal");
  if (!names || names->size() > kMostFiles) return {};
  for (const auto& name : *names) {
    const auto path = journal_path(name);
    const auto version = whole_version(beginning(disk, path, kBlock));
    if (version == 0) continue;  // of a damaged header the number means nothing
    if (auto good = judge(path, version, kOldestVersion, kFormatVersion); !good) return good;
  }
  return {};
}

// One with older rows is made anew.
Judged judge_index(os::Disk& disk) {
  const std::string name(kIndexFile);
  const auto versions = index_versions(disk, name);
  if (auto good = judge(name, versions.file, 0, kIndexFileVersion); !good) return good;
  return judge(name, versions.rows, 0, kFormatVersion);
}

Judged judge_control(os::Disk& disk) {
  const auto version = Blocks::version_of(beginning(disk, "control.json", kMaxBlocksFile));
  if (version <= Blocks::kVersion) return {};
  return judge("control.json", static_cast<std::uint64_t>(version), 0, Blocks::kVersion);
}

Judged judge_recovering(os::Disk& disk) {
  const auto version = text_version(beginning(disk, "recovering", kFirstLine), "POSTERN RECOVERING ");
  return judge("recovering", version.value_or(0), 0, 1);
}

Judged judge_history(os::Disk& disk) {
  const auto names = disk.list("history");
  if (!names || names->size() > kMostFiles) return {};
  for (const auto& name : *names) {
    const auto path = "history/" + name;
    const auto version = text_version(beginning(disk, path, kFirstLine), kHistoryMagic);
    if (auto good = judge(path, version.value_or(1), 1, kHistoryVersion); !good) return good;
  }
  return {};
}

Judged judge_accounts(os::Disk& disk) {
  const std::string name(kUsageFile);
  const auto version = text_version(beginning(disk, name, kFirstLine), Usage::kName);
  return judge(name, version.value_or(Usage::kVersion), 1, Usage::kVersion);
}

}  // namespace

os::Result<void> check_versions(os::Disk& disk) {
  for (const auto judged :
       {judge_journal, judge_index, judge_control, judge_recovering, judge_history,
        judge_accounts})
    if (auto good = judged(disk); !good) return good;
  return {};
}

}  // namespace postern::queued
