#include "common/config/section.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/config/document.h"
#include "common/config/units.h"

namespace postern::config {
namespace {

constexpr std::size_t kMaxPath = 4'000;  // PATH_MAX, with room for what is put behind it

bool is_control(char c) {
  return static_cast<unsigned char>(c) < ' ' || c == '\x7f';
}

}  // namespace

Where Section::where() const {
  if (table_ == nullptr) return report_.where(Place{0, 1, 1});
  return report_.where(table_->place.line > 0 ? table_->place : Place{0, 1, 1});
}

Section Section::section(std::string_view key) const {
  return {get(key), full(key), report_};
}

std::vector<Section> Section::sections(std::string_view key) const {
  std::vector<Section> all;
  if (const auto* const array = get(key))
    for (const auto& child : array->children)
      if (!child.refused) all.emplace_back(&child, full(key), report_);
  return all;
}

bool Section::given(std::string_view key) const {
  return table_ != nullptr && table_->find(key) != nullptr;
}

void Section::require(std::string_view key, std::string_view expected) const {
  if (!given(key))
    report_.add(where(), full(key), fmt::format("this key is missing: expected {}", expected));
}

const Value* Section::get(std::string_view key) const {
  const auto* const value = table_ == nullptr ? nullptr : table_->find(key);
  return value == nullptr || value->refused ? nullptr : value;
}

std::vector<const Value*> Section::elements(std::string_view key, std::size_t limit) const {
  std::vector<const Value*> all;
  const auto* const array = get(key);
  if (array == nullptr) return all;
  if (array->children.size() > limit) {
    report_.add(array->place, full(key), fmt::format("expected at most {} elements", limit));
    return all;
  }
  for (const auto& child : array->children)
    if (!child.refused) all.push_back(&child);
  return all;
}

void Section::refuse(const Value& value, std::string_view key, std::string text) const {
  report_.add(value, full(key), std::move(text));
}

void Section::name(std::string_view key, std::string& into, std::size_t limit) const {
  string(key, into, [&](std::string_view text) -> std::expected<std::string, std::string> {
    const bool plain =
        std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
    if (text.empty() || text.size() > limit || !plain)
      return std::unexpected(fmt::format("expected 1 to {} printable ASCII characters", limit));
    return std::string(text);
  });
}

void Section::path(std::string_view key, std::string& into) const {
  const auto* const value = get(key);
  if (value == nullptr) return;
  const auto file = report_.where(value->place).file;
  string(key, into, [&](std::string_view text) { return parse_path(text, file); });
}

void Section::boolean(std::string_view key, bool& into) const {
  if (const auto* const value = get(key)) into = value->boolean;
}

std::optional<std::int64_t> Section::integer(std::string_view key, std::int64_t least,
                                             std::int64_t most) const {
  const auto* const value = get(key);
  if (value == nullptr) return std::nullopt;
  if (value->integer >= least && value->integer <= most) return value->integer;
  refuse(*value, key, fmt::format("expected a whole number between {} and {}", least, most));
  return std::nullopt;
}

void Section::size(std::string_view key, std::uint64_t& into) const {
  const auto* const value = get(key);
  if (value == nullptr) return;
  const auto size =
      value->type == Type::kInteger ? std::optional<std::uint64_t>(0) : parse_size(value->text);
  if (size)
    into = *size;
  else
    refuse(*value, key, R"(expected a size like "25MiB", "1GiB", "100KB", or "0" for none)");
}

void Section::duration(std::string_view key, base::Millis& into, bool may_be_none) const {
  const auto* const value = get(key);
  if (value == nullptr) return;
  const std::string_view text = value->type == Type::kInteger ? "0" : std::string_view(value->text);
  if (const auto time = parse_time(text, may_be_none))
    into = *time;
  else
    refuse(*value, key, time.error());
}

std::string Section::full(std::string_view key) const {
  return name_.empty() ? std::string(key) : fmt::format("{}.{}", name_, key);
}

std::expected<std::string, std::string> parse_path(std::string_view text, const std::string& file) {
  if (text.empty() || text.size() > kMaxPath || std::any_of(text.begin(), text.end(), is_control))
    return std::unexpected("expected a path");
  return resolve(std::string(text), file);
}

std::expected<base::Millis, std::string> parse_time(std::string_view text, bool may_be_none) {
  const auto time = parse_duration(text);
  if (time && (may_be_none || time->count() > 0)) return *time;
  return std::unexpected(may_be_none
                             ? R"(expected a time like "30s", "15m", "1h", "5d", or "0" for none)"
                             : R"(expected a time like "30s", "15m", "1h", "5d")");
}

}  // namespace postern::config
