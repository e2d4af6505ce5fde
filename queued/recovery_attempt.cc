#include "queued/recovery_attempt.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/base/text.h"
#include "common/log/log.h"

namespace postern::queued {
namespace {

constexpr std::string_view kFile = "recovering";
constexpr std::string_view kFirstLine = "POSTERN RECOVERING 1";
constexpr std::size_t kSize = 16 * 1024;  // one write, always of this size
constexpr std::size_t kMaxSkipped = 100;  // beyond, whole files are left out instead of records
constexpr std::size_t kMaxName = 80;
constexpr std::string_view kRecord = " record ";
constexpr std::string_view kFrom = " from ";
constexpr std::string_view kAt = "at ";
constexpr std::string_view kComplete = "at nothing: complete";

// Names come from the disk, and one line is one name.
std::string file_name(std::string_view file) {
  return base::printable(file, kMaxName);
}

std::string record_name(std::string_view file, std::uint64_t record) {
  return fmt::format("{}{}{}", file_name(file), kRecord, record);
}

// The rest of `line` behind `key`; empty where it does not begin so.
std::string_view value_of(std::string_view line, std::string_view key) {
  return line.starts_with(key) ? line.substr(key.size()) : std::string_view();
}

}  // namespace

RecoveryAttempt::RecoveryAttempt(os::Disk& disk) : disk_(disk) {
  read();
  judge();
  // Flushed, for what is read may end the whole machine; what follows need only survive this
  // process.
  note("the start");
  if (file_ && (!file_->flush() || !disk_.flush_directory("."))) file_.reset();
}

void RecoveryAttempt::read() {
  auto found = disk_.open(kFile, os::OpenMode::kReadWrite);
  if (!found) {
    if (found.error().number != ENOENT) return;
    auto made = disk_.open(kFile, os::OpenMode::kCreateExclusive);
    if (made) file_ = *std::move(made);
    return;
  }
  file_ = *std::move(found);
  failed_ = 1;  // whatever the file says: had that start succeeded, there were none
  const auto bytes = file_->read_at(0, kSize);
  if (!bytes) return;
  std::string_view rest = *bytes;
  bool complete = false;
  for (bool first = true; !rest.empty(); first = false) {  // ends: at most kSize bytes
    const auto end = std::min(rest.find('\n'), rest.size());
    const auto line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (first && line != kFirstLine) return;
    complete |= line == kComplete;
    if (const auto number = base::parse_number(value_of(line, "failed "));
        number && *number < 1'000'000)
      failed_ = static_cast<std::uint32_t>(*number) + 1;
    if (const auto name = value_of(line, kAt); !name.empty()) last_ = name;
    if (const auto name = value_of(line, "before "); !name.empty()) before_ = name;
    if (const auto name = value_of(line, "skip "); !name.empty() && skipped_.size() <= kMaxSkipped)
      skipped_.emplace_back(name);
  }
  if (!complete) return;  // else only the file's end was lost
  failed_ = 0;
  last_.clear();
  skipped_.clear();
}

// Somebody may have killed those starts, each at another place; so only what was read last twice in
// a row is left out, but in the end whatever was read last, if nothing else was done beside it. Where
// that did not help, its whole file is.
void RecoveryAttempt::judge() {
  if (failed_ == 0) return;
  log::warning("recovery.failed").field("times", failed_).field("at", last_);
  const auto from = last_.find(kFrom);
  const bool beside_mail = from != std::string::npos;
  if (last_.empty() || failed_ < kPatience) return;
  if (last_ != before_ && (beside_mail || failed_ < 2 * kPatience)) return;
  const bool tried = std::find(skipped_.begin(), skipped_.end(), last_) != skipped_.end();
  const auto file = last_.substr(0, beside_mail ? from : last_.find(kRecord));
  skipped_.push_back(tried || beside_mail || skipped_.size() >= kMaxSkipped ? file : last_);
}

void RecoveryAttempt::note(std::string name) {
  now_ = std::move(name);
  if (!file_) return;
  auto block = text();
  block.resize(kSize, '\n');
  if (!file_->write_at(0, block)) file_.reset();
}

std::string RecoveryAttempt::text() const {
  auto text =
      fmt::format("{}\nfailed {}\n{}{}\nbefore {}\n", kFirstLine, failed_, kAt, now_, last_);
  for (const auto& name : skipped_) text += "skip " + name + "\n";
  return text;
}

void RecoveryAttempt::stage(std::string_view file) {
  note(file_name(file));
}

void RecoveryAttempt::stage(std::string_view file, std::uint64_t record) {
  if (failed_ > 0) note(record_name(file, record));
}

void RecoveryAttempt::stage_beside_mail(std::string_view file, std::uint64_t place) {
  if (failed_ > 0) note(fmt::format("{}{}{}", file_name(file), kFrom, place));
}

bool RecoveryAttempt::skips(std::string_view file) const {
  return !skipped_.empty() &&
         std::find(skipped_.begin(), skipped_.end(), file_name(file)) != skipped_.end();
}

bool RecoveryAttempt::skips(std::string_view file, std::uint64_t record) const {
  return !skipped_.empty() &&
         std::find(skipped_.begin(), skipped_.end(), record_name(file, record)) != skipped_.end();
}

void RecoveryAttempt::withdraw() {
  if (failed_ == 0) {
    note(std::string(kComplete.substr(kAt.size())));
  } else {
    --failed_;
    note(std::exchange(last_, before_));
  }
  file_.reset();
}

void RecoveryAttempt::complete() {
  note(std::string(kComplete.substr(kAt.size())));
  file_.reset();
  if (auto gone = disk_.unlink(kFile); !gone && gone.error().number != ENOENT)
    log::warning("recovery.noted").field("reason", gone.error().text());
  (void)disk_.flush_directory(".");
}

}  // namespace postern::queued
