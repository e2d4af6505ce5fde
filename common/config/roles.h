// The configuration as each role gets it: only the keys that this role uses, encoded into a sealed memfd.
// The parent makes these from config::Config (cut.h); a role decodes its own and sees no other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/config/policy.h"
#include "common/config/rights.h"
#include "common/sasl/account.h"
#include "common/sasl/mechanism.h"
#include "common/tls/version.h"

namespace postern::config {

inline constexpr std::size_t kMaxPlace = 255;  // of a file's name that comes with a line

enum class LogFormat : std::uint8_t { kText, kJson };
enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };

struct LogConfig {
  LogFormat format = LogFormat::kText;
  LogLevel level = LogLevel::kInfo;

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("format", &LogConfig::format),
                      ipc::field("level", &LogConfig::level));
  }
};

struct Timeouts {
  base::Millis command{300'000};
  base::Millis data{600'000};
  base::Millis idle{300'000};

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("command", &Timeouts::command), ipc::field("data", &Timeouts::data),
                      ipc::field("idle", &Timeouts::idle));
  }
};

// 0 in a limit means none.
struct SmtpLimits {
  std::uint64_t message_size = 25ULL << 20;  // bytes
  std::uint32_t recipients = 1000;
  std::uint64_t session_size = 0;  // bytes
  std::uint64_t data_rate = 500;   // bytes a second of a body, on average
  std::uint32_t connections = 2000;  // of all smtpd processes
  std::uint32_t connections_per_client = 50;
  std::uint32_t messages_per_session = 0;
  Timeouts timeout;

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("message_size", &SmtpLimits::message_size),
                      ipc::field("recipients", &SmtpLimits::recipients),
                      ipc::field("session_size", &SmtpLimits::session_size),
                      ipc::field("data_rate", &SmtpLimits::data_rate),
                      ipc::field("connections", &SmtpLimits::connections),
                      ipc::field("connections_per_client", &SmtpLimits::connections_per_client),
                      ipc::field("messages_per_session", &SmtpLimits::messages_per_session),
                      ipc::field("timeout", &SmtpLimits::timeout));
  }
};

enum class TlsMode : std::uint8_t {
  kOff,
  kOptional,  // STARTTLS is offered
  kRequired,  // and MAIL is refused without it
  kImplicit,  // from the first byte on
};

// What smtpd knows of a certificate: no key.
struct SmtpdCertificate {
  std::vector<std::string> names;
  std::string chain;  // PEM

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("names", &SmtpdCertificate::names, 1'000, 255),
                      ipc::field("chain", &SmtpdCertificate::chain, 1U << 20));
  }
};

struct SmtpdTls {
  std::vector<SmtpdCertificate> certificates;  // empty: no TLS
  tls::Version minimum = tls::Version::k12;
  std::string client_ca;  // PEM; empty: clients are not asked

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("certificates", &SmtpdTls::certificates, 10'000),
                      ipc::field("minimum", &SmtpdTls::minimum),
                      ipc::field("client_ca", &SmtpdTls::client_ca, 16U << 20));
  }
};

struct SmtpdListener {
  std::string name;  // as configured: "127.0.0.1:2525"
  bool require_hello = true;
  TlsMode tls = TlsMode::kOff;
  std::vector<base::Network> xforward_from;

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("name", &SmtpdListener::name, 256),
                      ipc::field("require_hello", &SmtpdListener::require_hello),
                      ipc::field("tls", &SmtpdListener::tls),
                      ipc::field("xforward_from", &SmtpdListener::xforward_from, 10'000));
  }
};

// How clients may log in, as smtpd has to know it: no account, no password.
struct SmtpdAuth {
  std::vector<sasl::Mechanism> mechanisms;  // empty: nobody can log in
  bool allow_plaintext = false;             // without TLS too
  bool atrn = false;                        // some account may take mail by ATRN

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("mechanisms", &SmtpdAuth::mechanisms, sasl::kMechanisms),
                      ipc::field("allow_plaintext", &SmtpdAuth::allow_plaintext),
                      ipc::field("atrn", &SmtpdAuth::atrn));
  }
};

