#include "queued/spool_check.h"

#include <fmt/format.h>

#include <cerrno>
#include <map>
#include <optional>
#include <utility>

#include "common/base/random.h"
#include "queued/body_check.h"
#include "queued/cold.h"
#include "queued/lmdb_index.h"
#include "queued/local_store.h"
#include "queued/read_only_disk.h"
#include "queued/recovery.h"
#include "queued/spool_desk.h"

namespace postern::queued {
namespace {

constexpr std::size_t kRowsAtOnce = 512;     // rows
constexpr std::size_t kMostOfAKind = 20;  // findings; the others are counted

class SpoolCheck {
 public:
  SpoolCheck(os::Disk& disk, std::string directory)
      : disk_(read_only(disk)), directory_(std::move(directory)), attempt_(*disk_) {}

  SpoolReport run() {
    if (auto known = check_versions(*disk_); !known) {
      report_.findings.push_back(known.error().what);
      report_.summary = "nothing else was looked at";
      return std::move(report_);
    }
    if (attempt_.failed() > 0)
      add(fmt::format("file recovering: the last {} starts of queued did not complete; they ended at {}",
                      attempt_.failed(), attempt_.culprit().empty() ? "an unknown place" : attempt_.culprit()));
    check_journal();
    check_index();
    check_control();
    check_the_history();
    report_.summary = fmt::format("{}; {} segments of the journal, {} rows of the index",
                                  summary_of(slice_.counts), segments_.size(), rows_);
    if (orphans_ > 0)
      report_.summary += fmt::format("; {} files in large/ belong to no message, and the next start removes them",
                                     orphans_);
    return std::move(report_);
  }

 private:
  void add(std::string finding) { report_.findings.push_back(std::move(finding)); }

  // --- The journal: what a start would read of it, and every body.
  void check_journal() {
    RecoveryOptions options;
    while (options.epoch.value == 0) options.epoch = base::Epoch(base::random_u64());
    if (const auto there = disk_->exists("journal"); there && !*there) {
      used_ = false;
      return;
    }
    truth_.count_all();
    auto recovered = recover(*disk_, options, truth_, attempt_);
    if (!recovered) return add(recovered.error().text());
    used_ = recovered->used;
    for (auto& sentence : recovered->damage) add(std::move(sentence));
    for (auto& segment : recovered->chain) segments_[segment.number] = std::move(segment.file);
    whole_ = true;
    std::uint64_t large = 0;
    for (const Message* message = truth_.next({}); message != nullptr;
         message = truth_.next(message->id)) {
      const auto at = segments_.find(message->place.segment);
      const bool here = at != segments_.end();
      auto sentence = check_body(*disk_, body_to_check(*message, here ? at->second.file : nullptr,
                                                       here ? "journal/" + at->second.name : ""));
      ++slice_.counts.messages;
      slice_.counts.body_bytes += message->body_size;
      if (message->large) ++large;
      if (!sentence.empty()) add(std::move(sentence));
    }
    slice_.counts.large_files = large;
    if (const auto names = disk_->list("large"))
      for (const auto& name : *names) {
        const auto id = base::parse_message_id(name);
        const Message* message = id ? truth_.find(*id) : nullptr;
        if (message == nullptr || !message->large) ++orphans_;
      }
  }

  // --- The index: harmless, and with what follows it in the journal the same as the journal alone.
  void check_index() {
    if (const auto there = disk_->exists(kIndexFile); there && !*there) {
      if (used_) add("the index is missing: the next start makes it anew from the journal");
      return;
    }
    LmdbIndexOptions options;
    options.directory = directory_;
    options.read_only = true;
    auto index = LmdbIndex::open(*disk_, options);
    if (!index) return add(fmt::format("file index: {}", index.error().text()));
    if (auto done = compare(**index); !done) add(fmt::format("file index: {}", done.error().text()));
  }

