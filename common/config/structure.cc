#include "common/config/structure.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/config/schema.h"

namespace postern::config {
namespace {

constexpr std::string_view kLater = "with a later release of Postern";

// Where an entry begins: of a section its header, of a key its name.
Place start_of(const Value& value) {
  return std::min(value.place, value.key_place);
}

std::string expected(const Key& key) {
  const auto dot = key.path.rfind('.');
  const auto name = dot == std::string_view::npos ? key.path : key.path.substr(dot + 1);
  switch (key.shape) {
    case Shape::kSection:
      return fmt::format("one section [{}]", key.path);
    case Shape::kSections:
      return fmt::format("[[{}]], one such section for each {}", key.path, name);
    case Shape::kString:
      return "a string";
    case Shape::kStrings:
      return "an array of strings";
    case Shape::kInteger:
      return "a whole number";
    case Shape::kBoolean:
      return "true or false";
    case Shape::kSize:
      return R"(a size like "25MiB")";
    case Shape::kDuration:
      return R"(a time like "15m")";
    case Shape::kDurations:
      return R"(an array of times like "15m")";
    case Shape::kTable:
      return "a table";
  }
  return {};
}

bool is_zero(const Value& value) {
  return value.type == Type::kInteger && value.integer == 0;
}

// The type alone; elements of arrays are looked at one by one.
bool fits(const Value& value, Shape shape) {
  switch (shape) {
    case Shape::kSection:
    case Shape::kTable:
      return value.type == Type::kTable;
    case Shape::kString:
      return value.type == Type::kString;
    case Shape::kSections:
    case Shape::kStrings:
    case Shape::kDurations:
      return value.type == Type::kArray;
    case Shape::kInteger:
      return value.type == Type::kInteger;
    case Shape::kBoolean:
      return value.type == Type::kBoolean;
    case Shape::kSize:
    case Shape::kDuration:
      return value.type == Type::kString || is_zero(value);
  }
  return false;
}

class Structure {
 public:
  explicit Structure(Report& report) : report_(report) {}

  void check_table(Value& table, const std::string& section) {
    for (auto& child : table.children) {
      const auto path = section.empty() ? child.key : section + '.' + child.key;
      if (const auto* key = find_key(path); key == nullptr)
        refuse_unknown(child, section, path);
      else if (!key->later.empty())
        refuse_later(child, *key);
      else
        check_known(child, *key);
    }
  }

 private:
  void refuse_unknown(Value& value, const std::string& section, const std::string& path) {
    value.refused = true;
    const auto* top = section.empty() ? nullptr : find_key(value.key);
    if (top != nullptr && top->shape != Shape::kSection && top->shape != Shape::kSections) {
      report_.add(start_of(value), path,
                  fmt::format("{} is a key of the top level: it must move above the first [table]",
                              value.key));
      return;
    }
    const auto meant = nearest_key(section, value.key);
    report_.add(
        start_of(value), path,
        meant.empty() ? "unknown key" : fmt::format("unknown key; did you mean {}?", meant));
  }

  void refuse_later(Value& value, const Key& key) {
    value.refused = true;
    const bool zero = key.nothing == R"("0")" && is_zero(value);
    if (zero || (!key.nothing.empty() && to_toml(value) == key.nothing)) return;
    std::string advice = "leave the key out";
    if (!key.nothing.empty()) advice += fmt::format(" or set {}", key.nothing);
    const auto where = report_.where(start_of(value));
    report_.add(Mistake{where.file, where.line, where.column, std::string(key.path), to_toml(value),
                        fmt::format("{} {}; {}", key.later, kLater, advice)});
  }

  void check_known(Value& value, const Key& key) {
    const std::string path(key.path);
    if (!fits(value, key.shape)) {
      value.refused = true;
      const bool section = key.shape == Shape::kSection || key.shape == Shape::kSections;
      report_.add(section ? start_of(value) : value.place, path,
                  fmt::format("expected {}, not {}", expected(key), type_name(value.type)));
      return;
    }
    if (key.shape == Shape::kSection) {
      check_table(value, path);
    } else if (value.type == Type::kArray) {
      check_elements(value, key);
    } else if (value.type == Type::kString) {
      check_later_value(value, key);
    }
  }

  void check_elements(Value& array, const Key& key) {
    const bool sections = key.shape == Shape::kSections;
    for (auto& element : array.children) {
      if (element.type != (sections ? Type::kTable : Type::kString)) {
        element.refused = true;
        report_.add(element, std::string(key.path),
                    fmt::format("expected {}, with nothing else in it, not {}", expected(key),
                                type_name(element.type)));
      } else if (sections) {
        check_table(element, std::string(key.path));
      } else {
        check_later_value(element, key);
      }
    }
  }

  void check_later_value(Value& value, const Key& key) {
    for (const auto& later : later_values()) {
      const bool prefix = later.value.ends_with(':');
      if (later.path != key.path ||
          !(prefix ? value.text.starts_with(later.value) : value.text == later.value))
        continue;
      value.refused = true;
      report_.add(value, std::string(key.path),
                  fmt::format("{} {}; {}", later.later, kLater, later.advice));
    }
  }

  Report& report_;
};

}  // namespace

void check_structure(Document& document, Report& report) {
  Structure(report).check_table(document.root, "");
}

}  // namespace postern::config
