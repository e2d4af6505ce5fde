#include "ctl/json_row.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/base/text.h"

namespace postern::ctl {
namespace {

// Does it stand in quotes as it is?
bool is_plain(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return c < ' ' || c >= 0x7F || c == '"' || c == '\\'; });
}

}  // namespace

JsonRow::JsonRow() {
  constexpr std::size_t kUsualSize = 512;  // of most rows at most: they grow but once
  out_.reserve(kUsualSize);
  out_ = R"({"v":1)";
}

void JsonRow::begin(std::string_view key) {
  out_ += ",\"";
  out_ += key;
  out_ += "\":";
}

// ASCII only; bytes that are no UTF-8 become U+FFFD.
void JsonRow::text(std::string_view key, std::string_view value) {
  begin(key);
  if (!is_plain(value)) {
    out_ += nlohmann::json(value).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    return;
  }
  out_ += '"';
  out_ += value;
  out_ += '"';
}

void JsonRow::number(std::string_view key, std::uint64_t value) {
  begin(key);
  const fmt::format_int digits(value);
  out_.append(digits.data(), digits.size());
}

void JsonRow::time(std::string_view key, base::WallTime value) {
  begin(key);
  if (value.ms == 0)
    out_ += "null";
  else
    out_ += '"' + base::iso8601(value) + '"';
}

std::string JsonRow::line() {
  out_ += "}\n";
  return std::move(out_);
}

}  // namespace postern::ctl
