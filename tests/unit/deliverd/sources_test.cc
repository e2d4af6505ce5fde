// Which of our addresses a connection is made from.
#include "deliverd/relay/sources.h"

#include <gtest/gtest.h>

#include <map>

namespace postern::relay {
namespace {

using base::IpFamily;

config::SourceAddress source(std::string_view address, std::uint8_t weight = 1) {
  return {base::parse_ip(address).value(), weight};
}

// Chance that counts.
Chance counting() {
  return [next = std::uint64_t{0}]() mutable { return next++; };
}

std::string picked(const Sources& sources, IpFamily family) {
  const auto address = sources.pick(family);
  return address ? base::to_string(*address) : "none";
}

TEST(Sources, GiveEachItsShare) {
  const Sources sources({source("192.0.2.1"), source("192.0.2.2", 3), source("192.0.2.3", 255)}, counting());
  std::map<std::string, int> count;
  for (int i = 0; i < 259 * 2; ++i) ++count[picked(sources, IpFamily::kV4)];
  EXPECT_EQ(count, (std::map<std::string, int>{{"192.0.2.1", 2}, {"192.0.2.2", 6}, {"192.0.2.3", 510}}));
}

TEST(Sources, AreOfOneFamily) {
  const Sources both({source("192.0.2.1"), source("2001:db8::1", 2), source("192.0.2.2")}, counting());
  EXPECT_EQ(picked(both, IpFamily::kV4), "192.0.2.1");
  EXPECT_EQ(picked(both, IpFamily::kV4), "192.0.2.2");
  EXPECT_EQ(picked(both, IpFamily::kV6), "2001:db8::1");
  EXPECT_TRUE(both.has(IpFamily::kV4) && both.has(IpFamily::kV6));
  const Sources one({source("192.0.2.1")}, counting());
  EXPECT_FALSE(one.has(IpFamily::kV6));
  EXPECT_EQ(picked(one, IpFamily::kV6), "none");
}

TEST(Sources, WithoutAnyTheKernelChooses) {
  const Sources none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(picked(none, IpFamily::kV4), "none");
}

// No configuration says so, but what queued sends is a stranger's word.
TEST(Sources, OfNoWeightGetNoShareAndEndNobody) {
  const Sources none({source("192.0.2.1", 0)}, counting());
  EXPECT_FALSE(none.empty());
  EXPECT_FALSE(none.has(IpFamily::kV4));
  EXPECT_EQ(picked(none, IpFamily::kV4), "none");
  const Sources some({source("192.0.2.1", 0), source("192.0.2.2")}, counting());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(picked(some, IpFamily::kV4), "192.0.2.2");
}

TEST(Sources, AreTheHopsOwnWhereItHasSome) {
  const Sources all({source("192.0.2.1")}, counting());
  config::HopSpec hop;
  EXPECT_EQ(picked(all.for_hop(hop), IpFamily::kV4), "192.0.2.1");
  hop.sources = {source("192.0.2.7"), source("192.0.2.8")};
  const auto own = all.for_hop(hop);
  EXPECT_EQ(picked(own, IpFamily::kV4), "192.0.2.7");
  EXPECT_EQ(picked(own, IpFamily::kV4), "192.0.2.8") << "by the same kind of chance";
  EXPECT_EQ(picked(Sources().for_hop(hop), IpFamily::kV4).substr(0, 8), "192.0.2.");
}

}  // namespace
}  // namespace postern::relay
