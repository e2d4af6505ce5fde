#include "common/config/accounts_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "common/base/text.h"
#include "common/config/toml_file.h"
#include "common/sasl/password_hash.h"
#include "common/sasl/scram_verifier.h"

namespace postern::config {
namespace {

constexpr std::size_t kMaxBadAccounts = 100;  // reported of one file

using sasl::ScramVerifier;

void read_accounts(const std::string& path, const Section& section, Auth& auth, Report& report) {
  const auto content = read_file(path, kMaxAccountsFile);
  if (!content) {
    section.refuse(*section.get("accounts"), "accounts",
                   fmt::format("the file {} {}", path, content.error()));
    return;
  }
  std::string_view rest = *content;
  std::size_t bad = 0;
  std::unordered_map<std::string, std::uint32_t> lines;
  const auto refuse = [&](std::uint32_t number, std::size_t at, std::string quoted, std::string wrong) {
    if (++bad <= kMaxBadAccounts)
      report.add(Mistake{path, number, static_cast<std::uint32_t>(at) + 1, {}, std::move(quoted),
                         std::move(wrong)});
  };
  for (std::uint32_t number = 1; !rest.empty(); ++number) {
    auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (is_account_comment(line)) continue;
    auto entry = parse_account(line);
    if (!entry) {  // nothing behind the name is shown: it may be a password
      const auto name = base::printable(line.substr(0, line.find(':')), 60);
      refuse(number, entry.error().at, '"' + name + '"', std::move(entry.error().text));
      continue;
    }
    const auto [other, fresh] = lines.emplace(entry->name, number);
    if (fresh)
      auth.accounts.push_back(*std::move(entry));
    else
      refuse(number, 0, '"' + entry->name + '"',
             fmt::format("this account stands already in line {}", other->second));
  }
  if (bad > kMaxBadAccounts)
    report.add(Where{path}, {}, fmt::format("{} more bad lines", bad - kMaxBadAccounts));
  if (auth.accounts.size() > kMaxAccounts)
    report.add(Where{path}, {}, fmt::format("expected at most {} accounts", kMaxAccounts));
}

void read_dovecot(const Section& section, Auth& auth, Report& report) {
  static constexpr std::string_view kUnix = "unix:";
  const auto* const value = section.get("dovecot");
  if (value == nullptr || value->text.empty()) return;
  const auto path = value->text.starts_with(kUnix)
                        ? parse_path(std::string_view(value->text).substr(kUnix.size()),
                                     report.where(value->place).file)
                        : std::unexpected(std::string());
  if (!path)
    return section.refuse(*value, "dovecot",
                          R"(expected "unix:" and a socket, like "unix:/run/dovecot/auth-postern")");
  if (path->size() > kMaxSocketPath)
    return section.refuse(*value, "dovecot",
                          fmt::format("{} is too long for the name of a socket", *path));
  auth.dovecot = *path;
  if (!auth.accounts_file.empty())
    section.refuse(*value, "dovecot", "accounts are in a file or with Dovecot, not both");
}

void read_mechanisms(const Section& section, Auth& auth) {
  static constexpr std::string_view kExpected =
      R"(expected "PLAIN", "LOGIN", "SCRAM-SHA-256" or "SCRAM-SHA-256-PLUS")";
  const auto* const array = section.get("mechanisms");
  if (array == nullptr) return;
  if (array->children.empty()) return section.refuse(*array, "mechanisms", std::string(kExpected));
  auth.mechanisms.clear();
  for (const auto* value : section.elements("mechanisms", sasl::kMechanisms)) {
    const auto mechanism = sasl::find_mechanism(value->text);
    auto& all = auth.mechanisms;
    if (!mechanism)
      section.refuse(*value, "mechanisms", std::string(kExpected));
    else if (std::find(all.begin(), all.end(), *mechanism) != all.end())
      section.refuse(*value, "mechanisms", "this mechanism is named before");
    else if (!auth.dovecot.empty() && *mechanism != sasl::Mechanism::kPlain &&
             *mechanism != sasl::Mechanism::kLogin)
      section.refuse(*value, "mechanisms", R"(Dovecot is asked by "PLAIN" and "LOGIN" alone)");
    else
      all.push_back(*mechanism);
  }
}

}  // namespace

bool is_account_comment(std::string_view line) noexcept {
  line = base::trim(line);
  return line.empty() || line.front() == '#';
}

std::expected<AccountEntry, AccountMistake> parse_account(std::string_view line) {
  const auto wrong = [](std::size_t at, std::string text) {
    return std::unexpected(AccountMistake{at, std::move(text)});
  };
  if (line.size() > kMaxAccountLine)
    return wrong(kMaxAccountLine, fmt::format("expected at most {} characters", kMaxAccountLine));
  const auto colon = line.find(':');
  if (colon == std::string_view::npos)
    return wrong(line.size(), "expected NAME:HASH, or NAME:HASH:VERIFIER");
  AccountEntry entry;
  entry.name = line.substr(0, colon);
  if (auto bad = sasl::wrong_with_account(entry.name); !bad.empty()) return wrong(0, std::move(bad));
  if (base::to_lower(entry.name) != entry.name)
    return wrong(0, "expected the name in lower case");
  auto at = colon + 1;
  auto rest = line.substr(at);
  if (!rest.starts_with(ScramVerifier::kPrefix)) {
    entry.hash = rest.substr(0, rest.find(':'));
    if (auto bad = sasl::wrong_with_hash(entry.hash); !bad.empty()) return wrong(at, std::move(bad));
    if (entry.hash.size() == rest.size()) return entry;
    at += entry.hash.size() + 1;
    rest = line.substr(at);
  }
  const auto verifier = ScramVerifier::parse(rest);
  if (!verifier) return wrong(at, verifier.error());
  entry.verifier = rest;
  return entry;
}

std::string account_line(const AccountEntry& entry) {
  auto line = entry.name;
  if (!entry.hash.empty()) line += ':' + entry.hash;
  if (!entry.verifier.empty()) line += ':' + entry.verifier;
  return line;
}

void read_auth(const Section& top, Config& config, Report& report) {
  const auto section = top.section("auth");
  auto& auth = config.auth;
  auth.where = section.where();
  section.boolean("allow_plaintext", auth.allow_plaintext);
  if (const auto* const file = section.get("accounts"); file != nullptr && !file->text.empty()) {
    section.path("accounts", auth.accounts_file);
    if (!auth.accounts_file.empty()) read_accounts(auth.accounts_file, section, auth, report);
  }
  read_dovecot(section, auth, report);
  // It has the passwords, and no mechanism goes through it that binds to our TLS or needs more than it
  // is asked for.
  if (!auth.dovecot.empty()) auth.mechanisms = {sasl::Mechanism::kPlain, sasl::Mechanism::kLogin};
  read_mechanisms(section, auth);
}

}  // namespace postern::config
