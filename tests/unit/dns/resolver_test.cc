#include "common/dns/resolver.h"

#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "fake_server.h"
#include "packet.h"

namespace postern::dns {
namespace {

constexpr Resolver::Options kQuick{base::Millis(150), 2};

mail::Domain domain(std::string_view text) {
  return mail::Domain::parse(text).value();
}

struct Client {
  explicit Client(std::vector<base::Endpoint> servers)
      : resolver(Resolver::make(servers, kQuick).value()) {
    resolver->attach(loop);
  }
  MxAnswer mx(std::string_view name) {
    std::optional<MxAnswer> result;
    const auto query =
        resolver->mx(domain(name), [&](MxAnswer a) noexcept { result = std::move(a); });
    EXPECT_FALSE(result) << "answered inside the call";
    loop.run_once(false);
    while (!result) loop.run_once(true);
    return *result;
  }
  event::Loop loop;
  std::unique_ptr<Resolver> resolver;
};

std::string good_mx() {
  return Packet("example.org", kMx).mx("example.org", 10, "a.example").bytes();
}

TEST(Resolver, Asks) {
  FakeServer server([](const std::string& q, bool) { return FakeServer::as_answer(q, good_mx()); });
  Client client({server.endpoint()});
  const auto answer = client.mx("example.org");
  EXPECT_EQ(answer.status, Status::kRecords);
  EXPECT_EQ(answer.records.at(0).host.text(), "a.example");
}

TEST(Resolver, AsksForBothFamiliesAtOnce) {
  FakeServer server([](const std::string& q, bool) {
    const bool six = q.find(std::string("\0\x1c\0\1", 4)) != std::string::npos;
    Packet packet("example.org", six ? kAaaa : kA);
    if (six)
      packet.record("example.org", kAaaa, 60, std::string(15, '\0') + "\1");
    else
      packet.a("example.org", "\x7f\1\1\1");
    return FakeServer::as_answer(q, packet.bytes());
  });
  Client client({server.endpoint()});
  std::set<std::string> got;
  std::vector<Query> queries;
  for (const auto family : {base::IpFamily::kV4, base::IpFamily::kV6})
    queries.push_back(
        client.resolver->addresses(domain("example.org"), family, [&](AddressAnswer a) noexcept {
          for (const auto& address : a.addresses) got.insert(base::to_string(address));
        }));
  while (got.size() < 2) client.loop.run_once(true);
  EXPECT_EQ(got, (std::set<std::string>{"127.1.1.1", "::1"}));
}

TEST(Resolver, NoDomain) {
  FakeServer server([](const std::string& q, bool) {
    return FakeServer::as_answer(q, Packet("example.org", kMx, 0x8183).bytes());
  });
  Client client({server.endpoint()});
  EXPECT_EQ(client.mx("example.org").status, Status::kNoDomain);
}

// RFC 6840 5.7: it is asked for; and it is worth what the way is worth that it came.
TEST(Resolver, AWordOnDnssecCountsWhereServersAreTrusted) {
  std::atomic<bool> asked = false;
  FakeServer server([&](const std::string& q, bool) {
    asked = (q[3] & 0x20) != 0;
    return FakeServer::as_answer(q, Packet("example.org", kMx, 0x81a3).bytes());
  });
  Client client({server.endpoint()});
  EXPECT_FALSE(client.mx("example.org").secure);
  EXPECT_TRUE(asked);
  client.resolver->set_servers({server.endpoint()}, true);
  EXPECT_TRUE(client.mx("example.org").secure);
}

TEST(Resolver, FailingServersAreTemporary) {
  for (const unsigned rcode : {1U, 2U, 4U, 5U}) {
    FakeServer server([&](const std::string& q, bool) {
      return FakeServer::as_answer(q, Packet("example.org", kMx, 0x8180 | rcode).bytes());
    });
    Client client({server.endpoint()});
    const auto answer = client.mx("example.org");
    EXPECT_EQ(answer.status, Status::kTemporary) << rcode;
    EXPECT_NE(answer.trouble, "");
  }
}

TEST(Resolver, SilenceIsTemporary) {
  FakeServer server([](const std::string&, bool) { return std::nullopt; });
  Client client({server.endpoint()});
  const auto answer = client.mx("example.org");
  EXPECT_EQ(answer.status, Status::kTemporary);
  EXPECT_EQ(answer.trouble, "no answer from the name servers");
  EXPECT_EQ(server.queries(), 2);
}

TEST(Resolver, NobodyListens) {
  std::optional<base::Endpoint> gone;
  {
    FakeServer server([](const std::string&, bool) { return std::nullopt; });
    gone = server.endpoint();
  }
  Client client({*gone});
  EXPECT_EQ(client.mx("example.org").status, Status::kTemporary);
}

TEST(Resolver, TheSecondServerHelps) {
  FakeServer broken([](const std::string& q, bool) {
    return FakeServer::as_answer(q, Packet("example.org", kMx, 0x8182).bytes());
  });
  FakeServer good([](const std::string& q, bool) { return FakeServer::as_answer(q, good_mx()); });
  Client client({broken.endpoint(), good.endpoint()});
  EXPECT_EQ(client.mx("example.org").status, Status::kRecords);
}

TEST(Resolver, TruncatedAnswersComeAgainByTcp) {
  FakeServer server([](const std::string& q, bool tcp) {
    if (!tcp) return FakeServer::as_answer(q, Packet("example.org", kMx, 0x8380).bytes());
    Packet packet("example.org", kMx);
    for (unsigned i = 0; i < 90; ++i)
      packet.mx("example.org", i, "host" + std::to_string(i) + ".example");
    return FakeServer::as_answer(q, packet.bytes());
  });
  Client client({server.endpoint()});
  EXPECT_EQ(client.mx("example.org").records.size(), 90U);
}

TEST(Resolver, LiesAreNotTaken) {
  // Another id, another question, no question, noise: none of them ends the query but its timeout.
  FakeServer server([n = 0](const std::string& q, bool) mutable -> std::optional<std::string> {
    auto packet = FakeServer::as_answer(q, good_mx());
    switch (n++ % 4) {
      case 0:
        packet[0] = static_cast<char>(packet[0] ^ 1);
        return packet;
      case 1:
        return FakeServer::as_answer(
            q, Packet("other.example", kMx).mx("example.org", 1, "evil.example").bytes());
      case 2:
        return q.substr(0, 7);
      default:
        return std::string(300, 'x');
    }
  });
  Client client({server.endpoint()});
  EXPECT_EQ(client.mx("example.org").status, Status::kTemporary);
  EXPECT_EQ(client.mx("example.org").status, Status::kTemporary);
}

TEST(Resolver, MalformedAnswersAreTemporary) {
  FakeServer server([](const std::string& q, bool) {
    Packet packet("example.org", kMx);
    packet.mx("example.org", 1, "a.example").set_answers(9);
    return FakeServer::as_answer(q, packet.bytes());
  });
  Client client({server.endpoint()});
  EXPECT_EQ(client.mx("example.org").status, Status::kTemporary);
}

TEST(Resolver, IdsDiffer) {
  std::mutex mutex;
  std::set<std::string> ids;
  FakeServer server([&](const std::string& q, bool) {
    const std::scoped_lock lock(mutex);
    ids.insert(q.substr(0, 2));
    return FakeServer::as_answer(q, good_mx());
  });
  Client client({server.endpoint()});
  for (int i = 0; i < 50; ++i) client.mx("example.org");
  EXPECT_GT(ids.size(), 45U);
}

TEST(Resolver, DroppedHandlesCallNobody) {
  FakeServer server([](const std::string& q, bool) { return FakeServer::as_answer(q, good_mx()); });
  Client client({server.endpoint()});
  bool called = false;
  {
    const auto query =
        client.resolver->mx(domain("example.org"), [&](MxAnswer) noexcept { called = true; });
  }
  EXPECT_EQ(client.mx("example.org").status, Status::kRecords);
  for (int i = 0; i < 5; ++i) client.loop.run_once(false);
  EXPECT_FALSE(called);
}

TEST(Resolver, DiesWithQueriesUnderWay) {
  FakeServer server([](const std::string&, bool) { return std::nullopt; });
  event::Loop loop;
  bool called = false;
  Query query;
  {
    auto resolver = Resolver::make({server.endpoint()}, kQuick).value();
    resolver->attach(loop);
    query = resolver->mx(domain("example.org"), [&](MxAnswer) noexcept { called = true; });
    loop.run_once(false);
  }
  loop.run_once(false);
  EXPECT_FALSE(called);
}

TEST(Resolver, ChangesItsServers) {
  FakeServer old([](const std::string& q, bool) {
    return FakeServer::as_answer(q, Packet("example.org", kMx, 0x8183).bytes());
  });
  FakeServer fresh([](const std::string& q, bool) { return FakeServer::as_answer(q, good_mx()); });
  Client client({old.endpoint()});
  std::optional<Status> first, second;
  const auto a =
      client.resolver->mx(domain("example.org"), [&](MxAnswer r) noexcept { first = r.status; });
  client.resolver->set_servers({fresh.endpoint()}, false);
  const auto b =
      client.resolver->mx(domain("example.org"), [&](MxAnswer r) noexcept { second = r.status; });
  while (!first || !second) client.loop.run_once(true);
  EXPECT_EQ(*first, Status::kNoDomain);
  EXPECT_EQ(*second, Status::kRecords);
  EXPECT_EQ(fresh.queries(), 1);
}

TEST(Resolver, NamesThatCannotBeAsked) {
  FakeServer server([](const std::string& q, bool) { return FakeServer::as_answer(q, good_mx()); });
  Client client({server.endpoint()});
  std::string name;
  for (int i = 0; i < 4; ++i) name += std::string(62, 'a') + ".";
  EXPECT_EQ(client.mx(name + "bcd").status, Status::kTemporary);
  EXPECT_EQ(server.queries(), 0);
}

}  // namespace
}  // namespace postern::dns
