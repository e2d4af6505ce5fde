// The directory of a user of this host, found below one of root's, by a process that is root still. Each level on the way
// belongs to root or to this user, and nobody else may write there, so nobody else can have put there what is found. No
// symbolic link is followed. What was opened is looked at, not what has its name by then: there is nothing to race for.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/unique_fd.h"
#include "common/os/error.h"

namespace postern::os {

struct OwnedDirectory {
  int root = -1;
  std::string root_name;   // for messages
  std::string path;        // below it; its last level must be the user's own
  std::size_t shared = 0;  // so many levels of it are no user's own
  std::uint32_t uid = 0, gid = 0;
};

// A level that is missing is made: shared ones for root (0755), the others for the user (0700). That it is there is on
// disk when this returns.
[[nodiscard]] Result<base::UniqueFd> open_owned(const OwnedDirectory& wanted);

// Who else than root and this user owns the directory or may write there, as the end of a sentence that begins with its
// name; empty: nobody.
[[nodiscard]] std::string strangers_hand(int directory, std::uint32_t uid);

}  // namespace postern::os
