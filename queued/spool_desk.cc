#include "queued/spool_desk.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "queued/exits.h"

namespace postern::queued {
namespace {

constexpr std::size_t kFindings = 64, kFindingLength = 700;  // of one answer, by its fields

void add(CheckCounts& to, const CheckCounts& more) {
  to.messages += more.messages;
  to.body_bytes += more.body_bytes;
  to.large_files += more.large_files;
  to.history_lines += more.history_lines;
}

}  // namespace

std::vector<std::string> take_findings(std::vector<std::string>& waiting) {
  const auto count = static_cast<std::ptrdiff_t>(std::min(waiting.size(), kFindings));
  std::vector<std::string> some(waiting.begin(), waiting.begin() + count);
  waiting.erase(waiting.begin(), waiting.begin() + count);
  for (auto& finding : some)
    if (finding.size() > kFindingLength) finding.resize(kFindingLength);
  return some;
}

std::string summary_of(const CheckCounts& counts) {
  return fmt::format("checked {} messages with {} bytes of bodies, {} in large files; {} lines of history",
                     counts.messages, counts.body_bytes, counts.large_files, counts.history_lines);
}

// --- Check ------------------------------------------------------------------------------------------

void SpoolDesk::check(const ipc::CheckSpool& ask, Reply<ipc::SpoolFindings> reply) {
  if (ask.begin) check_ = std::make_unique<Check>();
  if (!check_) {
    ipc::SpoolFindings none{.request = ask.request, .exit = kUsage};
    none.summary = "no check was begun";
    return reply(none);
  }
  if (!check_->waiting.empty() || check_->place.part == CheckPlace::Part::kDone)
    return answer_check(ask.request, std::move(reply));
  host_.store().check(check_->place, [this, request = ask.request, reply = std::move(reply),
                                      alive = alive_](CheckSlice slice) mutable noexcept {
    if (!*alive) return;
    add(check_->counts, slice.counts);
    check_->waiting = std::move(slice.findings);
    check_->place = std::move(slice.next);
    answer_check(request, std::move(reply));
  });
}

void SpoolDesk::answer_check(base::RequestId request, Reply<ipc::SpoolFindings> reply) {
  ipc::SpoolFindings answer{.request = request};
  answer.findings = take_findings(check_->waiting);
  answer.more = !check_->waiting.empty() || check_->place.part != CheckPlace::Part::kDone;
  if (!answer.more) answer.summary = summary_of(check_->counts);
  reply(answer);
}

// --- Export -----------------------------------------------------------------------------------------

void SpoolDesk::export_next(const ipc::ExportSpool& ask, Reply<ipc::ExportPart> reply) {
  if (ask.begin) exporter_ = std::make_unique<Exporter>(loop_, host_, ask.keep);
  if (!exporter_) {
    ipc::ExportPart none{.request = ask.request, .exit = kUsage};
    none.error = "no export was begun";
    return reply(none);
  }
  exporter_->next([request = ask.request,
                   reply = std::move(reply)](const ipc::ExportPart& part) mutable noexcept {
    auto answer = part;
    answer.request = request;
    reply(answer);
  });
}

void SpoolDesk::remove_exported(const ipc::RemoveExported& ask, Reply<ipc::SpoolDone> reply) {
  host_.when_loaded([this, ask, reply = std::move(reply), alive = alive_]() mutable noexcept {
    if (!*alive) return;
    host_.store().fetch(ask.ids, [this, ask, reply = std::move(reply),
                                  guard = alive_]() mutable noexcept {
      if (*guard) removed(ask, std::move(reply));
    });
  });
}

// Only what this export holds: what somebody released meanwhile goes out from here.
void SpoolDesk::removed(const ipc::RemoveExported& ask, Reply<ipc::SpoolDone> reply) {
  std::vector<base::MessageId> ours;
  ipc::SpoolDone answer{.request = ask.request};
  for (const auto id : ask.ids) {
    const Message* message = host_.store().find(id);
    if (message == nullptr) continue;  // it was removed by an earlier attempt
    if (is_exported(message->held, ask.file) && !host_.in_delivery(*message))
      ours.push_back(id);
    else
      ++answer.left;
  }
  answer.done = ours.size();
  host_.remove(ours);
  host_.store().settle([answer, reply = std::move(reply)]() mutable noexcept { reply(answer); });
}

// --- Import -----------------------------------------------------------------------------------------

void SpoolDesk::import_next(const ipc::ImportSpool& ask, Reply<ipc::SpoolDone> reply) {
  if (ask.begin) {
    importer_.reset();  // it may have the turn
    importer_ = std::make_unique<Importer>(host_, ImportWish{ask.release, ask.again});
  }
  if (!importer_) {
    ipc::SpoolDone none{.request = ask.request, .exit = kUsage, .over = true};
    none.text = "no import was begun";
    return reply(none);
  }
  importer_->next(ask.bytes.bytes, ask.end,
                  [request = ask.request,
                   reply = std::move(reply)](const ipc::SpoolDone& done) mutable noexcept {
                    auto answer = done;
                    answer.request = request;
                    reply(answer);
                  });
}

}  // namespace postern::queued
