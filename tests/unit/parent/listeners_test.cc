#include "parent/listeners.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/os/socket.h"

namespace postern::parent {
namespace {

// A port of 127.0.0.1 that nobody listens on.
std::uint16_t free_port() {
  const auto fd = os::listen_tcp({{base::IpFamily::kV4, {127, 0, 0, 1}}, 0});
  CHECK(fd);
  sockaddr_in address{};
  socklen_t size = sizeof address;
  CHECK(::getsockname(fd->get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return ntohs(address.sin_port);
}

config::Listener on(std::uint16_t port, config::Service service = config::Service::kMx) {
  config::Listener listener;
  listener.address.endpoint = {{base::IpFamily::kV4, {127, 0, 0, 1}}, port};
  listener.service = service;
  listener.where = {"postern.toml", 7, 1};
  return listener;
}

bool answers(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto fd = base::UniqueFd::adopt(::socket(AF_INET, SOCK_STREAM, 0));
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

std::vector<std::uint32_t> numbers(const std::vector<base::ListenerIndex>& indexes) {
  std::vector<std::uint32_t> result;
  for (const auto index : indexes) result.push_back(index.value);
  return result;
}
using Numbers = std::vector<std::uint32_t>;

TEST(Listeners, KeepAnAddressesIndexOverAllGenerations) {
  const auto a = free_port(), b = free_port(), c = free_port();
  Listeners listeners;
  ASSERT_TRUE(listeners.prepare({on(a), on(b)}));
  EXPECT_EQ(numbers(listeners.commit().added), (Numbers{0, 1}));

  ASSERT_TRUE(listeners.prepare({on(b), on(c)}));
  const auto prepared = listeners.prepared();
  ASSERT_EQ(prepared.size(), 3U);
  EXPECT_EQ(prepared[0].address.endpoint.port, a);
  EXPECT_EQ(prepared[1].address.endpoint.port, b);
  EXPECT_EQ(prepared[2].address.endpoint.port, c);
  EXPECT_TRUE(answers(a)) << "not before commit()";
  const auto change = listeners.commit();
  EXPECT_EQ(numbers(change.added), Numbers{2});
  EXPECT_EQ(numbers(change.removed), Numbers{0});
  EXPECT_FALSE(answers(a));
  EXPECT_TRUE(answers(b));
  EXPECT_TRUE(answers(c));

  ASSERT_TRUE(listeners.prepare({on(a), on(c)}));
  const auto back = listeners.commit();
  EXPECT_EQ(numbers(back.added), Numbers{0});
  EXPECT_EQ(numbers(back.removed), Numbers{1});
  EXPECT_TRUE(answers(a));
}

TEST(Listeners, WhatIsTakenOutKeepsNoRight) {
  const auto a = free_port(), b = free_port();
  auto generous = on(a, config::Service::kRelay);
  generous.relay_from = {base::parse_network("0.0.0.0/0").value()};
  Listeners listeners;
  ASSERT_TRUE(listeners.prepare({generous, on(b)}));
  listeners.commit();
  ASSERT_TRUE(listeners.prepare({on(b)}));
  EXPECT_TRUE(listeners.prepared()[0].relay_from.empty());
  EXPECT_EQ(listeners.prepared()[0].service, config::Service::kMx);
  listeners.commit();
  ASSERT_TRUE(listeners.prepare({on(b)}));
  EXPECT_TRUE(listeners.prepared()[0].relay_from.empty());
}

TEST(Listeners, OneThatCannotBeBoundLeavesNothingBehind) {
  const auto a = free_port(), b = free_port(), c = free_port();
  const auto taken = os::listen_tcp({{base::IpFamily::kV4, {127, 0, 0, 1}}, c});
  ASSERT_TRUE(taken);
  Listeners listeners;
  ASSERT_TRUE(listeners.prepare({on(a)}));
  listeners.commit();
  const auto refused = listeners.prepare({on(a), on(b), on(c)});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().substr(0, 15), "postern.toml:7:");
  EXPECT_FALSE(answers(b)) << "nobody would serve it";
  EXPECT_TRUE(answers(a));
  EXPECT_EQ(listeners.entries().size(), 1U);
}

TEST(Listeners, DiscardClosesWhatWasPrepared) {
  const auto a = free_port(), b = free_port();
  Listeners listeners;
  ASSERT_TRUE(listeners.prepare({on(a)}));
  listeners.commit();
  ASSERT_TRUE(listeners.prepare({on(b)}));
  EXPECT_TRUE(answers(b));
  listeners.discard();
  EXPECT_FALSE(answers(b));
  EXPECT_TRUE(answers(a));
  EXPECT_EQ(listeners.entries().size(), 1U);
}

TEST(Listeners, AnAddressKeepsItsService) {
  const auto a = free_port();
  Listeners listeners;
  ASSERT_TRUE(listeners.prepare({on(a)}));
  listeners.commit();
  const auto refused = listeners.prepare({on(a, config::Service::kRelay)});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().find("restart"), std::string::npos);
}

TEST(Listeners, MoreAddressesThanARoleCanNameAreRefused) {
  const auto port = free_port();
  Listeners listeners;
  for (std::size_t i = 0; i < Listeners::kMaxListeners; ++i) {
    auto listener = on(port);
    listener.address.endpoint.address.bytes[2] = static_cast<std::uint8_t>(1 + i / 250);
    listener.address.endpoint.address.bytes[3] = static_cast<std::uint8_t>(1 + i % 250);
    ASSERT_TRUE(listeners.prepare({listener})) << i;
    listeners.commit();
  }
  EXPECT_FALSE(listeners.prepare({on(port)}));
  EXPECT_EQ(listeners.entries().size(), Listeners::kMaxListeners);
}

}  // namespace
}  // namespace postern::parent
