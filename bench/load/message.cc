#include "bench/load/message.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/ledger/mix.h"
#include "bench/ledger/name.h"
#include "common/base/crc32c.h"

namespace postern::bench {
namespace {

constexpr std::uint64_t kLineKind = 10, kLineLength = 11, kLineBytes = 12, kBodyStart = 13;

// Adds printable characters with a blank now and then; some of them above 127 if `eight_bit`.
void add_words(std::string& text, std::uint64_t seed, std::uint64_t line, std::size_t length,
               bool eight_bit) {
  constexpr std::string_view kLetters =
      "etaoinshrdlu cmfwypvbgkjqxz ETAOIN SHRDLU 0123456789 .,;:!?()<>=+-_/#*'\"";
  for (std::size_t i = 0; i < length; ++i) {
    const auto bits = mix(seed, line, kLineBytes + i);
    if (eight_bit && bits % 16 == 0)
      text += static_cast<char>(0x80 + (bits >> 8) % 0x80);
    else
      text += kLetters[(bits >> 8) % kLetters.size()];
  }
}

std::string make_line(std::uint64_t seed, std::uint64_t number, bool eight_bit) {
  const auto random = mix(seed, number, kLineLength);
  std::string line;
  std::size_t length = 0;
  switch (mix(seed, number, kLineKind) % 20) {
    case 0:
      return ".";
    case 1:
      line = ".";
      length = random % 60;
      break;
    case 2:
      return std::string(2 + random % 3, '.');
    case 3:
      return {};
    case 4:
      line = "From ";
      length = random % 40;
      break;
    case 5:
      length = 79 + random % (Text::kLongest - 79);
      break;
    case 6:
      length = random % 2 == 0 ? Text::kLongest : random % 78;
      break;
    default:
      length = 1 + random % 76;
      break;
  }
  add_words(line, seed, number, length, eight_bit && random % 4 == 0);
  if (random % 32 == 1 && line.size() < 76) line += " \t";
  return line;
}

}  // namespace

Text::Text(std::uint64_t seed, bool eight_bit) {
  for (std::uint64_t line = 0; raw_.size() < kSize; ++line)
    add_line(make_line(seed, line, eight_bit));
  raw_at_.push_back(raw_.size());
  stuffed_at_.push_back(stuffed_.size());
}

void Text::add_line(std::string_view line) {
  raw_at_.push_back(raw_.size());
  stuffed_at_.push_back(stuffed_.size());
  if (line.starts_with('.')) stuffed_ += '.';
  for (auto* form : {&raw_, &stuffed_}) {
    *form += line;
    *form += "\r\n";
  }
}

Text::Cursor Text::begin(std::uint64_t seed, std::uint64_t number,
                         std::uint64_t size) const noexcept {
  return {mix(seed, number, kBodyStart) % (raw_at_.size() - 1), size == 1 ? 2 : size};
}

Text::Piece Text::next(Cursor& cursor, std::size_t most, std::string& scratch) const {
  if (cursor.left == 0) return {};
  const auto begin = raw_at_[cursor.line];
  const auto room = begin + std::min<std::uint64_t>(cursor.left, std::max(most, kLongest + 2));
  // The first line that does not end within the room.
  auto end =
      static_cast<std::size_t>(std::ranges::upper_bound(raw_at_, room) - raw_at_.begin()) - 1;
  // One byte alone cannot be a line: what would leave it is cut elsewhere.
  if (end > cursor.line && cursor.left - (raw_at_[end] - begin) == 1) --end;
  if (end == cursor.line) return last(cursor, scratch);
  const Piece piece{std::string_view(raw_).substr(begin, raw_at_[end] - begin),
                    std::string_view(stuffed_).substr(stuffed_at_[cursor.line],
                                                      stuffed_at_[end] - stuffed_at_[cursor.line])};
  cursor.left -= piece.raw.size();
  cursor.line = end == raw_at_.size() - 1 ? 0 : end;
  return piece;
}

// The line at the cursor is longer than what is left, or leaves one byte: as much of it as fits.
Text::Piece Text::last(Cursor& cursor, std::string& scratch) const {
  const auto begin = raw_at_[cursor.line];
  const auto length = raw_at_[cursor.line + 1] - begin - 2;
  const auto keep = cursor.left == length + 3 && length > 0
                        ? length - 1  // an empty line follows
                        : static_cast<std::size_t>(cursor.left - 2);
  scratch.assign(1, '.');  // in front of the raw form, for the stuffed one
  scratch.append(raw_, begin, std::min(keep, length));
  scratch.resize(1 + keep, 'x');
  scratch += "\r\n";
  const auto raw = std::string_view(scratch).substr(1);
  cursor.left -= raw.size();
  return {raw, raw.starts_with('.') ? std::string_view(scratch) : raw};
}

Message::Message(const Text& text, std::string_view run, std::uint64_t seed, std::uint64_t number,
                 std::uint64_t size, bool eight_bit, std::string_view from, std::string_view to)
    : text_(&text), cursor_(text.begin(seed, number, size)) {
  const auto below = fmt::format(
      "From: <{}>\r\nTo: <{}>\r\nSubject: {}-{}\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
      "Message-ID: <{}-{}@load.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
      "charset=iso-8859-1\r\n"
      "Content-Transfer-Encoding: {}\r\n\r\n",
      from, to, run, number, run, number, eight_bit ? "8bit" : "7bit");
  auto crc = base::crc32c(below);
  auto cursor = cursor_;
  std::string scratch;
  std::uint64_t content = below.size();
  while (cursor.left > 0) {
    const auto piece = text.next(cursor, kPiece, scratch);
    crc = base::crc32c(piece.raw, crc);
    content += piece.raw.size();
  }
  header_ = load_field({{run, number}, crc, content});
  header_ += below;
  size_ = header_.size() + content - below.size();
}

bool Message::append(std::string& wire) {
  wire += header_;
  header_.clear();
  std::string scratch;
  for (std::size_t done = 0; cursor_.left > 0 && done < kPiece;) {
    const auto piece = text_->next(cursor_, kPiece, scratch);
    wire += piece.stuffed;
    done += piece.raw.size();
  }
  if (cursor_.left > 0) return true;
  wire += ".\r\n";
  return false;
}

}  // namespace postern::bench
