#include "common/transfer/file.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/crc32c.h"

namespace postern::transfer {
namespace {

constexpr std::string_view kMagic = "POSTERN EXPORT\n";
constexpr std::size_t kStart = kMagic.size() + 4 + 4;
constexpr std::size_t kFrameStart = 4 + 4, kFrameEnd = 4;

enum FrameType : std::uint32_t {
  kHeaderFrame = 1,
  kMessageFrame,
  kRecipientsFrame,
  kBodyFrame,
  kWithdrawnFrame,
  kEndFrame,
};

struct RecipientList {
  static constexpr std::size_t kMost = 20;
  std::vector<Recipient> recipients;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("recipients", &RecipientList::recipients, kMost));
  }
};
static_assert(kRecipientsInFrame <= RecipientList::kMost);
static_assert(4 + kRecipientsInFrame * ipc::Codec<Recipient>::max_size({}) <= kMaxPayload);
static_assert(ipc::Codec<Envelope>::max_size({}) <= kMaxPayload && kPiece <= kMaxPayload);
// One answer of the control channel takes at least one frame.
static_assert(kMaxPayload + kFrameStart + kFrameEnd + kStart <= ipc::kSpoolSlice);

std::uint32_t place_crc(std::uint64_t offset, const base::Token& file) {
  std::string place;
  base::Writer writer(place);
  writer.integer(offset);
  for (const auto byte : file.bytes) writer.integer(byte);
  return base::crc32c(place);
}

}  // namespace

// --- Writing ----------------------------------------------------------------------------------------

Writer::Writer(const Header& header) {
  base::Writer writer(out_);
  writer.raw(kMagic);
  writer.integer(kVersion);
  writer.integer(base::crc32c(out_));
  offset_ = out_.size();
  frame(kHeaderFrame, ipc::encode(header));  // under no id yet: it brings it
  file_ = header.file;
}

void Writer::frame(std::uint32_t type, std::string_view payload) {
  CHECK(payload.size() <= kMaxPayload);
  const auto begin = out_.size();
  base::Writer writer(out_);
  writer.integer(static_cast<std::uint32_t>(payload.size()));
  writer.integer(type);
  writer.raw(payload);
  writer.integer(
      base::crc32c(std::string_view(out_).substr(begin), place_crc(offset_, file_)));
  offset_ += out_.size() - begin;
}

void Writer::message(Envelope envelope, const std::vector<Recipient>& recipients) {
  CHECK(written_ == open_.body_size && !recipients.empty() && recipients.size() <= kMaxRecipients);
  open_ = std::move(envelope);
  open_.recipient_count = static_cast<std::uint32_t>(recipients.size());
  written_ = 0;
  frame(kMessageFrame, ipc::encode(open_));
  for (auto at = recipients.begin(); at != recipients.end();) {
    const auto count = std::min<std::ptrdiff_t>(recipients.end() - at, kRecipientsInFrame);
    frame(kRecipientsFrame, ipc::encode(RecipientList{{at, at + count}}));
    at += count;
  }
  ++counts_.messages;
  counts_.recipients += open_.recipient_count;
  counts_.body_bytes += open_.body_size;
}

void Writer::body(std::string_view piece) {
  CHECK(!piece.empty() && piece.size() <= kPiece && piece.size() <= open_.body_size - written_);
  written_ += piece.size();
  frame(kBodyFrame, piece);
}

void Writer::withdraw() {
  CHECK(written_ < open_.body_size);
  frame(kWithdrawnFrame, {});
  --counts_.messages;
  counts_.recipients -= open_.recipient_count;
  counts_.body_bytes -= open_.body_size;
  open_ = {};
  written_ = 0;
}

void Writer::end() {
  CHECK(written_ == open_.body_size);
  frame(kEndFrame, ipc::encode(counts_));
}

std::string_view Writer::take(std::size_t most) {
  if (taken_ == out_.size()) {
    out_.clear();
    taken_ = 0;
  } else if (taken_ > out_.size() / 2) {
    out_.erase(0, taken_);
    taken_ = 0;
  }
  const auto bytes = std::string_view(out_).substr(taken_, most);
  taken_ += bytes.size();
  return bytes;
}

// --- Reading ----------------------------------------------------------------------------------------

Reader::Reader() = default;

std::unexpected<std::string> Reader::damaged() const {
  return std::unexpected(fmt::format("is damaged at byte {}", offset_));
}

void Reader::feed(std::string_view bytes) {
  kept_.erase(0, std::exchange(used_, 0));
  kept_ += bytes;
}