  os::Result<void> compare(Index& index) {
    const auto bytes = index.mark();
    if (!bytes) return std::unexpected(bytes.error());
    if (bytes->empty()) return {};  // no checkpoint yet
    RecoveryOptions options;
    options.epoch = base::Epoch(1);
    options.mark = decode_kept<IndexMark>(*bytes);
    if (!options.mark) return os::failure("read the mark of the index", EBADMSG);
    Messages both;  // the rows, and what follows them in the journal
    auto waits = read_waits(index);
    if (!waits) return std::unexpected(waits.error());
    for (const auto& wait : *waits) both.adopt(wait);
    std::optional<os::Error> trouble;
    both.set_source([&](base::MessageId id) -> std::optional<Message> {
      auto rows = read_rows(index, {id});
      if (!rows) trouble = rows.error();
      if (!rows || rows->empty()) return std::nullopt;
      return std::move(rows->front());
    });
    const auto recovered = recover(*disk_, options, both, attempt_);
    if (trouble) return std::unexpected(*trouble);
    if (!recovered) return {};  // told already
    if (recovered->index_too_old) {
      add("file index: it is older than the journal: the next start makes it anew");
      return {};
    }
    if (!whole_) return {};
    compare_rows(both);
    return find_strangers(index, both);
  }

  void compare_rows(Messages& both) {
    std::size_t missing = 0, different = 0;
    for (const Message* message = truth_.next({}); message != nullptr;
         message = truth_.next(message->id)) {
      const Message* other = both.bring_in(message->id);
      if (other == nullptr)
        tell(missing, fmt::format("file index: message {} is missing", base::to_string(message->id)));
      else if (what_counts(*message) != what_counts(*other))
        tell(different, fmt::format("file index: the row of message {} is not what the journal says",
                                    base::to_string(message->id)));
    }
    tell_rest(missing, "messages missing");
    tell_rest(different, "rows that are not what the journal says");
  }

  os::Result<void> find_strangers(Index& index, const Messages& both) {
    std::size_t strangers = 0;
    for (base::MessageId after;;) {
      const auto rows = scan_rows(index, after, kRowsAtOnce);
      if (!rows) return std::unexpected(rows.error());
      rows_ += rows->size();
      for (const auto& row : *rows)
        if (truth_.find(row.id) == nullptr && !both.ended(row.id))
          tell(strangers, fmt::format("file index: message {} is not in the journal", base::to_string(row.id)));
      if (rows->size() < kRowsAtOnce) break;
      after = rows->back().id;
    }
    tell_rest(strangers, "messages that are not in the journal");
    return {};
  }

  // All that is open; the journal forgets recipients that ended when it copies a message, rows do not.
  static std::string what_counts(const Message& message) {
    auto record = to_record(message);
    record.prefix.clear();
    return fmt::format("{} {} {} ", message.place.segment, message.place.offset, message.prefix_size) +
           ipc::encode(record);
  }

  void tell(std::size_t& count, std::string sentence) {
    if (++count <= kMostOfAKind) add(std::move(sentence));
  }
  void tell_rest(std::size_t count, std::string_view what) {
    if (count > kMostOfAKind)
      add(fmt::format("file index: {} further {}", count - kMostOfAKind, what));
  }

  // --- What is no mail
  void check_control() {
    const auto there = disk_->exists("control.json");
    if (used_ && there && !*there)
      add("file control.json is missing: the next start disables outbound delivery");
    check_blocks(*disk_, slice_);
    take_findings_of_slice();
  }

  void check_the_history() {
    CheckPlace place;
    place.part = CheckPlace::Part::kFiles;
    while (place.part != CheckPlace::Part::kDone) {  // ends: each turn takes bytes, or a file
      check_history(*disk_, place, slice_);
      take_findings_of_slice();
    }
  }
  void take_findings_of_slice() {
    for (auto& finding : std::exchange(slice_.findings, {})) add(std::move(finding));
  }

  std::unique_ptr<os::Disk> disk_;
  std::string directory_;
  RecoveryAttempt attempt_;
  Messages truth_;
  std::map<std::uint64_t, SegmentFile> segments_;
  CheckSlice slice_;
  std::uint64_t rows_ = 0;
  std::uint64_t orphans_ = 0;
  bool used_ = true;
  bool whole_ = false;  // the journal was read
  SpoolReport report_;
};

}  // namespace

SpoolReport check_spool(os::Disk& disk, const std::string& directory) {
  return SpoolCheck(disk, directory).run();
}

}  // namespace postern::queued
