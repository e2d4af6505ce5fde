// Cuts the configuration into what each role gets, and into what the parent needs to start them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/config/config.h"
#include "common/config/roles.h"

namespace postern::config {

// What the system, not the file, says.
struct Facts {
  std::uint32_t cores = 1;
  ControlGroups groups;                        // resolved from Config::control
  std::vector<base::Endpoint> resolvers;       // of the system; used without [delivery] dns
  std::vector<base::IpAddress> own_addresses;  // of this host
};

// The `nameserver` lines of resolv.conf(5), at most 16; 127.0.0.1:53 where there is none, as there.
[[nodiscard]] std::vector<base::Endpoint> system_resolvers(
    const std::string& path = "/etc/resolv.conf");

// How many processes; at least one.
[[nodiscard]] std::uint32_t smtpd_processes(const Config& config, std::uint32_t cores);
[[nodiscard]] std::uint32_t relay_processes(const Config& config, std::uint32_t cores);
// Whether any mail goes into mailboxes.
[[nodiscard]] bool needs_mailboxes(const Config& config);
// Whether each mailbox is filed into as its own user.
[[nodiscard]] bool files_as_users(const Config& config);
// The Unix sockets that LMTP is spoken to, sorted: one of them is known by its place.
[[nodiscard]] std::vector<std::string> lmtp_sockets(const Config& config);
// Whether there is either, so that a local deliverer is needed.
[[nodiscard]] bool needs_local(const Config& config);
// Whether there is a private key, so that a process is needed to keep it.
[[nodiscard]] bool needs_key(const Config& config);
// Whether anybody can log in with a password.
[[nodiscard]] bool knows_passwords(const Config& config);
// Whether users of this host come through a Unix socket.
[[nodiscard]] bool has_local_users(const Config& config);
// Either of both, so that a process is needed that tells who somebody is.
[[nodiscard]] bool needs_auth(const Config& config);
// Whether any mail goes to MX hosts in a way that MTA-STS policies can bind, and there are authorities to
// believe, so that a process is needed that fetches policies.
[[nodiscard]] bool needs_fetch(const Config& config);
// Of the control tool's socket.
[[nodiscard]] std::string control_socket(const Config& config);

// The most recipients that a message may have once its aliases are replaced.
[[nodiscard]] std::uint32_t expanded_of(const Config& config);
[[nodiscard]] Rights rights_of(const Config& config);

// What a role must not know, it does not get: the private keys are for the role key alone, the
// passwords for the role auth. Those for other hosts go to the relays.
[[nodiscard]] SmtpdConfig cut_smtpd(const Config& config);
[[nodiscard]] QueuedConfig cut_queued(const Config& config, const Facts& facts);
[[nodiscard]] RelayConfig cut_relay(const Config& config, const Facts& facts);
[[nodiscard]] LocalConfig cut_local(const Config& config);
[[nodiscard]] MailboxConfig cut_mailbox(const Config& config, const std::string& user, const std::string& domain);
[[nodiscard]] KeyConfig cut_key(const Config& config);
[[nodiscard]] AuthConfig cut_auth(const Config& config);
[[nodiscard]] FetchConfig cut_fetch(const Config& config, const Facts& facts);

}  // namespace postern::config
