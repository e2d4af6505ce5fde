#include "deliverd/relay/introduction.h"

#include <algorithm>
#include <numeric>

#include "common/base/text.h"
#include "common/mail/domain.h"
#include "common/mail/dsn.h"

namespace postern::relay {
namespace {

using Attribute = ClientAttribute;

constexpr std::string_view kUnknown = "[UNAVAILABLE]";
constexpr std::string_view kLineEnd = "\r\n";

struct Named {
  Attribute attribute;
  std::string_view name;
};
constexpr Named kAttributes[] = {
    {Attribute::kName, "NAME"},   {Attribute::kAddr, "ADDR"},   {Attribute::kPort, "PORT"},
    {Attribute::kProto, "PROTO"}, {Attribute::kHelo, "HELO"},   {Attribute::kIdent, "IDENT"},
    {Attribute::kSource, "SOURCE"},
};

std::string address_text(const std::optional<base::IpAddress>& address) {
  if (!address) return {};
  return (address->family == base::IpFamily::kV6 ? "IPV6:" : "") + base::to_string(*address);
}

// Empty: nobody knows it.
std::string value_of(Attribute attribute, const Introduction& introduction) {
  const auto& client = introduction.client;
  switch (attribute) {
    case Attribute::kName:
      return client ? client->name : "";
    case Attribute::kAddr:
      return client ? address_text(client->address) : "";
    case Attribute::kPort:
      return client ? client->port : "";
    case Attribute::kProto:
      return client ? client->protocol : "";
    case Attribute::kHelo:
      return client ? client->hello : "";
    case Attribute::kIdent:
      return introduction.ident;
    case Attribute::kSource:
      return client ? "REMOTE" : "LOCAL";
  }
  return {};
}

// " NAME=client.example"
std::vector<std::string> words_of(const Introduction& introduction, AttributeSet offered) {
  std::vector<std::string> words;
  for (const auto& [attribute, name] : kAttributes) {
    if (!offered.has(attribute)) continue;
    const auto value = value_of(attribute, introduction);
    auto& word = words.emplace_back(" ");
    word.append(name).append("=").append(value.empty() ? std::string(kUnknown) : mail::to_xtext(value));
  }
  return words;
}

// What has no room is not cut: half of a name is another one.
void make_unknown(std::string& word) {
  word.resize(word.find('=') + 1);
  word += kUnknown;
}

void append_number(std::string& out, std::size_t value) {
  out += static_cast<char>(value >> 8 & 0xFF);
  out += static_cast<char>(value & 0xFF);
}

void append_address(std::string& out, const base::IpAddress& address) {
  for (std::size_t i = 0; i < address.bits() / 8; ++i) out += static_cast<char>(address.bytes[i]);
}

}  // namespace

AttributeSet read_attributes(std::string_view words) {
  AttributeSet set;
  while (!words.empty()) {
    const auto word = words.substr(0, words.find(' '));
    words.remove_prefix(std::min(words.size(), word.size() + 1));
    for (const auto& [attribute, name] : kAttributes)
      if (base::equals_ignoring_case(word, name)) set.add(attribute);
  }
  return set;
}

std::optional<ipc::FirstClient> told_of(const std::optional<ipc::FirstClient>& client, bool here) {
  if (client && client->address && client->address->is_loopback() && !here) return std::nullopt;
  return client;
}

std::vector<std::string> xforward_commands(const Introduction& introduction, AttributeSet offered) {
  constexpr std::string_view kVerb = "XFORWARD";
  constexpr auto kRoom = kMaxIntroduction - kLineEnd.size();
  std::vector<std::string> commands;
  for (auto& word : words_of(introduction, offered)) {
    if (kVerb.size() + word.size() > kRoom) make_unknown(word);
    if (commands.empty() || commands.back().size() + word.size() > kRoom) commands.emplace_back(kVerb);
    commands.back() += word;
  }
  for (auto& command : commands) command += kLineEnd;
  return commands;
}

std::string xclient_command(const ipc::FirstClient& client, AttributeSet offered) {
  std::string command = "XCLIENT";
  const auto room = kMaxIntroduction - kLineEnd.size() - command.size();
  auto words = words_of({client, {}}, offered);
  const auto size = [&] {
    return std::accumulate(words.begin(), words.end(), std::size_t{0},
                           [](std::size_t sum, const std::string& word) { return sum + word.size(); });
  };
  while (size() > room)  // ends: all of them unknown have room
    make_unknown(*std::max_element(words.begin(), words.end(),
                                   [](const auto& a, const auto& b) { return a.size() < b.size(); }));
  for (const auto& word : words) command += word;
  command += kLineEnd;
  return command;
}

std::string proxy_header(const std::optional<ipc::FirstClient>& client, const base::Endpoint& server) {
  constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
  constexpr char kLocal = 0x20, kProxy = 0x21;  // version 2 and its commands
  constexpr char kUnspecified = 0x00, kTcp4 = 0x11, kTcp6 = 0x21;
  std::string header(kSignature);
  if (!client) {
    header += kLocal;
    header += kUnspecified;
    append_number(header, 0);
    return header;
  }
  // A client that nobody knows is not us: it has an address that is nobody's.
  const auto from = client->address.value_or(base::IpAddress{});
  const auto to = server.address.family == from.family ? server.address : base::IpAddress{from.family, {}};
  header += kProxy;
  header += from.family == base::IpFamily::kV4 ? kTcp4 : kTcp6;
  append_number(header, 2 * (from.bits() / 8 + 2));
  append_address(header, from);
  append_address(header, to);
  const auto port = base::parse_number(client->port).value_or(0);
  append_number(header, port <= 0xFFFF ? port : 0);
  append_number(header, server.port);
  return header;
}

std::string hello_of(const ipc::FirstClient& client, const std::string& ours) {
  return mail::is_hello_name(client.hello) ? client.hello : ours;
}

}  // namespace postern::relay
