// The configuration as a tree of plain values, each with the place where it stands: what the TOML
// reader makes and everything behind it reads. Nothing here knows any key.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern::config {

struct Place {
  std::uint32_t file = 0;  // index into Document::files
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  friend auto operator<=>(const Place&, const Place&) noexcept = default;
};

enum class Type : std::uint8_t { kString, kInteger, kFloat, kBoolean, kDate, kArray, kTable };

struct Value {
  Type type = Type::kTable;
  Place place;      // of the value; of a table with a header: its header
  std::string key;  // in a table: the name it stands under, and where that stands
  Place key_place;

  std::string text;  // kString; kFloat, kDate: as printed
  std::int64_t integer = 0;
  bool boolean = false;
  std::vector<Value> children;  // kArray: elements; kTable: entries in the order of their places

  bool refused = false;  // a mistake was reported about it: it is there, but not to be read

  // The entry of that name; null where there is none or this is no table.
  [[nodiscard]] const Value* find(std::string_view name) const;
  [[nodiscard]] Value* find(std::string_view name);
};

// As TOML on one line, shortened to about 60 characters: for messages, and to compare with a
// schema's "asks for nothing".
[[nodiscard]] std::string to_toml(const Value& value);
// "a string", "an array", ...
[[nodiscard]] std::string_view type_name(Type type);

struct Document {
  std::vector<std::string> files;  // paths, the main file first
  Value root;
};

}  // namespace postern::config
