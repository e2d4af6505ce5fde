#include "queued/cold.h"

#include <fmt/format.h>

#include <cerrno>

namespace postern::queued {
namespace {

constexpr int kReads = 3;                // attempts to read a record
constexpr std::size_t kWaitRows = 1000;  // read at once

os::Result<Message> read_row(base::MessageId id, std::string_view row) {
  auto message = decode_row(id, row);
  if (message) return *std::move(message);
  return os::failure(fmt::format("read the row of message {} in the index", base::to_string(id)),
                     EBADMSG);
}

// A message's own record, or the outcome that it is the notice of.
std::optional<MessageRecord> record_of(const Frame& frame) {
  if (frame.type != RecordType::kOutcome)
    return ipc::decode<MessageRecord>(frame.fields, frame.version);
  auto outcome = ipc::decode<OutcomeRecord>(frame.fields, frame.version);
  return outcome ? std::move(outcome->notice) : std::nullopt;
}

// Of message `id`, as these bytes from its place say it. The body stays where it was read.
os::Result<ReadRecord> record_in(std::string bytes, const Place& place, base::MessageId id) {
  const auto frame = read_frame(bytes, place.segment, place.offset);
  if (!frame) return os::failure("checksum of a journal record", EIO);
  auto record = record_of(*frame);
  if (!record || record->id != id) return os::failure("another record stands there", EIO);
  const auto begin = static_cast<std::size_t>(frame->body.data() - bytes.data());
  bytes.resize(begin + frame->body.size());
  bytes.erase(0, begin);
  return ReadRecord{std::move(record->prefix), std::move(bytes)};
}

}  // namespace

os::Result<std::vector<Message>> read_rows(Index& index, const std::vector<base::MessageId>& ids) {
  std::vector<Message> found;
  found.reserve(ids.size());
  for (const auto id : ids) {
    const auto row = index.get(Table::kMessages, message_key(id));
    if (!row) return std::unexpected(row.error());
    if (!*row) continue;
    auto message = read_row(id, **row);
    if (!message) return std::unexpected(message.error());
    found.push_back(*std::move(message));
  }
  return found;
}

os::Result<std::vector<Message>> scan_rows(Index& index, base::MessageId after, std::size_t limit) {
  const auto rows = index.scan(Table::kMessages, message_key(after), limit);
  if (!rows) return std::unexpected(rows.error());
  std::vector<Message> found;
  found.reserve(rows->size());
  for (const auto& row : *rows) {
    const auto id = parse_message_key(row.key);
    auto message = read_row(id.value_or(base::MessageId()), row.value);
    if (!message) return std::unexpected(message.error());
    found.push_back(*std::move(message));
  }
  return found;
}

os::Result<std::vector<WaitRow>> read_waits(Index& index) {
  std::vector<WaitRow> waits;
  for (std::string after;;) {
    const auto rows = index.scan(Table::kWaits, after, kWaitRows);
    if (!rows) return std::unexpected(rows.error());
    for (const auto& row : *rows) {
      auto wait = decode_kept<WaitRow>(row.value);
      if (!wait) return os::failure("read a queue's row in the index", EBADMSG);
      waits.push_back(*std::move(wait));
    }
    if (rows->size() < kWaitRows) return waits;
    after = rows->back().key;
  }
}

std::optional<ReadRecord> read_cached_record(os::File* segment, const Place& place, base::MessageId id) {
  auto bytes = segment != nullptr ? segment->read_cached(place.offset, place.size) : std::nullopt;
  if (!bytes) return std::nullopt;
  auto record = record_in(*std::move(bytes), place, id);
  if (!record) return std::nullopt;
  return *std::move(record);
}

os::Result<ReadRecord> read_record(os::File* segment, const Place& place, base::MessageId id) {
  if (segment == nullptr) return os::failure("find a journal segment", ENOENT);
  auto bytes = segment->read_at(place.offset, place.size);
  // What the disk refuses may be a matter of a moment, and giving a body up is none.
  for (int more = kReads - 1; !bytes && more > 0; --more)
    bytes = segment->read_at(place.offset, place.size);
  if (!bytes) return std::unexpected(bytes.error());
  return record_in(*std::move(bytes), place, id);
}

}  // namespace postern::queued
