#include "common/config/build.h"

#include <fmt/format.h>

#include <limits>
#include <map>

#include "common/config/account_limits.h"
#include "common/config/accounts_file.h"
#include "common/config/aliases_file.h"
#include "common/config/certificates.h"
#include "common/config/collect.h"
#include "common/config/names.h"
#include "common/config/policy_file.h"
#include "common/config/routes.h"
#include "common/config/section.h"
#include "common/config/segment_room.h"
#include "common/config/sources.h"
#include "common/config/units.h"
#include "common/config/users_file.h"
#include "common/config/way.h"

namespace postern::config {
namespace {

// Limits of the lists, those of the roles' configurations (rights.h, roles.h).
constexpr std::size_t kMaxListeners = 1'000;
constexpr std::size_t kMaxSections = 10'000;
constexpr std::size_t kMaxElements = 10'000;
constexpr std::size_t kMaxRetries = 100;
constexpr std::size_t kMaxResolvers = 16;
constexpr std::size_t kMaxForbidden = 1'000;
// Where no host of another's domain can be: this host, this link, groups.
constexpr std::string_view kForbidden[] = {
    "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/96", "fe80::/10", "ff00::/8"};
constexpr std::size_t kMaxMailboxPath = 4'000;
constexpr std::string_view kSocket = "/control.sock";

constexpr std::int64_t kNoMore = std::numeric_limits<std::uint32_t>::max();
constexpr std::int64_t kMaxProcesses = 1'000;
constexpr std::uint64_t kBlock = 4096;  // the journal writes whole blocks
constexpr std::uint64_t kLeastSegment = 1U << 20;
constexpr std::uint64_t kMostSegment = 1U << 30;
constexpr std::uint64_t kLargerBy = 1U << 20;  // what a larger segment is rounded to

template <class T>
using Parsed = std::expected<T, std::string>;

class Builder {
 public:
  Builder(const Document& document, Report& report)
      : top_(&document.root, "", report), report_(report) {
    config_.file = document.files.front();
  }

  Config build() {
    identity();
    control();
    read_certificates(top_, config_, report_);
    listeners();
    read_auth(top_, config_, report_);
    domains();
    mailbox();
    read_routes(limited(top_.sections("route"), kMaxSections, "route"), own_domains_, config_, report_);
    read_collects(limited(top_.sections("collect"), kMaxCollects, "collect"), own_domains_, config_, report_);
    read_account_limits(top_, config_, report_);
    delivery();
    retry();
    limits();
    read_policy(top_, config_, report_);
    history();
    output();
    return std::move(config_);
  }

 private:
  void identity() {
    top_.require("hostname", "the name of this host, like \"mx1.example.org\"");
    top_.string("hostname", config_.hostname, [](std::string_view text) -> Parsed<std::string> {
      auto domain = parse_domain(text);
      if (!domain) return std::unexpected(std::move(domain.error()));
      if (domain->is_literal()) return std::unexpected("expected a name, not an address");
      return domain->text();
    });
    top_.require("postmaster", "the address that gets postmaster's mail, like \"it@example.org\"");
    top_.string("postmaster", config_.postmaster, parse_address);
    if (const auto* const value = top_.get("postmaster"))
      config_.postmaster_where = report_.where(value->place);
    top_.require("spool", "the directory of the queue, like \"/var/lib/postern\"");
    top_.path("spool", config_.spool);
    top_.path("runtime", config_.runtime);
    if (const auto* const value = top_.get("runtime");
        value != nullptr && config_.runtime.size() + kSocket.size() > kMaxSocketPath)
      top_.refuse(*value, "runtime",
                  fmt::format("{}{} is too long for the name of a socket ({} characters)",
                              config_.runtime, kSocket, kMaxSocketPath));
  }

  void control() {
    const auto section = top_.section("control");
    section.name("view", config_.control.view, 32);
    section.name("operate", config_.control.operate, 32);
    section.name("admin", config_.control.admin, 32);
  }

