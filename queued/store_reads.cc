// The part of LocalStore that brings into memory what is not there: rows of the index, and bodies.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/log/log.h"
#include "queued/cold.h"
#include "queued/local_store.h"

namespace postern::queued {
namespace {

constexpr std::size_t kTold = 512;  // messages in one batch at the start
constexpr std::uint32_t kReadAtOnce = 64 * 1024;  // of a record, on the loop; copying more takes too long

bool is_whole(const Message& message, const ReadRecord& record) {
  return message.large || message.damaged || record.body.size() == message.body_size;
}

}  // namespace

// --- Rows -------------------------------------------------------------------------------------------

// In the reader thread; an index that cannot be read ends this life, and the next one rebuilds it.
template <class Read>
void LocalStore::read(Read read,
                      std::move_only_function<void(std::vector<Message>) noexcept> then) {
  messages_.read_begins();
  reader_.post([this, read = std::move(read),
                then = std::move(then)]() mutable noexcept -> event::Callback {
    auto rows = read(*index_);
    return [this, rows = std::move(rows), then = std::move(then)]() mutable noexcept {
      messages_.read_ends();
      if (!rows) return fail(rows.error().text());
      then(*std::move(rows));
    };
  });
}

void LocalStore::fetch(std::vector<base::MessageId> ids, Done resident) {
  const bool here = std::all_of(ids.begin(), ids.end(), [this](base::MessageId id) {
    return messages_.find(id) != nullptr || messages_.ended(id);
  });
  if (here) return resident();
  // The reader goes by the order of questions: behind the one that brings them they are here. If they left memory
  // again at once, they are read anew.
  if (!failed_ && std::ranges::all_of(ids, [this](base::MessageId id) { return coming_.contains(id); }))
    return reader_.post([this, ids = std::move(ids),
                         resident = std::move(resident)]() mutable noexcept -> event::Callback {
      return [this, ids = std::move(ids), resident = std::move(resident)]() mutable noexcept {
        fetch(std::move(ids), std::move(resident));
      };
    });
  // Also those that are here: they may have gone until the others come.
  read([ids = std::move(ids)](Index& index) { return read_rows(index, ids); },
       [this, resident = std::move(resident)](std::vector<Message> rows) mutable noexcept {
         for (auto& row : rows) messages_.adopt(std::move(row));
         resident();
       });
}

void LocalStore::read_ahead(std::vector<base::MessageId> ids) {
  if (ids.empty() || coming_.contains(ids.front())) return;
  std::erase_if(ids, [this](base::MessageId id) {
    return messages_.find(id) != nullptr || messages_.ended(id) || coming_.contains(id);
  });
  if (ids.empty()) return;
  coming_.insert(ids.begin(), ids.end());
  read([ids](Index& index) { return read_rows(index, ids); },
       [this, ids](std::vector<Message> rows) noexcept {
         for (const auto id : ids) coming_.erase(id);
         for (auto& row : rows) messages_.adopt(std::move(row));
       });
}

// Where a message is resident, that is what it is; its row may be older.
Batch LocalStore::merge(base::MessageId after, const std::vector<Message>& rows, bool more) const {
  Batch batch;
  batch.more = more;
  batch.last = more ? rows.back().id : base::MessageId(~0ULL);
  const Message* resident = messages_.next(after);
  const auto take_residents = [&](base::MessageId below) {
    for (; resident != nullptr && resident->id < below; resident = messages_.next(resident->id))
      batch.messages.push_back(resident);
  };
  for (const auto& row : rows) {
    take_residents(row.id);
    const bool here = resident != nullptr && resident->id == row.id;
    if (!here && !messages_.ended(row.id)) batch.messages.push_back(&row);
  }
  take_residents(more ? batch.last.next() : batch.last);
  return batch;
}

void LocalStore::scan(base::MessageId after, std::size_t limit, Scanned scanned) {
  read([after, limit](Index& index) { return scan_rows(index, after, limit); },
       [this, after, limit,
        scanned = std::move(scanned)](const std::vector<Message>& rows) mutable noexcept {
         scanned(merge(after, rows, rows.size() == limit));
       });
}

void LocalStore::tell_all(Scanned each) {
  telling_ = std::move(each);
  tell_next({});
}

void LocalStore::tell_next(base::MessageId after) {
  attempt_.stage_beside_mail(kIndexFile, after.value);
  read([after](Index& index) { return scan_rows(index, after, kTold); },
       [this, after](const std::vector<Message>& rows) noexcept {
         for (const auto& row : rows) messages_.count_row(row);
         const auto batch = merge(after, rows, rows.size() == kTold);
         if (!batch.more) messages_.count_all();
         telling_(batch);
         if (batch.more) return tell_next(batch.last);
         telling_ = {};
         // The start is complete: everything was read, and could be.
         files_.post([this]() noexcept -> event::Callback {
           attempt_.complete();
           return {};
         });
         tidy();
       });
}

void LocalStore::withdraw() {
  if (!messages_.all_counted()) attempt_.withdraw();
}

// --- Bodies -----------------------------------------------------------------------------------------

void LocalStore::load(base::MessageId id, Loaded loaded) {
  if (Message* message = messages_.find(id)) return load_resident(*message, std::move(loaded));
  fetch({id}, [this, id, loaded = std::move(loaded)]() mutable noexcept {
    Message* message = messages_.find(id);
    if (message == nullptr) return loaded(os::failure("find message", ENOENT));
    load_resident(*message, std::move(loaded));
  });
}

void LocalStore::load_resident(Message& message, Loaded loaded) {
  if (message.damaged) return loaded(os::failure("read the body, which is damaged", EIO));
  const bool prefix = message.prefix.size() == message.prefix_size;
  if (prefix && message.body) return loaded(LoadedBody{message.body, {}});
  if (prefix && message.large) return load_large(message, std::move(loaded));
  read_body(message, [this, id = message.id,
                      loaded = std::move(loaded)](os::Result<LoadedBody> body) mutable noexcept {
    Message* found = messages_.find(id);
    if (!body || found == nullptr || !found->large) return loaded(std::move(body));
    load_large(*found, std::move(loaded));
  });
}

void LocalStore::load_large(Message& message, Loaded loaded) {
  ++message.uses;
  large_.load(message, !message.checked,
              [this, id = message.id,
               loaded = std::move(loaded)](os::Result<LoadedBody> body) mutable noexcept {
                if (Message* found = messages_.find(id)) {
                  --found->uses;
                  if (body) found->checked = true;
                  else body_failed(id, body.error());
                }
                loaded(std::move(body));
              });
}

// Prefix and body as they stand in the journal: here and now where the page cache has them, which is cheaper than to
// ask the thread. That one waits for the disk, and says what is wrong where anything is.
void LocalStore::read_body(Message& message, Loaded loaded) {
  auto file = segments_.file(message.place.segment);
  if (message.place.size <= kReadAtOnce)
    if (auto record = read_cached_record(file.get(), message.place, message.id); record && is_whole(message, *record))
      return take_body(message, *std::move(record), std::move(loaded));
  ++message.uses;
  reader_.post([this, id = message.id, place = message.place, file = std::move(file),
                loaded = std::move(loaded)]() mutable noexcept -> event::Callback {
    auto record = read_record(file.get(), place, id);
    return [this, id, place, loaded = std::move(loaded),
            record = std::move(record)]() mutable noexcept {
      Message* found = messages_.find(id);
      if (found == nullptr) return loaded(os::failure("find message", ENOENT));  // it ended
      --found->uses;
      // Its record was moved, and the place reused, while we read.
      if (!record && found->place.segment != place.segment) return load(id, std::move(loaded));
      if (record && !is_whole(*found, *record))
        record = os::failure("size of a body in the journal", EIO);
      if (!record) {
        body_failed(id, record.error());
        return loaded(std::unexpected(record.error()));
      }
      take_body(*found, *std::move(record), std::move(loaded));
    };
  });
}

void LocalStore::take_body(Message& message, ReadRecord record, Loaded loaded) {
  message.prefix = std::move(record.prefix);
  loaded(LoadedBody{std::make_shared<const std::string>(std::move(record.body)), {}});
}

void LocalStore::body_failed(base::MessageId id, const os::Error& error) {
  report_damage(fmt::format("message {}: {}", base::to_string(id), error.text()));
}

void LocalStore::load_head(base::MessageId id, std::size_t limit, Head head) {
  load(id, [this, id, limit, head = std::move(head)](os::Result<LoadedBody> body) mutable noexcept {
    const Message* message = messages_.find(id);
    if (message == nullptr || !body) return head({});
    auto cut = [prefix = message->prefix, limit, head = std::move(head)](
                   std::string_view bytes) mutable noexcept {
      std::string text = prefix.substr(0, limit);
      text += bytes.substr(0, limit - text.size());
      head(std::move(text));
    };
    if (body->bytes) return cut(*body->bytes);
    large_.load_part(id, 0, limit, [cut = std::move(cut)](const std::string& bytes) mutable noexcept {
      cut(bytes);
    });
  });
}

void LocalStore::put_into_badmail(base::MessageId id, BadmailReason reason, Saved saved) {
  load(id, [this, id, reason = std::move(reason),
            saved = std::move(saved)](os::Result<LoadedBody> body) mutable noexcept {
    const Message* message = messages_.find(id);
    if (message == nullptr) return saved(os::failure("find message", ENOENT));
    Badmail::Letter letter{id, {}, {}, message->body_size, !body, std::move(reason)};
    if (body) {
      letter.prefix = message->prefix;
      letter.body = std::move(body->bytes);
    }
    badmail_.put(std::move(letter), std::move(saved));
  });
}

void LocalStore::open_large(std::uint64_t room, LargeOpened opened) {
  large_.open(new_id(), room, std::move(opened));
}
void LocalStore::seal_large(base::MessageId id, std::uint64_t size, LargeSealed sealed) {
  large_.seal(id, size, std::move(sealed));
}
void LocalStore::drop_large(base::MessageId id) { large_.drop(id); }

}  // namespace postern::queued
