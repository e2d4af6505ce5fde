#include "queued/history_line.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/text.h"

namespace postern::queued {
namespace {

constexpr std::string_view kNothing = "-", kNull = "<>", kEnd = ".", kDigits = "0123456789ABCDEF";

void add(std::string& out, std::string_view text) {
  if (text.empty()) out += kNothing;
  const bool plain = text != kNothing;
  for (const char c : text) {
    if (c > ' ' && c < 0x7f && c != '%' && plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kDigits[byte / 16];
    out += kDigits[byte % 16];
  }
  out += ' ';
}

void add(std::string& out, std::uint64_t number) { out += std::to_string(number) + ' '; }

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Takes the fields from the front; one that is wrong makes all that follow wrong.
class Fields {
 public:
  explicit Fields(std::string_view line) : rest_(line) {}

  std::string_view raw() {
    const auto space = rest_.find(' ');
    const auto field = rest_.substr(0, space);
    rest_ = space == std::string_view::npos ? std::string_view() : rest_.substr(space + 1);
    good_ = good_ && !field.empty();
    return field;
  }
  std::uint64_t number() {
    const auto value = base::parse_number(raw());
    good_ = good_ && value;
    return value.value_or(0);
  }
  base::WallTime time() {
    const auto value = number();
    good_ = good_ && value <= 1ULL << 62;
    return {static_cast<std::int64_t>(value)};
  }
  std::string text(std::size_t limit) {
    const auto field = raw();
    std::string out;
    if (field == kNothing) return out;
    for (std::size_t i = 0; i < field.size() && good_; ++i) {
      if (field[i] != '%') {
        good_ = field[i] > ' ' && field[i] < 0x7f;
        out += field[i];
        continue;
      }
      const int high = i + 2 < field.size() ? digit(field[i + 1]) : -1;
      const int low = i + 2 < field.size() ? digit(field[i + 2]) : -1;
      good_ = high >= 0 && low >= 0;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
    good_ = good_ && out.size() <= limit;
    return out;
  }
  [[nodiscard]] bool at_end() const { return rest_ == kEnd; }
  [[nodiscard]] bool good() const { return good_; }
  void fail() { good_ = false; }

 private:
  std::string_view rest_;
  bool good_ = true;
};

ipc::HistoryEnd read_end(Fields& fields) {
  const auto word = fields.raw();
  for (std::uint8_t i = 0; i <= static_cast<std::uint8_t>(ipc::kLastEnumerator<ipc::HistoryEnd>); ++i)
    if (ipc::name(static_cast<ipc::HistoryEnd>(i)) == word) return static_cast<ipc::HistoryEnd>(i);
  fields.fail();
  return {};
}

mail::ReversePath read_path(Fields& fields) {
  auto text = fields.text(mail::Address::kMaxLength);
  if (text == kNull) return {};
  auto address = mail::Address::parse(text);
  if (!address) {
    fields.fail();
    return {};
  }
  return mail::ReversePath(*std::move(address));
}

}  // namespace

std::string encode_history(const HistoryLine& line) {
  CHECK(!line.recipients.empty() && line.recipients.size() <= kHistoryRecipients);
  std::string out;
  add(out, static_cast<std::uint64_t>(std::max<std::int64_t>(line.ended.ms, 0)));
  add(out, base::to_string(line.id));
  add(out, static_cast<std::uint64_t>(std::max<std::int64_t>(line.arrived.ms, 0)));
  add(out, line.size);
  add(out, base::to_string(line.client));
  add(out, line.from.is_null() ? std::string(kNull) : line.from.text());
  add(out, std::string_view(line.tls).substr(0, ipc::kMaxTls));
  for (const auto& recipient : line.recipients) {
    add(out, ipc::name(recipient.end));
    add(out, recipient.tries);
    add(out, recipient.queue);
    add(out, recipient.remote);
    add(out, std::string_view(recipient.reply).substr(0, ipc::kHistoryReply));
    add(out, recipient.to);
  }
  out += kEnd;
  out += '\n';
  return out;
}

std::optional<HistoryLine> decode_history(std::string_view line, std::uint32_t version) {
  if (line.size() >= kMaxHistoryLine) return std::nullopt;
  Fields fields(line);
  HistoryLine out;
  out.ended = fields.time();
  const auto id = base::parse_message_id(fields.raw());
  out.arrived = fields.time();
  out.size = fields.number();
  const auto client = base::parse_ip(fields.raw());
  out.from = read_path(fields);
  if (version >= 2) out.tls = fields.text(ipc::kMaxTls);
  if (!id || !client) return std::nullopt;
  out.id = *id;
  out.client = *client;
  while (fields.good() && !fields.at_end() && out.recipients.size() < kHistoryRecipients) {
    auto& recipient = out.recipients.emplace_back();
    recipient.end = read_end(fields);
    const auto tries = fields.number();
    recipient.tries = static_cast<std::uint32_t>(std::min<std::uint64_t>(tries, ~0U));
    recipient.queue = fields.text(ipc::kMaxQueueName);
    recipient.remote = fields.text(ipc::kMaxRemote);
    recipient.reply = fields.text(ipc::kHistoryReply);
    recipient.to = fields.text(mail::Address::kMaxLength);
  }
  if (!fields.good() || !fields.at_end() || out.recipients.empty()) return std::nullopt;
  return out;
}

std::optional<std::uint32_t> history_version(std::string_view beginning) {
  const auto end = beginning.find('\n');
  if (!beginning.starts_with(kHistoryMagic) || end == std::string_view::npos) return std::nullopt;
  const auto version = base::parse_number(beginning.substr(kHistoryMagic.size(), end - kHistoryMagic.size()));
  if (!version || *version < 1 || *version > kHistoryVersion) return std::nullopt;
  return static_cast<std::uint32_t>(*version);
}

}  // namespace postern::queued
