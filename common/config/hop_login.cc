#include "common/config/hop_login.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "common/config/hop.h"
#include "common/config/toml_file.h"

namespace postern::config {
namespace {

std::string_view text_of(const Section& section, std::string_view key) {
  const auto* const value = section.get(key);
  return value == nullptr ? std::string_view() : std::string_view(value->text);
}

// The first line; nothing may stand behind it.
std::expected<std::string, std::string> read_password(const std::string& path) {
  auto content = read_file(path, kMaxPasswordFile);
  if (!content) return std::unexpected(content.error());
  auto& password = *content;
  if (password.ends_with('\n')) password.pop_back();
  if (password.ends_with('\r')) password.pop_back();
  if (password.find('\n') != std::string::npos)
    return std::unexpected("holds more than one line: expected the password alone");
  if (auto bad = sasl::wrong_with_password(password); !bad.empty())
    return std::unexpected("holds no password: " + bad);
  return password;
}

// What is wrong with this hop in a route that logs in; empty: nothing.
std::string wrong_with(const HopSpec& hop) {
  switch (hop.kind) {
    case HopKind::kHost:
      break;
    case HopKind::kMx:
      return {};
    case HopKind::kMailbox:
    case HopKind::kRefuse:
    case HopKind::kDiscard:
    case HopKind::kSocket:
    case HopKind::kTurn:
      return fmt::format("nobody logs in at {}", hop_text(hop));
  }
  if (hop.lmtp) return fmt::format("nobody logs in at {}, by LMTP", hop_text(hop));
  return {};
}

// A password, and who has it.
struct Known {
  const HopSpec& hop;
  const std::string& password;
  const Where& where;
  std::string_view section;
};

std::vector<Known> all_logins(const Config& config) {
  std::vector<Known> all;
  for (const auto& route : config.routes)
    for (const auto& hop : route.via)
      if (!hop.login.empty()) all.push_back({hop, route.password, route.where, "route"});
  for (const auto& collect : config.collects)
    if (!collect.hop.login.empty()) all.push_back({collect.hop, collect.password, collect.where, "collect"});
  return all;
}

bool takes_password(const HopSpec& hop) { return hop.kind == HopKind::kHost && !hop.lmtp; }

}  // namespace

void read_hop_login(const Section& section, Route& route) {
  for (const auto* key : {"login", "password_file", "via"})
    if (section.given(key) && section.get(key) == nullptr) return;
  const auto login = text_of(section, "login");
  const auto file = text_of(section, "password_file");
  if ((login.empty() && file.empty()) || route.via.empty()) return;
  if (login.empty() || file.empty())
    return section.refuse(*section.get(login.empty() ? "password_file" : "login"),
                          login.empty() ? "password_file" : "login",
                          login.empty() ? "a password without an account: say login"
                                        : "an account without a password: say password_file");
  const auto& value = *section.get("login");
  if (auto bad = sasl::wrong_with_account(login); !bad.empty())
    return section.refuse(value, "login", std::move(bad));
  // Whatever else a network or a DNS can be made to say, the password goes to the host of that name alone.
  if (std::ranges::any_of(route.via,
                          [](const HopSpec& hop) { return takes_password(hop) && hop.tls != HopTls::kVerified; }))
    return section.refuse(value, "login",
                          R"(a password is sent over verified TLS alone: say tls = "verified")");
  for (const auto& hop : route.via)
    if (auto bad = wrong_with(hop); !bad.empty())
      return section.refuse(value, "login", std::move(bad));
  section.path("password_file", route.password_file);
  if (route.password_file.empty()) return;
  auto password = read_password(route.password_file);
  if (!password)
    return section.refuse(*section.get("password_file"), "password_file",
                          fmt::format("the file {} {}", route.password_file, password.error()));
  route.password = *std::move(password);
  bool somewhere = false;
  for (auto& hop : route.via) {
    if (hop.kind != HopKind::kHost) continue;
    hop.login = login;
    somewhere = true;
  }
  if (!somewhere)
    section.refuse(value, "login", "this route names no host to log in at: expected smtp:// or smtps://");
}

void check_hop_logins(const Config& config, Report& report) {
  const auto all = all_logins(config);
  std::map<std::tuple<std::string, std::uint16_t, std::string>, const Known*> known;
  for (const auto& one : all) {
    const auto& hop = one.hop;
    const auto [other, fresh] = known.emplace(std::tuple(hop.host, hop.port, hop.login), &one);
    if (fresh || other->second->password == one.password) continue;
    report.add(one.where, fmt::format("{}.password_file", one.section),
               fmt::format("{} has another password at {} in the {} at {}:{}", hop.login, hop_text(hop),
                           other->second->section, other->second->where.file, other->second->where.line));
  }
}

std::vector<RelayLogin> hop_logins(const Config& config) {
  std::vector<RelayLogin> logins;
  for (const auto& [hop, password, where, section] : all_logins(config))
    logins.push_back({hop.host, hop.port, hop.login, password});
  const auto place = [](const RelayLogin& one) { return std::tie(one.host, one.port, one.user); };
  std::ranges::sort(logins, {}, place);
  const auto more = std::ranges::unique(logins, {}, place);
  logins.erase(more.begin(), more.end());
  return logins;
}

}  // namespace postern::config
