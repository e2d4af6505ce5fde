// JsonRow: one object of plain values, written as they come: a row of a long listing, which may have a million of
// them. What is nested goes by the library (json.cc), byte for byte in the same form.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/clock.h"

namespace postern::ctl {

class JsonRow {
 public:
  JsonRow();
  // Keys are plain ASCII, and each is named once.
  void text(std::string_view key, std::string_view value);
  void number(std::string_view key, std::uint64_t value);
  void time(std::string_view key, base::WallTime value);  // 0: null
  // With its line feed. Nothing can be added then.
  [[nodiscard]] std::string line();

 private:
  void begin(std::string_view key);

  std::string out_;
};

}  // namespace postern::ctl
