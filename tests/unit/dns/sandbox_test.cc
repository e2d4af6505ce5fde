// The resolver where it works: made before the sandbox of a process that connects, it asks from within, in a
// child of its own, since there is no way back.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <mutex>
#include <set>

#include "common/dns/resolver.h"
#include "common/os/sandbox.h"
#include "tests/unit/mail/spelled.h"
#include "fake_server.h"
#include "packet.h"

namespace postern::dns {
namespace {

constexpr int kDone = 7;
constexpr int kFailed = 8;
constexpr int kNoSandbox = 9;

// What became of `act`, with a resolver for these servers: an exit status, or minus the signal.
int outcome(os::SandboxKind kind, const std::vector<base::Endpoint>& servers,
            const std::function<bool(event::Loop&, Resolver&)>& act) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    event::Loop loop;
    const auto resolver = Resolver::make(servers, {base::Millis(10'000), 1, false}).value();
    os::SandboxPlan plan;
    plan.kind = kind;
    for (const auto& server : servers) plan.ports.push_back(server.port);
    if (!os::enter_sandbox(plan)) ::_exit(kNoSandbox);
    resolver->attach(loop);
    ::_exit(act(loop, *resolver) ? kDone : kFailed);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// All at once; whether each has a record.
bool ask(event::Loop& loop, Resolver& resolver, std::size_t count) {
  std::size_t answers = 0, good = 0;
  std::vector<Query> queries;
  for (std::size_t i = 0; i < count; ++i)
    queries.push_back(resolver.mx(domain("example.org"), [&](MxAnswer answer) noexcept {
      ++answers;
      if (answer.status == Status::kRecords) ++good;
    }));
  while (answers < count) loop.run_once(true);
  return good == count;
}

class InSandbox : public testing::TestWithParam<os::SandboxKind> {};

TEST_P(InSandbox, PortsAndIdsCannotBeForeseen) {
  std::mutex mutex;
  std::set<std::string> ids;
  FakeServer server([&](const std::string& q, bool) {
    const std::scoped_lock lock(mutex);
    ids.insert(q.substr(0, 2));
    return FakeServer::as_answer(q, Packet("example.org", kMx).mx("example.org", 10, "a.example").bytes());
  });
  EXPECT_EQ(outcome(GetParam(), {server.endpoint()},
                    [](event::Loop& loop, Resolver& resolver) { return ask(loop, resolver, 64); }),
            kDone);
  const auto ports = server.ports();
  ASSERT_EQ(ports.size(), 64U);
  EXPECT_GE(std::set(ports.begin(), ports.end()).size(), 60U);
  EXPECT_GE(ids.size(), 60U);
}

TEST_P(InSandbox, EachQueryHasAFreshPort) {
  FakeServer server([](const std::string& q, bool) {
    return FakeServer::as_answer(q, Packet("example.org", kMx).mx("example.org", 10, "a.example").bytes());
  });
  EXPECT_EQ(outcome(GetParam(), {server.endpoint()},
                    [](event::Loop& loop, Resolver& resolver) {
                      for (int i = 0; i < 20; ++i)
                        if (!ask(loop, resolver, 1)) return false;
                      return true;
                    }),
            kDone);
  const auto ports = server.ports();
  EXPECT_GE(std::set(ports.begin(), ports.end()).size(), 18U);
}

// Another way: TCP, other servers, a server that nobody serves, an end with queries under way.
TEST_P(InSandbox, AllThatAResolverDoes) {
  FakeServer server([](const std::string& q, bool tcp) {
    Packet packet("example.org", kMx, tcp ? 0x8180 : 0x8380);
    if (tcp) packet.mx("example.org", 10, "a.example");
    return FakeServer::as_answer(q, packet.bytes());
  });
  FakeServer silent([](const std::string&, bool) { return std::nullopt; });
  std::optional<base::Endpoint> gone;
  {
    FakeServer stopped([](const std::string&, bool) { return std::nullopt; });
    gone = stopped.endpoint();
  }
  EXPECT_EQ(outcome(GetParam(), {*gone, server.endpoint()},
                    [&](event::Loop& loop, Resolver& resolver) {
                      if (!ask(loop, resolver, 1)) return false;
                      resolver.set_servers({silent.endpoint()}, false);
                      const auto query = resolver.mx(domain("example.org"), [](MxAnswer) noexcept {});
                      loop.run_once(false);
                      return query.active();
                    }),
            kDone);
}

INSTANTIATE_TEST_SUITE_P(EachThatAsks, InSandbox,
                         testing::Values(os::SandboxKind::kConnecting, os::SandboxKind::kFetching));

}  // namespace
}  // namespace postern::dns
