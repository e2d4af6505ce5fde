#include "common/dns/resolver.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <mutex>
#include <semaphore>
#include <set>

#include "tests/unit/mail/spelled.h"
#include "fake_server.h"
#include "packet.h"

namespace postern::dns {
namespace {

constexpr Resolver::Options kQuick{base::Millis(150), 2};
constexpr Resolver::Options kPatient{base::Millis(10'000), 1};

struct Client {
  explicit Client(std::vector<base::Endpoint> servers, Resolver::Options options = kQuick)
      : resolver(Resolver::make(servers, options).value()) {
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
  // All at once, as a busy server has them.
  std::vector<Status> many(std::size_t count) {
    std::vector<Status> results;
    std::vector<Query> queries;
    for (std::size_t i = 0; i < count; ++i)
      queries.push_back(resolver->mx(domain("example.org"),
                                     [&](MxAnswer a) noexcept { results.push_back(a.status); }));
    while (results.size() < count) loop.run_once(true);
    return results;
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

// What somebody who cannot see the query would have to guess: 16 bits of id, and the port.
TEST(Resolver, EachQueryHasAPortOfItsOwn) {
  FakeServer server([](const std::string& q, bool) { return FakeServer::as_answer(q, good_mx()); });
  Client client({server.endpoint()}, kPatient);
  EXPECT_EQ(client.many(64), std::vector(64, Status::kRecords));
  const auto ports = server.ports();
  ASSERT_EQ(ports.size(), 64U);
  EXPECT_GE(std::set(ports.begin(), ports.end()).size(), 60U);
  std::size_t neighbours = 0;
  for (std::size_t i = 1; i < ports.size(); ++i)
    if (std::abs(ports[i] - ports[i - 1]) <= 4) ++neighbours;
  EXPECT_LT(neighbours, 8U) << "they can be counted up";
}

TEST(Resolver, EachQueryHasAFreshPort) {
  FakeServer server([](const std::string& q, bool) { return FakeServer::as_answer(q, good_mx()); });
  Client client({server.endpoint()}, kPatient);
  for (int i = 0; i < 20; ++i) client.mx("example.org");
  const auto ports = server.ports();
  ASSERT_EQ(ports.size(), 20U);
  EXPECT_GE(std::set(ports.begin(), ports.end()).size(), 18U);
}

TEST(Resolver, EachTryHasAFreshPort) {
  FakeServer server([](const std::string&, bool) { return std::nullopt; });
  Client client({server.endpoint()}, {base::Millis(20), 5});
  EXPECT_EQ(client.mx("example.org").status, Status::kTemporary);
  const auto ports = server.ports();
  ASSERT_EQ(ports.size(), 5U);
  EXPECT_GE(std::set(ports.begin(), ports.end()).size(), 4U);
}

TEST(Resolver, ALateAnswerToAnEarlierTryCounts) {
  std::binary_semaphore second_was_asked(0);
  FakeServer late([&](const std::string& q, bool) {
    second_was_asked.acquire();
    return FakeServer::as_answer(q, good_mx());
  });
  FakeServer silent([&](const std::string&, bool) {
    second_was_asked.release();
    return std::nullopt;
  });
  Client client({late.endpoint(), silent.endpoint()}, {base::Millis(1'000), 1});
  EXPECT_EQ(client.mx("example.org").status, Status::kRecords);
}

// Of this name the server says nothing.
std::optional<std::string> silent_of_silent(const std::string& q, bool) {
  if (q.find("silent") != std::string::npos) return std::nullopt;
  return FakeServer::as_answer(q, good_mx());
}

// At its own end, not only when nothing at all is under way.
TEST(Resolver, ClosesTheSocketsOfWhatIsOver) {
  FakeServer server(&silent_of_silent);
  Client client({server.endpoint()}, kPatient);
  const auto open_files = [] {
    const std::filesystem::directory_iterator files("/proc/self/fd");
    return std::distance(begin(files), end(files));
  };
  const auto before = open_files();
  const auto open = client.resolver->mx(domain("silent.example"), [](MxAnswer) noexcept {});
  client.many(64);
  EXPECT_EQ(open_files(), before + 1);
}

TEST(Resolver, ALieInFrontOfTheAnswerIsPassedOver) {
  FakeServer server([](const std::string& q, bool) { return FakeServer::as_answer(q, good_mx()); });
  const auto evil = Packet("example.org", kMx).mx("example.org", 1, "evil.example").bytes();
  server.lie = [&](const std::string& answer) {
    auto lie = FakeServer::as_answer(answer, evil);
    lie[0] = static_cast<char>(lie[0] ^ 1);
    return lie;
  };
  Client client({server.endpoint()}, kPatient);
  EXPECT_EQ(client.mx("example.org").records.at(0).host.text(), "a.example") << "another id";
  server.lie = [&](const std::string& answer) { return FakeServer::as_answer(answer, evil); };
  server.lie_from_elsewhere = true;
  EXPECT_EQ(client.mx("example.org").records.at(0).host.text(), "a.example") << "another address";
  server.lie_from_elsewhere = false;
  EXPECT_EQ(client.mx("example.org").records.at(0).host.text(), "evil.example") << "or nothing is tested here";
  server.lie = [](const std::string&) { return std::string(); };
  EXPECT_EQ(client.mx("example.org").records.at(0).host.text(), "a.example") << "an empty datagram";
  EXPECT_EQ(server.queries(), 4);
}

// Who has guessed the port of one query has not guessed those of others.
TEST(Resolver, AnAnswerToAnotherQueryIsNotHeard) {
  std::string first;
  FakeServer server([&](const std::string& q, bool) -> std::optional<std::string> {
    if (q.find("first") == std::string::npos)
      return FakeServer::as_answer(q, Packet("second.example", kMx, 0x8183).bytes());
    first = q;
    return std::nullopt;
  });
  server.lie = [&](const std::string&) {
    return FakeServer::as_answer(first, Packet("first.example", kMx).mx("first.example", 1, "evil.example").bytes());
  };
  Client client({server.endpoint()});
  std::optional<Status> result;
  const auto query =
      client.resolver->mx(domain("first.example"), [&](MxAnswer a) noexcept { result = a.status; });
  EXPECT_EQ(client.mx("second.example").status, Status::kNoDomain);
  EXPECT_FALSE(first.empty());
  while (!result) client.loop.run_once(true);
  EXPECT_EQ(*result, Status::kTemporary);
}

TEST(Resolver, MoreQueriesThanItAsksAtOnceWaitInLine) {
  FakeServer server([](const std::string& q, bool) { return FakeServer::as_answer(q, good_mx()); });
  Client client({server.endpoint()}, {base::Millis(2'000), 3});
  constexpr std::size_t kQueries = 3 * Resolver::kMaxUnderWay;
  EXPECT_EQ(client.many(kQueries), std::vector(kQueries, Status::kRecords));
}

TEST(Resolver, SilenceHoldsNoOtherQuery) {
  FakeServer server(&silent_of_silent);
  Client client({server.endpoint()}, kPatient);
  std::vector<Query> queries;
  bool over = false;
  for (std::size_t i = 0; i + 1 < Resolver::kMaxUnderWay; ++i)
    queries.push_back(
        client.resolver->mx(domain("silent.example"), [&](MxAnswer) noexcept { over = true; }));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(client.mx("example.org").status, Status::kRecords);
  EXPECT_FALSE(over);
}

// What waited in line has all its time for itself.
TEST(Resolver, BehindSilenceAQueryIsLateButAnswered) {
  FakeServer server(&silent_of_silent);
  Client client({server.endpoint()});
  std::vector<Query> queries;
  std::size_t silent = 0;
  for (std::size_t i = 0; i < Resolver::kMaxUnderWay; ++i)
    queries.push_back(client.resolver->mx(domain("silent.example"), [&](MxAnswer a) noexcept {
      if (a.status == Status::kTemporary) ++silent;
    }));
  EXPECT_EQ(client.mx("example.org").status, Status::kRecords);
  while (silent < Resolver::kMaxUnderWay) client.loop.run_once(true);
}

TEST(Resolver, WhoDoesNotWaitAnyMoreIsNotAskedFor) {
  FakeServer server(&silent_of_silent);
  Client client({server.endpoint()});
  std::vector<Query> queries;
  for (std::size_t i = 0; i < Resolver::kMaxUnderWay; ++i)
    queries.push_back(client.resolver->mx(domain("silent.example"), [](MxAnswer) noexcept {}));
  static_cast<void>(client.resolver->mx(domain("dropped.example"), [](MxAnswer) noexcept { FAIL(); }));
  EXPECT_EQ(client.mx("example.org").status, Status::kRecords);
  EXPECT_EQ(server.queries(), 2 * static_cast<int>(Resolver::kMaxUnderWay) + 1);
}

TEST(Resolver, OldServersAreAskedWithoutEdns) {
  FakeServer server([](const std::string& q, bool) {
    const bool edns = q[11] != '\0';
    return FakeServer::as_answer(q, edns ? Packet("example.org", kMx, 0x8181).bytes() : good_mx());
  });
  Client client({server.endpoint()});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.mx("example.org").status, Status::kRecords);
  EXPECT_EQ(server.queries(), 6);
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

// They wait in line for the new servers, and so do those that were in line before.
TEST(Resolver, ChangesItsServersUnderLoad) {
  FakeServer old(&silent_of_silent);
  FakeServer fresh([](const std::string& q, bool) { return FakeServer::as_answer(q, good_mx()); });
  Client client({old.endpoint()});
  std::vector<Query> queries;
  std::size_t silent = 0, answered = 0;
  for (std::size_t i = 0; i < Resolver::kMaxUnderWay; ++i)
    queries.push_back(
        client.resolver->mx(domain("silent.example"), [&](MxAnswer) noexcept { ++silent; }));
  for (int i = 0; i < 10; ++i)
    queries.push_back(client.resolver->mx(domain("example.org"), [&](MxAnswer a) noexcept {
      if (a.status == Status::kRecords) ++answered;
    }));
  client.resolver->set_servers({fresh.endpoint()}, false);
  while (answered < 10) client.loop.run_once(true);
  EXPECT_EQ(silent, Resolver::kMaxUnderWay);
  EXPECT_EQ(fresh.queries(), 10);
}

// An answer is believed as those were who gave it.
TEST(Resolver, TrustComesWithTheServers) {
  FakeServer old([](const std::string& q, bool) {
    return FakeServer::as_answer(q, Packet("example.org", kMx, 0x81a3).bytes());
  });
  FakeServer fresh([](const std::string& q, bool) {
    return FakeServer::as_answer(q, Packet("example.org", kMx, 0x81a3).bytes());
  });
  Client client({old.endpoint()});
  std::optional<bool> first, second;
  const auto a =
      client.resolver->mx(domain("example.org"), [&](MxAnswer r) noexcept { first = r.secure; });
  client.resolver->set_servers({fresh.endpoint()}, true);
  const auto b =
      client.resolver->mx(domain("example.org"), [&](MxAnswer r) noexcept { second = r.secure; });
  while (!first || !second) client.loop.run_once(true);
  EXPECT_FALSE(*first);
  EXPECT_TRUE(*second);
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