Reader::Next Reader::next() {
  if (failed_) return std::unexpected(*failed_);
  auto item = [&]() -> Next {
    if (stage_ == Stage::kMagic) return read_magic();
    if (stage_ == Stage::kWhole) {
      stage_ = Stage::kBetween;
      ++counts_.messages;
      counts_.recipients += message_.envelope.recipient_count;
      counts_.body_bytes += message_.envelope.body_size;
      return Next(std::in_place, Whole{});
    }
    // Frames that give nothing by themselves are passed here; each takes bytes.
    for (;;) {
      const auto rest = std::string_view(kept_).substr(used_);
      if (stage_ == Stage::kEnded && !rest.empty())
        return std::unexpected(fmt::format("goes on behind its end, at byte {}", offset_));
      if (rest.size() < kFrameStart) return std::nullopt;
      base::Reader reader(rest);
      const auto size = reader.integer<std::uint32_t>();
      const auto type = reader.integer<std::uint32_t>();
      if (size > kMaxPayload) return damaged();
      const auto whole = kFrameStart + size + kFrameEnd;
      if (rest.size() < whole) return std::nullopt;
      const auto covered = rest.substr(0, kFrameStart + size);
      reader.raw(size);
      if (reader.integer<std::uint32_t>() != base::crc32c(covered, place_crc(offset_, file_)))
        return damaged();
      used_ += whole;
      auto found = read(type, covered.substr(kFrameStart));
      if (found) offset_ += whole;
      if (!found || *found) return found;
    }
  }();
  if (!item) failed_ = item.error();
  return item;
}

Reader::Next Reader::read_magic() {
  const auto rest = std::string_view(kept_).substr(used_);
  const auto seen = rest.substr(0, kMagic.size());
  if (seen != kMagic.substr(0, seen.size()))
    return std::unexpected("is no file that posternctl export wrote");
  if (rest.size() < kStart) return std::nullopt;
  base::Reader reader(rest.substr(kMagic.size()));
  const auto version = reader.integer<std::uint32_t>();
  if (reader.integer<std::uint32_t>() != base::crc32c(rest.substr(0, kStart - 4))) return damaged();
  if (version > kVersion)
    return std::unexpected(fmt::format(
        "has format version {}, and this Postern reads versions up to {}: use a newer one", version,
        kVersion));
  if (version == 0) return damaged();
  version_ = version;
  used_ += kStart;
  offset_ = kStart;
  stage_ = Stage::kHeader;
  return next();
}

Reader::Next Reader::read(std::uint32_t type, std::string_view payload) {
  if (type == kHeaderFrame && stage_ == Stage::kHeader) {
    auto header = ipc::decode<Header>(payload, version_);
    if (!header) return damaged();
    file_ = header->file;
    stage_ = Stage::kBetween;
    return Item(*std::move(header));
  }
  if (type == kMessageFrame && stage_ == Stage::kBetween) return read_message(payload);
  if (type == kRecipientsFrame && stage_ == Stage::kRecipients) return read_recipients(payload);
  if (type == kBodyFrame && stage_ == Stage::kBody) return read_body(payload);
  if (type == kWithdrawnFrame && stage_ == Stage::kBody && payload.empty()) {
    stage_ = Stage::kBetween;
    return Item(Withdrawn{});
  }
  if (type == kEndFrame && stage_ == Stage::kBetween) return read_end(payload);
  return damaged();
}

Reader::Next Reader::read_message(std::string_view payload) {
  auto envelope = ipc::decode<Envelope>(payload, version_);
  if (!envelope || envelope->recipient_count == 0 || envelope->recipient_count > kMaxRecipients ||
      envelope->body_size > kMaxBody || envelope->token == base::Token{})
    return damaged();
  message_ = {*std::move(envelope), {}};
  body_read_ = 0;
  body_crc_ = 0;
  stage_ = Stage::kRecipients;
  return std::nullopt;
}

Reader::Next Reader::read_recipients(std::string_view payload) {
  auto list = ipc::decode<RecipientList>(payload, version_);
  auto& all = message_.recipients;
  if (!list || list->recipients.empty() ||
      list->recipients.size() > message_.envelope.recipient_count - all.size())
    return damaged();
  for (auto& recipient : list->recipients) {
    if (!all.empty() && all.back().number >= recipient.number) return damaged();
    all.push_back(std::move(recipient));
  }
  if (all.size() < message_.envelope.recipient_count) return std::nullopt;
  return message_known();
}

Reader::Next Reader::message_known() {
  const auto& envelope = message_.envelope;
  if (envelope.body_size == 0 && envelope.body_crc != base::crc32c("")) return damaged();
  stage_ = envelope.body_size == 0 ? Stage::kWhole : Stage::kBody;
  return Item(message_);
}

Reader::Next Reader::read_body(std::string_view payload) {
  const auto& envelope = message_.envelope;
  if (payload.empty() || payload.size() > kPiece ||
      payload.size() > envelope.body_size - body_read_)
    return damaged();
  body_read_ += payload.size();
  body_crc_ = base::crc32c(payload, body_crc_);
  if (body_read_ == envelope.body_size) {
    if (body_crc_ != envelope.body_crc) return damaged();
    stage_ = Stage::kWhole;
  }
  return Item(Piece{payload});
}

Reader::Next Reader::read_end(std::string_view payload) {
  const auto counts = ipc::decode<Counts>(payload, version_);
  if (!counts || *counts != counts_) return damaged();
  stage_ = Stage::kEnded;
  return Item(End{*counts});
}

std::expected<void, std::string> Reader::finish() const {
  if (failed_) return std::unexpected(*failed_);
  if (stage_ == Stage::kEnded && used_ == kept_.size()) return {};
  if (stage_ == Stage::kMagic && kept_.empty())
    return std::unexpected("is empty: it is no file that posternctl export wrote");
  return std::unexpected(fmt::format("is cut off behind byte {}: its end is missing",
                                     offset_ + (kept_.size() - used_)));
}

}  // namespace postern::transfer
