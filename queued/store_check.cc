// The part of LocalStore that looks at all that is kept, while mail flows: a slice at a time, in the
// reader thread. What is written meanwhile stands elsewhere by then, so what looks wrong is looked at
// again where it stands now.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "queued/body_check.h"
#include "queued/cold.h"
#include "queued/local_store.h"

namespace postern::queued {
namespace {

constexpr std::size_t kInSlice = 64;  // messages
constexpr int kLooks = 3;             // at one that moves
constexpr std::string_view kImports = "imports";

std::string import_path(const base::Token& file) {
  std::string name(kImports);
  name += '/';
  for (const auto byte : file.bytes) name += fmt::format("{:02x}", byte);
  return name;
}

}  // namespace

struct LocalStore::Checking {
  CheckSlice slice;
  std::vector<BodyToCheck> bodies;
  std::vector<std::pair<BodyToCheck, std::string>> doubts;
  int looks = 0;
  Checked checked;
};

void LocalStore::check(CheckPlace from, Checked checked) {
  if (from.part == CheckPlace::Part::kMessages)
    return check_rows(std::move(from), std::move(checked));
  reader_.post([this, from = std::move(from),
                checked = std::move(checked)]() mutable noexcept -> event::Callback {
    CheckSlice slice;
    slice.next = std::move(from);
    if (slice.next.file.empty()) check_blocks(disk_, slice);
    check_history(disk_, slice.next, slice);
    return [slice = std::move(slice), checked = std::move(checked)]() mutable noexcept {
      checked(std::move(slice));
    };
  });
}

void LocalStore::check_rows(CheckPlace from, Checked checked) {
  messages_.read_begins();
  reader_.post([this, from = std::move(from),
                checked = std::move(checked)]() mutable noexcept -> event::Callback {
    auto rows = scan_rows(*index_, from.after, kInSlice);
    return [this, from = std::move(from), rows = std::move(rows),
            checked = std::move(checked)]() mutable noexcept {
      messages_.read_ends();
      auto checking = std::make_shared<Checking>();
      checking->checked = std::move(checked);
      checking->slice.next = from;
      if (!rows) {
        checking->slice.findings.push_back(rows.error().text());
        checking->slice.next.part = CheckPlace::Part::kFiles;
        return checking->checked(std::move(checking->slice));
      }
      const auto batch = merge(from.after, *rows, rows->size() == kInSlice);
      for (const Message* message : batch.messages)
        checking->bodies.push_back(
            body_to_check(*message, segments_.file(message->place.segment), {}));
      checking->slice.next.after = batch.last;
      if (!batch.more) checking->slice.next.part = CheckPlace::Part::kFiles;
      check_bodies(std::move(checking));
    };
  });
}

void LocalStore::check_bodies(std::shared_ptr<Checking> checking) {
  reader_.post([this, checking = std::move(checking)]() mutable noexcept -> event::Callback {
    auto& counts = checking->slice.counts;
    for (auto& body : checking->bodies) {
      auto sentence = check_body(disk_, body);
      if (!sentence.empty()) {
        checking->doubts.emplace_back(std::move(body), std::move(sentence));
        continue;
      }
      ++counts.messages;
      counts.body_bytes += body.body_size;
      if (body.large) ++counts.large_files;
    }
    checking->bodies.clear();
    return [this, checking = std::move(checking)]() mutable noexcept {
      check_again(std::move(checking));
    };
  });
}

void LocalStore::check_again(std::shared_ptr<Checking> checking) {
  if (checking->doubts.empty()) return checking->checked(std::move(checking->slice));
  std::vector<base::MessageId> ids;
  for (const auto& [body, sentence] : checking->doubts) ids.push_back(body.id);
  fetch(std::move(ids), [this, checking]() noexcept {
    const bool once_more = ++checking->looks < kLooks;
    for (auto& [body, sentence] : std::exchange(checking->doubts, {})) {
      const Message* message = messages_.find(body.id);
      if (message == nullptr) continue;  // it ended
      const bool moved = message->place.segment != body.place.segment ||
                         message->place.offset != body.place.offset;
      if (moved && once_more) {
        checking->bodies.push_back(
            body_to_check(*message, segments_.file(message->place.segment), {}));
        continue;
      }
      ++checking->slice.counts.messages;
      checking->slice.findings.push_back(std::move(sentence));
    }
    if (checking->bodies.empty()) return checking->checked(std::move(checking->slice));
    check_bodies(checking);
  });
}

// --- Imports ----------------------------------------------------------------------------------------

// An empty file for each: they are few, and what is said once stays said.
void LocalStore::note_import(const base::Token& file, Saved saved) {
  files_.post([this, path = import_path(file),
               saved = std::move(saved)]() mutable noexcept -> event::Callback {
    auto done = reserve_.persist([&]() -> os::Result<void> {
      if (auto made = disk_.make_directory(kImports); !made) return made;
      const auto opened = disk_.open(path, os::OpenMode::kCreateExclusive);
      if (!opened && opened.error().number != EEXIST) return std::unexpected(opened.error());
      if (auto flushed = disk_.flush_directory(kImports); !flushed) return flushed;
      return disk_.flush_directory(".");
    });
    return [saved = std::move(saved), done = std::move(done)]() mutable noexcept {
      saved(std::move(done));
    };
  });
}

void LocalStore::find_import(const base::Token& file, Known known) {
  files_.post([this, path = import_path(file),
               known = std::move(known)]() mutable noexcept -> event::Callback {
    const auto folder = disk_.exists(kImports);
    auto there = folder && *folder ? disk_.exists(path) : folder;
    return [known = std::move(known), there = std::move(there)]() mutable noexcept {
      known(std::move(there));
    };
  });
}

}  // namespace postern::queued
