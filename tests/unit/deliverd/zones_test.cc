// Zones that lie: whatever the DNS says of a domain, the way to its hosts ends after few questions,
// in places that may be connected to, in a failure or in a deferral; and never at an address that
// the configuration forbids.
#include <gtest/gtest.h>

#include <functional>

#include "deliverd/relay/directory.h"
#include "tests/unit/dns/fake_server.h"
#include "tests/unit/dns/packet.h"

namespace postern::relay {
namespace {

using dns::FakeServer;
using dns::kA;
using dns::kAaaa;
using dns::kCname;
using dns::kMx;
using dns::Packet;
using Raw = std::optional<std::string>;

constexpr std::string_view kGoodAddress("\xc0\x00\x02\x01", 4);   // 192.0.2.1
constexpr std::string_view kOther("\xc0\x00\x02\x02", 4);  // 192.0.2.2
constexpr std::string_view kOurs("\xc0\x00\x02\xfa", 4);   // 192.0.2.250

struct Question {
  std::string name;
  unsigned type;
  bool tcp;
  const std::string& query;
};

// What a zone says; nothing: it is silent.
using Says = std::function<Raw(const Question&)>;

struct Zone {
  const char* name;
  const char* outcome;  // see text()
  Says says;
  std::size_t tcp_bytes = ~std::size_t{0};
};

bool asks(const Question& q, std::string_view name, unsigned type) {
  return q.name == name && q.type == type;
}

// a.example is at 192.0.2.1, b.example at 192.0.2.2, us.example is the name of this host; nothing
// else has addresses.
Raw honest(const Question& q) {
  Packet p(q.name, q.type);
  if (asks(q, "a.example", kA)) p.a(q.name, kGoodAddress);
  if (asks(q, "b.example", kA)) p.a(q.name, kOther);
  return p.bytes();
}

// The zone says this of example.org's MX, and is honest in all else.
Says mx(std::function<Raw(const Question&)> says) {
  return [says](const Question& q) { return asks(q, "example.org", kMx) ? says(q) : honest(q); };
}
Says mx_hosts(std::vector<std::pair<unsigned, std::string>> hosts) {
  return mx([hosts](const Question& q) {
    Packet p(q.name, q.type);
    for (const auto& [preference, host] : hosts) p.mx(q.name, preference, host);
    return p.bytes();
  });
}
Says mx_flags(unsigned flags) {
  return mx([flags](const Question& q) { return Packet(q.name, q.type, flags).bytes(); });
}
// MX 10 a.example, of whose addresses it says this.
Says host(std::function<Raw(const Question&)> says) {
  return [says](const Question& q) -> Raw {
    if (asks(q, "example.org", kMx))
      return Packet(q.name, q.type).mx(q.name, 10, "a.example").bytes();
    return q.name == "a.example" ? says(q) : honest(q);
  };
}
Says at(std::vector<std::string> addresses) {
  return host([addresses](const Question& q) {
    Packet p(q.name, q.type);
    for (const auto& text : addresses) {
      const bool six = text.find(':') != std::string::npos;
      auto ip = base::parse_ip(text).value();
      std::string bytes(reinterpret_cast<const char*>(ip.bytes.data()), six ? 16 : 4);
      if (six && ip.family == base::IpFamily::kV4)  // mapped
        bytes = std::string(10, '\0') + "\xff\xff" + bytes.substr(0, 4);
      if (q.type == (six ? kAaaa : kA)) p.record(q.name, q.type, 300, bytes);
    }
    return p.bytes();
  });
}
// The honest answer to the MX question, treated so.
Says mx_bytes(std::function<Raw(std::string)> treat) {
  return mx([treat](const Question& q) {
    return treat(Packet(q.name, q.type).mx(q.name, 10, "a.example").bytes());
  });
}
// The MX host behind a chain of so many aliases.
Raw aliases(const Question& q, int count) {
  Packet p(q.name, q.type);
  std::string name = q.name;
  for (int i = 0; i < count; ++i) {
    const auto next = "n" + std::to_string(i) + ".example";
    p.cname(name, next);
    name = next;
  }
  return p.mx(name, 10, "a.example").bytes();
}
Raw many(const Question& q, unsigned count) {
  Packet p(q.name, q.type);
  for (unsigned i = 0; i < count; ++i) p.mx(q.name, i, "m" + std::to_string(i) + ".example");
  return p.bytes();
}

constexpr const char* kToA = "a.example[192.0.2.1]:25";
constexpr const char* kLater = "temporary 4.4.3";
constexpr const char* kNoHost = "permanent 5.4.4";
constexpr const char* kNoDomain = "permanent 5.1.2";

std::vector<Zone> zones() {
  return {
      {"an honest one", kToA, mx_hosts({{10, "a.example"}})},
      // Aliases.
      {"the domain is an alias of itself", kNoHost,
       [](const Question& q) -> Raw {
         return Packet(q.name, q.type).cname(q.name, q.name).bytes();
       }},
      {"two names are aliases of each other", kNoHost,
       [](const Question& q) -> Raw {
         return Packet(q.name, q.type)
             .cname("example.org", "b.example")
             .cname("b.example", "example.org")
             .bytes();
       }},
      {"a chain of 40 aliases", kNoHost, mx([](const Question& q) { return aliases(q, 40); })},
      {"a chain of 12 aliases", kToA, mx([](const Question& q) { return aliases(q, 12); })},
      {"an alias that leads nowhere", kNoHost, mx([](const Question& q) {
         return Packet(q.name, q.type).cname(q.name, "gone.example").bytes();
       })},
      {"the MX host is an alias", kToA, host([](const Question& q) {
         Packet p(q.name, q.type);
         p.cname(q.name, "real.example");
         if (q.type == kA) p.a("real.example", kGoodAddress);
         return p.bytes();
       })},
      {"the MX host is an alias in a circle", kNoHost, host([](const Question& q) {
         return Packet(q.name, q.type)
             .cname(q.name, "x.example")
             .cname("x.example", q.name)
             .bytes();
       })},
      {"an alias and a record of one name", kToA, mx([](const Question& q) {
         return Packet(q.name, q.type)
             .cname(q.name, "x.example")
             .mx(q.name, 1, "a.example")
             .bytes();
       })},
      // Too much.
      {"1,000 MX, by TCP", kNoHost, mx([](const Question& q) {
         return q.tcp ? many(q, 1000) : Raw(Packet(q.name, q.type, 0x8380).bytes());
       })},
      {"1,000 MX in one datagram", kNoHost, mx([](const Question& q) { return many(q, 1000); })},
      {"1,000 times the same MX", kToA,
       mx_hosts(std::vector<std::pair<unsigned, std::string>>(1000, {10, "a.example"}))},
      {"1,000 addresses of one host", kToA, host([](const Question& q) {
         Packet p(q.name, q.type);
         if (q.type == kA)
           for (int i = 0; i < 1000; ++i) p.a(q.name, kGoodAddress);
         return p.bytes();
       })},
      {"65,535 records, says the header", kLater, mx_bytes([](std::string b) {
         b[6] = b[7] = '\xff';
         return b;
       })},
      {"a datagram of 60,000 bytes", kToA,
       mx_bytes([](std::string b) { return b + std::string(60'000, 'x'); })},
      // Truncation.
      {"truncated, and nobody at TCP", kLater, mx([](const Question& q) -> Raw {
         if (q.tcp) return std::nullopt;
         return Packet(q.name, q.type, 0x8380).bytes();
       })},
      {"truncated by TCP too", kLater, mx_flags(0x8380)},
      {"half an answer by TCP", kLater, mx([](const Question& q) {
         return q.tcp ? many(q, 50) : Raw(Packet(q.name, q.type, 0x8380).bytes());
       }),
       700},
      {"one byte by TCP", kLater, mx([](const Question& q) {
         return q.tcp ? many(q, 50) : Raw(Packet(q.name, q.type, 0x8380).bytes());
       }),
       1},
      {"the length alone by TCP", kLater, mx([](const Question& q) {
         return q.tcp ? many(q, 50) : Raw(Packet(q.name, q.type, 0x8380).bytes());
       }),
       2},
      {"an answer of no bytes by TCP", kLater, mx([](const Question& q) {
         return q.tcp ? Raw(std::string()) : Raw(Packet(q.name, q.type, 0x8380).bytes());
       })},
      {"another question by TCP", kLater, mx([](const Question& q) {
         return q.tcp ? Raw(Packet("evil.example", kMx).mx("example.org", 1, "b.example").bytes())
                      : Raw(Packet(q.name, q.type, 0x8380).bytes());
       })},
      {"truncated, with records that must not be used", kToA, mx([](const Question& q) {
         return q.tcp ? Raw(Packet(q.name, q.type).mx(q.name, 10, "a.example").bytes())
                      : Raw(Packet(q.name, q.type, 0x8380).mx(q.name, 1, "b.example").bytes());
       })},
      // Names.
      {"a control byte in the MX host", kNoHost, mx_hosts({{10, "a\x01.example"}})},
      {"a line feed in the MX host", kNoHost, mx_hosts({{10, "a\n.example"}})},
      {"CR LF and a command in the MX host", kNoHost, mx_hosts({{10, "a\r\nRCPT TO:<x>.example"}})},
      {"a NUL in the MX host", kNoHost, mx_hosts({{10, std::string("a\0b.example", 11)}})},
      {"a blank in the MX host", kNoHost, mx_hosts({{10, "a b.example"}})},
      {"8 bits in the MX host", kNoHost, mx_hosts({{10, "\xc3\xa4.example"}})},
      {"a dot inside a label", kNoHost, mx([](const Question& q) {
         return Packet(q.name, q.type)
             .record(q.name, kMx, 300,
                     std::string("\0\x0a\x09"
                                 "a.example\0",
                                 13))
             .bytes();
       })},
      {"an address for an MX host", kNoHost, mx_hosts({{10, "192.0.2.1"}})},
      {"a literal for an MX host", kNoHost, mx_hosts({{10, "[192.0.2.1]"}})},
      {"a hyphen in front", kNoHost, mx_hosts({{10, "-a.example"}})},
      {"bad names beside a good one", kToA,
       mx_hosts({{1, "b\n.example"}, {2, "b b.example"}, {3, "a.example"}})},
      {"upper case", kToA, mx_hosts({{10, "A.EXAMPLE"}})},
      {"a name of more than 255 bytes", kLater, mx([](const Question& q) {
         std::string name;
         for (int i = 0; i < 6; ++i) name += std::string(60, 'x') + ".";
         return Packet(q.name, q.type).mx(q.name, 10, name + "example").bytes();
       })},
      {"null MX", "permanent 5.1.10", mx_hosts({{0, ""}})},
      {"null MX beside another", kToA, mx_hosts({{0, ""}, {10, "a.example"}})},
      // Where it leads.
      {"127.0.0.1", kNoHost, at({"127.0.0.1"})},
      {"127.255.255.254", kNoHost, at({"127.255.255.254"})},
      {"0.0.0.0", kNoHost, at({"0.0.0.0"})},
      {"0.1.2.3", kNoHost, at({"0.1.2.3"})},
      {"169.254.169.254", kNoHost, at({"169.254.169.254"})},
      {"224.0.0.1", kNoHost, at({"224.0.0.1"})},
      {"240.0.0.1", kNoHost, at({"240.0.0.1"})},
      {"255.255.255.255", kNoHost, at({"255.255.255.255"})},
      {"::", kNoHost, at({"::"})},
      {"::1", kNoHost, at({"::1"})},
      {"::ffff:127.0.0.1", kNoHost, at({"::ffff:127.0.0.1"})},
      {"::127.0.0.1", kNoHost, at({"::127.0.0.1"})},
      {"fe80::1", kNoHost, at({"fe80::1"})},
      {"ff02::1", kNoHost, at({"ff02::1"})},
      {"a forbidden network of the operator's", kNoHost, at({"10.1.2.3"})},
      {"forbidden ones beside a good one", kToA, at({"127.0.0.1", "192.0.2.1", "10.1.2.3", "::1"})},
      {"localhost for an MX host", kNoHost, mx([](const Question& q) {
         return Packet(q.name, q.type).mx(q.name, 10, "localhost").bytes();
       })},
      {"our own address", "temporary 4.4.6", at({"192.0.2.250"})},
      {"our own address, of the better host", "temporary 4.4.6",
       [](const Question& q) -> Raw {
         if (asks(q, "example.org", kMx))
           return Packet(q.name, q.type)
               .mx(q.name, 5, "x.example")
               .mx(q.name, 10, "a.example")
               .bytes();
         if (asks(q, "x.example", kA)) return Packet(q.name, q.type).a(q.name, kOurs).bytes();
         return honest(q);
       }},
      {"our own address, of the worse host", kToA,
       [](const Question& q) -> Raw {
         if (asks(q, "example.org", kMx))
           return Packet(q.name, q.type)
               .mx(q.name, 5, "a.example")
               .mx(q.name, 10, "x.example")
               .bytes();
         if (asks(q, "x.example", kA)) return Packet(q.name, q.type).a(q.name, kOurs).bytes();
         return honest(q);
       }},
      {"our own name, with a stranger's address", "temporary 4.4.6",
       mx_hosts({{10, "us.example"}})},
      {"an MX host without address", kNoHost, mx_hosts({{10, "gone.example"}})},
      {"an MX host without address, and a good one", kToA,
       mx_hosts({{1, "gone.example"}, {10, "a.example"}})},
      {"nothing of nothing", kNoHost,
       [](const Question& q) -> Raw { return Packet(q.name, q.type).bytes(); }},
      {"no such domain", kNoDomain,
       [](const Question& q) -> Raw { return Packet(q.name, q.type, 0x8183).bytes(); }},
      {"implicit MX at loopback", kNoHost,
       [](const Question& q) -> Raw {
         Packet p(q.name, q.type);
         if (q.type == kA) p.a(q.name, "\x7f\1\1\1");
         return p.bytes();
       }},
      // Servers in trouble.
      {"SERVFAIL", kLater, mx_flags(0x8182)},
      {"REFUSED", kLater, mx_flags(0x8185)},
      {"NOTIMP", kLater, mx_flags(0x8184)},
      {"YXDOMAIN", kLater, mx_flags(0x8186)},
      {"code 15", kLater, mx_flags(0x818f)},
      {"FORMERR", kLater, mx_flags(0x8181)},
      {"FORMERR without the question", kLater, mx([](const Question&) {
         return Raw(std::string("\x12\x34\x81\x81\0\0\0\0\0\0\0\0", 12));
       })},
      {"FORMERR to EDNS", kToA, mx([](const Question& q) {
         Packet p(q.name, q.type, q.query[11] != '\0' ? 0x8181 : 0x8180);
         return q.query[11] != '\0' ? p.bytes() : p.mx(q.name, 10, "a.example").bytes();
       })},
      {"a lame server: no answer, no recursion", kLater, mx_flags(0x8100)},
      {"a lame server for the host", kLater,
       host([](const Question& q) { return Packet(q.name, q.type, 0x8100).bytes(); })},
      {"an authoritative server that does not recurse", kToA,
       [](const Question& q) -> Raw {
         auto p = *mx_hosts({{10, "a.example"}})(q);
         p[2] = '\x84', p[3] = '\0';
         return p;
       }},
      {"silence", kLater, mx([](const Question&) { return std::nullopt; })},
      {"silence about the host", kLater, host([](const Question&) { return std::nullopt; })},
      {"silence about IPv6", kToA,
       host([](const Question& q) -> Raw { return q.type == kAaaa ? std::nullopt : honest(q); })},
      {"SERVFAIL for the host", kLater,
       host([](const Question& q) { return Packet(q.name, q.type, 0x8182).bytes(); })},
      {"SERVFAIL for the better host", kToA,
       [](const Question& q) -> Raw {
         if (asks(q, "example.org", kMx))
           return Packet(q.name, q.type)
               .mx(q.name, 5, "x.example")
               .mx(q.name, 10, "a.example")
               .bytes();
         if (q.name == "x.example") return Packet(q.name, q.type, 0x8182).bytes();
         return honest(q);
       }},
      {"SERVFAIL for one, no address of the other", kLater,
       [](const Question& q) -> Raw {
         if (asks(q, "example.org", kMx))
           return Packet(q.name, q.type)
               .mx(q.name, 5, "x.example")
               .mx(q.name, 10, "gone.example")
               .bytes();
         if (q.name == "x.example") return Packet(q.name, q.type, 0x8182).bytes();
         return honest(q);
       }},
      // Not an answer.
      {"another id", kLater, mx_bytes([](std::string b) { return "\xff\xff" + b.substr(2); })},
      {"another name in the question", kLater, mx([](const Question&) {
         return Packet("evil.example", kMx).mx("example.org", 1, "b.example").bytes();
       })},
      {"another type in the question", kLater, mx([](const Question&) {
         return Packet("example.org", kA).mx("example.org", 1, "b.example").bytes();
       })},
      {"no question", kLater, mx_bytes([](std::string b) {
         b[5] = '\0';
         return b;
       })},
      {"two questions", kLater, mx_bytes([](std::string b) {
         b[5] = '\2';
         return b;
       })},
      {"the query itself", kLater, mx([](const Question& q) { return q.query; })},
      {"another operation", kLater, mx_bytes([](std::string b) {
         b[2] = '\xa9';
         return b;
       })},
      {"an empty datagram", kLater, mx_bytes([](const std::string&) { return std::string(); })},
      {"eleven bytes", kLater, mx_bytes([](const std::string& b) { return b.substr(0, 11); })},
      {"a header alone", kLater, mx_bytes([](const std::string& b) { return b.substr(0, 12); })},
      {"cut inside the record", kLater,
       mx_bytes([](const std::string& b) { return b.substr(0, b.size() - 5); })},
      {"records of others", kNoHost, mx([](const Question& q) {
         return Packet(q.name, q.type).mx("victim.example", 1, "b.example").bytes();
       })},
      {"records of another class", kNoHost, mx([](const Question& q) {
         return Packet(q.name, q.type)
             .record(q.name, kMx, 300, std::string("\0\1", 2) + Packet::encoded("b.example"), 3)
             .bytes();
       })},
      // Malformed.
      {"an MX of one byte", kLater, mx([](const Question& q) {
         return Packet(q.name, q.type).record(q.name, kMx, 300, "\1").bytes();
       })},
      {"an MX with something behind its name", kLater, mx([](const Question& q) {
         return Packet(q.name, q.type)
             .record(q.name, kMx, 300, std::string("\0\1", 2) + Packet::encoded("a.example") + "x")
             .bytes();
       })},
      {"a name that points at itself", kLater, mx_bytes([](std::string b) {
         const auto here = static_cast<char>(b.size());
         b[7] = '\2';
         return b + std::string("\xc0") + here + std::string("\0\x0f\0\1\0\0\1\0\0\0", 10);
       })},
      {"a name that points forward", kLater, mx_bytes([](std::string b) {
         b[7] = '\2';
         return b + std::string("\xc0\xff\0\x0f\0\1\0\0\1\0\0\0", 12) + std::string(200, '\0');
       })},
      {"a name that points behind the end", kLater, mx_bytes([](std::string b) {
         b[7] = '\2';
         return b + std::string("\xff\xff\0\x0f\0\1\0\0\1\0\0\0", 12);
       })},
      {"two names that point at each other", kLater, mx_bytes([](std::string b) {
         const auto here = static_cast<char>(b.size());
         b[7] = '\2';
         return b + std::string("\xc0") + static_cast<char>(here + 2) + std::string("\xc0") + here +
                std::string("\0\x0f\0\1\0\0\1\0\0\0", 10);
       })},
      {"a label of a type that is none", kLater, mx_bytes([](std::string b) {
         b[7] = '\2';
         return b + std::string("\x41\0\0\x0f\0\1\0\0\1\0\0\0", 12);
       })},
      {"an address of 3 bytes", kLater, host([](const Question& q) {
         return Packet(q.name, q.type).record(q.name, q.type, 300, "abc").bytes();
       })},
      {"an IPv4 address of 16 bytes", kLater, host([](const Question& q) {
         return Packet(q.name, q.type)
             .record(q.name, q.type, 300, std::string(q.type == kA ? 16 : 4, 'x'))
             .bytes();
       })},
      // Times to live.
      {"a TTL of 0", kToA, mx([](const Question& q) {
         return Packet(q.name, q.type).mx(q.name, 1, "a.example", 0).bytes();
       })},
      {"a TTL of 2^31", kToA, mx([](const Question& q) {
         return Packet(q.name, q.type).mx(q.name, 1, "a.example", 0x80000000).bytes();
       })},
      {"a TTL of 2^32 - 1", kToA, mx([](const Question& q) {
         return Packet(q.name, q.type).mx(q.name, 1, "a.example", 0xffffffff).bytes();
       })},
  };
}

// Where to connect, or "permanent 5.4.4".
std::string text(const std::expected<std::vector<Target>, Trouble>& targets) {
  std::string all;
  if (targets) {
    for (const auto& target : *targets) all += (all.empty() ? "" : " ") + remote_name(target);
    return all;
  }
  const auto& code = targets.error().reply.enhanced;
  return (targets.error().end == ipc::GrantEnd::kPermanent ? "permanent " : "temporary ") +
         std::to_string(code.status) + "." + std::to_string(code.subject) + "." +
         std::to_string(code.detail);
}

Question read_question(const std::string& query, bool tcp) {
  std::string name;
  std::size_t at = 12;
  while (query[at] != '\0') {
    const auto size = static_cast<std::size_t>(query[at]);
    name += (name.empty() ? "" : ".") + query.substr(at + 1, size);
    at += size + 1;
  }
  return {name, static_cast<unsigned>(query[at + 2]), tcp, query};
}

Bounds bounds() {
  Bounds b{{{base::parse_ip("192.0.2.250").value()}, {25}, "us.example"}, {}};
  for (const auto* network : {"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/96",
                              "fe80::/10", "ff00::/8", "10.0.0.0/8"})
    b.forbidden.push_back(base::parse_network(network).value());
  return b;
}

class Zones : public testing::TestWithParam<Zone> {};

TEST_P(Zones, EndInTheRightPlace) {
  const auto& zone = GetParam();
  FakeServer server([&](const std::string& query, bool tcp) -> Raw {
    auto answer = zone.says(read_question(query, tcp));
    const bool keeps_id = !answer || answer->size() < 2 || answer->starts_with("\xff\xff");
    return keeps_id ? answer : FakeServer::as_answer(query, *answer);
  });
  server.tcp_bytes = zone.tcp_bytes;
  event::Loop loop;
  const auto resolver = dns::Resolver::make({server.endpoint()}, {base::Millis(60), 1}).value();
  resolver->attach(loop);
  Directory directory(loop, *resolver, base::system_clock(), [] { return ~std::uint64_t{0}; });
  const auto domain = mail::Domain::parse("example.org").value();
  std::optional<std::expected<std::vector<Target>, Trouble>> targets;
  const auto query = directory.mail_hosts(domain, [&](Directory::Result hosts) noexcept {
    if (hosts)
      targets = targets_of(domain, *hosts, 25, bounds());
    else
      targets = std::unexpected(hosts.error());
  });
  loop.run_once(false);
  while (!targets) loop.run_once(true);
  EXPECT_EQ(text(*targets), zone.outcome);
  EXPECT_LE(server.queries(), 2 * static_cast<int>(kMaxHosts) + 4);
  if (*targets) {
    EXPECT_LE((*targets)->size(), kMaxTargets);
    for (const auto& target : **targets)
      for (const auto& network : bounds().forbidden)
        EXPECT_FALSE(network.contains(target.endpoint.address)) << remote_name(target);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Zones, testing::ValuesIn(zones()), [](const auto& zone) {
  std::string name = zone.param.name;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name + "_" + std::to_string(zone.index);
});

}  // namespace
}  // namespace postern::relay
