#include "smtpd/client_attributes.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/text.h"
#include "common/mail/domain.h"
#include "common/mail/dsn.h"

namespace postern::smtpd {
namespace {

constexpr std::string_view kUnknown[] = {"[UNAVAILABLE]", "[TEMPUNAVAIL]"};
constexpr std::string_view kV6 = "IPV6:";

using Text = std::optional<std::string>;

bool is_name(std::string_view value) {
  return mail::is_hello_name(value) && value.find_first_of("[]:") == std::string_view::npos;
}
bool is_port(std::string_view value) {
  const auto port = base::parse_number(value);
  return port && *port <= 65535;
}
bool is_protocol(std::string_view value) {
  return base::equals_ignoring_case(value, "SMTP") || base::equals_ignoring_case(value, "ESMTP");
}
bool is_source(std::string_view value) {
  return base::equals_ignoring_case(value, "LOCAL") || base::equals_ignoring_case(value, "REMOTE");
}
bool is_hello(std::string_view value) {
  return mail::is_hello_name(value);
}
bool is_text(std::string_view) {
  return true;  // printable it is, as all that from_xtext() gives
}
bool is_nothing(std::string_view) {
  return false;
}

std::optional<base::IpAddress> parse_address(std::string_view value) {
  if (base::starts_with_ignoring_case(value, kV6)) value.remove_prefix(kV6.size());
  return base::parse_ip(value);
}
bool is_address(std::string_view value) {
  return parse_address(value).has_value();
}

struct Attribute {
  std::string_view name;
  bool (*xclient)(std::string_view);   // is this a good value? Null: it is not of this command
  bool (*xforward)(std::string_view);  // likewise
  Text ClientAttributes::* member;     // null: ADDR, LOGIN
};
constexpr std::array kAttributes{
    Attribute{"NAME", is_name, is_name, &ClientAttributes::name},
    Attribute{"ADDR", is_address, is_address, nullptr},
    Attribute{"PORT", is_port, is_port, &ClientAttributes::port},
    Attribute{"PROTO", is_protocol, is_text, &ClientAttributes::proto},
    Attribute{"HELO", is_hello, is_text, &ClientAttributes::helo},
    Attribute{"LOGIN", is_nothing, nullptr, nullptr},
    Attribute{"DESTADDR", is_address, nullptr, &ClientAttributes::destaddr},
    Attribute{"DESTPORT", is_port, nullptr, &ClientAttributes::destport},
    Attribute{"IDENT", nullptr, is_text, &ClientAttributes::ident},
    Attribute{"SOURCE", nullptr, is_source, &ClientAttributes::source},
};

bool means_unknown(std::string_view value) {
  return std::any_of(std::begin(kUnknown), std::end(kUnknown), [&](std::string_view word) {
    return base::equals_ignoring_case(value, word);
  });
}

// XFORWARD_README: by XFORWARD they may be of no DNS and no IP; then they are nothing to us.
bool may_be_foreign(Introduction introduction, const Attribute& attribute) {
  return introduction == Introduction::kXforward && (attribute.xforward == is_name || attribute.xforward == is_address);
}

// Puts one attribute into `into`; what is wrong, or nothing.
std::string take(Introduction introduction, std::string_view word, ClientAttributes& into,
                 std::uint32_t& seen) {
  const auto equals = word.find('=');
  const auto name = word.substr(0, equals);
  const auto known = std::find_if(kAttributes.begin(), kAttributes.end(), [&](const auto& a) {
    return base::equals_ignoring_case(a.name, name);
  });
  const auto shown = base::printable(name, 40);
  if (known == kAttributes.end()) return "Unknown attribute " + shown;
  const auto good = introduction == Introduction::kXclient ? known->xclient : known->xforward;
  if (good == nullptr) return "Unknown attribute " + shown;
  const auto bit = 1U << (known - kAttributes.begin());
  if ((std::exchange(seen, seen | bit) & bit) != 0) return shown + " given twice";
  if (equals == std::string_view::npos) return shown + " needs a value";
  const auto value = mail::from_xtext(word.substr(equals + 1));
  if (!value || value->empty() || value->size() > ClientAttributes::kMaxValue)
    return "Bad value of " + shown;
  const bool unknown = means_unknown(*value) || (may_be_foreign(introduction, *known) && !good(*value));
  if (!unknown && good == is_nothing) return shown + " is not supported";
  if (!unknown && !good(*value)) return "Bad value of " + shown;
  if (known->member != nullptr)
    into.*known->member = unknown ? std::string() : *value;
  else if (good == is_address)
    into.addr = unknown ? base::IpAddress{} : *parse_address(*value);
  return {};
}

}  // namespace

std::expected<ClientAttributes, std::string> parse_client_attributes(Introduction introduction,
                                                                     std::string_view text) {
  ClientAttributes attributes;
  std::uint32_t seen = 0;
  for (auto rest = base::trim(text); !rest.empty(); rest = base::trim(rest)) {  // bounded by the line
    const auto word = rest.substr(0, rest.find_first_of(" \t"));
    rest.remove_prefix(word.size());
    if (auto wrong = take(introduction, word, attributes, seen); !wrong.empty())
      return std::unexpected(std::move(wrong));
  }
  if (seen == 0) return std::unexpected("Expected attributes, like ADDR=192.0.2.1");
  return attributes;
}

void update(ClientAttributes& attributes, ClientAttributes news) {
  for (const auto& attribute : kAttributes)
    if (attribute.member != nullptr && news.*attribute.member)
      attributes.*attribute.member = std::move(news.*attribute.member);
  if (news.addr) attributes.addr = news.addr;
}

std::string text_of(const ClientAttributes& a) {
  const auto said = [](const Text& value) { return value && !value->empty(); };
  std::string text = said(a.name) ? *a.name : "unknown";
  text += " [" + (a.addr && !a.addr->is_unspecified() ? base::to_string(*a.addr) : "unknown") + ']';
  if (said(a.port)) text += ':' + *a.port;
  const auto add = [&](std::string_view name, const Text& value) {
    if (said(value)) text.append(" ").append(name).append("=").append(*value);
  };
  add("helo", a.helo);
  add("proto", a.proto);
  add("destination", a.destaddr);
  add("port", a.destport);
  add("ident", a.ident);
  add("source", a.source);
  return text;
}

std::optional<ipc::FirstClient> first_client(const ClientAttributes& a, bool here) {
  if (a.addr && a.addr->is_loopback() && !here) return std::nullopt;
  ipc::FirstClient first;
  if (a.addr && !a.addr->is_unspecified()) first.address = a.addr;
  first.name = a.name.value_or("");
  first.hello = a.helo.value_or("");
  if (!first.address && first.name.empty() && first.hello.empty()) return std::nullopt;
  first.port = a.port.value_or("");
  if (a.proto && is_protocol(*a.proto)) first.protocol = *a.proto;
  return first;
}

}  // namespace postern::smtpd
