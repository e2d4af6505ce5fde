#include "deliverd/fetch/sts.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/mail/domain.h"

namespace postern::fetch {
namespace {

constexpr std::string_view kVersion = "STSv1";
constexpr std::size_t kMaxDigits = 10;  // of max_age, RFC 8461 3.2

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// The text up to `end`, which is taken off `rest` with it.
std::string_view take_until(std::string_view& rest, char end) {
  const auto part = rest.substr(0, rest.find(end));
  rest.remove_prefix(std::min(rest.size(), part.size() + 1));
  return part;
}

std::optional<StsMode> mode_of(std::string_view text) {
  if (text == "enforce") return StsMode::kEnforce;
  if (text == "testing") return StsMode::kTesting;
  if (text == "none") return StsMode::kNone;
  return std::nullopt;
}

std::optional<base::Millis> age_of(std::string_view text) {
  if (text.size() > kMaxDigits) return std::nullopt;
  const auto seconds = base::parse_number(text);
  if (!seconds) return std::nullopt;
  return std::min<base::Millis>(std::chrono::seconds(*seconds), kMaxStsAge);
}

// A star stands for the first label, and for nothing else.
std::optional<std::string> host_of(std::string_view text) {
  const bool any = text.starts_with("*.");
  const auto name = mail::Domain::parse(any ? text.substr(2) : text);
  if (!name || name->is_literal()) return std::nullopt;
  return (any ? "*." : "") + name->text();
}

bool names(const std::string& pattern, std::string_view host) {
  if (!pattern.starts_with("*.")) return pattern == host;
  const auto dot = host.find('.');
  return dot != std::string_view::npos && dot > 0 &&
         host.substr(dot) == std::string_view(pattern).substr(1);
}

}  // namespace

std::optional<std::string> read_sts_record(const std::vector<std::string>& texts) {
  const std::string* found = nullptr;
  for (const auto& text : texts) {
    std::string_view rest = text;
    if (base::trim(take_until(rest, ';')) != "v=STSv1") continue;
    if (found != nullptr) return std::nullopt;  // RFC 8461 3.1
    found = &text;
  }
  if (found == nullptr) return std::nullopt;
  std::string_view rest = *found;
  while (!rest.empty()) {
    auto field = take_until(rest, ';');
    const auto key = base::trim(take_until(field, '='));
    const auto value = base::trim(field);
    if (key != "id") continue;
    const bool good = !value.empty() && value.size() <= ipc::kPolicyId &&
                      std::all_of(value.begin(), value.end(), is_alphanumeric);
    return good ? std::optional<std::string>(value) : std::nullopt;
  }
  return std::nullopt;
}

std::expected<StsPolicy, std::string> read_sts_policy(std::string_view body) {
  if (body.size() > kMaxStsPolicy) return std::unexpected("longer than 64 KiB");
  std::optional<std::string_view> version;
  std::optional<StsMode> mode;
  std::optional<base::Millis> age;
  std::size_t names = 0;
  StsPolicy policy;
  while (!body.empty()) {
    auto line = take_until(body, '\n');
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto colon = line.find(':');
    const auto key = base::trim(line.substr(0, colon));
    const auto value = colon == std::string_view::npos ? "" : base::trim(line.substr(colon + 1));
    // Of a key that stands twice the first counts (RFC 8461 3.2).
    if (key == "version" && !version) version = value;
    if (key == "mode" && !mode && !(mode = mode_of(value)))
      return std::unexpected(fmt::format("no such mode: {}", base::printable(value, 40)));
    if (key == "max_age" && !age && !(age = age_of(value)))
      return std::unexpected(fmt::format("no such max_age: {}", base::printable(value, 40)));
    if (key != "mx") continue;
    auto host = host_of(value);
    if (!host) return std::unexpected(fmt::format("no such mx: {}", base::printable(value, 80)));
    names += host->size();
    if (policy.hosts.size() == kMaxStsHosts || names > kMaxStsNames) return std::unexpected("too many mx");
    policy.hosts.push_back(*std::move(host));
  }
  if (version != kVersion) return std::unexpected("not of version STSv1");
  if (!mode || !age) return std::unexpected(mode ? "no max_age" : "no mode");
  if (policy.hosts.empty() && *mode != StsMode::kNone) return std::unexpected("no mx");
  policy.mode = *mode;
  policy.max_age = *age;
  return policy;
}

bool names_host(const StsPolicy& policy, std::string_view host) {
  const auto lower = base::to_lower(host);
  return std::any_of(policy.hosts.begin(), policy.hosts.end(),
                     [&](const std::string& one) { return names(one, lower); });
}

}  // namespace postern::fetch
