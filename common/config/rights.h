// Who may send where: the rules that decide about one recipient, as plain data, and the one pure
// function that applies them. smtpd decides at RCPT, and queued decides again with the same code,
// so a stolen smtpd gains no right to relay.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ip.h"
#include "common/ipc/codec.h"
#include "common/mail/address.h"

namespace postern::config {

enum class Service : std::uint8_t { kMx, kRelay, kSubmission };

struct ListenerRights {
  Service service = Service::kMx;
  std::vector<base::Network> relay_from;    // clients that may send anywhere
  std::vector<base::Network> proxy_from;    // peers that must name their client in a PROXY header
  std::vector<base::Network> xclient_from;  // clients that may name another by XCLIENT
  std::vector<base::Network> etrn_from;     // clients that may have any queue started by ETRN
  bool local = false;                       // a Unix socket: its clients are users of this host

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("service", &ListenerRights::service),
                      ipc::field("relay_from", &ListenerRights::relay_from, 10'000),
                      ipc::field("proxy_from", &ListenerRights::proxy_from, 10'000),
                      ipc::field("xclient_from", &ListenerRights::xclient_from, 10'000),
                      ipc::field("etrn_from", &ListenerRights::etrn_from, 10'000),
                      ipc::field("local", &ListenerRights::local));
  }
};

// In place of a listener's index: a connection that we made and turned round (RFC 2645), as its session's server. Its
// clients may do what those of an mx listener without any further right may.
inline constexpr base::ListenerIndex kTurned{0xffff'ffff};

// A client of which XCLIENT said that nobody knows it. It may relay nowhere.
inline constexpr base::IpAddress kUnknownClient{};
// Whoever comes through a Unix socket.
inline constexpr base::IpAddress kThisHost{base::IpFamily::kV4, {127, 0, 0, 1}};

// Who a client is, and by whose word: both decisions about rights are about this.
struct Origin {
  base::IpAddress peer;                    // of the connection
  std::optional<base::IpAddress> proxied;  // whom the PROXY header named
  std::optional<base::IpAddress> claimed;  // whom XCLIENT named last

  Origin() = default;
  Origin(const base::IpAddress& itself) : peer(itself) {}  // a client without anybody between
  // Who is connected, as far as proxies tell: this one may say XCLIENT, or not.
  [[nodiscard]] const base::IpAddress& connected() const noexcept {
    return proxied ? *proxied : peer;
  }
  // Who counts: policy, limits, rights, log and Received are about this one.
  [[nodiscard]] const base::IpAddress& client() const noexcept {
    return claimed ? *claimed : connected();
  }

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("peer", &Origin::peer), ipc::field("proxied", &Origin::proxied),
                      ipc::field("claimed", &Origin::claimed));
  }
};

// How a [[domain]] knows its recipients.
enum class RecipientsKind : std::uint8_t {
  kFile,
  kAny,
  kAsk,  // its next hop knows: every local part is accepted once it said so
};

// One recipient that an alias stands for.
struct AliasTarget {
  mail::Address address;                // no alias is looked up for it
  std::optional<mail::Address> sender;  // whom its list's failures are told; none: the message's sender

  friend bool operator==(const AliasTarget&, const AliasTarget&) = default;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("address", &AliasTarget::address),
                      ipc::field("sender", &AliasTarget::sender));
  }
};
inline constexpr std::size_t kMaxAliases = 1'000'000;  // of one [[domain]]
inline constexpr std::size_t kMaxTargets = 20'000;     // of one alias

// A name of aliases(5) with all that it leads to, over whichever other names.
struct Alias {
  std::string name;         // a local part, folded; valid in every name of its section
  mail::Address address;    // with the section's first name
  std::uint32_t count = 0;  // of its targets
  bool list = false;        // it has an owner: a mailing list, whose members are its own affair
  std::vector<AliasTarget> targets;  // only queued knows them

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("name", &Alias::name, 512),
                      ipc::field("address", &Alias::address), ipc::field("count", &Alias::count),
                      ipc::field("list", &Alias::list),
                      ipc::field("targets", &Alias::targets, kMaxTargets));
  }
};

// One [[domain]] section.
struct DomainRights {
  std::vector<mail::Domain> names;  // the first is canonical
  RecipientsKind recipients = RecipientsKind::kFile;
  // kFile. Both sorted, folded (base::folded), without quotes: local parts valid in every name, and whole addresses.
  // The mailbox of a whole address is its local part in the canonical name, and that address in
  // another.
  std::vector<std::string> users;
  std::vector<std::string> addresses;
  std::string extension;  // "+" or empty
  std::vector<Alias> aliases;
  bool sent_on = false;  // to another host, which may read a route in a local part
  bool merges = false;   // all its names and their cases lead to the same Maildirs of ours

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("names", &DomainRights::names, 10'000),
                      ipc::field("recipients", &DomainRights::recipients),
                      ipc::field("users", &DomainRights::users, 10'000'000, 512),
                      ipc::field("addresses", &DomainRights::addresses, 10'000'000, 512),
                      ipc::field("extension", &DomainRights::extension, 8),
                      ipc::field("aliases", &DomainRights::aliases, kMaxAliases),
                      ipc::field("sent_on", &DomainRights::sent_on),
                      ipc::field("merges", &DomainRights::merges));
  }
};

// Another name for a domain of ours: its recipients are re-stamped.
struct AliasDomain {
  mail::Domain name;
  mail::Domain target;  // a name of some [[domain]]

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("name", &AliasDomain::name),
                      ipc::field("target", &AliasDomain::target));
  }
};

