// How the index lays out a row: values are cut into pieces below 2 KB, so that none needs LMDB's
// multi-page values, and each piece carries a CRC32C over its key and itself. Pure.
//
//   first    table, key                   u32 CRC | u32 size of the value | all of it, or:
//                                         u32 CRC | u32 size | u32 CRC of the value | its beginning
//   further  "pieces", first key, number  u32 CRC | bytes
//
// Tables are ordered by their first byte; further pieces stand in a table of their own, so that
// rows of one table follow each other in the order of their keys. Messages come last: new ones are
// appended.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::queued {

// The row "format" of a file: this, and the version of what this page says.
inline constexpr std::string_view kIndexMagic = "PosternX";
inline constexpr std::uint32_t kIndexFileVersion = 1;

inline constexpr std::size_t kMaxIndexKey = 255;
inline constexpr std::size_t kMaxIndexValue = 64U << 20;
inline constexpr std::size_t kMaxIndexMark = 1024;
// Key and value of one piece as stored. Six of the further ones fill a page: of a page that grows
// at its end, LMDB leaves all but one behind when it splits it.
inline constexpr std::size_t kFirstPair = 2'000, kFurtherPair = 670;

// The first bytes of stored keys.
enum class KeySpace : std::uint8_t {
  kOwn = 0x00,       // the index's own rows: format and mark
  kWaits = 0x10,     // by the queue's name
  kPieces = 0x20,    // all but the first, of all tables
  kMessages = 0x30,  // last
};

[[nodiscard]] std::string stored_key(KeySpace space, std::string_view key);
// Of a further piece of the row with that stored key; numbers begin at 1.
[[nodiscard]] std::string piece_key(std::string_view stored_key, std::size_t number);
// A stored key as people read it in an error.
[[nodiscard]] std::string describe_key(std::string_view stored_key);

// The stored pieces of a value, the first one first.
[[nodiscard]] std::vector<std::string> cut_value(std::string_view stored_key,
                                                 std::string_view value);

struct FirstPiece {
  std::string_view bytes;
  std::size_t size = 0;    // of the whole value
  std::uint32_t crc = 0;   // of the whole value, if there is more than one piece
  std::size_t pieces = 1;  // this one included
};
// nullopt: damaged.
[[nodiscard]] std::optional<FirstPiece> read_first_piece(std::string_view stored_key,
                                                         std::string_view stored);
[[nodiscard]] std::optional<std::string_view> read_further_piece(std::string_view stored_key,
                                                                 std::string_view stored);

}  // namespace postern::queued
