// The names of this host's users, for a process that soon has no files any more.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace postern::os {

// By uid, out of /etc/passwd: there is no NSS in the sandbox, so this comes before it. Of users who come
// later only the number is known.
[[nodiscard]] std::map<std::uint32_t, std::string> read_user_names();

}  // namespace postern::os
