#include "deliverd/relay/introduction.h"

#include <gtest/gtest.h>

#include "deliverd/relay/features.h"

namespace postern::relay {
namespace {

using namespace std::string_literals;

constexpr std::string_view kAll = "NAME ADDR PORT PROTO HELO IDENT SOURCE";
const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

ipc::FirstClient client(std::string_view address = "192.0.2.7") {
  return {base::parse_ip(address), "4321", "client.example", "hello.example", "ESMTP"};
}
base::Endpoint endpoint(std::string_view text) {
  return base::parse_endpoint(text).value();
}

std::string forwards(const Introduction& introduction, std::string_view offered = kAll) {
  std::string all;
  for (const auto& command : xforward_commands(introduction, read_attributes(offered))) all += command;
  return all;
}
std::string xclient(const ipc::FirstClient& client, std::string_view offered = "NAME ADDR PORT PROTO HELO") {
  return xclient_command(client, read_attributes(offered));
}

// --- What is offered --------------------------------------------------------------------------------

TEST(Introduction, OnlyWhatIsOfferedIsSaid) {
  EXPECT_TRUE(read_attributes("").empty());
  EXPECT_TRUE(read_attributes("LOGIN DESTADDR NAMES  ").empty());
  const auto some = read_attributes("  addr LOGIN  Helo");
  EXPECT_TRUE(some.has(ClientAttribute::kAddr));
  EXPECT_TRUE(some.has(ClientAttribute::kHelo));
  EXPECT_FALSE(some.has(ClientAttribute::kName));
  EXPECT_EQ(forwards({client(), "id"}, "HELO ADDR LOGIN"), "XFORWARD ADDR=192.0.2.7 HELO=hello.example\r\n");
  EXPECT_EQ(forwards({client(), "id"}, "LOGIN"), "");
  EXPECT_EQ(xclient(client(), "ADDR LOGIN"), "XCLIENT ADDR=192.0.2.7\r\n");
}

TEST(Introduction, TheOfferStandsInTheReplyToEhlo) {
  mail::Reply reply{250, {}, {"mx.example XCLIENT ADDR", "XFORWARD NAME ADDR", "xclient ADDR", "XCLIENTS NAME"}};
  auto features = read_features(reply);
  EXPECT_TRUE(features.xforward.has(ClientAttribute::kName));
  EXPECT_FALSE(features.xforward.has(ClientAttribute::kHelo));
  EXPECT_TRUE(features.xclient.has(ClientAttribute::kAddr));
  EXPECT_FALSE(features.xclient.has(ClientAttribute::kName));
  reply.lines = {"mx.example", "XFORWARD", "XCLIENT"};
  features = read_features(reply);
  EXPECT_TRUE(features.xforward.empty());
  EXPECT_TRUE(features.xclient.empty());
}

// --- XFORWARD ---------------------------------------------------------------------------------------

TEST(Xforward, SaysWhatIsKnownAndWhatIsNot) {
  EXPECT_EQ(forwards({client(), "0Q7M3K9XD2B4A"}),
            "XFORWARD NAME=client.example ADDR=192.0.2.7 PORT=4321 PROTO=ESMTP HELO=hello.example "
            "IDENT=0Q7M3K9XD2B4A SOURCE=REMOTE\r\n");
  EXPECT_EQ(forwards({ipc::FirstClient{{}, "", "", "a b", ""}, ""}),
            "XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] PROTO=[UNAVAILABLE] HELO=a+20b "
            "IDENT=[UNAVAILABLE] SOURCE=REMOTE\r\n");
  EXPECT_EQ(forwards({std::nullopt, "4bXk"}),
            "XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] PROTO=[UNAVAILABLE] "
            "HELO=[UNAVAILABLE] IDENT=4bXk SOURCE=LOCAL\r\n");
  EXPECT_EQ(forwards({client("2001:db8::7"), ""}, "ADDR"), "XFORWARD ADDR=IPV6:2001:db8::7\r\n");
}

// A value is one word of printable ASCII, whatever was in it: no other attribute, no other line.
TEST(Xforward, NothingStandsInAValueThatEndsIt) {
  auto liar = client();
  liar.hello = "x ADDR=10.0.0.1\r\nRCPT TO:<a@b.example>\x7f\xff";
  const auto said = forwards({liar, "id"}, "HELO");
  EXPECT_EQ(said, "XFORWARD HELO=x+20ADDR+3D10.0.0.1+0D+0ARCPT+20TO:<a@b.example>+7F+FF\r\n");
}

TEST(Xforward, TakesAsManyCommandsAsItNeeds) {
  auto long_one = client("2001:db8:1111:2222:3333:4444:5555:6666");
  long_one.name = std::string(255, 'n');
  long_one.hello = std::string(255, 'h');
  const auto commands = xforward_commands({long_one, "0Q7M3K9XD2B4A"}, read_attributes(kAll));
  ASSERT_EQ(commands.size(), 2U);
  EXPECT_EQ(commands[0], "XFORWARD NAME=" + long_one.name +
                             " ADDR=IPV6:2001:db8:1111:2222:3333:4444:5555:6666 PORT=4321 PROTO=ESMTP\r\n");
  EXPECT_EQ(commands[1], "XFORWARD HELO=" + long_one.hello + " IDENT=0Q7M3K9XD2B4A SOURCE=REMOTE\r\n");
}

TEST(Xforward, NoCommandIsLongerThanItMayBe) {
  for (std::size_t size = 0; size <= 255; ++size) {
    for (const char c : {'n', '+'}) {
      auto one = client("2001:db8:1111:2222:3333:4444:5555:6666");
      one.name = one.hello = std::string(size, c);
      const auto commands = xforward_commands({one, "0Q7M3K9XD2B4A"}, read_attributes(kAll));
      std::string all;
      for (const auto& command : commands) {
        EXPECT_LE(command.size(), kMaxIntroduction);
        EXPECT_TRUE(command.starts_with("XFORWARD ") && command.ends_with("\r\n"));
        all += command;
      }
      EXPECT_NE(all.find(" ADDR=IPV6:2001:"), std::string::npos) << size;
      EXPECT_NE(all.find(" SOURCE=REMOTE"), std::string::npos) << size;
    }
  }
}

TEST(Xforward, AValueWithoutRoomIsNotCut) {
  auto one = client();
  one.hello = std::string(165, '+');  // three bytes each, in a command of its own
  EXPECT_EQ(forwards({one, ""}, "HELO").size(), std::string("XFORWARD HELO=\r\n").size() + 3 * 165);
  one.hello += '+';
  EXPECT_EQ(forwards({one, ""}, "HELO"), "XFORWARD HELO=[UNAVAILABLE]\r\n");
}

// --- XCLIENT ----------------------------------------------------------------------------------------

TEST(Xclient, NamesTheClient) {
  EXPECT_EQ(xclient(client()),
            "XCLIENT NAME=client.example ADDR=192.0.2.7 PORT=4321 PROTO=ESMTP HELO=hello.example\r\n");
  EXPECT_EQ(xclient({}),
            "XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] PROTO=[UNAVAILABLE] "
            "HELO=[UNAVAILABLE]\r\n");
  EXPECT_EQ(xclient(client("2001:db8::7"), "ADDR"), "XCLIENT ADDR=IPV6:2001:db8::7\r\n");
}

// A second command would begin anew, without what the first one said.
TEST(Xclient, IsOneCommandHoweverLongTheNames) {
  for (std::size_t size = 0; size <= 255; ++size) {
    for (const char c : {'n', '+'}) {
      auto one = client("2001:db8:1111:2222:3333:4444:5555:6666");
      one.hello = std::string(size, c);
      one.name = std::string(size, 'n');
      const auto command = xclient(one);
      EXPECT_LE(command.size(), kMaxIntroduction);
      EXPECT_EQ(command.find("\r\n"), command.size() - 2);
      EXPECT_NE(command.find(" ADDR=IPV6:2001:db8:1111:2222:3333:4444:5555:6666 "), std::string::npos) << size;
    }
  }
  auto one = client();
  one.name = std::string(255, 'n');
  one.hello = std::string(254, 'h');
  const auto command = xclient(one);
  EXPECT_NE(command.find(" NAME=[UNAVAILABLE]"), std::string::npos) << "the longest has no room";
  EXPECT_NE(command.find(" HELO=hhh"), std::string::npos);
}

// --- PROXY ------------------------------------------------------------------------------------------

TEST(ProxyHeader, NamesClientAndServer) {
  EXPECT_EQ(proxy_header(client(), endpoint("198.51.100.25:2525")),
            kSignature + "\x21\x11\x00\x0C"s + "\xC0\x00\x02\x07\xC6\x33\x64\x19"s + "\x10\xE1\x09\xDD"s);
  const auto v6 = "\x20\x01\x0d\xb8"s + std::string(11, '\0');
  EXPECT_EQ(proxy_header(client("2001:db8::7"), endpoint("[2001:db8::19]:25")),
            kSignature + "\x21\x21\x00\x24"s + v6 + "\x07" + v6 + "\x19" + "\x10\xE1\x00\x19"s);
}

TEST(ProxyHeader, OfTwoFamiliesLeavesTheServersOpen) {
  EXPECT_EQ(proxy_header(client(), endpoint("[2001:db8::19]:25")),
            kSignature + "\x21\x11\x00\x0C"s + "\xC0\x00\x02\x07"s + std::string(4, '\0') + "\x10\xE1\x00\x19"s);
  EXPECT_EQ(proxy_header(client("2001:db8::7"), endpoint("192.0.2.25:25")),
            kSignature + "\x21\x21\x00\x24"s + "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x07" +
                std::string(16, '\0') + "\x10\xE1\x00\x19"s);
}

TEST(ProxyHeader, WithoutAClientSpeaksForUs) {
  EXPECT_EQ(proxy_header(std::nullopt, endpoint("192.0.2.25:25")), kSignature + "\x20\x00\x00\x00"s);
}

// Our own rights are not for somebody whom nobody knows.
TEST(ProxyHeader, OfAClientWithoutAddressNamesNobody) {
  EXPECT_EQ(proxy_header(ipc::FirstClient{}, endpoint("192.0.2.25:25")),
            kSignature + "\x21\x11\x00\x0C"s + std::string(4, '\0') + "\xC0\x00\x02\x19"s + "\x00\x00\x00\x19"s);
}

TEST(ProxyHeader, APortIsANumberOrNone) {
  for (const std::string port : {"", "x", "65536", "-1", "99999999999999999999"}) {
    auto one = client();
    one.port = port;
    const auto header = proxy_header(one, endpoint("192.0.2.25:25"));
    EXPECT_EQ(header.substr(24, 2), "\x00\x00"s) << port;
  }
  auto one = client();
  one.port = "65535";
  EXPECT_EQ(proxy_header(one, endpoint("192.0.2.25:25")).substr(24, 2), "\xFF\xFF"s);
}

// --- Whom, and how it says hello --------------------------------------------------------------------

TEST(Introduction, AnAddressOfOurLoopbackIsNotTakenElsewhere) {
  for (const auto* address : {"127.0.0.1", "127.9.9.9", "::1"}) {
    EXPECT_FALSE(told_of(client(address), false)) << address;
    EXPECT_EQ(told_of(client(address), true), client(address)) << address;
  }
  EXPECT_EQ(told_of(client(), false), client());
  EXPECT_EQ(told_of(ipc::FirstClient{}, false), ipc::FirstClient{}) << "nobody knows him, but he is not us";
  EXPECT_FALSE(told_of(std::nullopt, true));
}

TEST(Introduction, SaysHelloAsTheClientDid) {
  auto one = client();
  EXPECT_EQ(hello_of(one, "us.example"), "hello.example");
  for (const std::string bad : {"", "a b", "x\r\nQUIT", "h\xc3\xb6st"}) {
    one.hello = bad;
    EXPECT_EQ(hello_of(one, "us.example"), "us.example") << bad;
  }
  one.hello = "[192.0.2.7]";
  EXPECT_EQ(hello_of(one, "us.example"), "[192.0.2.7]");
}

}  // namespace
}  // namespace postern::relay