  void listeners() {
    top_.require("listen", "at least one section [[listen]]");
    const auto sections = limited(top_.sections("listen"), kMaxListeners, "listen");
    for (const auto& section : sections) {
      auto& listener = config_.listeners.emplace_back();
      listener.where = section.where();
      section.require("address", "an address and a port, like \"0.0.0.0:25\" or \"[::]:25\"");
      section.string("address", listener.address, [&](std::string_view text) {
        return parse_listen_address(text, listener.where.file);
      });
      section.choice("service", listener.service,
                     {{"mx", Service::kMx},
                      {"relay", Service::kRelay},
                      {"submission", Service::kSubmission}});
      section.strings("relay_from", listener.relay_from, kMaxElements, parse_net);
      section.strings("proxy_from", listener.proxy_from, kMaxElements, parse_net);
      section.strings("xclient_from", listener.xclient_from, kMaxElements, parse_net);
      section.strings("xforward_from", listener.xforward_from, kMaxElements, parse_net);
      section.strings("etrn_from", listener.etrn_from, kMaxElements, parse_net);
      section.boolean("require_hello", listener.require_hello);
      // Who has a certificate wants it to be used; what stays on this host nobody can listen to.
      const bool bare = config_.certificates.empty() || listener.address.is_socket();
      listener.tls = bare ? TlsMode::kOff : TlsMode::kOptional;
      section.choice("tls", listener.tls,
                     {{"off", TlsMode::kOff},
                      {"optional", TlsMode::kOptional},
                      {"required", TlsMode::kRequired},
                      {"implicit", TlsMode::kImplicit}});
    }
    if (const auto* const array = top_.get("listen"); array != nullptr && array->children.empty())
      top_.refuse(*array, "listen", "expected at least one section [[listen]]");
  }

  void domains() {
    top_.section("domains").string("default", config_.default_domain, parse_domain);
    for (const auto& section : limited(top_.sections("domain"), kMaxSections, "domain")) {
      auto& domain = config_.domains.emplace_back();
      domain.where = section.where();
      domain_names(section, domain);
      deliver(section, domain);
      read_pass_client(section, {&domain.deliver, 1});
      section.string(
          "extension", domain.extension, [](std::string_view text) -> Parsed<std::string> {
            static constexpr std::string_view kMarks = "!#$%&'*+-/=?^_`{|}~.";
            if (text.empty() ||
                (text.size() == 1 && kMarks.find(text.front()) != std::string_view::npos))
              return std::string(text);
            return std::unexpected(R"(expected one mark like "+", or "" for no extensions)");
          });
      recipients(section, domain);
      if (const auto* const file = section.get("aliases"); file != nullptr && !file->text.empty()) {
        section.path("aliases", domain.aliases_file);
        if (!domain.aliases_file.empty() && !domain.names.empty())
          read_aliases_file(domain.aliases_file, report_.where(file->place), domain, report_);
      }
    }
    alias_domains();
  }

  // After the names of all sections: no name may be both, and each must stand for one of them.
  void alias_domains() {
    const auto domains = top_.section("domains");
    const auto* const table = domains.get("alias");
    if (table == nullptr) return;
    if (table->children.size() > kMaxElements)
      return domains.refuse(*table, "alias", fmt::format("expected at most {} domains", kMaxElements));
    const auto sections = own_domains_;  // without the aliases
    for (const auto& entry : table->children) {
      if (entry.refused) continue;
      if (entry.type != Type::kString) {
        domains.refuse(entry, "alias", R"(expected names of domains, like { "example.net" = "example.org" })");
        continue;
      }
      auto name = parse_domain(entry.key);
      auto target = parse_domain(entry.text);
      if (!name || !target) {
        domains.refuse(entry, "alias", (name ? target : name).error());
        continue;
      }
      if (!sections.contains(target->text())) {
        domains.refuse(entry, "alias", "expected a domain that a [[domain]] names: mail for it is ours");
        continue;
      }
      const auto [other, fresh] = own_domains_.emplace(name->text(), report_.where(entry.key_place));
      if (fresh)
        config_.alias_domains.push_back({*std::move(name), *std::move(target)});
      else
        domains.refuse(entry, "alias", fmt::format("{} stands already at {}", name->text(), place_text(other->second)));
    }
  }

