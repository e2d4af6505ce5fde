#include "tests/unit/smtpd/dialogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

#include "common/base/text.h"
#include "tests/unit/smtpd/harness.h"

namespace postern::smtpd::test {
namespace {

constexpr std::size_t kMaxRepeat = 1'000'000;

[[noreturn]] void malformed(const std::string& path, unsigned line, std::string_view what) {
  std::fputs(fmt::format("{}:{}: {}\n", path, line, what).c_str(), stderr);
  std::exit(2);
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> list;
  for (std::string word; in >> word;) list.push_back(word);
  return list;
}

// "452 4.3.1 text"
mail::Reply reply(const std::string& text) {
  mail::Reply made;
  unsigned code = 0, status = 0, subject = 0, detail = 0;
  int used = 0;
  if (std::sscanf(text.c_str(), "%u %u.%u.%u %n", &code, &status, &subject, &detail, &used) < 4)
    return made;
  made.code = static_cast<std::uint16_t>(code);
  made.enhanced = {static_cast<std::uint8_t>(status), static_cast<std::uint16_t>(subject),
                   static_cast<std::uint16_t>(detail)};
  made.lines = {text.substr(static_cast<std::size_t>(used))};
  return made;
}

bool set_limit(Service& service, const std::string& text) {
  auto& limits = service.limits;
  const auto parts = words(text);
  if (parts.size() != 2) return false;
  const auto value = std::stoull(parts[1]);
  if (parts[0] == "message_size")
    limits.message_size = value;
  else if (parts[0] == "recipients")
    limits.recipients = static_cast<std::uint32_t>(value);
  else if (parts[0] == "expanded")
    service.expanded = static_cast<std::uint32_t>(value);
  else if (parts[0] == "session_size")
    limits.session_size = value;
  else if (parts[0] == "messages_per_session")
    limits.messages_per_session = static_cast<std::uint32_t>(value);
  else
    return false;
  return true;
}

bool set_networks(std::vector<base::Network>& networks, const std::string& value) {
  networks.clear();
  for (const auto& word : words(value)) networks.push_back(base::parse_network(word).value());
  return true;
}

// "sender *@example.net 550 5.7.1 text", as the parser of the configuration makes it.
bool add_rule(std::vector<config::PolicyRule>& rules, const std::string& value) {
  static const std::vector<std::string> kSubjects{"client", "hello", "sender", "recipient"};
  const auto parts = words(value);
  if (parts.size() < 2) return false;
  const auto subject = std::find(kSubjects.begin(), kSubjects.end(), parts[0]) - kSubjects.begin();
  const auto reply = value.find(parts[1]) + parts[1].size();
  rules.push_back({static_cast<config::PolicySubject>(subject), parts[1],
                   std::string(base::trim(value.substr(reply)))});
  return subject < 4;
}

// Who a client is, and what that changes.
std::optional<bool> set_client(Dialogue& d, const std::string& key, const std::string& value) {
  auto& listener = d.rights.listeners.front();
  if (key == "proxied") return d.proxied = base::parse_ip(value), d.proxied.has_value();
  if (key == "proxy_from") return set_networks(listener.proxy_from, value);
  if (key == "xclient_from") return set_networks(listener.xclient_from, value);
  if (key == "etrn_from") return set_networks(listener.etrn_from, value);
  if (key == "xforward_from") {
    std::vector<base::Network> networks;
    set_networks(networks, value);
    return d.service.xforward_from = config::NetworkSet(networks), true;
  }
  if (key == "clients") return set_networks(d.policy.clients, value);
  if (key == "not_clients") return set_networks(d.policy.not_clients, value);
  if (key == "deny") return add_rule(d.policy.deny, value);
  if (key == "allow") return add_rule(d.policy.allow, value);
  if (key == "reverse") {
    d.policy.reverse = value == "require" ? config::Reverse::kRequire : config::Reverse::kNote;
    return value == "require" || value == "note";
  }
  if (key == "name") {
    d.name_of_client = value == "none" ? ClientName::kNone : ClientName::kConfirmed;
    return value == "none" || value == "confirmed";
  }
  if (key == "most_messages") return d.most_messages = std::stoul(value), true;
  if (key == "most_introductions") return d.most_introductions = std::stoul(value), true;
  return std::nullopt;
}

bool set(Dialogue& d, const std::string& key, const std::string& value) {
  auto& listener = d.rights.listeners.front();
  auto& domain = d.rights.domains.front();
  if (const auto done = set_client(d, key, value)) return *done;
  if (key == "service") {
    listener.service = value == "relay"        ? config::Service::kRelay
                       : value == "submission" ? config::Service::kSubmission
                                               : config::Service::kMx;
    d.service.login_required = value == "submission";
    return value == "relay" || value == "mx" || value == "submission";
  }
  if (key == "client") {
    d.client = base::parse_ip(value);
    return d.client.has_value() || value == "unix";
  }
  if (key == "users") {
    domain.users = words(value);
    std::sort(domain.users.begin(), domain.users.end());
    return true;
  }
  if (key == "ask") {  // whom the next hop knows
    domain.recipients = config::RecipientsKind::kAsk;
    d.known = words(value);
    return true;
  }
  if (key == "unknown") return d.unknown = reply(value), d.unknown->code != 0;
  if (key == "extension") return domain.extension = value, true;
  if (key == "relay_from") return set_networks(listener.relay_from, value);
  if (key == "default_domain") {
    d.service.default_domain = value.empty() ? mail::Domain() : mail::Domain::parse(value).value();
    return true;
  }
  if (key == "require_hello") return d.service.require_hello = value != "no", true;
  if (key == "tls") {
    d.service.tls = value == "optional"   ? config::TlsMode::kOptional
                    : value == "required" ? config::TlsMode::kRequired
                    : value == "implicit" ? config::TlsMode::kImplicit
                                          : config::TlsMode::kOff;
    return d.service.tls != config::TlsMode::kOff;
  }
  if (key == "mechanisms") {
    for (const auto& word : words(value)) d.service.mechanisms.push_back(sasl::find_mechanism(word).value());
    return true;
  }
  if (key == "atrn") return d.service.atrn = value == "yes", true;
  if (key == "plaintext_logins") return d.service.plaintext_logins = value == "yes", true;
  if (key == "auth_down") return d.auth_down = value == "yes", true;
  if (key == "tls_busy") return d.tls_busy = value == "yes", true;
  if (key == "certificate") return d.certificate = value, true;
  if (key == "binds") return d.binds = value == "yes", true;
  if (key == "cut") {
    d.cut = value == "bytes" ? Dialogue::Cut::kBytes : Dialogue::Cut::kWhole;
    return value == "bytes" || value == "whole";
  }
  if (key == "limit") return set_limit(d.service, value);
  if (key == "intake") return d.intake = reply(value), d.intake->code != 0;
  if (key == "result") return d.result = reply(value), d.result->code != 0;
  return false;
}

std::string unescaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    if (c == 'x') {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else if (c == '(') {
      const auto star = text.find('*', i);
      const auto close = text.find(')', i);
      const auto count = std::min<std::size_t>(std::stoul(text.substr(i + 1)), kMaxRepeat);
      const auto unit = unescaped(text.substr(star + 1, close - star - 1));
      for (std::size_t n = 0; n < count; ++n) out += unit;
      i = close;
    } else {
      const std::string_view from = "rnt0\\", to("\r\n\t\0\\", 5);
      const auto at = from.find(c);
      out += at == std::string_view::npos ? c : to[at];
    }
  }
  return out;
}

bool add_step(Dialogue& d, const std::string& text, unsigned line) {
  const auto argument = text.size() > 3 ? text.substr(3) : std::string();
  if (text.starts_with("C:"))
    d.steps.push_back({Step::Kind::kSend, argument + "\r\n", line});
  else if (text.starts_with("X: "))
    d.steps.push_back({Step::Kind::kSend, unescaped(argument), line});
  else if (text.starts_with("S: "))
    d.steps.push_back({Step::Kind::kExpect, argument, line});
  else if (text.starts_with("M: "))
    d.messages.push_back(argument);
  else if (text == "!shutdown")
    d.steps.push_back({Step::Kind::kShutdown, {}, line});
  else if (text == "!timeout")
    d.steps.push_back({Step::Kind::kTimeout, {}, line});
  else if (text == "!tls")
    d.steps.push_back({Step::Kind::kTls, {}, line});
  else if (text == "!locked")
    d.steps.push_back({Step::Kind::kLocked, {}, line});
  else if (text == "closed")
    d.closed = true;
  else
    return text.empty();
  return true;
}

}  // namespace

