// Accounts: the password file of the configuration, as `posternctl user` shows and edits it: with the
// rights of whoever calls, under a lock, and replaced whole. Lines that are not concerned stay as they
// are.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "ctl/command.h"

namespace postern::ctl {

// Does this command work on the file, and not on the server?
[[nodiscard]] bool edits_accounts(const Command& command);

struct AccountRow {
  std::string account;
  std::string hash;    // its kind: "yescrypt"; empty: none
  bool scram = false;  // there is a verifier
};
[[nodiscard]] std::expected<std::vector<AccountRow>, Ending> list_accounts(const Command& command);

// Adds, changes or removes what the command names; `password` is for the first two. What was done.
[[nodiscard]] std::expected<std::string, Ending> edit_accounts(const Command& command,
                                                               const std::string& password);

}  // namespace postern::ctl
