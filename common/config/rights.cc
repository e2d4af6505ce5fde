#include "common/config/rights.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

#include "common/base/text.h"
#include "common/base/utf8.h"
#include "common/config/network_set.h"
#include "common/config/senders.h"

namespace postern::config {
namespace {

constexpr std::string_view kDaemon = "mailer-daemon";
constexpr std::string_view kSafe = "abcdefghijklmnopqrstuvwxyz0123456789._-";

// A look-up key, folded, on the stack: a local part, or a whole address.
class LookUp {
 public:
  LookUp(std::string_view local_part, std::string_view domain) {
    std::string other;
    if (!base::is_ascii(local_part)) local_part = other = base::folded(local_part);
    if (local_part.size() + 1 + domain.size() > buffer_.size()) return;  // no entry is that long
    append(local_part);
    local_size_ = size_;
    if (domain.empty()) return;
    buffer_[size_++] = '@';
    append(domain);
  }
  [[nodiscard]] std::string_view local_part() const noexcept {
    return {buffer_.data(), local_size_};
  }
  [[nodiscard]] std::string_view whole() const noexcept { return {buffer_.data(), size_}; }

 private:
  void append(std::string_view text) noexcept {
    for (const char c : text) buffer_[size_++] = base::ascii_lower(c);
  }
  std::array<char, 512> buffer_;
  std::size_t size_ = 0;
  std::size_t local_size_ = 0;
};

// Does it ask whoever gets it to send it on: "user%far.example", "far.example!user", "\"user@far.example\""?
bool names_a_route(const mail::Address& address) {
  return address.local_part().find_first_of("%!@") != std::string_view::npos;
}

}  // namespace

std::string mailbox_name(std::string_view local_part) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  if (local_part.empty()) return "%";
  std::string name;
  for (const char c : base::folded(local_part)) {
    if (kSafe.find(c) != std::string_view::npos && !(c == '.' && name.empty())) {
      name += c;
      continue;
    }
    const auto byte = static_cast<std::uint8_t>(c);
    name += {'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return name;
}

struct RightsIndex::Tables {
  explicit Tables(Rights from) : rights(std::move(from)) {
    for (const auto& listener : rights.listeners) {
      relay_from.emplace_back(listener.relay_from);
      proxy_from.emplace_back(listener.proxy_from);
      xclient_from.emplace_back(listener.xclient_from);
      etrn_from.emplace_back(listener.etrn_from);
    }
    for (std::uint32_t i = 0; i < rights.domains.size(); ++i) {
      auto& domain = rights.domains[i];
      auto& known = aliases.emplace_back();
      for (auto& alias : domain.aliases) {
        auto shared = std::make_shared<const Alias>(std::move(alias));
        known.emplace(shared->name, std::move(shared));
      }
      domain.aliases.clear();
      for (const auto& name : domain.names) names.emplace(name.text(), i);
      users.emplace_back(domain.users.begin(), domain.users.end());
      addresses.emplace_back(domain.addresses.begin(), domain.addresses.end());
    }
    for (const auto& alias : rights.alias_domains)
      if (const auto target = names.find(alias.target.text()); target != names.end()) {
        names.emplace(alias.name.text(), target->second);
        stamps.emplace(alias.name.text(), &alias.target);
      }
  }

  // The recipient of an alias domain in the domain that this stands for; nullopt: it is in none.
  [[nodiscard]] std::optional<mail::Address> stamped(const mail::Address& recipient) const {
    const auto stamp = stamps.find(recipient.domain().text());
    if (stamp == stamps.end()) return std::nullopt;
    // An address that becomes too long by it is nobody's.
    return recipient.at(*stamp->second).value_or(mail::Address());
  }

  [[nodiscard]] std::shared_ptr<const Alias> alias(std::uint32_t domain,
                                                   std::string_view local_part) const {
    if (aliases[domain].empty()) return nullptr;
    const auto found = aliases[domain].find(LookUp(local_part, {}).local_part());
    return found == aliases[domain].end() ? nullptr : found->second;
  }

  // The mailbox of the entry for this local part as it stands; nullopt where there is none.
  [[nodiscard]] std::optional<std::string_view> entry(std::uint32_t domain,
                                                      std::string_view local_part,
                                                      std::string_view name) const {
    const LookUp key(local_part, name);
    if (const auto found = addresses[domain].find(key.whole()); found != addresses[domain].end()) {
      const bool canonical = name == rights.domains[domain].names.front().text();
      return canonical ? found->substr(0, key.local_part().size()) : *found;
    }
    if (const auto found = users[domain].find(key.local_part()); found != users[domain].end())
      return *found;
    return std::nullopt;
  }

  // Does the users file name the recipient as it stands, whatever its local part looks like?
  [[nodiscard]] bool lists(const mail::Address& recipient, const Decision& decision) const {
    const auto& address = decision.rewritten.value_or(recipient);
    return rights.domains[decision.domain].recipients == RecipientsKind::kFile &&
           entry(decision.domain, address.local_part(), address.domain().text()).has_value();
  }

  // Whom a local part names, by all of it or by what stands before its extension: an alias, or a user.
  struct Named {
    std::string_view part;
    std::shared_ptr<const Alias> alias;
    std::string_view user;
  };
  [[nodiscard]] std::optional<Named> named(std::uint32_t domain, const mail::Address& recipient,
                                           bool with_aliases) const {
    const auto& section = rights.domains[domain];
    const bool with_users = section.recipients == RecipientsKind::kFile;
    if (!with_users && (!with_aliases || aliases[domain].empty())) return std::nullopt;
    const std::string_view local_part = recipient.local_part();
    const auto cut = section.extension.empty() ? std::string_view::npos : local_part.find(section.extension);
    for (const auto part : {local_part, local_part.substr(0, cut)}) {
      if (with_aliases)
        if (auto found = alias(domain, part)) return Named{part, std::move(found), {}};
      if (with_users)
        if (const auto found = entry(domain, part, recipient.domain().text())) return Named{part, nullptr, *found};
      if (cut == std::string_view::npos) break;
    }
    return std::nullopt;
  }

  // The recipient among the aliases and users of section `domain`: kLocal or kNoSuchUser.
  [[nodiscard]] Decision local(std::uint32_t domain, const mail::Address& recipient,
                               bool with_aliases) const {
    const auto& section = rights.domains[domain];
    if (auto found = named(domain, recipient, with_aliases)) {
      if (found->alias) return {.verdict = Verdict::kLocal, .domain = domain, .alias = std::move(found->alias)};
      return {.verdict = Verdict::kLocal,
              .domain = domain,
              .user = std::string(found->user),
              .mailbox_domain = section.names.front().text()};
    }
    if (section.recipients == RecipientsKind::kFile) return {.verdict = Verdict::kNoSuchUser};
    return open_section(domain, recipient.local_part());
  }

  // Of a section that has no table of users.
  [[nodiscard]] Decision open_section(std::uint32_t domain, std::string_view local_part) const {
    const auto& section = rights.domains[domain];
    return {.verdict = Verdict::kLocal,
            .domain = domain,
            .ask = section.recipients == RecipientsKind::kAsk,
            .user = mailbox_name(local_part),
            .mailbox_domain = section.names.front().text()};
  }

  // The recipient is not postmaster, and of section `domain` by some name.
  [[nodiscard]] Decision ours(std::uint32_t domain, const mail::Address& recipient,
                              bool with_aliases) const {
    auto stamp = stamped(recipient);
    if (!stamp) return local(domain, recipient, with_aliases);
    if (stamp->empty()) return {.verdict = Verdict::kNoSuchUser};
    auto decision = local(domain, *stamp, with_aliases);
    decision.rewritten = std::move(stamp);
    return decision;
  }

  // Postmaster, of whatever must have one (RFC 5321 4.5.1): this host, too, as it stands in our notices (RFC 3461 9.3).
  [[nodiscard]] bool is_postmaster(const mail::Address& recipient, bool is_ours) const {
    const auto& domain = recipient.domain();
    if (recipient.is_postmaster() && (is_ours || domain.empty())) return true;
    return !is_ours && !domain.empty() && domain == rights.hostname &&
           (recipient.is_postmaster() || is_daemon(recipient));
  }

  [[nodiscard]] static bool is_daemon(const mail::Address& recipient) {
    return base::equals_ignoring_case(recipient.local_part(), kDaemon);
  }

  // As ours(), and who has written to the sender of our notices has written to somebody.
  [[nodiscard]] Decision ours_or_daemon(std::uint32_t domain, const mail::Address& recipient,
                                        bool with_aliases) const {
    auto decision = ours(domain, recipient, with_aliases);
    if (decision.verdict == Verdict::kNoSuchUser && is_daemon(recipient)) return postmaster(with_aliases);
    return decision;
  }

  // As mail of our own reaches it.
  [[nodiscard]] Decision reach(const mail::Address& recipient, bool with_aliases) const {
    if (recipient.empty()) return {.verdict = Verdict::kRelayDenied};
    const auto domain = names.find(recipient.domain().text());
    const bool is_ours = domain != names.end();
    if (is_postmaster(recipient, is_ours)) return postmaster(with_aliases);
    return is_ours ? ours_or_daemon(domain->second, recipient, with_aliases)
                   : Decision{.verdict = Verdict::kRelay};
  }

  [[nodiscard]] Decision postmaster(bool with_aliases) const {
    const auto& address = rights.postmaster;
    const auto domain = names.find(address.domain().text());
    if (domain == names.end()) return {.verdict = Verdict::kRelay, .rewritten = address};
    auto decision = ours(domain->second, address, with_aliases);
    if (decision.verdict == Verdict::kNoSuchUser) {
      // The configuration's check refuses this, but postmaster is accepted whatever it missed.
      decision = {.verdict = Verdict::kLocal, .domain = domain->second};
      decision.user = mailbox_name(address.local_part());
      decision.mailbox_domain = rights.domains[domain->second].names.front().text();
    }
    if (!decision.rewritten) decision.rewritten = address;
    decision.ask = false;
    return decision;
  }

  Rights rights;  // the tables below hold views into it
  std::vector<NetworkSet> relay_from, proxy_from, xclient_from, etrn_from;  // by listener
  std::unordered_map<std::string_view, std::uint32_t> names;
  std::vector<std::unordered_set<std::string_view>> users;
  std::vector<std::unordered_set<std::string_view>> addresses;
  std::vector<std::unordered_map<std::string_view, std::shared_ptr<const Alias>>> aliases;
  std::unordered_map<std::string_view, const mail::Domain*> stamps;  // of alias domains
};

RightsIndex::RightsIndex(Rights rights) : tables_(std::make_unique<Tables>(std::move(rights))) {}
RightsIndex::~RightsIndex() = default;
RightsIndex::RightsIndex(RightsIndex&&) noexcept = default;
RightsIndex& RightsIndex::operator=(RightsIndex&&) noexcept = default;

bool RightsIndex::expects_proxy(base::ListenerIndex listener, const base::IpAddress& peer) const {
  return listener.value < tables_->proxy_from.size() &&
         tables_->proxy_from[listener.value].contains(peer);
}

bool RightsIndex::is_socket(base::ListenerIndex listener) const {
  const auto& listeners = tables_->rights.listeners;
  return listener.value < listeners.size() && listeners[listener.value].local;
}

bool RightsIndex::may_claim(base::ListenerIndex listener, const Origin& origin) const {
  return listener.value < tables_->xclient_from.size() &&
         tables_->xclient_from[listener.value].contains(origin.connected());
}

bool RightsIndex::may_start(base::ListenerIndex listener, const Origin& origin) const {
  return listener.value < tables_->etrn_from.size() && believes(listener, origin) &&
         tables_->etrn_from[listener.value].contains(origin.client());
}

bool RightsIndex::believes(base::ListenerIndex listener, const Origin& origin) const {
  return (!origin.proxied || expects_proxy(listener, origin.peer)) &&
         (!origin.claimed || may_claim(listener, origin));
}

Decision RightsIndex::decide(base::ListenerIndex listener, const Origin& origin,
                             const mail::Address& recipient, bool logged_in) const {
  const bool turned = listener == kTurned;
  if ((!turned && listener.value >= tables_->rights.listeners.size()) || recipient.empty() ||
      !believes(listener, origin))
    return {.verdict = Verdict::kRelayDenied};
  const auto& client = origin.client();
  const auto service = turned ? Service::kMx : tables_->rights.listeners[listener.value].service;
  if (service == Service::kSubmission && !logged_in) return {.verdict = Verdict::kRelayDenied};
  const auto domain = tables_->names.find(recipient.domain().text());
  const bool ours = domain != tables_->names.end();
  if (tables_->is_postmaster(recipient, ours)) return tables_->postmaster(true);
  const bool may_relay =
      (logged_in && takes_logins(service)) ||
      (!turned && !client.is_unspecified() && tables_->relay_from[listener.value].contains(client));
  if (!may_relay && service == Service::kRelay)
    return {.verdict = Verdict::kRelayDenied};
  if (ours) {
    auto decision = tables_->ours_or_daemon(domain->second, recipient, true);
    const bool goes_on = decision.verdict == Verdict::kLocal && !decision.alias &&
                         tables_->rights.domains[decision.domain].sent_on;
    if (goes_on && !may_relay && names_a_route(recipient) && !tables_->lists(recipient, decision))
      return {.verdict = Verdict::kRelayDenied};
    return decision;
  }
  return {.verdict = may_relay ? Verdict::kRelay : Verdict::kRelayDenied};
}

bool RightsIndex::knows(const mail::Address& address) const {
  const auto domain = tables_->names.find(address.domain().text());
  return domain != tables_->names.end() &&
         tables_->ours(domain->second, address, true).verdict == Verdict::kLocal;
}

Decision RightsIndex::place(const mail::Address& recipient) const {
  return tables_->reach(recipient, false);
}

Decision RightsIndex::find(const mail::Address& recipient) const {
  return tables_->reach(recipient, true);
}

std::string RightsIndex::sender_name(const mail::Address& address) const {
  const auto stamp = tables_->stamped(address).value_or(address);
  std::string_view local_part = stamp.local_part();
  const auto domain = tables_->names.find(stamp.domain().text());
  if (domain != tables_->names.end()) {
    const auto& section = tables_->rights.domains[domain->second];
    if (const auto found = tables_->named(domain->second, stamp, true))
      local_part = found->part;
    else if (section.recipients == RecipientsKind::kFile && !section.extension.empty())
      local_part = local_part.substr(0, local_part.find(section.extension));
  }
  return config::sender_name(local_part, stamp.domain());
}

std::string RightsIndex::key(const mail::Address& address) const {
  const auto domain = tables_->names.find(address.domain().text());
  if (domain == tables_->names.end()) return address.text();
  const auto& section = tables_->rights.domains[domain->second];
  const auto stamp = tables_->stamped(address).value_or(address);
  if (!section.merges) return stamp.text();
  const std::string_view local_part = stamp.local_part();
  const auto found = tables_->named(domain->second, stamp, false);
  const auto whole = found ? std::string(found->user).append(local_part.substr(found->part.size()))
                           : base::folded(local_part);
  return whole + '@' + section.names.front().text();
}

bool RightsIndex::is_postmaster(const mail::Address& recipient) const {
  return tables_->is_postmaster(recipient, tables_->names.contains(recipient.domain().text()));
}

bool RightsIndex::is_local(const mail::Domain& domain) const {
  return tables_->names.contains(domain.text());
}

const Rights& RightsIndex::rights() const noexcept {
  return tables_->rights;
}

}  // namespace postern::config