  void deliver(const Section& section, DomainSection& domain) {
    static constexpr std::string_view kExpected =
        R"(expected "mailbox", smtp[s]://host[:port], lmtp://host[:port], lmtp:unix:PATH, "turn:" or "mx")";
    const auto* const value = section.get("deliver");
    if (value == nullptr) return;
    auto way = read_way(*value, kExpected, report_);
    if (!way)
      return section.refuse(*value, "deliver", std::move(way.error()));
    if (way->hop.kind == HopKind::kRefuse || way->hop.kind == HopKind::kDiscard)
      return section.refuse(*value, "deliver", std::string(kExpected));
    if (way->hop.weight > 0)
      return section.refuse(*value, "deliver", "nobody shares this mail: leave out the weight");
    domain.deliver = std::move(way->hop);
    domain.deliver.tls = way->tls.value_or(HopTls::kOptional);
  }

  void domain_names(const Section& section, DomainSection& domain) {
    section.require("name", "an array of domains");
    for (const auto* value : section.elements("name", kMaxElements)) {
      auto name = parse_domain(value->text);
      if (!name) {
        section.refuse(*value, "name", std::move(name.error()));
        continue;
      }
      const auto [other, fresh] = own_domains_.emplace(name->text(), report_.where(value->place));
      if (fresh)
        domain.names.push_back(*std::move(name));
      else
        section.refuse(*value, "name", stands_at(other->second));
    }
    if (const auto* const array = section.get("name"); array != nullptr && array->children.empty())
      section.refuse(*array, "name", "expected at least one domain");
  }

