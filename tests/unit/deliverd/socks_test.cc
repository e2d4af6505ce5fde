// What is said to a SOCKS server, and what its answers mean.
#include "deliverd/relay/socks.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vector>

namespace postern::relay {
namespace {

using namespace std::string_literals;
using State = SocksClient::State;

const std::string kMethod = "\5\0"s;
const std::string kOpened = "\5\0\0\1\xc0\0\2\1\x9c\x40"s;  // from 192.0.2.1, port 40000

SocksClient client(std::string_view endpoint = "192.0.2.9:2525") {
  return SocksClient(base::parse_endpoint(endpoint).value());
}

// Says `bytes` to it, never more at once than it wants; returns what it left of them.
std::string_view say(SocksClient& client, std::string_view bytes) {
  while (!bytes.empty() && client.state() == State::kTalking) {
    EXPECT_GE(client.wanted(), 1U);
    EXPECT_LE(client.wanted(), SocksClient::kMaxWanted);
    const auto part = bytes.substr(0, client.wanted());
    client.on_input(part);
    bytes.remove_prefix(part.size());
  }
  return bytes;
}

// The request that it makes once it was let in.
std::string request(SocksClient client) {
  EXPECT_EQ(client.output(), "\5\1\0"s) << "version 5; one method: no log-in";
  client.output().clear();
  EXPECT_TRUE(say(client, kMethod).empty());
  return client.output();
}

std::string trouble(std::string_view reply) {
  auto made = client();
  say(made, kMethod);
  say(made, reply);
  EXPECT_EQ(made.state(), State::kFailed);
  return made.trouble();
}

TEST(Socks, AsksForAddresses) {
  EXPECT_EQ(request(client()), "\5\1\0\1\xc0\0\2\x09\x09\xdd"s);
  EXPECT_EQ(request(client("[2001:db8::2]:25")), "\5\1\0\4\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\0\x19"s);
}

TEST(Socks, AsksForNames) {
  EXPECT_EQ(request(SocksClient("far.example", 65535)), "\5\1\0\3\x0b"s + "far.example\xff\xff");
  const std::string longest(SocksClient::kMaxName, 'n');
  EXPECT_EQ(request(SocksClient(longest, 25)), "\5\1\0\3\xff"s + longest + "\0\x19"s);
}

TEST(Socks, SaysNothingBeforeItIsLetIn) {
  auto made = client();
  made.output().clear();
  made.on_input(kMethod.substr(0, 1));
  EXPECT_TRUE(made.output().empty());
  made.on_input(kMethod.substr(1));
  EXPECT_FALSE(made.output().empty());
}

TEST(Socks, OpensForEachKindOfAddressAndLeavesWhatFollows) {
  const auto longest = "\5\0\0\3\xff"s + std::string(255, 'n') + "\0\x19"s;
  for (const auto& reply : {kOpened, "\5\0\0\4"s + std::string(18, '\x7f'), "\5\0\0\3\3far\0\x19"s,
                            "\5\0\0\3\0\0\x19"s, longest}) {
    auto made = client();
    EXPECT_EQ(say(made, kMethod + reply + "220 hop.example\r\n"), "220 hop.example\r\n");
    EXPECT_EQ(made.state(), State::kOpen);
  }
}

// However the answer is cut, it is the same answer, and nothing is done before its end.
TEST(Socks, AnswersMayComeInPieces) {
  for (const auto& reply : {kOpened, "\5\0\0\3\3far\0\x19"s}) {
    const auto all = kMethod + reply;
    for (std::size_t cut = 1; cut < all.size(); ++cut) {
      auto made = client();
      EXPECT_TRUE(say(made, std::string_view(all).substr(0, cut)).empty());
      EXPECT_EQ(made.state(), State::kTalking) << cut;
      EXPECT_TRUE(say(made, std::string_view(all).substr(cut)).empty());
      EXPECT_EQ(made.state(), State::kOpen) << cut;
    }
    auto made = client();
    for (const char byte : all) {
      EXPECT_EQ(made.state(), State::kTalking);
      made.on_input({&byte, 1});
    }
    EXPECT_EQ(made.state(), State::kOpen);
  }
}

TEST(Socks, EachReplyHasItsSentence) {
  const std::vector<std::string> sentences = {
      "says: general SOCKS server failure", "says: connection not allowed by ruleset",
      "says: network unreachable",          "says: host unreachable",
      "says: connection refused",           "says: TTL expired",
      "says: command not supported",        "says: address type not supported",
  };
  for (unsigned code = 1; code <= 255; ++code) {
    const auto reply = "\5"s + static_cast<char>(code);
    EXPECT_EQ(trouble(reply), code <= sentences.size() ? sentences[code - 1] : fmt::format("says: failure {}", code));
  }
}

TEST(Socks, RefusesOtherLanguages) {
  EXPECT_EQ(trouble("\4\0"s), "does not speak SOCKS5");
  EXPECT_EQ(trouble("\5\0\0\2"s), "answered with an unknown kind of address");
  EXPECT_EQ(trouble("\5\0\0\0"s), "answered with an unknown kind of address");
}

TEST(Socks, ThereIsNoLogIn) {
  const auto method = [](std::string_view bytes) {
    auto made = client();
    made.output().clear();
    EXPECT_TRUE(say(made, bytes).empty());
    EXPECT_EQ(made.state(), State::kFailed);
    EXPECT_TRUE(made.output().empty()) << "where we want to go is not its business";
    return made.trouble();
  };
  EXPECT_EQ(method("\5\xff"s), "lets nobody in without a log-in");
  EXPECT_EQ(method("\5\2"s), "chose a log-in that it was not offered");
  EXPECT_EQ(method("\4\0"s), "does not speak SOCKS5");
  EXPECT_EQ(method("HT"s), "does not speak SOCKS5");
}

}  // namespace
}  // namespace postern::relay
