#include "pool_rig.h"

namespace postern::relay {

PoolRig::PoolRig()
    : names_([this](const std::string& q, bool) { return answer(q); }),
      resolver_(dns::Resolver::make({names_.endpoint()}, {base::Millis(100), 1}).value()),
      directory_(loop, *resolver_, base::system_clock(), [] { return 0U; }),
      tls_(loop),
      hop(loop) {
  resolver_->attach(loop);
  restart_pool();
  connect();
}

PoolRig::~PoolRig() = default;

void PoolRig::restart_pool(base::Millis idle) {
  pool_.emplace(loop, Reach{&directory_, nullptr, resolver_.get()}, tls_.desk, settings(idle),
                [this]() noexcept { ++lost; });
}

Pool::Settings PoolRig::settings(base::Millis idle) const {
  return {"us.example", hop.endpoint().port, {}, idle};
}

void PoolRig::connect(std::uint64_t epoch) {
  auto pair = ipc::make_channel_pair();
  queued = std::make_unique<Queued>(loop, std::move(pair.a), epoch);
  pool_->connect(std::move(pair.b));
}

void PoolRig::until_asked(std::size_t n) {
  until([&] { return queued->asks.size() >= n; });
}

void PoolRig::until_outcomes(std::size_t n) {
  until([&] { return queued->outcomes.size() >= n; });
}

const ipc::GrantEnded& PoolRig::until_ended(std::size_t n) {
  until([&] { return queued->ended.size() >= n; });
  static const ipc::GrantEnded kNone;
  return queued->ended.empty() ? kNone : queued->ended.back();
}

config::HopSpec PoolRig::to_hop() const {
  return {config::HopKind::kHost, "127.0.0.1", hop.endpoint().port};
}

std::optional<std::string> PoolRig::answer(const std::string& query) {
  std::string name;
  std::size_t at = 12;
  while (query[at] != '\0') {
    const auto size = static_cast<std::size_t>(query[at]);
    name += (name.empty() ? "" : ".") + query.substr(at + 1, size);
    at += size + 1;
  }
  const auto type = static_cast<unsigned>(query[at + 2]);
  if (name == "slow.example") return std::nullopt;
  if (name == "example.org" && type == dns::kMx) ++mx_queries;
  return dns::FakeServer::as_answer(query, packet(name, type).bytes());
}

dns::Packet PoolRig::packet(const std::string& name, unsigned type) {
  dns::Packet p(name, type);
  if (type == dns::kMx && name == "example.org")
    return p.mx(name, 10, "one.example").mx(name, 20, "two.example");
  if (type == dns::kMx && name == "null.example") return p.mx(name, 0, "");
  // 192.0.2.1 has two names, of which one leads back to it; 192.0.2.2 has one that does not.
  if (type == dns::kPtr && name == "1.2.0.192.in-addr.arpa")
    return p.ptr(name, "liar.example", 90).ptr(name, "true.example", 90);
  if (type == dns::kPtr && name == "2.2.0.192.in-addr.arpa") return p.ptr(name, "liar.example");
  if (type == dns::kPtr && name == "3.2.0.192.in-addr.arpa") return p.ptr(name, "slow.example");
  if (type == dns::kA && name == "true.example") return p.a(name, "\xc0\x00\x02\x01"s, 70);
  if (type == dns::kA && name == "liar.example") return p.a(name, "\xc0\x00\x02\x63"s);
  if (name == "one.example")
    return type == dns::kA ? p.a(name, std::string_view("\x7f\0\0\1", 4)) : p;
  if (name == "two.example")
    return type == dns::kA ? p.a(name, std::string_view("\x7f\0\0\2", 4)) : p;
  return {name, type, 0x8183};
}

std::string text(const ipc::Outcome& outcome) {
  std::string all;
  for (const auto& r : outcome.results)
    all += fmt::format("{}{} {} {}", all.empty() ? "" : ", ", r.number, static_cast<int>(r.result),
                       r.reply.code);
  return all;
}

}  // namespace postern::relay
