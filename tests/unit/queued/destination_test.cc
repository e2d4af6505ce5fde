#include "queued/destination.h"

#include <gtest/gtest.h>

namespace postern::queued {
namespace {

using config::HopKind;
using config::HopTls;

TEST(Destination, ANextHopIsNamedByItsHostAndByWhatIsDemandedOfIt) {
  EXPECT_EQ(hop_name({HopKind::kHost, "mx.example", 25}), "mx.example:25");
  EXPECT_EQ(hop_name({HopKind::kHost, "2001:db8::1", 2525}), "[2001:db8::1]:2525");
  EXPECT_EQ(hop_name({HopKind::kHost, "mx.example", 25, HopTls::kVerified}), "mx.example:25/verified");
  EXPECT_EQ(hop_name({HopKind::kHost, "mx.example", 465, HopTls::kOptional, true}),
            "mx.example:465/smtps");
  EXPECT_EQ(hop_name({HopKind::kHost, "::1", 465, HopTls::kDane, true}), "[::1]:465/smtps/dane");
  EXPECT_EQ(hop_name({.kind = HopKind::kHost, .host = "mx.example", .port = 24, .lmtp = true}),
            "mx.example:24/lmtp");
  EXPECT_EQ(hop_name({.kind = HopKind::kSocket, .host = "/run/lmtp", .port = 0, .lmtp = true}),
            "unix:/run/lmtp");
  EXPECT_EQ(hop_name({.kind = HopKind::kHost, .host = "mx.example", .weight = 3,
                      .pass_client = config::PassClient::kXclient,
                      .sources = {{base::parse_ip("192.0.2.5").value(), 2}},
                      .socks = base::parse_endpoint("127.0.0.1:1080")}),
            "mx.example:25/xclient/socks=127.0.0.1:1080/source=192.0.2.5*2");
  EXPECT_EQ(hop_name({HopKind::kMx, "", 25, HopTls::kVerified}), "") << "a deliverer knows";
}

// Who takes the mail of one queue may not take another's.
TEST(Destination, EachQueueThatIsCalledForHasANextHopOfItsOwn) {
  const config::HopSpec turn{.kind = HopKind::kTurn};
  EXPECT_EQ(hop_name(turn, "inner.example"), "turn:inner.example");
  EXPECT_EQ(hop_name({HopKind::kHost, "mx.example", 25}, "inner.example"), "mx.example:25");
  const std::string label(63, 'a');
  const auto longest = label + '.' + label + '.' + label + '.' + std::string(63, 'b');
  const auto name = hop_name(turn, longest), other = hop_name(turn, longest.substr(0, 254) + 'c');
  EXPECT_EQ(name.size(), 255U);
  EXPECT_TRUE(name.starts_with(kCalledFor));
  EXPECT_NE(name, other);
}

TEST(Destination, ANameTellsWhoServesTheNextHop) {
  for (const auto kind : {HopKind::kHost, HopKind::kSocket, HopKind::kMailbox, HopKind::kMx, HopKind::kTurn}) {
    const config::HopSpec spec{.kind = kind, .host = "/run/lmtp"};
    EXPECT_EQ(is_local_name(hop_name(spec)), is_served_locally(spec)) << static_cast<int>(kind);
  }
}

}  // namespace
}  // namespace postern::queued
