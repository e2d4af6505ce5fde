// The whole configuration, read and checked: what the parent holds, prints (summary.h) and cuts
// into the configurations of the roles (cut.h). Every path in it is absolute. Made by load() in
// parse.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ip.h"
#include "common/config/listen_address.h"
#include "common/config/policy.h"
#include "common/config/rights.h"
#include "common/config/roles.h"
#include "common/mail/address.h"

namespace postern::config {

// Where something stands, for messages about it.
struct Where {
  std::string file;
  std::uint32_t line = 0;
  std::uint32_t column = 0;
};

struct Control {  // names of Unix groups
  std::string view = "adm";
  std::string operate = "postern";
  std::string admin = "root";
};

struct Listener {
  ListenAddress address;
  Service service = Service::kMx;
  std::vector<base::Network> relay_from, proxy_from, xclient_from, xforward_from, etrn_from;
  bool require_hello = true;
  TlsMode tls = TlsMode::kOff;
  Where where;
};

// Its files, read and found to belong together.
struct Certificate {
  std::vector<std::string> names;  // in lower case
  std::string chain_file, key_file;
  std::string chain, key;  // PEM
  std::string kind;        // of the key: "RSA 2048"
  base::WallTime not_before, not_after;
  Where where;
};

struct Tls {
  tls::Version minimum = tls::Version::k12;
  std::string client_ca_file;
  std::string client_ca;  // PEM; empty: clients are not asked
};

struct Auth {
  std::string accounts_file;  // empty: none
  std::vector<AccountEntry> accounts;
  std::string dovecot;  // its socket's path; empty: none
  std::vector<sasl::Mechanism> mechanisms{sasl::Mechanism::kPlain, sasl::Mechanism::kLogin,
                                          sasl::Mechanism::kScramSha256};
  bool allow_plaintext = false;
  Where where;
};

// One target of an alias, as its file names it.
struct AliasName {
  mail::Address address;  // completed by the section's first name
  bool last = false;      // no alias is looked up for it ("\bob")
  Where where;
};

// One name of an aliases file.
struct AliasLine {
  std::string name;  // folded
  mail::Address address;  // with the section's first name
  std::vector<AliasName> to;
  Where where;
};

struct DomainSection {
  std::vector<mail::Domain> names;  // the first is canonical
  HopSpec deliver{.kind = HopKind::kMailbox};
  RecipientsKind recipients = RecipientsKind::kFile;
  std::string users_file;  // kFile
  std::vector<std::string> users;
  std::vector<std::string> addresses;
  std::string extension = "+";
  std::string aliases_file;  // empty: there is none
  std::vector<AliasLine> alias_lines;
  std::vector<Alias> aliases;  // what they lead to (alias_expansion.h)
  Where where;
};

struct Mailbox {
  MailboxKind kind = MailboxKind::kMaildir;
  std::string root = "/var/mail";        // the longest directory without a placeholder
  std::string path = "{domain}/{user}";  // below it; empty for a drop
  std::string owner = "_postern-local";  // kUsers: each mailbox is its own user's
  std::uint32_t min_uid = 1000;  // of these
  std::uint64_t quota = 0;  // bytes of one; 0: no limit
  bool folders = false;     // by extension
  Where where;              // of `owner`, if it is given

  static constexpr std::string_view kUsers = "user";
};

struct Route {
  std::vector<std::string> to;
  std::vector<HopSpec> via;
  std::uint32_t connections = 20;
  std::uint64_t interval = 0;  // microseconds between two messages; 0: no limit
  bool internal = false;
  bool second_path = false;  // as in RouteConfig
  mail::Domain masquerade;  // empty: none
  std::string password_file;  // empty: we do not log in
  std::string password;       // of `login` of its hops
  Where where;
};

struct Collect {
  HopSpec hop;
  std::vector<mail::Domain> domains;
  base::Millis every{600'000};
  bool wait = false;
  std::string password_file;
  std::string password;
  Where where;
};

struct Delivery {
  std::vector<base::Endpoint> dns;  // empty: the system's resolvers
  std::uint16_t port = 25;
  std::vector<base::Network> forbid;  // no MX is connected to there
  std::vector<SourceAddress> sources;  // of hops that name none; empty: as the kernel has it
  bool trust_ad = false;              // also of resolvers that are not on loopback
  bool mta_sts = true;                // domains are asked for their policies
  std::uint16_t mta_sts_port = 443;   // where these are
  struct {
    std::string file;  // empty: there is none
    std::string pem;
  } authorities;
  tls::Version tls_minimum = tls::Version::k12;
  bool start_disabled = false;
  Where start_where;  // of the key, if it is given
};

struct Bounce {
  std::string from = "Mail Delivery System";
  std::optional<mail::Address> copy_to;
  std::string badmail;  // empty: SPOOL/badmail
};

struct Space {
  std::uint64_t stop_intake = 1ULL << 30;
  std::uint64_t reserve = 128ULL << 20;
  std::uint64_t segment = 64ULL << 20;
};

struct History {  // 0 for either: none is kept
  base::Millis keep{30LL * 24 * 3600 * 1000};
  std::uint64_t size = 1ULL << 30;
};

struct Log {
  std::string file;  // empty: stderr
  LogConfig role;
};

struct Processes {  // 0: one for each core
  std::uint32_t smtpd = 0;
  std::uint32_t relay = 0;
};

struct Config {
  std::string file;
  std::string hostname;
  mail::Address postmaster;
  Where postmaster_where;
  std::string spool;
  std::string runtime = "/run/postern";
  Control control;
  std::vector<Listener> listeners;
  std::vector<Certificate> certificates;
  Tls tls;
  Auth auth;
  std::vector<AccountLimits> accounts;  // by name
  mail::Domain default_domain;  // empty: none
  std::vector<DomainSection> domains;
  std::vector<AliasDomain> alias_domains;
  std::vector<std::string> alias_warnings;  // a line each, as those of summary.h
  Mailbox mailbox;
  std::vector<Route> routes;
  std::vector<Collect> collects;
  Delivery delivery;
  RetryConfig retry{.after = {base::Millis(15 * 60'000), base::Millis(30 * 60'000),
                              base::Millis(3'600'000), base::Millis(4 * 3'600'000)}};
  Policy policy;
  std::string deny_file, allow_file;  // of its rules; empty: none
  SmtpLimits limits;  // connections: of all smtpd together
  Bounce bounce;
  Space space;
  History history;
  Log log;
  Processes processes;
};

}  // namespace postern::config