Dialogue read_dialogue(const std::string& path) {
  Dialogue d;
  d.name = std::filesystem::path(path).stem().string();
  d.rights = sample_rights();
  d.service.hostname = "mx.example.org";
  d.service.default_domain = mail::Domain::parse("example.org").value();
  d.client = base::parse_ip("192.0.2.1");

  std::ifstream file(path);
  bool in_settings = true;
  unsigned line = 0;
  for (std::string text; std::getline(file, text);) {
    ++line;
    if (text.starts_with('#')) continue;
    if (in_settings && text.empty()) {
      in_settings = false;
    } else if (in_settings) {
      const auto colon = text.find(':');
      if (colon == std::string::npos) malformed(path, line, "no setting");
      const auto value = std::string(base::trim(text.substr(colon + 1)));
      if (!set(d, text.substr(0, colon), value)) malformed(path, line, "unknown setting");
    } else if (!add_step(d, text, line)) {
      malformed(path, line, "unknown step");
    }
  }
  if (d.steps.empty()) malformed(path, line, "no steps");
  return d;
}

bool matches(const std::string& expected, const std::string& text) {
  if (!expected.ends_with("...")) return expected == text;
  return text.starts_with(expected.substr(0, expected.size() - 3));
}

}  // namespace postern::smtpd::test