  void recipients(const Section& section, DomainSection& domain) {
    static constexpr std::string_view kFile = "file:";
    static constexpr std::string_view kExpected =
        R"("file:" and the name of a file, "ask", or "any")";
    section.require("recipients", kExpected);
    const auto* const value = section.get("recipients");
    if (value == nullptr) return;
    if (value->text == "any") {
      domain.recipients = RecipientsKind::kAny;
      return;
    }
    if (value->text == "ask") {
      domain.recipients = RecipientsKind::kAsk;
      if (domain.deliver.kind == HopKind::kMailbox || domain.deliver.kind == HopKind::kTurn)
        section.refuse(*value, "recipients",
                       R"(only a next hop can be asked: expected deliver = "smtp://host" or "mx")");
      return;
    }
    const auto where = report_.where(value->place);
    const auto path =
        value->text.starts_with(kFile)
            ? parse_path(std::string_view(value->text).substr(kFile.size()), where.file)
            : std::unexpected(std::string());
    if (!path) {
      section.refuse(*value, "recipients", fmt::format("expected {}", kExpected));
      return;
    }
    domain.users_file = *path;
    if (!domain.names.empty()) read_users_file(*path, where, domain, report_);
  }

  void mailbox() {
    const auto section = top_.section("mailbox");
    section.name("owner", config_.mailbox.owner, 32);
    config_.mailbox.where = section.where();
    if (const auto* const owner = section.get("owner"))
      config_.mailbox.where = report_.where(owner->place);
    section.integer("min_uid", config_.mailbox.min_uid, 1, kNoMore - 1);
    section.size("quota", config_.mailbox.quota);
    section.boolean("folders", config_.mailbox.folders);
    const auto* const value = section.get("path");
    if (value == nullptr) return;
    const auto wrong = mailbox_path(value->text, report_.where(value->place).file);
    if (!wrong.empty()) section.refuse(*value, "path", wrong);
    if (config_.mailbox.folders && config_.mailbox.kind == MailboxKind::kDrop)
      section.refuse(*section.get("folders"), "folders", "a drop is one directory, without folders");
  }

  // Empty, or what is wrong.
  std::string mailbox_path(std::string_view text, const std::string& file) {
    static constexpr std::string_view kMaildir = "maildir:";
    static constexpr std::string_view kDrop = "drop:";
    auto& mailbox = config_.mailbox;
    const bool drop = text.starts_with(kDrop);
    if (!drop && !text.starts_with(kMaildir))
      return R"(expected "maildir:" or "drop:" and a directory)";
    text.remove_prefix(drop ? kDrop.size() : kMaildir.size());
    auto path = parse_path(text, file);
    if (!path || path->size() > kMaxMailboxPath) return "expected a directory behind the colon";
    mailbox.kind = drop ? MailboxKind::kDrop : MailboxKind::kMaildir;
    mailbox.root = *path;
    mailbox.path.clear();
    bool has_user = false;
    for (auto at = path->find_first_of("{}"); at != std::string::npos;
         at = path->find_first_of("{}", at)) {
      const bool user = path->compare(at, 6, "{user}") == 0;
      if (!user && path->compare(at, 8, "{domain}") != 0)
        return "expected no braces but {domain} and {user}";
      has_user = has_user || user;
      at += user ? 6 : 8;
    }
    const auto first = path->find('{');
    if (drop)
      return first == std::string::npos ? ""
                                        : "a drop is one directory: expected no {domain} or {user}";
    if (!has_user) return "expected {user} in the path: each user has a mailbox";
    const auto slash = path->rfind('/', first);
    if (slash == 0) return "expected a directory before the first {domain} or {user}";
    mailbox.root = path->substr(0, slash);
    mailbox.path = path->substr(slash + 1);
    return {};
  }

  void delivery() {
    const auto delivery = top_.section("delivery");
    delivery.strings(
        "dns", config_.delivery.dns, kMaxResolvers,
        [](std::string_view text) -> Parsed<base::Endpoint> {
          static constexpr std::uint16_t kDns = 53;
          if (const auto address = base::parse_ip(text)) return base::Endpoint{*address, kDns};
          const auto endpoint = base::parse_endpoint(text);
          if (endpoint && endpoint->port > 0) return *endpoint;
          return std::unexpected("expected a resolver's address, like \"127.0.0.1:53\"");
        });
    delivery.integer("port", config_.delivery.port, 1, 65535);
    read_sources(delivery, config_.delivery.sources);
    if (delivery.given("forbid"))
      delivery.strings("forbid", config_.delivery.forbid, kMaxForbidden, parse_net);
    else
      for (const auto text : kForbidden)
        config_.delivery.forbid.push_back(*base::parse_network(text));
    delivery.choice("start", config_.delivery.start_disabled,
                    {{"as-left", false}, {"disabled", true}});
    if (const auto* const value = delivery.get("start"))
      config_.delivery.start_where = report_.where(value->place);
    delivery.boolean("trust_ad", config_.delivery.trust_ad);
    delivery.boolean("mta_sts", config_.delivery.mta_sts);
    delivery.integer("mta_sts_port", config_.delivery.mta_sts_port, 1, 65535);
    read_outgoing_tls(delivery, config_, report_);
  }

  void retry() {
    const auto section = top_.section("retry");
    auto& retry = config_.retry;
    if (section.given("after") || section.given("expire") || section.given("notify"))
      retry_place(section, retry);
    waits(section, retry.after);
    section.duration("expire", retry.expire, false);
    section.duration("notify", retry.notify, true);
    section.duration("max_gap", retry.max_gap, false);
    section.integer("spread", retry.spread, 0, 100);
    for (const auto& rule : limited(section.sections("rule"), kMaxSections, "retry.rule"))
      retry_rule(rule, retry.rules.emplace_back());
  }

  static void waits(const Section& section, std::vector<base::Millis>& after) {
    const auto* const value = section.get("after");
    if (value == nullptr) return;
    after.clear();
    section.strings("after", after, kMaxRetries,
                    [](std::string_view text) { return parse_time(text, false); });
    if (value->children.empty())
      section.refuse(*value, "after", R"(expected at least one time, like "15m")");
  }

  void retry_rule(const Section& section, RetryRule& rule) {
    retry_place(section, rule);
    section.choice<std::optional<FailureClass>>(
        "on", rule.on,
        {{"dns", FailureClass::kDns},
         {"connect", FailureClass::kConnect},
         {"greeting", FailureClass::kGreeting},
         {"tls", FailureClass::kTls},
         {"policy", FailureClass::kPolicy},
         {"mailbox", FailureClass::kMailbox},
         {"data", FailureClass::kData},
         {"local", FailureClass::kLocal},
         {"login", FailureClass::kLogin},
         {"any", std::nullopt}});
    retry_patterns(section, rule);
    waits(section, rule.after);
    if (section.given("expire")) section.duration("expire", rule.expire.emplace(), false);
    if (section.given("notify")) section.duration("notify", rule.notify.emplace(), true);
    if (!section.given("after") && !rule.expire && !rule.notify)
      report_.add(section.where(), "retry.rule.after",
                  "this key is missing: expected an array of times, or expire or notify");
  }

  // Queues by their names, so that each rule that stands here can apply.
  void retry_patterns(const Section& section, RetryRule& rule) {
    section.require("to", "an array of domains, like [\"slow.example\", \"*.slow.example\"]");
    for (const auto* value : section.elements("to", kMaxElements)) {
      auto pattern = parse_pattern(value->text);
      if (!pattern) {
        section.refuse(*value, "to", std::move(pattern.error()));
        continue;
      }
      if (goes_to_mailboxes(*pattern)) {
        section.refuse(*value, "to",
                       R"(mail for this [[domain]] goes to mailboxes: their queue is "local")");
        continue;
      }
      const auto [other, fresh] =
          rules_.emplace(std::pair(*pattern, rule.on), report_.where(value->place));
      if (fresh)
        rule.to.push_back(*std::move(pattern));
      else
        section.refuse(*value, "to",
                       "a rule for the same failures " + stands_at(other->second).substr(5));
    }
    if (const auto* const array = section.get("to"); array != nullptr && array->children.empty())
      section.refuse(*array, "to", "expected at least one domain");
  }

  [[nodiscard]] bool goes_to_mailboxes(const std::string& domain) const {
    return std::any_of(config_.domains.begin(), config_.domains.end(), [&](const auto& section) {
      return section.deliver.kind == HopKind::kMailbox &&
             std::any_of(section.names.begin(), section.names.end(),
                         [&](const mail::Domain& name) { return name.text() == domain; });
    });
  }

  static void retry_place(const Section& section, auto& into) {
    const auto where = section.where();
    into.file = where.file;
    into.line = where.line;
  }

  void limits() {
    const auto section = top_.section("limits");
    auto& limits = config_.limits;
    section.size("message_size", limits.message_size);
    section.integer("recipients", limits.recipients, 0, kMostRecipients);
    section.size("session_size", limits.session_size);
    section.integer("data_rate", limits.data_rate, 0, kNoMore);
    section.integer("connections", limits.connections, 0, kNoMore);
    section.integer("connections_per_client", limits.connections_per_client, 0, kNoMore);
    section.integer("messages_per_session", limits.messages_per_session, 0, kNoMore);
    const auto timeout = section.section("timeout");
    timeout.duration("command", limits.timeout.command, true);
    timeout.duration("data", limits.timeout.data, true);
    timeout.duration("idle", limits.timeout.idle, true);

    const auto space = top_.section("space");
    space.size("stop_intake", config_.space.stop_intake);
    space.size("reserve", config_.space.reserve);
    space.size("segment", config_.space.segment);
    const auto segment = config_.space.segment;
    if (const auto* const value = space.get("segment");
        segment < kLeastSegment || segment > kMostSegment || segment % kBlock != 0)
      return space.refuse(*value, "segment", "expected a multiple of 4KiB from 1MiB to 1GiB");
    room_in_segment(section, space);
  }

  // Whoever is let in must have room in one record of the journal.
  void room_in_segment(const Section& limits, const Section& space) {
    const auto segment = config_.space.segment;
    const auto recipients = config_.limits.recipients;
    const auto body = inline_body(config_.limits.message_size);
    const auto needed = segment_needed(recipients, body);
    if (needed <= segment) return;
    const auto larger = size_text((needed + kLargerBy - 1) / kLargerBy * kLargerBy);
    if (const auto* const value = limits.get("recipients"))
      limits.refuse(*value, "recipients",
                    fmt::format("a segment of the journal (space.segment, {}) has room for messages with {} "
                                "recipients; for {} it must be {}",
                                size_text(segment), most_recipients(segment, body), recipients, larger));
    else if (const auto* const smaller = space.get("segment"))
      space.refuse(*smaller, "segment",
                   fmt::format("expected at least {}, for messages with {} recipients; or set "
                               "limits.recipients to {} or less",
                               larger, recipients, most_recipients(segment, body)));
  }

  void history() {
    const auto history = top_.section("history");
    history.duration("keep", config_.history.keep, true);
    history.size("size", config_.history.size);
  }

  void output() {
    const auto bounce = top_.section("bounce");
    bounce.name("from", config_.bounce.from, 200);
    if (const auto* const to = bounce.get("copy_to"); to != nullptr && !to->text.empty())
      bounce.string("copy_to", config_.bounce.copy_to.emplace(), parse_address);
    if (const auto* const to = bounce.get("badmail"); to != nullptr && !to->text.empty())
      bounce.path("badmail", config_.bounce.badmail);
    const auto log = top_.section("log");
    if (const auto* const to = log.get("to"); to != nullptr && to->text != "stderr") {
      if (to->text.find_first_of("/.") == std::string::npos)  // no file is meant by "stdout"
        log.refuse(*to, "to", R"(expected "stderr", or a file's path like "/var/log/postern.log")");
      else
        log.path("to", config_.log.file);
    }
    log.choice("format", config_.log.role.format,
               {{"text", LogFormat::kText}, {"json", LogFormat::kJson}});
    log.choice("level", config_.log.role.level,
               {{"debug", LogLevel::kDebug},
                {"info", LogLevel::kInfo},
                {"warning", LogLevel::kWarning},
                {"error", LogLevel::kError}});
    const auto processes = top_.section("processes");
    processes.integer("smtpd", config_.processes.smtpd, 0, kMaxProcesses);
    processes.integer("relay", config_.processes.relay, 0, kMaxProcesses);
  }

  std::vector<Section> limited(std::vector<Section> sections, std::size_t limit,
                               std::string_view key) {
    if (sections.size() <= limit) return sections;
    report_.add(sections[limit].where(), std::string(key),
                fmt::format("expected at most {} such sections", limit));
    return {};
  }

  static std::string place_text(const Where& where) {
    return fmt::format("{}:{}:{}", where.file, where.line, where.column);
  }
  static std::string stands_at(const Where& where) {
    return fmt::format("this stands already at {}", place_text(where));
  }

  Section top_;
  Report& report_;
  Config config_;
  std::map<std::string, Where> own_domains_;  // names of all [[domain]] sections
  // `to` and `on` of all retry rules.
  std::map<std::pair<std::string, std::optional<FailureClass>>, Where> rules_;
};

}  // namespace

Config build(const Document& document, Report& report) {
  return Builder(document, report).build();
}

}  // namespace postern::config
