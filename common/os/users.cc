#include "common/os/users.h"

#include <fstream>

#include "common/base/text.h"

namespace postern::os {
namespace {

constexpr std::size_t kMostUsers = 100'000;
constexpr std::size_t kMostOfName = 60;

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
    if (uid && *uid < ~0U)
      names.emplace(static_cast<std::uint32_t>(*uid),
                    base::printable(line.substr(0, name_end), kMostOfName));
  }
  return names;
}

}  // namespace postern::os
