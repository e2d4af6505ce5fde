// Site: the ground that the parent prepares for its children: users, directories, facts of the
// system.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "common/base/unique_fd.h"
#include "common/config/cut.h"
#include "common/ipc/message.h"
#include "common/os/sandbox.h"

namespace postern::parent {

using Identity = os::SandboxPlan::Identity;

struct Site {
  // What each role becomes; nothing where we are not root and all stay who we are.
  std::optional<Identity> smtpd, queued, relay, local, key, auth, fetch;
  // Each role's directory: the spool, the mailbox root, an empty one for the others.
  base::UniqueFd spool, mailboxes, empty;
  base::UniqueFd badmail;   // queued's second one, if it is not in the spool
  base::UniqueFd policies;  // the file that fetch keeps policies in, if there is a fetch
  bool as_users = false;    // mailboxes are their users' own, and local has none of them

  [[nodiscard]] const std::optional<Identity>& identity(ipc::Role role) const;
  [[nodiscard]] int root(ipc::Role role) const;
  // What this role gets beside its directory; -1: nothing.
  [[nodiscard]] int second(ipc::Role role) const;
};

// Looks the users up and makes the directories that are missing; an error is a sentence for people.
[[nodiscard]] std::expected<Site, std::string> prepare_site(const config::Config& config);
// What the system says: cores, groups, resolvers, addresses of this host.
[[nodiscard]] config::Facts gather_facts(const config::Config& config);
// Where the children's programs are: beside us in a build tree, otherwise installed.
[[nodiscard]] std::string program_path(ipc::Role role);

}  // namespace postern::parent
