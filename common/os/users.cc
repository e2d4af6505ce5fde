#include "common/os/users.h"

#include <algorithm>
#include <fstream>
#include <string_view>

#include "common/base/text.h"

namespace postern::os {
namespace {

constexpr std::size_t kMostUsers = 100'000;
constexpr std::size_t kMostOfName = 64;

// As logs and commands can write it.
bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kMostOfName &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

}  // namespace

std::map<std::uint32_t, std::string> read_user_names() {
  std::map<std::uint32_t, std::string> names;
  std::ifstream file("/etc/passwd");
  for (std::string line; names.size() < kMostUsers && std::getline(file, line);) {
    const auto name_end = line.find(':');
    const auto uid_start = line.find(':', name_end + 1);
    if (name_end == std::string::npos || uid_start == std::string::npos) continue;
    const auto uid_end = line.find(':', uid_start + 1);
    const auto uid = base::parse_number(
        std::string_view(line).substr(uid_start + 1, uid_end - uid_start - 1));
    auto name = line.substr(0, name_end);
    if (uid && *uid < ~0U && is_name(name))
      names.emplace(static_cast<std::uint32_t>(*uid), std::move(name));
  }
  return names;
}

}  // namespace postern::os