struct SmtpdConfig {
  LogConfig log;
  std::string hostname;
  std::vector<SmtpdListener> listeners;  // by base::ListenerIndex
  mail::Domain default_domain;           // stamped on bare addresses of relay clients; empty: none
  Rights rights;  // aliases without their targets
  std::uint32_t expanded = 0;  // most recipients of a message once its aliases are replaced; 0: no limit
  Policy policy;
  SmtpLimits limits;
  SmtpdTls tls;
  SmtpdAuth auth;

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("log", &SmtpdConfig::log),
                      ipc::field("hostname", &SmtpdConfig::hostname, 255),
                      ipc::field("listeners", &SmtpdConfig::listeners, 1'000),
                      ipc::field("default_domain", &SmtpdConfig::default_domain),
                      ipc::field("rights", &SmtpdConfig::rights),
                      ipc::field("expanded", &SmtpdConfig::expanded),
                      ipc::field("policy", &SmtpdConfig::policy),
                      ipc::field("limits", &SmtpdConfig::limits),
                      ipc::field("tls", &SmtpdConfig::tls),
                      ipc::field("auth", &SmtpdConfig::auth));
  }
};

struct KeyConfig {
  LogConfig log;
  std::vector<std::string> keys;  // PEM: the private keys of all certificates

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("log", &KeyConfig::log),
                      ipc::field("keys", &KeyConfig::keys, 10'000, 64U << 10));
  }
};

// One line of the password file.
struct AccountEntry {
  std::string name;
  std::string hash;      // of crypt(3); may be empty
  std::string verifier;  // of SCRAM-SHA-256, as text; may be empty, but not both

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("name", &AccountEntry::name, sasl::kMaxAccount),
                      ipc::field("hash", &AccountEntry::hash, sasl::kMaxHash),
                      ipc::field("verifier", &AccountEntry::verifier, sasl::kMaxVerifier));
  }
};
inline constexpr std::size_t kMaxAccounts = 1'000'000;

struct AuthConfig {
  LogConfig log;
  bool dovecot = false;  // it knows the accounts; else they are here
  std::vector<AccountEntry> accounts;

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("log", &AuthConfig::log),
                      ipc::field("dovecot", &AuthConfig::dovecot),
                      ipc::field("accounts", &AuthConfig::accounts, kMaxAccounts));
  }
};

enum class HopKind : std::uint8_t {
  kMx, kHost, kMailbox, kRefuse, kDiscard,
  kSocket,  // a Unix socket of this host, which speaks LMTP: the local deliverer's
  kTurn,    // a host that calls for its mail, logs in and turns the session round (ATRN, RFC 2645)
};

// What a next hop must offer before it gets mail.
enum class HopTls : std::uint8_t {
  kOff,       // nothing: TLS is not spoken
  kOptional,  // TLS where it can be had; an MX host that has TLSA records must obey them
  kRequired,  // TLS, with whomsoever
  kVerified,  // and a certificate for its name, from an authority that we know
  kDane,      // and a certificate that its TLSA records name
};

// What a next hop is told of the client that a message came from.
enum class PassClient : std::uint8_t {
  kNone,
  kXforward,  // who it was: for its log, where it takes XFORWARD
  kXclient,   // it treats the session as that client's, or gets no mail
  kProxy,     // likewise, by a PROXY header in front of the session
};

// One of the addresses that we send from.
struct SourceAddress {
  base::IpAddress address;
  std::uint8_t weight = 1;  // its share among the others of its family; never 0

  friend bool operator==(const SourceAddress&, const SourceAddress&) noexcept = default;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("address", &SourceAddress::address),
                      ipc::field("weight", &SourceAddress::weight));
  }
};
inline constexpr std::size_t kMaxSources = 64;  // of one route

// One place in `via` or `deliver`.
struct HopSpec {
  HopKind kind = HopKind::kMx;
  std::string host;         // kHost: a name or an IP address without brackets; kSocket: its path
  std::uint16_t port = 25;  // kHost; kMx uses [delivery] port
  HopTls tls = HopTls::kOptional;
  bool implicit = false;  // kHost: TLS from the first byte ("smtps:")
  bool lmtp = false;      // it speaks LMTP (RFC 2033), not SMTP; kSocket: always
  std::string login;      // kHost: as whom we log in there; the relay knows the password. Empty: we do not
  std::uint8_t weight = 0;  // its share among the ways around it that have one, too; 0: it shares nothing
  PassClient pass_client = PassClient::kNone;
  std::vector<SourceAddress> sources;   // empty: those of RelayConfig
  std::optional<base::Endpoint> socks;  // the SOCKS5 server that connects for us; none: nobody does

