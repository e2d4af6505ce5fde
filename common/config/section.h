// Reads the keys of one section into typed members; what it cannot read it reports. Keys that the
// structure's check refused already are passed over in silence.
#pragma once

#include <expected>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/config/report.h"
#include "common/config/value.h"

namespace postern::config {

class Section {
 public:
  // `table` may be null: an absent section. `name` is its path, "" for the top level.
  Section(const Value* table, std::string name, Report& report)
      : table_(table), name_(std::move(name)), report_(report) {}

  // Of its header; of the file where it is absent.
  [[nodiscard]] Where where() const;
  [[nodiscard]] Section section(std::string_view key) const;
  [[nodiscard]] std::vector<Section> sections(std::string_view key) const;

  // It stands there, right or wrong.
  [[nodiscard]] bool given(std::string_view key) const;
  // Reports unless it is given; `expected` says what it should hold.
  void require(std::string_view key, std::string_view expected) const;
  // Null where it is absent or refused.
  [[nodiscard]] const Value* get(std::string_view key) const;
  // The elements of an array that are not refused, at most `limit` (more: a mistake).
  [[nodiscard]] std::vector<const Value*> elements(std::string_view key, std::size_t limit) const;
  void refuse(const Value& value, std::string_view key, std::string text) const;

  // parse: std::string_view -> std::expected<T, std::string>, the error being what was expected.
  template <class T, class Parse>
  void string(std::string_view key, T& into, Parse parse) const {
    const auto* const value = get(key);
    if (value == nullptr) return;
    if (auto parsed = parse(std::string_view(value->text)))
      into = *std::move(parsed);
    else
      refuse(*value, key, std::move(parsed.error()));
  }
  template <class T, class Parse>
  void strings(std::string_view key, std::vector<T>& into, std::size_t limit, Parse parse) const {
    for (const auto* value : elements(key, limit)) {
      if (auto parsed = parse(std::string_view(value->text)))
        into.push_back(*std::move(parsed));
      else
        refuse(*value, key, std::move(parsed.error()));
    }
  }
  template <class T>
  void choice(std::string_view key, T& into,
              std::initializer_list<std::pair<std::string_view, T>> names) const {
    const auto* const value = get(key);
    if (value == nullptr) return;
    std::string all;
    for (const auto& [name, meaning] : names) {
      if (value->text == name) {
        into = meaning;
        return;
      }
      all += (all.empty() ? "\"" : ", \"") + std::string(name) + '"';
    }
    refuse(*value, key, "expected one of " + all);
  }
  // Printable ASCII, not empty.
  void name(std::string_view key, std::string& into, std::size_t limit) const;
  // A path seen from the file in which it stands.
  void path(std::string_view key, std::string& into) const;
  void boolean(std::string_view key, bool& into) const;
  template <class T>
  void integer(std::string_view key, T& into, std::int64_t least, std::int64_t most) const {
    if (const auto value = integer(key, least, most)) into = static_cast<T>(*value);
  }
  void size(std::string_view key, std::uint64_t& into) const;
  // `may_be_none`: "0" is accepted.
  void duration(std::string_view key, base::Millis& into, bool may_be_none) const;

 private:
  [[nodiscard]] std::optional<std::int64_t> integer(std::string_view key, std::int64_t least,
                                                    std::int64_t most) const;
  [[nodiscard]] std::string full(std::string_view key) const;

  const Value* table_;
  std::string name_;
  Report& report_;
};

// A path is not empty and holds no control bytes.
[[nodiscard]] std::expected<std::string, std::string> parse_path(std::string_view text,
                                                                 const std::string& file);
[[nodiscard]] std::expected<base::Millis, std::string> parse_time(std::string_view text,
                                                                  bool may_be_none);

}  // namespace postern::config
