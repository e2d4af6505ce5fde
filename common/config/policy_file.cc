#include "common/config/policy_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <expected>
#include <optional>

#include "common/base/text.h"
#include "common/base/utf8.h"
#include "common/config/names.h"
#include "common/config/toml_file.h"
#include "common/config/units.h"
#include "common/config/users_file.h"

namespace postern::config {
namespace {

constexpr std::size_t kMaxNetworks = 10'000;
constexpr std::string_view kAnybody = "*";
constexpr std::string_view kBlank = " \t";
constexpr std::string_view kDefaultText = "Refused by the policy of this server";

using Wrong = std::string;
template <class T>
using Parsed = std::expected<T, Wrong>;

// The first word, and the blanks behind it.
std::string_view take_word(std::string_view& text) {
  const auto word = text.substr(0, text.find_first_of(kBlank));
  text.remove_prefix(word.size());
  text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
  return word;
}

// --- Patterns -----------------------------------------------------------------------------------

Parsed<std::string> client_pattern(std::string_view text) {
  const auto network = parse_net(text);
  if (!network) return std::unexpected(network.error());
  return base::to_string(*network);
}

// "*", "name", "*.name", or a literal.
Parsed<std::string> hello_pattern(std::string_view text) {
  static constexpr std::string_view kExpected =
      "expected a host name, \"*.example.net\" or \"*\"";
  if (text == kAnybody) return std::string(text);
  const auto name = text.starts_with("*.") ? text.substr(2) : text;
  if (!mail::is_hello_name(name)) return std::unexpected(Wrong(kExpected));
  return base::to_lower(text);
}

Parsed<std::string> address_pattern(std::string_view text) {
  static constexpr std::string_view kExpected =
      "expected an address, \"*@example.net\", \"*@*.example.net\", \"user@*\" or \"*\"";
  if (text == kAnybody) return std::string(text);
  const auto at = text.rfind('@');
  if (at == std::string_view::npos) return std::unexpected(Wrong(kExpected));
  const auto local_part = text.substr(0, at), domain = text.substr(at + 1);
  const bool wild = local_part == kAnybody;
  if (domain == kAnybody) {  // some user, wherever
    const auto address = parse_address(std::string(local_part) + "@x.example");
    if (wild || !address) return std::unexpected(Wrong(kExpected));
    const auto written = base::folded(address->text());  // in quotes where it needs them
    return written.substr(0, written.rfind('@')) + "@*";
  }
  const bool below = wild && domain.starts_with("*.");
  const auto name = parse_domain(below ? domain.substr(2) : domain);
  if (!name) return std::unexpected(name.error());
  if (below) return "*@*." + name->text();
  if (wild) return "*@" + name->text();
  const auto address = parse_address(text);
  if (!address) return std::unexpected(address.error());
  return base::folded(address->text());
}

Parsed<std::string> pattern_of(PolicySubject subject, std::string_view text) {
  switch (subject) {
    case PolicySubject::kClient:
      return client_pattern(text);
    case PolicySubject::kHello:
      return hello_pattern(text);
    case PolicySubject::kSender:
      if (text == "<>") return std::string(text);
      return address_pattern(text);
    case PolicySubject::kRecipient:
      return address_pattern(text);
  }
  return std::unexpected(Wrong());
}

std::optional<PolicySubject> subject_of(std::string_view word) {
  static constexpr std::pair<std::string_view, PolicySubject> kNames[] = {
      {"client", PolicySubject::kClient},
      {"hello", PolicySubject::kHello},
      {"sender", PolicySubject::kSender},
      {"recipient", PolicySubject::kRecipient}};
  for (const auto& [name, subject] : kNames)
    if (name == word) return subject;
  return std::nullopt;
}

// --- Replies ------------------------------------------------------------------------------------

bool is_digits(std::string_view word) {
  return !word.empty() && word.find_first_not_of("0123456789") == std::string_view::npos;
}

// "5.7.1", of the class that the code has.
bool is_status(std::string_view word, char code_class) {
  const auto first = word.find('.');
  const auto second = word.find('.', first == std::string_view::npos ? first : first + 1);
  if (second == std::string_view::npos) return false;
  const auto subject = word.substr(first + 1, second - first - 1), detail = word.substr(second + 1);
  return word.substr(0, first) == std::string_view(&code_class, 1) && is_digits(subject) &&
         is_digits(detail) && subject.size() <= 3 && detail.size() <= 3;
}

// The whole line that a denied recipient gets.
Parsed<std::string> reply_of(std::string_view text) {
  if (std::any_of(text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }))
    return std::unexpected(Wrong("expected a text in printable ASCII"));
  std::string code = "550";
  auto rest = text;
  if (const auto word = rest.substr(0, rest.find(' ')); word.size() == 3 && is_digits(word)) {
    if ((word.front() != '4' && word.front() != '5') || word[1] > '5' || word == "421")
      return std::unexpected(Wrong("expected a code from 400 to 559, and not 421"));
    code = take_word(rest);
  }
  std::string status = code.substr(0, 1) + ".7.1";
  if (const auto word = rest.substr(0, rest.find(' ')); is_status(word, code.front()))
    status = take_word(rest);
  auto reply = fmt::format("{} {} {}", code, status, rest.empty() ? kDefaultText : rest);
  if (reply.size() > kMaxPolicyReply)
    return std::unexpected(fmt::format("expected at most {} characters", kMaxPolicyReply));
  return reply;
}

// --- Files --------------------------------------------------------------------------------------

struct LineMistake {
  std::string_view at;  // part of the line
  std::string text;
};

std::expected<PolicyRule, LineMistake> parse_rule(std::string_view line, bool denies) {
  auto rest = line;
  const auto word = take_word(rest);
  const auto subject = subject_of(word);
  if (!subject)
    return std::unexpected(
        LineMistake{word, "expected \"client\", \"hello\", \"sender\" or \"recipient\""});
  const auto named = take_word(rest);
  if (named.empty()) return std::unexpected(LineMistake{line, "expected a pattern behind this"});
  auto pattern = pattern_of(*subject, named);
  if (!pattern) return std::unexpected(LineMistake{named, std::move(pattern.error())});
  PolicyRule rule{*subject, *std::move(pattern), {}};
  if (!denies) {
    if (rest.empty()) return rule;
    return std::unexpected(LineMistake{rest, "what is allowed has no reply: expected nothing here"});
  }
  auto reply = reply_of(rest);
  if (!reply) return std::unexpected(LineMistake{rest, std::move(reply.error())});
  rule.reply = *std::move(reply);
  return rule;
}

void read_rules(const std::string& path, const Where& where, std::string_view key,
                std::vector<PolicyRule>& rules, Report& report) {
  const auto content = read_file(path, kMaxPolicyFile);
  if (!content)
    return report.add(where, fmt::format("policy.{}", key),
                      fmt::format("the file {} {}", path, content.error()));
  std::string_view rest = *content;
  std::size_t bad = 0;
  for (std::uint32_t number = 1; !rest.empty(); ++number) {
    const auto whole = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(whole.size() + 1, rest.size()));
    const auto line =
        base::trim(whole.ends_with('\r') ? whole.substr(0, whole.size() - 1) : whole);
    if (line.empty() || line.front() == '#') continue;
    auto rule = parse_rule(line, key == "deny");
    if (rule) {
      rules.push_back(*std::move(rule));
    } else if (++bad <= kMaxBadLines) {
      const auto& [at, text] = rule.error();
      const auto column = static_cast<std::uint32_t>(at.data() - whole.data()) + 1;
      report.add(Mistake{path, number, column, {}, '"' + base::printable(at, 60) + '"', text});
    }
  }
  if (bad > kMaxBadLines)
    report.add(Where{path}, {}, fmt::format("{} more bad lines", bad - kMaxBadLines));
  if (rules.size() > kMaxPolicyRules)
    report.add(Where{path}, {}, fmt::format("expected at most {} rules", kMaxPolicyRules));
}