  friend bool operator==(const HopSpec&, const HopSpec&) noexcept = default;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("kind", &HopSpec::kind), ipc::field("host", &HopSpec::host, 255),
                      ipc::field("port", &HopSpec::port), ipc::field("tls", &HopSpec::tls),
                      ipc::field("implicit", &HopSpec::implicit), ipc::field("lmtp", &HopSpec::lmtp),
                      ipc::field("login", &HopSpec::login, sasl::kMaxAccount),
                      ipc::field("weight", &HopSpec::weight),
                      ipc::field("pass_client", &HopSpec::pass_client),
                      ipc::field("sources", &HopSpec::sources, kMaxSources),
                      ipc::field("socks", &HopSpec::socks));
  }
};

inline constexpr std::size_t kMaxCollects = 100;
inline constexpr std::size_t kMaxCollectDomains = 100;   // of one call,
inline constexpr std::size_t kMaxCollectArgument = 500;  // which are named in one command (RFC 5321 4.5.3.1.4)

struct RouteConfig {
  std::vector<std::string> to;  // lower case: "*", "corp.example", "*.corp.example"
  std::vector<HopSpec> via;     // in order
  std::uint32_t connections = 20;  // to one next hop
  std::uint64_t interval = 0;      // microseconds between two messages to one next hop; 0: no limit
  bool internal = false;
  bool second_path = false;  // whom one next hop refuses by its policy (X.7.N) goes by another in the same try
  mail::Domain masquerade;  // what MAIL FROM names there in place of a domain of ours; empty: that one
  std::uint32_t line = 0;  // of the file, for `explain`
  std::string file;        // as seen from the directory of the main one: "postern.toml"

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("to", &RouteConfig::to, 10'000, 255),
                      ipc::field("via", &RouteConfig::via, 16),
                      ipc::field("connections", &RouteConfig::connections),
                      ipc::field("interval", &RouteConfig::interval),
                      ipc::field("internal", &RouteConfig::internal),
                      ipc::field("second_path", &RouteConfig::second_path),
                      ipc::field("masquerade", &RouteConfig::masquerade),
                      ipc::field("line", &RouteConfig::line),
                      ipc::field("file", &RouteConfig::file, kMaxPlace));
  }
};

// The classes of failure that retry tables speak of.
enum class FailureClass : std::uint8_t {
  kDns, kConnect, kGreeting, kTls, kPolicy, kMailbox, kData, kLocal,
  kLogin,  // we cannot log in at the next hop
};
inline constexpr std::size_t kFailureClasses = 9;

// What holds for some queues and one class of failure, or any, in place of what RetryConfig says.
struct RetryRule {
  std::vector<std::string> to;  // lower case: "*", "slow.example", "*.slow.example", "local"
  std::optional<FailureClass> on;   // none: any
  std::vector<base::Millis> after;  // empty: not said
  std::optional<base::Millis> expire;
  std::optional<base::Millis> notify;
  std::uint32_t line = 0;  // as in RouteConfig
  std::string file;

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("to", &RetryRule::to, 10'000, 255),
                      ipc::field("on", &RetryRule::on), ipc::field("after", &RetryRule::after, 100),
                      ipc::field("expire", &RetryRule::expire),
                      ipc::field("notify", &RetryRule::notify),
                      ipc::field("line", &RetryRule::line),
                      ipc::field("file", &RetryRule::file, kMaxPlace));
  }
};

