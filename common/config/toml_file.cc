#include "common/config/toml_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "common/base/unique_fd.h"

namespace postern::config {
namespace {

Place place_of(const toml::source_region& region, std::uint32_t file) {
  return {file, static_cast<std::uint32_t>(region.begin.line),
          static_cast<std::uint32_t>(region.begin.column)};
}

template <class T>
std::string printed(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

// Recursion is bounded by the library's limit on nested values (256) and kMaxParts of a dotted key.
Value convert(const toml::node& node, std::uint32_t file) {
  Value value;
  value.place = place_of(node.source(), file);
  node.visit([&](const auto& n) {
    if constexpr (toml::is_table<decltype(n)>) {
      value.type = Type::kTable;
      for (const auto& [key, child] : n) {
        auto& entry = value.children.emplace_back(convert(child, file));
        entry.key = key.str();
        entry.key_place = place_of(key.source(), file);
      }
      std::sort(value.children.begin(), value.children.end(),
                [](const Value& a, const Value& b) { return a.key_place < b.key_place; });
    } else if constexpr (toml::is_array<decltype(n)>) {
      value.type = Type::kArray;
      for (const auto& child : n) value.children.push_back(convert(child, file));
    } else if constexpr (toml::is_string<decltype(n)>) {
      value.type = Type::kString;
      value.text = n.get();
    } else if constexpr (toml::is_integer<decltype(n)>) {
      value.type = Type::kInteger;
      value.integer = n.get();
    } else if constexpr (toml::is_boolean<decltype(n)>) {
      value.type = Type::kBoolean;
      value.boolean = n.get();
    } else {
      value.type = toml::is_floating_point<decltype(n)> ? Type::kFloat : Type::kDate;
      value.text = printed(n.get());
    }
  });
  return value;
}

// Every dot may nest one table deeper, and the library frees nested tables by recursion.
bool too_many_dots(const std::string& text) {
  static constexpr std::size_t kMaxParts = 1'000;
  std::size_t dots = 0;
  for (const char c : text) {
    if (c == '\n' || c == '=' || c == ',') dots = 0;
    if (c == '.' && ++dots > kMaxParts) return true;
  }
  return false;
}

// The entry `name` of the table that was opened last; null where there is none.
const Value* find_last(const Value& value, std::string_view name) {
  const auto* best = value.find(name);
  Place opened = best == nullptr ? Place{} : value.place;
  for (const auto& child : value.children) {
    const auto* const found = find_last(child, name);
    if (found != nullptr && (best == nullptr || opened < child.place)) {
      best = found;
      opened = child.place;
    }
  }
  return best;
}

// For "cannot redefine existing string 'spool'": where it stands already, read from the lines
// above.
std::string first_place(const toml::parse_error& error, const std::string& text,
                        const std::string& path) {
  const auto what = error.description();
  const auto quote =
      what.find("cannot redefine") == std::string_view::npos ? what.npos : what.find('\'');
  if (quote == std::string_view::npos) return {};
  const auto name = what.substr(quote + 1, what.rfind('\'') - quote - 1);
  std::size_t end = 0;
  for (toml::source_index line = 1; line < error.source().begin.line; ++line)
    end = text.find('\n', end) + 1;
  const auto above = toml::parse(std::string_view(text).substr(0, end));
  const auto tree = convert(above, 0);
  const auto* const first = find_last(tree, name);
  if (first == nullptr) return {};
  return fmt::format(" (at {}:{}:{})", path, first->key_place.line, first->key_place.column);
}

std::string description(const toml::parse_error& error, const std::string& text,
                        const std::string& path) {
  auto what = fmt::format("not TOML: {}", error.description());
  try {
    what += first_place(error, text, path);
  } catch (const toml::parse_error&) {
    // What stands above is part of a longer value: the place stays unnamed.
  }
  return what;
}

}  // namespace

std::expected<Value, Mistake> parse_toml(const std::string& text, const std::string& path,
                                         std::uint32_t file) {
  if (too_many_dots(text))
    return std::unexpected(Mistake{path, 0, 0, {}, {}, "not TOML: a line has too many dots"});
  try {
    const auto table = toml::parse(std::string_view(text));
    return convert(table, file);
  } catch (const toml::parse_error& error) {
    const auto place = place_of(error.source(), file);
    return std::unexpected(
        Mistake{path, place.line, place.column, {}, {}, description(error, text, path)});
  } catch (const std::exception& error) {
    return std::unexpected(Mistake{path, 0, 0, {}, {}, fmt::format("not TOML: {}", error.what())});
  }
}

std::expected<std::string, std::string> read_file(const std::string& path, std::size_t limit) {
  // O_NONBLOCK: a FIFO of that name must not keep us.
  const auto fd =
      base::UniqueFd::adopt(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0)
    return std::unexpected(fmt::format("cannot be read: {}", std::strerror(errno)));
  if (!S_ISREG(info.st_mode)) return std::unexpected("is not a regular file");
  std::string content;
  char buffer[65536];
  for (;;) {
    const auto size = ::read(fd.get(), buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return std::unexpected(fmt::format("cannot be read: {}", std::strerror(errno)));
    if (size == 0) return content;
    content.append(buffer, static_cast<std::size_t>(size));
    if (content.size() > limit)
      return std::unexpected(fmt::format("is longer than {} bytes", limit));
  }
}

}  // namespace postern::config
