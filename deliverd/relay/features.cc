#include "deliverd/relay/features.h"

#include <algorithm>
#include <string_view>

#include "common/base/text.h"

namespace postern::relay {
namespace {

// RFC 9422 3: "NAME=VALUE", of which only what is well formed counts.
void read_limits(std::string_view words, Limits& limits) {
  constexpr std::size_t kMaxDigits = 6;
  while (!words.empty()) {
    const auto word = words.substr(0, words.find(' '));
    words.remove_prefix(std::min(words.size(), word.size() + 1));
    const auto equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    const auto name = word.substr(0, equals);
    const auto digits = word.substr(equals + 1);
    const auto value = digits.size() > kMaxDigits ? 0 : base::parse_number(digits).value_or(0);
    if (value == 0) continue;
    if (base::equals_ignoring_case(name, "MAILMAX")) limits.transactions = value;
    if (base::equals_ignoring_case(name, "RCPTMAX")) limits.recipients = value;
    if (base::equals_ignoring_case(name, "RCPTDOMAINMAX")) limits.domains = value;
  }
}

// RFC 4954 3; those that we do not have are passed over.
void read_mechanisms(std::string_view words, MechanismSet& mechanisms) {
  while (!words.empty()) {
    const auto word = words.substr(0, words.find(' '));
    words.remove_prefix(std::min(words.size(), word.size() + 1));
    if (const auto mechanism = sasl::find_mechanism(word)) mechanisms.add(*mechanism);
  }
}

}  // namespace

Features read_features(const mail::Reply& reply) {
  Features features;
  for (std::size_t i = 1; i < reply.lines.size(); ++i) {  // the first line is a greeting
    const std::string_view line = reply.lines[i];
    const auto space = line.find(' ');
    const auto keyword = line.substr(0, space);
    if (base::equals_ignoring_case(keyword, "PIPELINING")) features.pipelining = true;
    if (base::equals_ignoring_case(keyword, "8BITMIME")) features.eight_bit = true;
    if (base::equals_ignoring_case(keyword, "SMTPUTF8")) features.smtputf8 = true;
    if (base::equals_ignoring_case(keyword, "CHUNKING")) features.chunking = true;
    if (base::equals_ignoring_case(keyword, "BINARYMIME")) features.binary = true;
    if (base::equals_ignoring_case(keyword, "DSN")) features.dsn = true;
    if (base::equals_ignoring_case(keyword, "STARTTLS")) features.starttls = true;
    if (base::equals_ignoring_case(keyword, "REQUIRETLS")) features.require_tls = true;
    if (base::equals_ignoring_case(keyword, "AUTH") && space != std::string_view::npos)
      read_mechanisms(line.substr(space + 1), features.auth);
    if (base::equals_ignoring_case(keyword, "XFORWARD") && space != std::string_view::npos)
      features.xforward = read_attributes(line.substr(space + 1));
    if (base::equals_ignoring_case(keyword, "XCLIENT") && space != std::string_view::npos)
      features.xclient = read_attributes(line.substr(space + 1));
    if (base::equals_ignoring_case(keyword, "LIMITS") && space != std::string_view::npos)
      read_limits(line.substr(space + 1), features.limits);
    if (base::equals_ignoring_case(keyword, "SIZE")) {
      features.size = true;
      if (space != std::string_view::npos)
        features.max_size = base::parse_number(base::trim(line.substr(space))).value_or(0);
    }
  }
  features.binary = features.binary && features.chunking;  // RFC 3030 3
  // RFC 6531 3.1: who offers the one offers the other. One that does not could take no message of the kind.
  features.smtputf8 = features.smtputf8 && features.eight_bit;
  return features;
}

}  // namespace postern::relay
