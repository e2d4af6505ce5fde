#include "parent/mailbox_users.h"

#include <fmt/format.h>
#include <pwd.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "common/base/text.h"
#include "common/config/cut.h"
#include "common/config/users_file.h"

namespace postern::parent {
namespace {

using config::Mistake;
using Answer = std::expected<MailboxUsers::Identity, std::string>;

std::string key_of(const std::string& user, const std::string& domain) {
  return domain + '/' + user;
}

Answer checked(Answer found, std::uint32_t min_uid) {
  if (found && found->uid < min_uid)
    return std::unexpected(
        fmt::format("the uid of this user, {}, is below mailbox.min_uid ({})", found->uid, min_uid));
  return found;
}

// Says where they stand, in the order of the file.
void tell(const config::DomainSection& domain, const std::map<std::string, std::string>& wrong,
          std::vector<Mistake>& mistakes) {
  std::size_t told = 0;
  for (const auto& [mailbox, where] : config::places_of_mailboxes(domain)) {
    const auto at = wrong.find(mailbox);
    if (at == wrong.end() || told == MailboxUsers::kMaxMistakes) continue;
    ++told;
    mistakes.push_back(
        {where.file, where.line, where.column, {}, '"' + base::printable(mailbox, 60) + '"', at->second});
  }
  if (wrong.size() > told)
    mistakes.push_back({domain.users_file, 0, 0, {}, {},
                        fmt::format("{} more entries have no mailbox that a user of this host owns", wrong.size() - told)});
}

}  // namespace

Answer MailboxUsers::of_this_host(const std::string& name) {
  errno = 0;
  const passwd* const entry = ::getpwnam(name.c_str());
  if (entry != nullptr) return Identity{entry->pw_uid, entry->pw_gid};
  const bool unknown = errno == 0 || errno == ENOENT || errno == ESRCH;
  return std::unexpected(unknown ? std::string("no user of this host has this name, so its mailbox has no owner")
                                 : fmt::format("this user cannot be looked up: {}", ::strerrordesc_np(errno)));
}

std::expected<MailboxUsers, std::vector<Mistake>> MailboxUsers::find_all(const config::Config& config,
                                                                       const LookUp& look_up) {
  MailboxUsers users;
  std::vector<Mistake> mistakes;
  if (!config::files_as_users(config)) return users;
  std::unordered_map<std::string, Answer> asked;  // several domains may have the same users
  for (const auto& domain : config.domains) {
    if (domain.deliver.kind != config::HopKind::kMailbox) continue;
    std::map<std::string, std::string> wrong;
    for (const auto& mailbox : config::mailboxes_of(domain)) {
      auto at = asked.find(mailbox);
      if (at == asked.end())
        at = asked.emplace(mailbox, checked(look_up(mailbox), config.mailbox.min_uid)).first;
      if (at->second)
        users.mailboxes_.emplace(key_of(mailbox, domain.names.front().text()), *at->second);
      else
        wrong.emplace(mailbox, at->second.error());
    }
    if (!wrong.empty()) tell(domain, wrong, mistakes);
  }
  if (!mistakes.empty()) return std::unexpected(std::move(mistakes));
  return users;
}

const MailboxUsers::Identity* MailboxUsers::find(const std::string& user, const std::string& domain) const {
  const auto at = mailboxes_.find(key_of(user, domain));
  return at == mailboxes_.end() ? nullptr : &at->second;
}

}  // namespace postern::parent
