#include "deliverd/relay/collector.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/log/log.h"
#include "common/os/socket.h"

namespace postern::relay {
namespace {

constexpr std::uint16_t kNothing = 453;  // "You have no mail"
constexpr std::uint16_t kNoMxPort = 0;

// As the argument of ATRN (RFC 2645 5.2.1).
std::string joined(const std::vector<mail::Domain>& domains) {
  std::string all;
  for (const auto& domain : domains) all += (all.empty() ? "" : ",") + domain.text();
  return all;
}

std::string cut(std::string text, std::size_t most = ipc::kMaxRemote) {
  if (text.size() > most) text.resize(most);
  return text;
}

}  // namespace

Collector::Collector(event::Loop& loop, const Reach& reach, TlsDesk& tls, Settings settings, Turned turned,
                     Ended ended, event::Callback emptied)
    : loop_(loop),
      reach_(reach),
      tls_(tls),
      settings_(std::move(settings)),
      turned_(std::move(turned)),
      ended_(std::move(ended)),
      emptied_(std::move(emptied)) {}

Collector::~Collector() { *alive_ = false; }

Collector::Call* Collector::find(base::RequestId request) {
  const auto at = std::ranges::find_if(calls_, [&](const auto& call) { return call->request == request; });
  return at == calls_.end() ? nullptr : at->get();
}

bool Collector::has(const Call& call) const {
  return std::ranges::any_of(calls_, [&](const auto& one) { return one.get() == &call; });
}

void Collector::collect(const ipc::Collect& collect) {
  const auto orphan = std::ranges::find_if(calls_, [&](const auto& call) {
    return !call->request && call->asked.hop == collect.hop && call->asked.domains == collect.domains;
  });
  if (orphan != calls_.end()) {
    (*orphan)->request = collect.request;
    return;
  }
  auto& call = *calls_.emplace_back(std::make_unique<Call>(*this, collect));
  if (collect.hop.kind != config::HopKind::kHost)
    return fail_later(call, refused(ipc::GrantEnd::kPermanent, ipc::FailureClass::kPolicy, {5, 3, 5},
                                    "only a host can be called"));
  call.query = look_up(reach_, {}, collect.hop, kNoMxPort, {},
                       [this, &call](Place place) noexcept { connect(call, std::move(place.targets)); });
}

void Collector::connect(Call& call, Targets targets) {
  if (!targets) return fail_later(call, std::move(targets.error()));
  auto account = settings_.logins.find(call.asked.hop);
  if (!account) return fail_later(call, std::move(account.error()));
  call.connection = std::make_unique<Connection>(loop_, settings_.hostname,
                                                 Connection::Way{call.asked.hop, *std::move(targets), nullptr,
                                                                 *std::move(account), settings_.sources},
                                                 tls_, call);
  call.connection->start();
}

void Collector::Call::on_ready() noexcept { connection->turn(joined(asked.domains)); }

void Collector::answered(Call& call, const mail::Reply& reply) {
  if (reply.positive()) return lend(call);
  call.refusal = reply;
  call.connection->quit();
}

// The stream is on the stack: nothing is destroyed here.
void Collector::lend(Call& call) {
  auto pair = os::socket_pair();
  const auto agreed = call.connection->agreed();
  call.stream = call.connection->release(call);
  if (!pair) {
    call.stream->close();
    return fail_later(call, refused(ipc::GrantEnd::kTemporary, ipc::FailureClass::kLocal, {4, 3, 0},
                                    pair.error().text()));
  }
  call.bridge = std::make_unique<event::Bridge>(
      loop_, *call.stream, std::move(pair->first),
      [this, &call](event::BridgeEnd end) noexcept { served(call, end); });
  ipc::TurnedRound turned;
  turned.request = *call.request;
  turned.client = call.connection->address();
  turned.remote = cut(call.connection->remote());
  if (agreed) {
    turned.tls = cut(agreed->version + ' ' + agreed->cipher, mail::kMaxTlsText);
    if (agreed->doubt.empty()) turned.tls_peer = cut(agreed->peer, mail::kMaxTlsPeer);
  }
  turned_(turned, std::move(pair->second));
  // What it keeps of what was read is known when this callback is over.
  loop_.defer([this, alive = alive_, &call]() noexcept {
    if (*alive && has(call) && call.stream) call.stream->resume();
  });
}

void Collector::served(Call& call, const event::BridgeEnd& end) {
  ipc::Collected collected;
  collected.end = ipc::CollectEnd::kServed;
  collected.received = end.from_far;
  collected.sent = end.from_near;
  finish(call, std::move(collected));
}

void Collector::gone(Call& call, Trouble why) {
  ipc::Collected collected;
  const bool nothing = call.refusal && call.refusal->code == kNothing;
  collected.end = nothing ? ipc::CollectEnd::kNothing : ipc::CollectEnd::kFailed;
  collected.reply = ipc::to_ipc(call.refusal ? *call.refusal : why.reply);
  collected.remote = std::move(why.remote);
  finish(call, std::move(collected));
}

// Not inside a call of the one who asks, or of the connection's.
void Collector::fail_later(Call& call, Trouble why) {
  loop_.defer([this, alive = alive_, &call, why = std::move(why)]() mutable noexcept {
    if (*alive && has(call)) gone(call, std::move(why));
  });
}

void Collector::finish(Call& call, ipc::Collected collected) {
  const auto at = std::ranges::find_if(calls_, [&](const auto& one) { return one.get() == &call; });
  CHECK(at != calls_.end());
  const auto ended = std::move(*at);
  calls_.erase(at);
  if (collected.remote.empty() && ended->connection) collected.remote = ended->connection->remote();
  collected.remote = cut(std::move(collected.remote));
  if (ended->request) {
    collected.request = *ended->request;
    ended_(collected);
  }
  if (calls_.empty()) emptied_();
}

void Collector::end(base::RequestId request) {
  auto* const call = find(request);
  if (call == nullptr) return;  // it has ended by itself meanwhile
  if (call->bridge) return call->bridge->end();
  gone(*call, refused(ipc::GrantEnd::kTemporary, ipc::FailureClass::kLocal, {4, 3, 2}, "it is not wanted any more"));
}

void Collector::forget() {
  std::erase_if(calls_, [](const auto& call) { return !call->bridge; });
  for (const auto& call : calls_) call->request.reset();
}

}  // namespace postern::relay
