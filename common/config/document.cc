#include "common/config/document.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "common/config/toml_file.h"

namespace postern::config {
namespace {

constexpr std::string_view kWild = "*?[";

bool read_into(const std::string& path, std::uint32_t file, Value& into, Report& report) {
  auto text = read_file(path, kMaxFile);
  if (!text) {
    report.add(Mistake{path, 0, 0, {}, {}, text.error()});
    return false;
  }
  auto value = parse_toml(*text, path, file);
  if (!value) {
    report.add(std::move(value.error()));
    return false;
  }
  into = *std::move(value);
  return true;
}

bool is_sections(const Value& value) {
  return value.type == Type::kArray && !value.children.empty() &&
         std::all_of(value.children.begin(), value.children.end(),
                     [](const Value& child) { return child.type == Type::kTable; });
}

void merge(Value& into, Value from, const std::string& prefix, Report& report) {
  for (auto& child : from.children) {
    const auto path = prefix + child.key;
    auto* const same = into.find(child.key);
    if (same == nullptr) {
      into.children.push_back(std::move(child));
    } else if (same->type == Type::kTable && child.type == Type::kTable) {
      merge(*same, std::move(child), path + '.', report);
    } else if (is_sections(*same) && is_sections(child)) {
      std::move(child.children.begin(), child.children.end(), std::back_inserter(same->children));
    } else {
      const auto first = report.where(same->key_place);
      report.add(
          child.key_place, path,
          fmt::format("this key stands already at {}:{}:{}", first.file, first.line, first.column));
    }
  }
}

int on_glob_error(const char*, int error) {
  return error != ENOENT && error != ENOTDIR;
}

// A directory's own name is no pattern.
std::string literally(std::string_view directory) {
  std::string out;
  for (const char c : directory) {
    if (kWild.find(c) != std::string_view::npos || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// The files that one pattern of `include` matches, sorted by their bytes.
std::vector<std::string> matches(const Value& pattern, Report& report) {
  if (pattern.text.empty() || pattern.text.find('\0') != std::string::npos) {
    report.add(pattern, "include", "expected a path or a pattern");
    return {};
  }
  const auto from = report.where(pattern.place).file;
  std::string full;  // relative stays relative, for messages
  if (!pattern.text.starts_with('/')) full = literally(from.substr(0, from.rfind('/') + 1));
  full += pattern.text;
  glob_t found{};
  const int result = ::glob(full.c_str(), GLOB_NOSORT, &on_glob_error, &found);
  std::vector<std::string> files;
  if (result == 0) files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (result == GLOB_NOMATCH && pattern.text.find_first_of(kWild) == std::string::npos)
    report.add(pattern, "include", "no such file");
  else if (result != 0 && result != GLOB_NOMATCH)
    report.add(pattern, "include", "the directory cannot be read");
  std::sort(files.begin(), files.end());
  return files;
}

// A file that is matched twice, or is the main file itself, is read once.
void include(const std::string& name, Document& document, Report& report, bool& good) {
  const auto canonical = resolve(name, "/");
  for (const auto& known : document.files)
    if (resolve(known, "/") == canonical) return;
  const auto file = static_cast<std::uint32_t>(document.files.size());
  document.files.push_back(name);
  Value value;
  if (!read_into(name, file, value, report)) {
    good = false;
    return;
  }
  if (auto* const nested = value.find("include")) {
    report.add(nested->key_place, "include", "only the main file may include others");
    value.children.erase(value.children.begin() + (nested - value.children.data()));
  }
  merge(document.root, std::move(value), "", report);
}

}  // namespace

bool read_document(const std::string& path, Document& document, Report& report) {
  document.files = {path};
  if (!read_into(path, 0, document.root, report)) return false;
  const auto* const list = document.root.find("include");
  if (list == nullptr || list->type != Type::kArray)
    return true;  // its shape is checked with all keys
  bool good = true;
  const auto patterns = list->children;  // merging moves the tree
  for (const auto& pattern : patterns) {
    if (pattern.type != Type::kString) continue;
    for (const auto& name : matches(pattern, report)) {
      if (document.files.size() > kMaxIncludes) {
        report.add(pattern, "include", fmt::format("more than {} files", kMaxIncludes));
        return false;
      }
      include(name, document, report, good);
    }
  }
  return good;
}

std::string resolve(const std::string& path, const std::string& file) {
  std::error_code error;
  const auto base = std::filesystem::absolute(file, error).parent_path();
  auto full = (base / path).lexically_normal();
  if (!full.has_filename() && full.has_relative_path())
    full = full.parent_path();  // "a/b/" is "a/b"
  return full.string();
}

}  // namespace postern::config
