// Every key of the configuration, in one table: its path, its shape, and whether its subject comes
// with a later release. What the table does not name is unknown.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace postern::config {

enum class Shape : std::uint8_t {
  kSection,   // [name], or an inline table
  kSections,  // [[name]]
  kString,
  kStrings,  // an array of strings
  kInteger,
  kBoolean,
  kSize,      // a string like "25MiB"
  kDuration,  // a string like "15m"
  kDurations,
  kTable,  // a table with names of its own
};

struct Key {
  std::string_view path;  // "listen.address"; sections and their keys alike
  Shape shape;
  // Not empty: the key is refused, for its subject comes with a later release ("TLS comes").
  std::string_view later = {};
  // With `later`: the value in TOML that asks for nothing, and is accepted.
  std::string_view nothing = {};
};

// A value of a supported key whose subject comes later. One that ends in ':' stands for all that
// begin so ("unix:").
struct LaterValue {
  std::string_view path;
  std::string_view value;
  std::string_view later;
  std::string_view advice;  // what may be written instead
};

[[nodiscard]] std::span<const Key> schema();
[[nodiscard]] std::span<const LaterValue> later_values();

// The key of that path; null where it is unknown.
[[nodiscard]] const Key* find_key(std::string_view path);
// The full path of a known key that `name`, found in `section` ("" at the top), may have been meant
// to be: a sibling that is spelled much alike, or the same name elsewhere. Empty: no idea.
[[nodiscard]] std::string_view nearest_key(std::string_view section, std::string_view name);

}  // namespace postern::config
