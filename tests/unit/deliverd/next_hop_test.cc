#include "deliverd/relay/next_hop.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "common/tls/digest.h"
#include "tests/unit/mail/spelled.h"

namespace postern::relay {
namespace {


std::uint64_t no_chance() {
  return ~0ULL;
}  // leaves most orders alone; see RandomAmongEquals

dns::MxAnswer mx(std::vector<std::pair<int, std::string>> records) {
  dns::MxAnswer answer;
  answer.status = dns::Status::kRecords;
  for (const auto& [preference, host] : records)
    answer.records.push_back(
        {static_cast<std::uint16_t>(preference), host.empty() ? mail::Domain() : domain(host)});
  return answer;
}

dns::AddressAnswer addresses(std::vector<std::string> texts) {
  dns::AddressAnswer answer;
  answer.status = texts.empty() ? dns::Status::kNoData : dns::Status::kRecords;
  for (const auto& text : texts) answer.addresses.push_back(ip(text));
  return answer;
}

dns::AddressAnswer status(dns::Status s) {
  dns::AddressAnswer answer;
  answer.status = s;
  if (s == dns::Status::kTemporary) answer.trouble = "no answer";
  return answer;
}

// A name's addresses; missing ones do not exist.
using Zone = std::map<std::string, std::pair<dns::AddressAnswer, dns::AddressAnswer>>;

std::string describe(const std::expected<std::vector<Target>, Trouble>& targets) {
  if (!targets) {
    const auto& t = targets.error();
    return std::string(t.end == ipc::GrantEnd::kPermanent ? "permanent " : "temporary ") +
           std::string(ipc::name(t.failure)) + " " + t.reply.text();
  }
  std::string all;
  for (const auto& target : *targets) all += (all.empty() ? "" : " ") + remote_name(target);
  return all;
}

std::string choose(const dns::MxAnswer& answer, const Zone& zone, const Bounds& us = {},
                   const Chance& chance = no_chance) {
  const auto name = domain("example.org");
  auto hosts = hosts_of(name, answer, chance);
  if (!hosts) return describe(std::unexpected(hosts.error()));
  for (auto& host : *hosts) {
    const auto at = zone.find(host.name.text());
    host.v4 = at == zone.end() ? status(dns::Status::kNoDomain) : at->second.first;
    host.v6 = at == zone.end() ? status(dns::Status::kNoDomain) : at->second.second;
  }
  return describe(targets_of(name, *hosts, 25, us));
}

dns::MxAnswer none(dns::Status s) {
  dns::MxAnswer answer;
  answer.status = s;
  if (s == dns::Status::kTemporary) answer.trouble = "no answer";
  return answer;
}

TEST(NextHop, OrdersByPreference) {
  const Zone zone = {{"a.example", {addresses({"192.0.2.1"}), addresses({})}},
                     {"b.example", {addresses({"192.0.2.2"}), addresses({"2001:db8::2"})}}};
  EXPECT_EQ(choose(mx({{10, "b.example"}, {20, "a.example"}}), zone),
            "b.example[2001:db8::2]:25 b.example[192.0.2.2]:25 a.example[192.0.2.1]:25");
}

TEST(NextHop, AlternatesFamiliesAndKeepsTheirOrder) {
  const Zone zone = {{"a.example",
                      {addresses({"192.0.2.1", "192.0.2.2", "192.0.2.3"}),
                       addresses({"2001:db8::1", "2001:db8::2"})}}};
  EXPECT_EQ(choose(mx({{10, "a.example"}}), zone),
            "a.example[2001:db8::1]:25 a.example[192.0.2.1]:25 a.example[2001:db8::2]:25 "
            "a.example[192.0.2.2]:25 a.example[192.0.2.3]:25");
}

TEST(NextHop, RandomAmongEquals) {
  const Zone zone = {{"a.example", {addresses({"192.0.2.1"}), addresses({})}},
                     {"b.example", {addresses({"192.0.2.2"}), addresses({})}},
                     {"c.example", {addresses({"192.0.2.3"}), addresses({})}},
                     {"last.example", {addresses({"192.0.2.9"}), addresses({})}}};
  std::set<std::string> orders;
  std::uint64_t seed = 1;
  for (int i = 0; i < 200; ++i) {
    const auto order = choose(
        mx({{10, "a.example"}, {10, "b.example"}, {10, "c.example"}, {20, "last.example"}}), zone,
        {}, [&] { return (seed = seed * 6364136223846793005ULL + 1442695040888963407ULL) >> 33; });
    EXPECT_TRUE(order.ends_with("last.example[192.0.2.9]:25"));
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 6U);
}

TEST(NextHop, ImplicitMx) {
  const Zone zone = {{"example.org", {addresses({"192.0.2.1"}), addresses({})}}};
  EXPECT_EQ(choose(none(dns::Status::kNoData), zone), "example.org[192.0.2.1]:25");
}

TEST(NextHop, NobodyThere) {
  EXPECT_EQ(choose(none(dns::Status::kNoDomain), {}),
            "permanent dns 5.1.2 no such domain: example.org");
  EXPECT_EQ(choose(none(dns::Status::kNoData), {{"example.org", {addresses({}), addresses({})}}}),
            "permanent dns 5.4.4 example.org has neither MX nor address");
  EXPECT_EQ(choose(none(dns::Status::kNoData), {}),
            "permanent dns 5.1.2 no such domain: example.org");
  EXPECT_EQ(choose(mx({{10, "gone.example"}}), {}),
            "permanent dns 5.4.4 no MX host of example.org has a usable address");
}

TEST(NextHop, NullMx) {
  EXPECT_EQ(choose(mx({{0, ""}}), {}), "permanent dns 5.1.10 example.org does not accept mail");
  const Zone zone = {{"a.example", {addresses({"192.0.2.1"}), addresses({})}}};
  EXPECT_EQ(choose(mx({{0, ""}, {10, "a.example"}}), zone), "a.example[192.0.2.1]:25");
}

TEST(NextHop, TemporaryTroubleDefers) {
  EXPECT_EQ(choose(none(dns::Status::kTemporary), {}),
            "temporary dns 4.4.3 looking up example.org: no answer");
  const Zone broken = {{"a.example", {status(dns::Status::kTemporary), addresses({})}}};
  EXPECT_EQ(choose(mx({{10, "gone.example"}, {20, "a.example"}}), broken),
            "temporary dns 4.4.3 looking up a.example: no answer");
  // One family of one host is enough to go on.
  const Zone half = {{"a.example", {addresses({"192.0.2.1"}), status(dns::Status::kTemporary)}}};
  EXPECT_EQ(choose(mx({{10, "a.example"}}), half), "a.example[192.0.2.1]:25");
}

TEST(NextHop, AnAddressIsNoHostName) {
  EXPECT_EQ(choose(mx({{10, "192.0.2.1"}}), {}),
            "permanent dns 5.4.4 the MX records of example.org name no usable host");
  auto answer = mx({});
  answer.unusable = true;
  EXPECT_EQ(choose(answer, {}),
            "permanent dns 5.4.4 the MX records of example.org name no usable host");
}

TEST(NextHop, NeverConnectsToNobodyOrEverybody) {
  const Zone zone = {
      {"a.example",
       {addresses({"0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "0.1.2.3"}),
        addresses({"::", "ff02::1"})}},
      {"b.example", {addresses({"127.0.0.1"}), addresses({"::1"})}}};
  EXPECT_EQ(choose(mx({{10, "a.example"}}), zone),
            "permanent dns 5.4.4 no MX host of example.org has a usable address");
  EXPECT_EQ(choose(mx({{10, "a.example"}, {20, "b.example"}}), zone),
            "b.example[::1]:25 b.example[127.0.0.1]:25");
}

TEST(NextHop, MovesOnlyToBetterHostsThanOurselves) {
  const Zone zone = {{"better.example", {addresses({"192.0.2.1"}), addresses({})}},
                     {"us.example", {addresses({"192.0.2.2"}), addresses({"2001:db8::2"})}},
                     {"equal.example", {addresses({"192.0.2.3"}), addresses({})}},
                     {"worse.example", {addresses({"192.0.2.4"}), addresses({})}}};
  const Bounds us{{{ip("2001:db8::2")}, {25}, "mx.us.example"}, {}};
  EXPECT_EQ(choose(mx({{10, "better.example"},
                       {20, "us.example"},
                       {20, "equal.example"},
                       {30, "worse.example"}}),
                   zone, us),
            "better.example[192.0.2.1]:25");
  EXPECT_EQ(
      choose(mx({{20, "us.example"}, {20, "equal.example"}, {30, "worse.example"}}), zone, us),
      "temporary dns 4.4.6 its mail host is this one, which does not take mail for it");
  // Better ones exist, but cannot be reached: that they cannot is no reason to fail.
  EXPECT_EQ(choose(mx({{10, "gone.example"}, {20, "us.example"}}), zone, us),
            "temporary dns 4.4.6 its mail host is this one, which does not take mail for it");
  // Another port is another server.
  EXPECT_EQ(choose(mx({{20, "us.example"}}), zone, {{{ip("2001:db8::2")}, {2525}, {}}, {}}),
            "us.example[2001:db8::2]:25 us.example[192.0.2.2]:25");
}

TEST(NextHop, BoundsHostsAndTargets) {
  std::vector<std::pair<int, std::string>> records;
  Zone zone;
  for (int i = 0; i < 60; ++i) {
    const auto name = "mx" + std::to_string(i) + ".example";
    records.emplace_back(i, name);
    const auto network = "10.0." + std::to_string(i) + ".";
    zone[name] = {addresses({network + "1", network + "2", network + "3"}), addresses({})};
  }
  const auto hosts = hosts_of(domain("example.org"), mx(records), no_chance);
  EXPECT_EQ(hosts->size(), kMaxHosts);
  const auto all = choose(mx(records), zone);
  EXPECT_EQ(static_cast<std::size_t>(std::count(all.begin(), all.end(), ' ')) + 1, kMaxTargets);
}

TEST(NextHop, RoutesToAHost) {
  const Host known{0, domain("relay.example"), addresses({"127.0.0.1"}), addresses({})};
  EXPECT_EQ(describe(targets_of_route(known, 2525)), "relay.example[127.0.0.1]:2525");
  const Host gone{0, domain("relay.example"), status(dns::Status::kNoDomain),
                  status(dns::Status::kNoDomain)};
  EXPECT_EQ(describe(targets_of_route(gone, 25)),
            "temporary dns 4.4.3 looking up relay.example: no such host");
}

TEST(NextHop, RoutesToAnAddress) {
  const Bounds us{{{ip("192.0.2.1")}, {25}, {}}, {}};
  EXPECT_EQ(describe(target_of_address(ip("192.0.2.1"), 2525, us)), "[192.0.2.1]:2525");
  EXPECT_EQ(describe(target_of_address(ip("192.0.2.1"), 25, us)),
            "temporary dns 4.4.6 its mail host is this one, which does not take mail for it");
  EXPECT_EQ(describe(target_of_address(ip("0.0.0.0"), 25, us)),
            "permanent dns 5.4.4 0.0.0.0 is no host's address");
}

// Of which the SOCKS server knows where it is.
TEST(NextHop, RoutesToAName) {
  const auto targets = target_of_name(domain("far.example"), 2525);
  EXPECT_EQ(describe(targets), "far.example:2525");
  EXPECT_TRUE(targets.at(0).endpoint.address.is_unspecified());
  EXPECT_TRUE(targets.at(0).named_for_sure);
}

TEST(NextHop, ReadsLiterals) {
  EXPECT_EQ(literal_address(domain("[192.0.2.1]")), ip("192.0.2.1"));
  EXPECT_EQ(literal_address(domain("[IPv6:2001:db8::1]")), ip("2001:db8::1"));
  EXPECT_EQ(literal_address(domain("example.org")), std::nullopt);
}

TEST(NextHop, ASetOfHostsHasOneNameWhateverItsOrder) {
  const auto host = [](std::uint16_t preference, const char* name) {
    return Host{preference, mail::Domain::parse(name).value(), {}, {}};
  };
  const std::vector<Host> a{host(20, "c.example"), host(10, "b.example"), host(10, "a.example")};
  const std::vector<Host> b{host(5, "a.example"), host(5, "b.example"), host(7, "c.example")};
  EXPECT_EQ(hop_name_of(a, 25, ""), "a.example,b.example>c.example:25");
  EXPECT_EQ(hop_name_of(b, 25, ""), hop_name_of(a, 25, ""));
  std::vector<Host> many;
  for (int n = 0; n < 20; ++n)
    many.push_back(host(10, (std::string(60, 'x') + std::to_string(n) + ".example").c_str()));
  const auto name = hop_name_of(many, 2525, "");
  EXPECT_EQ(name.size(), ipc::kMaxHopName);
  EXPECT_TRUE(name.ends_with(":2525"));
  EXPECT_TRUE(hop_name_of(many, 25, "/verified").ends_with(":25/verified"));
  many.back() = host(10, "other.example");
  EXPECT_NE(hop_name_of(many, 2525, ""), name);
}

// Two sets of one name would share their connections: it must not be for anybody to find such.
TEST(NextHop, ALongNameEndsWithADigestOfItAll) {
  std::vector<Host> many;
  std::string all;
  for (int n = 0; n < 10; ++n) {
    const auto name = std::string(60, 'x') + std::to_string(n) + ".example";
    many.push_back({10, mail::Domain::parse(name).value(), {}, {}});
    all += (n == 0 ? "" : ",") + name;
  }
  std::string digest;
  for (const char byte : tls::sha256(all)) digest += fmt::format("{:02x}", static_cast<std::uint8_t>(byte));
  EXPECT_NE(hop_name_of(many, 25, "").find("..." + digest.substr(0, 24) + ":25"), std::string::npos);
}

// RFC 7672 2.2.1, 2.2.2: a host is vouched for with the record that names it and all of its addresses.
TEST(NextHop, WhatDnssecVouchesForIsToldOfEachTarget) {
  const auto vouched = [](bool named, bool v4, bool v6, const std::string& alias = "") {
    Host host{10, domain("mx.example"), addresses({"192.0.2.1"}), addresses({"2001:db8::1"}), named};
    host.v4.secure = v4;
    host.v6.secure = v6;
    host.v4.alias_of = host.v6.alias_of = alias;
    const auto targets = targets_of(domain("example.org"), {host}, 25, {});
    EXPECT_EQ(targets->at(0).domain, "example.org");
    EXPECT_EQ(targets->at(0).vouched, targets->at(1).vouched);
    return targets->at(0).vouched;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(vouched(true, true, true), Names{"mx.example"});
  EXPECT_EQ(vouched(true, true, true, "real.example"), (Names{"real.example", "mx.example"}));
  EXPECT_EQ(vouched(false, true, true), Names{});
  EXPECT_EQ(vouched(true, false, true), Names{});
  EXPECT_EQ(vouched(true, true, false), Names{});
  Host routed{0, domain("mx.example"), addresses({"192.0.2.1"}), addresses({}), true};
  routed.v4.secure = true;
  EXPECT_EQ(targets_of_route(routed, 25)->at(0).vouched, Names{"mx.example"});
  EXPECT_EQ(targets_of_route(routed, 25)->at(0).domain, "");
}

TEST(NextHop, HostsThatDnssecNamesAreAnotherNextHop) {
  const std::vector<Host> hosts{{10, domain("mx.example"), {}, {}, true}};
  EXPECT_EQ(hop_name_of(hosts, 25, "/required"), "mx.example:25/required/dnssec");
  EXPECT_EQ(hop_name_of(hosts, 25, "/verified"), "mx.example:25/verified/dnssec");
  EXPECT_EQ(hop_name_of({{10, domain("mx.example"), {}, {}, false}}, 25, ""), "mx.example:25");
}

// RFC 8689 2: its addresses need nobody to vouch for them, as its certificate must bear its name.
TEST(NextHop, WhoNamesAHostIsToldOfIt) {
  const auto named = [](bool securely) {
    const Host host{10, domain("mx.example"), addresses({"192.0.2.1"}), addresses({}), securely};
    return targets_of(domain("example.org"), {host}, 25, {})->at(0).named_for_sure;
  };
  EXPECT_TRUE(named(true));
  EXPECT_FALSE(named(false));
  const Host routed{0, domain("mx.example"), addresses({"192.0.2.1"}), addresses({}), true};
  EXPECT_TRUE(targets_of_route(routed, 25)->at(0).named_for_sure);
  EXPECT_TRUE(target_of_address(base::parse_ip("192.0.2.1").value(), 25, {})->at(0).named_for_sure);
}

}  // namespace
}  // namespace postern::relay