struct RetryConfig {
  std::vector<base::Millis> after;  // the last one repeats; never empty
  base::Millis expire{5LL * 24 * 3600 * 1000};
  base::Millis notify{12LL * 3600 * 1000};  // age at which the sender is told of the delay; 0: never
  base::Millis max_gap{24LL * 3600 * 1000};
  std::uint32_t spread = 10;  // a wait is up to this many per cent longer
  std::vector<RetryRule> rules;
  std::uint32_t line = 0;  // as in RouteConfig; 0: nothing is written down
  std::string file;

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("after", &RetryConfig::after, 100),
                      ipc::field("expire", &RetryConfig::expire),
                      ipc::field("notify", &RetryConfig::notify),
                      ipc::field("max_gap", &RetryConfig::max_gap),
                      ipc::field("spread", &RetryConfig::spread),
                      ipc::field("rules", &RetryConfig::rules, 10'000),
                      ipc::field("line", &RetryConfig::line),
                      ipc::field("file", &RetryConfig::file, kMaxPlace));
  }
};

struct SourceLine {  // as in RouteConfig
  std::uint32_t line = 0;
  std::string file;

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("line", &SourceLine::line),
                      ipc::field("file", &SourceLine::file, kMaxPlace));
  }
};

struct ControlGroups {  // resolved group ids; root and the server's own user may always do all
  std::uint32_t view = ~0U;  // ~0: no such group
  std::uint32_t operate = ~0U;
  std::uint32_t admin = ~0U;

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("view", &ControlGroups::view),
                      ipc::field("operate", &ControlGroups::operate),
                      ipc::field("admin", &ControlGroups::admin));
  }
};

// What the account of an [[account]] section may send, in any time of each length.
struct AccountLimits {
  static constexpr std::size_t kMaxRates = 4;  // of each kind
  static constexpr std::size_t kMaxSenders = 1'000;
  static constexpr std::size_t kMaxSender = 1'024;  // bytes of one, folded
  static constexpr std::size_t kMaxQueues = 100;    // that it may take: as many as one session turns for
  std::string name;  // "*": every account without a section of its own
  std::vector<Rate> messages;
  std::vector<Rate> recipients;
  bool etrn = false;  // it may have any queue started by ETRN
  std::vector<std::string> atrn;  // queues whose mail it may take by ATRN; each leads to kTurn
  base::Millis atrn_wait{0};      // so long a session without mail waits for some; 0: not at all
  std::vector<std::string> senders;  // patterns of senders.h; empty: it may send as anybody

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("name", &AccountLimits::name, sasl::kMaxAccount),
                      ipc::field("messages", &AccountLimits::messages, kMaxRates),
                      ipc::field("recipients", &AccountLimits::recipients, kMaxRates),
                      ipc::field("etrn", &AccountLimits::etrn),
                      ipc::field("atrn", &AccountLimits::atrn, kMaxQueues, 255),
                      ipc::field("atrn_wait", &AccountLimits::atrn_wait),
                      ipc::field("senders", &AccountLimits::senders, kMaxSenders, kMaxSender));
  }
};

// A host that keeps mail for us until we call (RFC 2645).
struct CollectConfig {
  HopSpec hop;  // kHost, verified, with a login
  std::vector<mail::Domain> domains;  // whose mail is asked for; empty: all that it has for us
  base::Millis every{600'000};  // from the end of a call to the next
  bool wait = false;            // call again at once when a session has ended

  friend bool operator==(const CollectConfig&, const CollectConfig&) noexcept = default;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("hop", &CollectConfig::hop),
                      ipc::field("domains", &CollectConfig::domains, kMaxCollectDomains),
                      ipc::field("every", &CollectConfig::every), ipc::field("wait", &CollectConfig::wait));
  }
};

struct QueuedConfig {
  LogConfig log;
  std::string hostname;
  Rights rights;
  std::vector<HopSpec> domain_hops;  // by index into rights.domains: never kRefuse or kDiscard
  std::vector<SourceLine> domain_places;  // likewise
  std::vector<RouteConfig> routes;   // most specific `to` wins
  RetryConfig retry;
  ControlGroups control;
  std::string bounce_from = "Mail Delivery System";
  std::optional<mail::Address> bounce_copy_to;
  bool badmail_elsewhere = false;  // in the directory that comes at the start; else in the spool
  std::uint64_t message_size = 25ULL << 20;  // what smtpd may submit, bytes; 0: no limit
  std::uint32_t recipients = 1000;
  std::uint64_t stop_intake = 1ULL << 30;  // free bytes of the spool's file system
  std::uint64_t reserve = 128ULL << 20;  // kept for outcomes and the operator's changes
  std::uint64_t segment_size = 64ULL << 20;
  base::Millis history_keep{30LL * 24 * 3600 * 1000};
  std::uint64_t history_size = 1ULL << 30;  // bytes; 0 for either: there is no history
  bool start_disabled = false;  // [delivery] start = "disabled"
  SourceLine start_place;
  std::vector<AccountLimits> accounts;  // by name
  mail::Domain default_domain;          // of accounts whose name has none; empty: none
  std::vector<CollectConfig> collects;