struct Rights {
  std::vector<ListenerRights> listeners;  // by base::ListenerIndex
  std::vector<DomainRights> domains;
  std::vector<AliasDomain> alias_domains;
  mail::Address postmaster;
  mail::Domain hostname;  // of this host; empty: it has none

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("listeners", &Rights::listeners, 1'000),
                      ipc::field("domains", &Rights::domains, 10'000),
                      ipc::field("alias_domains", &Rights::alias_domains, 10'000),
                      ipc::field("postmaster", &Rights::postmaster),
                      ipc::field("hostname", &Rights::hostname));
  }
};

enum class Verdict : std::uint8_t {
  kLocal,        // a recipient of one of our domains (or postmaster)
  kRelay,        // a foreign one, and this client may relay
  kNoSuchUser,   // 550 5.1.1
  kRelayDenied,  // 550 5.7.1 (454 never: the client has nothing to wait for)
};

struct Decision {
  Verdict verdict = Verdict::kRelayDenied;
  std::uint32_t domain = 0;  // kLocal: index into Rights::domains
  bool ask = false;          // kLocal: if its next hop knows it
  // kLocal: the entry of the recipients table, or what stands for it without one (design: lower
  // case, percent-encoded outside [a-z0-9._-], never empty, no leading dot); names the mailbox.
  std::string user;
  // kLocal: the mailbox's domain, the section's canonical name.
  std::string mailbox_domain;
  // kLocal: the recipient is this alias; no mailbox is named then.
  std::shared_ptr<const Alias> alias;
  // What takes the recipient's place in the envelope. Mail for postmaster (of one of our domains, of this host, or of
  // none) goes to the configured postmaster: verdict kLocal if that is one of ours, else kRelay, whoever the client
  // is. So does mail for MAILER-DAEMON, the sender of our notices, of this host or of one of our domains that has no
  // such recipient. In an alias domain: the address in the domain that it stands for.
  std::optional<mail::Address> rewritten;
  // How many recipients this may become: an alias with all of its targets may be told of, too.
  [[nodiscard]] std::uint32_t count() const noexcept { return alias ? alias->count + 1 : 1; }
};

// The name of a mailbox for a local part that no table knows: folded (base::folded), every byte outside
// [a-z0-9._-] as %XX, likewise a leading dot; the empty local part is "%". No two local parts that
// differ by more than case and composition share a name.
[[nodiscard]] std::string mailbox_name(std::string_view local_part);

// Builds its own look-up tables over `rights`; immutable afterwards.
class RightsIndex {
 public:
  explicit RightsIndex(Rights rights);
  ~RightsIndex();
  RightsIndex(RightsIndex&&) noexcept;
  RightsIndex& operator=(RightsIndex&&) noexcept;

  // May the client send to `recipient` through this listener, or kTurned? An unknown listener may nothing. A
  // relay listener serves only the clients of its relay_from, an mx listener everybody, for our
  // domains. Postmaster is accepted from all. Whoever has `logged_in` may send anywhere, and a
  // submission listener serves nobody else, not even for postmaster. A recipient is looked up whole
  // first, then without extension, each time among the aliases before the users. Nothing is accepted from
  // an origin that is not believed.
  [[nodiscard]] Decision decide(base::ListenerIndex listener, const Origin& origin,
                                const mail::Address& recipient, bool logged_in = false) const;
  // What is, or stands for, an accepted recipient: no alias is looked up any more, and all may be reached.
  [[nodiscard]] Decision place(const mail::Address& recipient) const;
  // The recipient as mail of our own names it, aliases looked up: for notices.
  [[nodiscard]] Decision find(const mail::Address& recipient) const;
  // Can clients log in there?
  [[nodiscard]] static bool takes_logins(Service service) noexcept {
    return service != Service::kMx;
  }
  // Must this peer send a PROXY header?
  [[nodiscard]] bool expects_proxy(base::ListenerIndex listener, const base::IpAddress& peer) const;
  // Is it a Unix socket?
  [[nodiscard]] bool is_socket(base::ListenerIndex listener) const;
  // May who is connected name another client by XCLIENT?
  [[nodiscard]] bool may_claim(base::ListenerIndex listener, const Origin& origin) const;
  // May this client have queues started?
  [[nodiscard]] bool may_start(base::ListenerIndex listener, const Origin& origin) const;
  // May whoever named the client name one?
  [[nodiscard]] bool believes(base::ListenerIndex listener, const Origin& origin) const;
  // Do the users of its domain, or its aliases, hold the address, apart from postmaster's special rights?
  [[nodiscard]] bool knows(const mail::Address& address) const;
  // As a sender's address is compared with patterns (senders.h): in the domain that its own stands for, and
  // without the extension of its section, unless it is somebody's name with it.
  [[nodiscard]] std::string sender_name(const mail::Address& address) const;
  // The same for all addresses of one Maildir of ours but for their extensions, which may be its folders; no alias is
  // looked up. Every other address is its own: what it means in another case, or in another domain, is for others to
  // know, and mail for it may wait in another queue.
  [[nodiscard]] std::string key(const mail::Address& address) const;
  // Does mail for it go to postmaster, or to the sender of our notices (Decision::rewritten)?
  [[nodiscard]] bool is_postmaster(const mail::Address& recipient) const;
  // Is the domain one of ours, or does it stand for one?
  [[nodiscard]] bool is_local(const mail::Domain& domain) const;
  // Without the aliases, which the tables hold.
  [[nodiscard]] const Rights& rights() const noexcept;

 private:
  struct Tables;
  std::unique_ptr<Tables> tables_;
};

}  // namespace postern::config

template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::config::Service> =
    postern::config::Service::kSubmission;
template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::config::RecipientsKind> =
    postern::config::RecipientsKind::kAsk;
template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::config::Verdict> =
    postern::config::Verdict::kRelayDenied;
