#include "ctl/spool_verbs.h"

#include <fmt/format.h>
#include <sysexits.h>

#include <algorithm>
#include <cstdio>

#include "common/base/text.h"
#include "ctl/export_file.h"
#include "ctl/human.h"
#include "ctl/json.h"
#include "ctl/screens.h"

namespace postern::ctl {
namespace {

using Exit = std::expected<int, Ending>;

std::unexpected<Ending> refused(int exit, std::string_view why) {
  return std::unexpected(Ending{exit, "posternctl: " + plain(why)});
}

std::string messages(std::uint64_t count) {
  return fmt::format("{} {}", count, count == 1 ? "message" : "messages");
}

struct Written {
  std::uint64_t left_out = 0;
};

// The file is whole and on disk when this returns.
std::expected<Written, Ending> write_export(const Command& command, Client& client) {
  auto file = NewExport::begin(command.file);
  if (!file) return std::unexpected(std::move(file.error()));
  Written written;
  ipc::ExportSpool question{.begin = true, .keep = command.keep};
  for (bool more = true; more; question.begin = false) {
    const auto part = client.ask<ipc::ExportPart>(question);
    if (!part) return std::unexpected(part.error());
    if (part->exit != 0) return refused(part->exit, part->error);
    for (const auto& note : part->notes) std::fprintf(stderr, "posternctl: %s", plain(note).c_str());
    written.left_out += part->notes.size();
    if (auto done = file->write(part->bytes.bytes); !done) return std::unexpected(done.error());
    more = part->more;
  }
  if (auto done = file->finish(); !done) return std::unexpected(std::move(done.error()));
  return written;
}

struct Removed {
  std::uint64_t removed = 0, left = 0;
};

std::expected<Removed, Ending> remove_exported(const ExportFacts& facts, Client& client) {
  Removed sum;
  for (std::size_t at = 0; at < facts.ids.size(); at += ipc::kExportedIds) {
    ipc::RemoveExported question;
    question.file = facts.header.file;
    const auto begin = facts.ids.begin() + static_cast<std::ptrdiff_t>(at);
    const auto count = std::min(facts.ids.size() - at, ipc::kExportedIds);
    question.ids.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
    const auto done = client.ask<ipc::SpoolDone>(question);
    if (!done) return std::unexpected(done.error());
    if (done->exit != 0) return refused(done->exit, done->text);
    sum.removed += done->done;
    sum.left += done->left;
  }
  return sum;
}

std::string what_now(const Command& command, const Removed& removed) {
  if (command.keep)
    return "; they go on being delivered here: imported elsewhere, they may arrive twice";
  if (!command.remove) return "; they are held here";
  auto text = fmt::format("; removed {} from here", messages(removed.removed));
  if (removed.left > 0) text += fmt::format(", left {} that are not held by this export any more", removed.left);
  return text;
}

}  // namespace

Exit check_spool(const Command& command, Client& client, Output& output) {
  std::uint64_t count = 0;
  ipc::CheckSpool question{.begin = true};
  for (;; question.begin = false) {
    const auto answer = client.ask<ipc::SpoolFindings>(question);
    if (!answer) return std::unexpected(answer.error());
    if (answer->exit != 0) return refused(answer->exit, answer->summary);
    for (const auto& finding : answer->findings)
      output.write(command.json ? finding_json(finding) : plain(finding));
    count += answer->findings.size();
    output.flush();
    if (output.failed()) return 0;  // told at the end
    if (answer->more) continue;
    output.write(command.json
                     ? check_json(answer->summary, count)
                     : plain(fmt::format("{}: {}", answer->summary,
                                         count == 0   ? "nothing is wrong"
                                         : count == 1 ? "1 thing is wrong"
                                                      : fmt::format("{} things are wrong", count))));
    return count == 0 ? 0 : EX_DATAERR;
  }
}

// A file that is there already is taken up again by --remove alone: what it holds safely may go.
Exit export_spool(const Command& command, Client& client, Output& output) {
  Written written;
  if (!command.remove || !is_there(command.file)) {
    auto done = write_export(command, client);
    if (!done) return std::unexpected(std::move(done.error()));
    written = *done;
  }
  const auto facts = read_export(command.file, {});
  if (!facts) return std::unexpected(facts.error());
  Removed removed;
  if (command.remove) {
    auto done = remove_exported(*facts, client);
    if (!done) return std::unexpected(std::move(done.error()));
    removed = *done;
  }
  const auto text = fmt::format("exported {} for {} recipients, {}, to {}{}", messages(facts->counts.messages),
                                facts->counts.recipients, size_text(facts->counts.body_bytes),
                                command.file, what_now(command, removed));
  const int exit = written.left_out > 0 ? EX_DATAERR : 0;
  output.write(command.json ? to_json(ipc::Done{{}, static_cast<std::uint8_t>(exit), text, {}})
                            : plain(text));
  return exit;
}

// Nothing of a damaged file is taken: it is read twice.
Exit import_spool(const Command& command, Client& client, Output& output) {
  if (const auto facts = read_export(command.file, {}); !facts) return std::unexpected(facts.error());
  ipc::ImportSpool question{.begin = true, .release = command.release, .again = command.again};
  ipc::SpoolDone last;
  const auto sent = read_export(
      command.file, [&](std::string_view bytes, bool end) -> std::expected<void, Ending> {
        if (last.over) return {};
        question.bytes = {bytes};
        question.end = end;
        auto answer = client.ask<ipc::SpoolDone>(question);
        if (!answer) return std::unexpected(std::move(answer.error()));
        question.begin = false;
        last = *std::move(answer);
        if (last.exit == 0) return {};
        return refused(last.exit, fmt::format("{}; taken so far: {}", last.text, messages(last.done)));
      });
  if (!sent) return std::unexpected(sent.error());
  auto text = last.text;
  if (text.empty()) {
    text = fmt::format("imported {} of {}", messages(last.done), sent->counts.messages);
    if (last.left > 0) text += fmt::format("; {} were here already", last.left);
    text += command.release ? "; they go out" : "; they are held";
  }
  output.write(command.json ? to_json(ipc::Done{{}, 0, text, {}}) : plain(text));
  return 0;
}

}  // namespace postern::ctl