  static constexpr auto fields() {
    return ipc::fields_of(
        ipc::field("log", &QueuedConfig::log), ipc::field("hostname", &QueuedConfig::hostname, 255),
        ipc::field("rights", &QueuedConfig::rights),
        ipc::field("domain_hops", &QueuedConfig::domain_hops, 10'000),
        ipc::field("domain_places", &QueuedConfig::domain_places, 10'000),
        ipc::field("routes", &QueuedConfig::routes, 10'000),
        ipc::field("retry", &QueuedConfig::retry), ipc::field("control", &QueuedConfig::control),
        ipc::field("bounce_from", &QueuedConfig::bounce_from, 200),
        ipc::field("bounce_copy_to", &QueuedConfig::bounce_copy_to),
        ipc::field("badmail_elsewhere", &QueuedConfig::badmail_elsewhere),
        ipc::field("message_size", &QueuedConfig::message_size),
        ipc::field("recipients", &QueuedConfig::recipients),
        ipc::field("stop_intake", &QueuedConfig::stop_intake),
        ipc::field("reserve", &QueuedConfig::reserve),
        ipc::field("segment_size", &QueuedConfig::segment_size),
        ipc::field("history_keep", &QueuedConfig::history_keep),
        ipc::field("history_size", &QueuedConfig::history_size),
        ipc::field("start_disabled", &QueuedConfig::start_disabled),
        ipc::field("start_place", &QueuedConfig::start_place),
        ipc::field("accounts", &QueuedConfig::accounts, 100'000),
        ipc::field("default_domain", &QueuedConfig::default_domain),
        ipc::field("collects", &QueuedConfig::collects, kMaxCollects));
  }
};

// The password for hops with `login`: no other role knows it, and it goes to this host alone.
struct RelayLogin {
  std::string host;
  std::uint16_t port = 0;
  std::string user;
  std::string password;

  friend bool operator==(const RelayLogin&, const RelayLogin&) noexcept = default;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("host", &RelayLogin::host, 255), ipc::field("port", &RelayLogin::port),
                      ipc::field("user", &RelayLogin::user, sasl::kMaxAccount),
                      ipc::field("password", &RelayLogin::password, sasl::kMaxPassword));
  }
};
inline constexpr std::size_t kMaxLogins = 160'100;  // 16 of each route, one of each collect

struct RelayConfig {
  LogConfig log;
  std::string hostname;             // said in EHLO
  std::vector<base::Endpoint> dns;  // resolvers; never empty
  std::uint16_t port = 25;          // for MX delivery
  std::vector<base::IpAddress> own_addresses;  // an MX that resolves only to these is ourselves
  std::vector<std::uint16_t> own_ports;        // ports that we listen on
  std::vector<base::Network> forbid;           // where no domain's host is believed to be
  bool trust_ad = false;  // the resolvers' word on DNSSEC is believed
  std::string ca;         // PEM: authorities whose certificates count; empty: none
  tls::Version tls_minimum = tls::Version::k12;
  std::vector<RelayLogin> logins;
  bool policies = false;  // fetch is there, and knows the MTA-STS policies of domains
  std::vector<SourceAddress> sources;  // of hops that say nothing else; empty: as the kernel has it

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("log", &RelayConfig::log),
                      ipc::field("hostname", &RelayConfig::hostname, 255),
                      ipc::field("dns", &RelayConfig::dns, 16), ipc::field("port", &RelayConfig::port),
                      ipc::field("own_addresses", &RelayConfig::own_addresses, 1'000),
                      ipc::field("own_ports", &RelayConfig::own_ports, 1'000),
                      ipc::field("forbid", &RelayConfig::forbid, 1'000),
                      ipc::field("trust_ad", &RelayConfig::trust_ad),
                      ipc::field("ca", &RelayConfig::ca, 16U << 20),
                      ipc::field("tls_minimum", &RelayConfig::tls_minimum),
                      ipc::field("logins", &RelayConfig::logins, kMaxLogins),
                      ipc::field("policies", &RelayConfig::policies),
                      ipc::field("sources", &RelayConfig::sources, kMaxSources));
  }
};

// Through whom the policies of domains are fetched: as their mail goes.
struct PolicyWay {
  std::vector<std::string> to;          // as RouteConfig::to; the most specific one wins
  std::optional<base::Endpoint> socks;  // the SOCKS5 server; none: nobody

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("to", &PolicyWay::to, 10'000, 255), ipc::field("socks", &PolicyWay::socks));
  }
};

struct FetchConfig {
  LogConfig log;
  std::vector<base::Endpoint> dns;    // resolvers; never empty
  std::uint16_t port = 443;           // of policy hosts
  std::vector<base::Network> forbid;  // where no domain's host is believed to be
  std::string ca;                     // PEM: authorities whose certificates count
  std::vector<PolicyWay> ways;        // of domains that no pattern is for, directly; empty: all are

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("log", &FetchConfig::log), ipc::field("dns", &FetchConfig::dns, 16),
                      ipc::field("port", &FetchConfig::port),
                      ipc::field("forbid", &FetchConfig::forbid, 1'000),
                      ipc::field("ca", &FetchConfig::ca, 16U << 20),
                      ipc::field("ways", &FetchConfig::ways, 20'000));
  }
};

enum class MailboxKind : std::uint8_t { kMaildir, kDrop };

inline constexpr std::size_t kMaxSockets = 200'000;  // 16 of each route, one of each domain
inline constexpr std::size_t kMaxSocketPath = 107;   // unix(7): sun_path and its NUL

struct LocalConfig {
  LogConfig log;
  std::string hostname;  // part of Maildir file names, and said in LHLO
  MailboxKind kind = MailboxKind::kMaildir;
  std::string path;  // below the mailbox root, with {domain} and {user}; "" for a drop
  std::uint32_t workers = 4;
  std::uint64_t quota = 0;  // bytes of one mailbox, or of the drop; 0: no limit
  bool folders = false;     // mail for user+name goes into the folder of this name, where there is one
  std::vector<std::string> sockets;  // of LMTP; the parent connects to them, by their places here
  bool as_users = false;  // each mailbox is filed into by a process of its own, as its user; there is no root

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("log", &LocalConfig::log),
                      ipc::field("hostname", &LocalConfig::hostname, 255),
                      ipc::field("kind", &LocalConfig::kind), ipc::field("path", &LocalConfig::path, 4096),
                      ipc::field("workers", &LocalConfig::workers),
                      ipc::field("quota", &LocalConfig::quota), ipc::field("folders", &LocalConfig::folders),
                      ipc::field("sockets", &LocalConfig::sockets, kMaxSockets, kMaxSocketPath),
                      ipc::field("as_users", &LocalConfig::as_users));
  }
};

// What a process for one mailbox gets.
struct MailboxConfig {
  LocalConfig local;   // without sockets
  std::string root;    // the name of the mailbox root, for messages
  std::string user;    // {user} and {domain} of the path
  std::string domain;

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("local", &MailboxConfig::local),
                      ipc::field("root", &MailboxConfig::root, 4096),
                      ipc::field("user", &MailboxConfig::user, 255),
                      ipc::field("domain", &MailboxConfig::domain, 255));
  }
};

}  // namespace postern::config

template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::config::LogFormat> =
    postern::config::LogFormat::kJson;
template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::config::LogLevel> =
    postern::config::LogLevel::kError;
template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::config::FailureClass> =
    postern::config::FailureClass::kLogin;
template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::config::TlsMode> =
    postern::config::TlsMode::kImplicit;
template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::tls::Version> = postern::tls::Version::k13;
template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::config::HopKind> =
    postern::config::HopKind::kTurn;
template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::config::HopTls> =
    postern::config::HopTls::kDane;
template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::config::PassClient> =
    postern::config::PassClient::kProxy;
template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::config::MailboxKind> =
    postern::config::MailboxKind::kDrop;
