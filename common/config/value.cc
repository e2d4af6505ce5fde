#include "common/config/value.h"

#include <fmt/format.h>

#include <algorithm>

namespace postern::config {
namespace {

constexpr std::size_t kShownOfValue = 60;

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
    if (out.size() > kShownOfValue) return out + "...\"";
  }
  return out + '"';
}

bool is_bare_key(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

std::string listed(const Value& value, std::string_view open, std::string_view close) {
  std::string out(open);
  for (const auto& child : value.children) {
    if (out.size() > open.size()) out += ", ";
    if (out.size() > kShownOfValue) return out + "..." + std::string(close);
    if (value.type == Type::kTable)
      out += (is_bare_key(child.key) ? child.key : quoted(child.key)) + " = ";
    out += to_toml(child);
  }
  return out + std::string(close);
}

}  // namespace

const Value* Value::find(std::string_view name) const {
  if (type != Type::kTable) return nullptr;
  for (const auto& child : children)
    if (child.key == name) return &child;
  return nullptr;
}

Value* Value::find(std::string_view name) {
  return const_cast<Value*>(static_cast<const Value*>(this)->find(name));
}

std::string to_toml(const Value& value) {
  switch (value.type) {
    case Type::kString:
      return quoted(value.text);
    case Type::kInteger:
      return fmt::to_string(value.integer);
    case Type::kFloat:
    case Type::kDate:
      return value.text;
    case Type::kBoolean:
      return value.boolean ? "true" : "false";
    case Type::kArray:
      return listed(value, "[", "]");
    case Type::kTable:
      return listed(value, "{", "}");
  }
  return {};
}

std::string_view type_name(Type type) {
  switch (type) {
    case Type::kString:
      return "a string";
    case Type::kInteger:
      return "a number";
    case Type::kFloat:
      return "a number with a fraction";
    case Type::kBoolean:
      return "true or false";
    case Type::kDate:
      return "a date or time";
    case Type::kArray:
      return "an array";
    case Type::kTable:
      return "a table";
  }
  return {};
}

}  // namespace postern::config
