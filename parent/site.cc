#include "parent/site.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include "common/os/owned_directory.h"
#include "common/os/process.h"

namespace postern::parent {
namespace {

std::expected<std::optional<Identity>, std::string> user(const std::string& name) {
  if (::geteuid() != 0) return std::nullopt;
  const passwd* entry = ::getpwnam(name.c_str());
  if (entry == nullptr)
    return std::unexpected(
        fmt::format("the user {} does not exist; contrib/postern.sysusers makes Postern's users "
                    "(systemd-sysusers FILE), or: useradd --system --no-create-home --shell "
                    "/usr/sbin/nologin {}",
                    name, name));
  if (entry->pw_uid == 0) return std::unexpected(fmt::format("the user {} is root", name));
  return Identity{entry->pw_uid, entry->pw_gid};
}

// Opens `path`, making it (0700, and for `owner`) where it is missing.
std::expected<base::UniqueFd, std::string> directory(const std::string& path, unsigned mode,
                                                     const std::optional<Identity>& owner) {
  std::error_code error;
  const bool fresh = !std::filesystem::exists(path, error);
  if (fresh) {
    std::filesystem::create_directories(path, error);
    if (error) return std::unexpected(fmt::format("cannot make {}: {}", path, error.message()));
  }
  auto fd = base::UniqueFd::adopt(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid())
    return std::unexpected(fmt::format("cannot open {}: {}", path, ::strerrordesc_np(errno)));
  if (fresh &&
      (::fchmod(fd.get(), mode) != 0 || (owner && ::fchown(fd.get(), owner->uid, owner->gid) != 0)))
    return std::unexpected(
        fmt::format("cannot give {} to its user: {}", path, ::strerrordesc_np(errno)));
  return fd;
}

// A file in the spool, whose owner may have put anything in its place. It stays the parent's: fetch gets
// it open, and finds it nowhere.
std::expected<base::UniqueFd, std::string> policies_file(int spool) {
  static constexpr const char* kName = "policies";
  auto fd = base::UniqueFd::adopt(
      ::openat(spool, kName, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0)
    return std::unexpected(fmt::format("cannot open {} in the spool: {}", kName, ::strerrordesc_np(errno)));
  if (!S_ISREG(info.st_mode) || info.st_nlink != 1)
    return std::unexpected(fmt::format("{} in the spool is no file of its own", kName));
  return fd;
}

std::uint32_t group(const std::string& name) {
  const ::group* entry = ::getgrnam(name.c_str());
  return entry == nullptr ? ~0U : entry->gr_gid;
}

std::vector<base::IpAddress> own_addresses() {
  std::vector<base::IpAddress> result;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return result;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr) continue;
    const int family = i->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    sockaddr_storage address{};
    std::memcpy(&address, i->ifa_addr,
                family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    if (const auto endpoint = base::from_sockaddr(address)) result.push_back(endpoint->address);
  }
  ::freeifaddrs(list);
  return result;
}

}  // namespace

const std::optional<Identity>& Site::identity(ipc::Role role) const {
  switch (role) {
    case ipc::Role::kSmtpd:
      return smtpd;
    case ipc::Role::kQueued:
      return queued;
    case ipc::Role::kRelay:
      return relay;
    case ipc::Role::kLocal:
      return local;
    case ipc::Role::kKey:
      return key;
    case ipc::Role::kAuth:
      return auth;
    case ipc::Role::kFetch:
      return fetch;
    case ipc::Role::kMailbox:  // each another
    case ipc::Role::kParent:
    case ipc::Role::kControl:
      break;
  }
  CHECK(false);
}

int Site::root(ipc::Role role) const {
  if (role == ipc::Role::kQueued) return spool.get();
  if (role == ipc::Role::kMailbox) return mailboxes.get();
  if (role == ipc::Role::kLocal && mailboxes.valid() && !as_users) return mailboxes.get();
  return empty.get();
}

int Site::second(ipc::Role role) const {
  if (role == ipc::Role::kQueued) return badmail.get();
  if (role == ipc::Role::kFetch) return policies.get();
  return -1;
}

std::expected<Site, std::string> prepare_site(const config::Config& config) {
  Site site;
  site.as_users = config::files_as_users(config);
  if (site.as_users && ::geteuid() != 0)
    return std::unexpected(R"(mailbox.owner = "user": only root can file mail as each of its users)");
  const std::pair<std::optional<Identity>*, std::string> users[] = {
      {&site.smtpd, "_postern-smtpd"},
      {&site.queued, "_postern-queued"},
      {&site.relay, "_postern-relay"},
      {&site.local, site.as_users ? "_postern-local" : config.mailbox.owner},
      {&site.key, "_postern-key"},
      {&site.auth, "_postern-auth"},
      {&site.fetch, "_postern-fetch"}};
  for (const auto& [identity, name] : users) {
    if (identity == &site.local && !config::needs_local(config)) continue;
    if (identity == &site.key && !config::needs_key(config)) continue;
    if (identity == &site.auth && !config::needs_auth(config)) continue;
    if (identity == &site.fetch && !config::needs_fetch(config)) continue;
    auto found = user(name);
    if (!found) return std::unexpected(std::move(found.error()));
    *identity = *found;
  }
  auto runtime = directory(config.runtime, 0755, std::nullopt);
  if (!runtime) return std::unexpected(std::move(runtime.error()));
  auto spool = directory(config.spool, 0700, site.queued);
  if (!spool) return std::unexpected(std::move(spool.error()));
  auto empty = directory(config.runtime + "/empty", 0555, std::nullopt);
  if (!empty) return std::unexpected(std::move(empty.error()));
  site.spool = *std::move(spool);
  site.empty = *std::move(empty);
  if (config::needs_fetch(config)) {
    auto policies = policies_file(site.spool.get());
    if (!policies) return std::unexpected(std::move(policies.error()));
    site.policies = *std::move(policies);
  }
  if (!config.bounce.badmail.empty()) {
    auto badmail = directory(config.bounce.badmail, 0700, site.queued);
    if (!badmail) return std::unexpected(std::move(badmail.error()));
    site.badmail = *std::move(badmail);
  }
  if (config::needs_mailboxes(config)) {
    auto mailboxes = directory(config.mailbox.root, 0755, site.as_users ? std::nullopt : site.local);
    if (!mailboxes) return std::unexpected(std::move(mailboxes.error()));
    site.mailboxes = *std::move(mailboxes);
  }
  if (site.as_users) {
    if (const auto why = os::strangers_hand(site.mailboxes.get(), 0); !why.empty())
      return std::unexpected(fmt::format(R"(mailbox.owner = "user": {} {}: it must be root's alone)",
                                         config.mailbox.root, why));
  }
  return site;
}

config::Facts gather_facts(const config::Config& config) {
  config::Facts facts;
  facts.cores = std::max(1U, std::thread::hardware_concurrency());
  facts.groups = {group(config.control.view), group(config.control.operate),
                  group(config.control.admin)};
  facts.resolvers = config::system_resolvers();
  facts.own_addresses = own_addresses();
  return facts;
}

std::string program_path(ipc::Role role) {
  const bool smtpd =
      role == ipc::Role::kSmtpd || role == ipc::Role::kKey || role == ipc::Role::kAuth;
  const std::string folder = smtpd                        ? "smtpd"
                             : role == ipc::Role::kQueued ? "queued"
                                                          : "deliverd";
  const auto here = os::program_directory();
  if (here && here->ends_with("/parent")) {
    const auto built = here->substr(0, here->rfind('/')) + '/' + folder + "/postern-" + folder;
    if (::access(built.c_str(), X_OK) == 0) return built;
  }
  return POSTERN_LIBEXECDIR "/postern-" + folder;
}

}  // namespace postern::parent
