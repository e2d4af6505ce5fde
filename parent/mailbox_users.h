// MailboxUsers: with `mailbox.owner = "user"`, who files into which mailbox. The users of this host are looked up once,
// when the configuration is loaded, by the parent, which alone may ask the system for them (getpwnam(3)).
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/config/config.h"
#include "common/config/mistake.h"
#include "common/os/sandbox.h"

namespace postern::parent {

class MailboxUsers {
 public:
  using Identity = os::SandboxPlan::Identity;
  // A user of this host, or what is wrong with the name, for a mistake's text.
  using LookUp = std::function<std::expected<Identity, std::string>(const std::string& name)>;
  static constexpr std::size_t kMaxMistakes = 100;  // of one file

  // Every mailbox of a users file must be a user's, with a uid of `min_uid` and more. There is none where mailboxes
  // have another owner.
  [[nodiscard]] static std::expected<MailboxUsers, std::vector<config::Mistake>> find_all(const config::Config& config,
                                                                                         const LookUp& look_up);
  [[nodiscard]] static std::expected<Identity, std::string> of_this_host(const std::string& name);

  // Null: there is no such mailbox.
  [[nodiscard]] const Identity* find(const std::string& user, const std::string& domain) const;

 private:
  std::unordered_map<std::string, Identity> mailboxes_;  // "example.org/bob"
};

}  // namespace postern::parent
