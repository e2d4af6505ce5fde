#include "queued/row.h"

#include <algorithm>
#include <utility>

namespace postern::queued {
namespace {

struct EndedRecipient {
  RecipientRecord record;
  ipc::RecipientEnd end = ipc::RecipientEnd::kOpen;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("record", &EndedRecipient::record),
                      ipc::field("end", &EndedRecipient::end));
  }
};

struct MessageRow {
  std::uint16_t version = kFormatVersion;
  base::SequenceNumber last;
  std::uint64_t segment = 0;
  std::uint64_t offset = 0;
  std::uint32_t size = 0;
  std::uint32_t prefix_size = 0;
  MessageRecord message;  // its open recipients; no prefix
  std::vector<EndedRecipient> ended;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("version", &MessageRow::version),
                      ipc::field("last", &MessageRow::last),
                      ipc::field("segment", &MessageRow::segment),
                      ipc::field("offset", &MessageRow::offset),
                      ipc::field("size", &MessageRow::size),
                      ipc::field("prefix_size", &MessageRow::prefix_size),
                      ipc::field("message", &MessageRow::message),
                      ipc::field("ended", &MessageRow::ended, kMaxRecipients));
  }
};

bool by_number(const Recipient& a, const Recipient& b) { return a.number < b.number; }

}  // namespace

std::string message_key(base::MessageId id) {
  std::string key(sizeof id.value, '\0');
  for (std::size_t i = 0; i < key.size(); ++i)
    key[i] = static_cast<char>(id.value >> (8 * (key.size() - 1 - i)));
  return key;
}

std::optional<base::MessageId> parse_message_key(std::string_view key) {
  if (key.size() != sizeof(std::uint64_t)) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : key) value = value << 8 | static_cast<unsigned char>(c);
  return base::MessageId(value);
}

std::string encode_row(const Message& message) {
  MessageRow row;
  row.last = message.saving.last;
  row.segment = message.place.segment;
  row.offset = message.place.offset;
  row.size = message.place.size;
  row.prefix_size = message.prefix_size;
  row.message = to_record(message);
  row.message.prefix.clear();
  for (const auto& recipient : message.recipients)
    if (!recipient.open()) row.ended.push_back({to_record(recipient), recipient.end});
  return ipc::encode(row);
}

std::optional<Message> decode_row(base::MessageId id, std::string_view bytes) {
  auto row = decode_kept<MessageRow>(bytes);
  if (!row || row->message.id != id) return std::nullopt;
  auto message = to_message(std::move(row->message), {row->segment, row->offset, row->size});
  message.prefix_size = row->prefix_size;
  for (auto& ended : row->ended) {
    message.recipients.push_back(to_recipient(std::move(ended.record)));
    message.recipients.back().end = ended.end;
  }
  if (!row->ended.empty())
    std::sort(message.recipients.begin(), message.recipients.end(), by_number);
  message.saving.last = row->last;
  message.saving.has_row = true;
  return message;
}

}  // namespace postern::queued