void read_list(const Section& section, std::string_view key, std::string& path,
               std::vector<PolicyRule>& rules, Report& report) {
  const auto* const value = section.get(key);
  if (value == nullptr || value->text.empty()) return;
  section.path(key, path);
  if (!path.empty()) read_rules(path, report.where(value->place), key, rules, report);
}

}  // namespace

void read_policy(const Section& top, Config& config, Report& report) {
  auto& policy = config.policy;
  const auto section = top.section("policy");
  for (const auto* value : section.elements("clients", kMaxNetworks)) {
    const bool without = value->text.starts_with('!');
    auto network = parse_net(std::string_view(value->text).substr(without ? 1 : 0));
    if (!network)
      section.refuse(*value, "clients", network.error() + "; with \"!\" before it, without these");
    else
      (without ? policy.not_clients : policy.clients).push_back(*network);
  }
  read_list(section, "deny", config.deny_file, policy.deny, report);
  read_list(section, "allow", config.allow_file, policy.allow, report);
  section.string("rate", policy.rate, [](std::string_view text) -> Parsed<Rate> {
    const auto rate = parse_count(text);
    if (!rate) return std::unexpected(R"(expected messages in a time, like "60/min", or "0")");
    return Rate{rate->first, rate->second};
  });
  section.choice("reverse", policy.reverse,
                 {{"off", Reverse::kOff}, {"note", Reverse::kNote}, {"require", Reverse::kRequire}});
}

}  // namespace postern::config
