#include "queued/index_row.h"

#include <algorithm>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/text.h"

namespace postern::queued {
namespace {

constexpr std::size_t kCrcSize = 4, kSizeSize = 4, kNumberSize = 4;
constexpr std::size_t kFirstHeader = kCrcSize + kSizeSize;

// Bytes of a value that go into its first piece, if that is the only one; otherwise kCrcSize less.
std::size_t first_room(std::string_view stored_key) {
  return kFirstPair - stored_key.size() - kFirstHeader;
}
std::size_t further_room(std::string_view stored_key) {
  return kFurtherPair - (1 + stored_key.size() + kNumberSize) - kCrcSize;
}

// The key's length is in it too, so that no byte can move from the key to the value.
std::uint32_t checksum(std::string_view stored_key, std::string_view rest) {
  const auto length = static_cast<char>(stored_key.size());
  return base::crc32c(rest, base::crc32c(stored_key, base::crc32c({&length, 1})));
}

void seal(std::string_view stored_key, std::string& piece) {
  std::string crc;
  base::Writer(crc).integer(checksum(stored_key, std::string_view(piece).substr(kCrcSize)));
  piece.replace(0, kCrcSize, crc);
}

bool sealed(std::string_view stored_key, std::string_view piece) {
  if (piece.size() < kCrcSize) return false;
  const auto crc = base::Reader(piece).integer<std::uint32_t>();
  return crc == checksum(stored_key, piece.substr(kCrcSize));
}

std::string hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes.substr(0, 40)) {
    text += kDigits[static_cast<std::uint8_t>(c) >> 4];
    text += kDigits[static_cast<std::uint8_t>(c) & 15];
  }
  return text;
}

}  // namespace

std::string stored_key(KeySpace space, std::string_view key) {
  CHECK(!key.empty() && key.size() <= kMaxIndexKey);
  std::string stored;
  stored.reserve(1 + key.size());
  stored += static_cast<char>(space);
  stored += key;
  return stored;
}

std::string piece_key(std::string_view stored_key, std::size_t number) {
  std::string key;
  key.reserve(1 + stored_key.size() + kNumberSize);
  key += static_cast<char>(KeySpace::kPieces);
  key += stored_key;
  for (int shift = 24; shift >= 0; shift -= 8)  // big-endian: in order
    key += static_cast<char>(number >> shift & 0xFF);
  return key;
}

std::string describe_key(std::string_view stored_key) {
  if (stored_key.empty()) return "without a key";
  const auto rest = stored_key.substr(1);
  std::string text;
  switch (static_cast<KeySpace>(stored_key.front())) {
    case KeySpace::kOwn:
      return text.append("own/").append(base::printable(rest, 80));
    case KeySpace::kWaits:
      return text.append("waits/").append(base::printable(rest, 80));
    case KeySpace::kPieces:
      return text.append("pieces/").append(hex(rest));
    case KeySpace::kMessages:
      return text.append("messages/").append(hex(rest));
  }
  return hex(stored_key);
}

std::vector<std::string> cut_value(std::string_view stored_key, std::string_view value) {
  CHECK(value.size() <= kMaxIndexValue);
  std::vector<std::string> pieces;
  std::string first(kCrcSize, '\0');
  base::Writer writer(first);
  writer.integer(static_cast<std::uint32_t>(value.size()));
  auto room = first_room(stored_key);
  if (value.size() > room) {
    writer.integer(base::crc32c(value));
    room -= kCrcSize;
  }
  writer.raw(value.substr(0, room));
  seal(stored_key, first);
  pieces.push_back(std::move(first));
  for (auto at = room; at < value.size(); at += room) {
    room = further_room(stored_key);
    std::string piece(kCrcSize, '\0');
    piece += value.substr(at, room);
    seal(piece_key(stored_key, pieces.size()), piece);
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

std::optional<FirstPiece> read_first_piece(std::string_view stored_key, std::string_view stored) {
  if (!sealed(stored_key, stored)) return std::nullopt;
  base::Reader reader(stored.substr(kCrcSize));
  FirstPiece piece;
  piece.size = reader.integer<std::uint32_t>();
  if (piece.size > kMaxIndexValue) return std::nullopt;
  auto room = first_room(stored_key);
  if (piece.size > room) {
    piece.crc = reader.integer<std::uint32_t>();
    room -= kCrcSize;
    const auto further = further_room(stored_key);
    piece.pieces = 1 + (piece.size - room + further - 1) / further;
  }
  piece.bytes = reader.raw(std::min(piece.size, room));
  if (!reader.complete()) return std::nullopt;
  return piece;
}

std::optional<std::string_view> read_further_piece(std::string_view stored_key,
                                                   std::string_view stored) {
  if (!sealed(stored_key, stored)) return std::nullopt;
  return stored.substr(kCrcSize);
}

}  // namespace postern::queued
