#include "bench/ledger/name.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "common/base/text.h"

namespace postern::bench {
namespace {

constexpr std::size_t kCrcDigits = 8;

std::optional<std::uint32_t> parse_crc(std::string_view text) noexcept {
  std::uint32_t crc = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), crc, 16);
  if (text.size() != kCrcDigits || error != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return crc;
}

}  // namespace

bool is_run(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMaxRun && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}

std::optional<MessageName> parse_name(std::string_view text) noexcept {
  const auto dash = text.find('-');
  if (dash == std::string_view::npos || !is_run(text.substr(0, dash))) return std::nullopt;
  const auto number = base::parse_number(text.substr(dash + 1));
  if (!number || *number == 0 || *number > kMaxNumber) return std::nullopt;
  return MessageName{text.substr(0, dash), *number};
}

std::string load_field(const LoadField& field) {
  return fmt::format("{}{}-{} {:08x} {}\r\n", kLoadField, field.name.run, field.name.number,
                     field.crc, field.size);
}

std::optional<LoadField> parse_load_field(std::string_view line) noexcept {
  if (!line.starts_with(kLoadField)) return std::nullopt;
  line.remove_prefix(kLoadField.size());
  const auto first = line.find(' ');
  if (first == std::string_view::npos) return std::nullopt;
  const auto second = line.find(' ', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const auto name = parse_name(line.substr(0, first));
  const auto crc = parse_crc(line.substr(first + 1, second - first - 1));
  const auto size = base::parse_number(line.substr(second + 1));
  if (!name || !crc || !size) return std::nullopt;
  return LoadField{*name, *crc, *size};
}

}  // namespace postern::bench
