#include "tests/unit/queued/engine_rig.h"

#include <cstdlib>

namespace postern::queued {

config::QueuedConfig demo_config() {
  config::QueuedConfig config;
  config.hostname = "mx.example.org";
  config.rights.listeners.resize(1);
  config.rights.listeners[0].relay_from = {base::parse_network("10.0.0.0/8").value()};
  config::DomainRights domain;
  domain.names = {mail::Domain::parse("example.org").value()};
  domain.users = {"ann", "bob"};
  domain.extension = "+";
  config.rights.domains.push_back(domain);
  config.rights.postmaster = address("ann@example.org");
  config.domain_hops = {{.kind = config::HopKind::kMailbox}};
  config.retry.after = {base::Millis(60'000), base::Millis(120'000)};
  config.retry.expire = base::Millis(1'000'000);
  config.retry.spread = 0;
  return config;
}

FakeRelay::FakeRelay() = default;

FakeRelay::~FakeRelay() = default;

FakeRelay& FakeRelay::operator=(FakeRelay&&) = default;

void FakeRelay::on(const ipc::Grant& m, ipc::Descriptors d) {
  for (auto& fd : d) turned[m.grant] = std::move(fd);
  const auto name = m.queue + ":25";
  if (m.hop.kind != config::HopKind::kMx || m.next_hop == name) return grants.push_back(m);
  looking[m.grant] = m;
  if (finds_hosts) connection->send(ipc::HopFound{m.grant, name, base::Millis(60'000)});
}

void FakeRelay::on(const ipc::GoAhead& m) {
  if (auto found = looking.extract(m.grant)) grants.push_back(std::move(found.mapped()));
}

void FakeRelay::on(const ipc::CancelGrant& m) { cancelled.push_back(m); }
void FakeRelay::on(const ipc::Lease& m, ipc::Descriptors) { leases.push_back(m); }
void FakeRelay::on(const ipc::LeaseBody& m) { bodies[m.lease.value] += m.bytes.bytes; }
void FakeRelay::on(const ipc::NoWork& m) { no_work.push_back(m); }
void FakeRelay::on(const ipc::OutcomeSaved& m) { saved.push_back(m); }
void FakeRelay::on(const ipc::BreakOff& m) { broken_off.push_back(m); }
void FakeRelay::on(const ipc::Probe& m) { probes.push_back(m); }
void FakeRelay::on(const ipc::AskName& m) { names.push_back(m); }
void FakeRelay::on(const ipc::Collect& m) { calls.push_back(m); }
void FakeRelay::on(const ipc::EndCollect& m) { calls_ended.push_back(m); }
void FakeRelay::closed() noexcept { is_closed = true; }

base::RequestId FakeRelay::ask(const ipc::Grant& grant) {
  connection->send(ipc::AskWork{base::RequestId(++request), grant.grant});
  return base::RequestId(request);
}

void FakeRelay::answer(const ipc::Lease& lease, ipc::Result result, std::uint16_t code,
                       std::string text) {
  ipc::Outcome outcome;
  outcome.request = base::RequestId(++request);
  outcome.lease = lease.lease;
  outcome.epoch = lease.epoch;
  outcome.message = lease.message;
  outcome.remote = "mx.far.example[192.0.2.9]:25";
  for (const auto& recipient : lease.recipients) {
    ipc::RecipientResult one;
    one.number = recipient.number;
    one.result = result;
    one.reply = {code, static_cast<std::uint8_t>(code / 100), 1, 1, text};
    outcome.results.push_back(one);
  }
  connection->send(outcome);
}

FakeSmtpd::FakeSmtpd() = default;

FakeSmtpd::~FakeSmtpd() = default;

FakeSmtpd& FakeSmtpd::operator=(FakeSmtpd&&) = default;

void FakeSmtpd::on(const ipc::Submitted& m) { submitted.push_back(m); }
void FakeSmtpd::on(const ipc::TokenResult& m) { tokens.push_back(m); }
void FakeSmtpd::on(const ipc::LargeOpened& m, ipc::Descriptors) { large.push_back(m); }
void FakeSmtpd::on(const ipc::Intake& m) { intake.push_back(m); }
void FakeSmtpd::on(const ipc::RecipientKnown& m) { known.push_back(m); }
void FakeSmtpd::on(const ipc::NameKnown& m) { named.push_back(m); }
void FakeSmtpd::on(const ipc::QueueStarted& m) { queues_started.push_back(m); }

void FakeSmtpd::on(const ipc::SessionTurned& m, ipc::Descriptors d) {
  sessions_turned.push_back(m);
  lent = d.empty() ? base::UniqueFd() : std::move(d.front());
}

void FakeSmtpd::on(const ipc::EndAccount& m) { ended.push_back(m.account); }
void FakeSmtpd::on(const ipc::ServeTurned& m, ipc::Descriptors descriptors) { turned.emplace_back(m, descriptors.size()); }
void FakeSmtpd::closed() noexcept { is_closed = true; }
void FakeHost::set_state(std::string_view) {}
void FakeHost::peer_lost(ipc::Role) {}
void FakeHost::ask_reload(Answer answer) { answer(ipc::Done{{}, 0, "reloaded", {}}); }
void FakeHost::ask_stop(Answer answer) { answer(ipc::Done{{}, 0, "stopping", {}}); }
void FakeHost::fatal(const std::string&) { std::abort(); }

EngineRig::EngineRig() = default;

EngineRig::~EngineRig() {
  control.reset();
  intake.reset();
  delivery.reset();
  engine.reset();
  late_store.reset();
  store.reset();
}

void EngineRig::begin() {
  segment_size = 1 << 20;
  ASSERT_TRUE(open()) << fatal;
  late_store = std::make_unique<LateStore>(*store);
  engine = std::make_unique<Engine>(*loop, *late_store, config);
  delivery = std::make_unique<Delivery>(*loop, *engine);
  intake = std::make_unique<Intake>(*loop, *engine);
  intake->set_ask_name([this](const ipc::AskName& ask) noexcept { return delivery->ask_name(ask); });
  delivery->on_named([this](const ipc::NameKnown& known) noexcept { intake->named(known); });
  intake->callers().set_connect(
      [this](const Schedule::Call& call, ipc::Turned turned, base::UniqueFd fd) noexcept {
        return delivery->call(call, std::move(turned), std::move(fd));
      });
  control = std::make_unique<Control>(*loop, *engine, host, std::map<std::uint32_t, std::string>{},
                                      [](ipc::Status&) noexcept {});
  engine->start();
  turn();
}

void EngineRig::end() {
  control.reset();
  intake.reset();
  delivery.reset();
  engine.reset();
  late_store.reset();
  kill();
}

void EngineRig::turn(int times) {
  for (int n = 0; n < times; ++n) {
    loop->run_once(false);
    store->pump();
  }
}

void EngineRig::pass(base::Millis time) {
  clock.advance(time);
  engine->poke();
  turn();
}

void EngineRig::connect(FakeRelay& relay, std::uint32_t index, std::vector<ipc::HeldLease> held) {
  auto pair = ipc::make_channel_pair();
  relay.connection = std::make_unique<FakeRelay::Connection>(*loop, std::move(pair.a), relay);
  delivery->connect(ipc::Role::kRelay, index, std::move(pair.b));
  relay.connection->send(ipc::HeldLeases{std::move(held), true});
  delivery->expect(1);
  turn();
  for (int n = 0; n < 50 && relay.grants.empty() && store->count() > 0; ++n) turn(1);
}

void EngineRig::connect(FakeSmtpd& smtpd, std::uint32_t index) {
  auto pair = ipc::make_channel_pair();
  smtpd.connection = std::make_unique<FakeSmtpd::Connection>(*loop, std::move(pair.a), smtpd);
  intake->connect(index, {base::ListenerIndex(0)}, std::move(pair.b));
  turn();
}

ipc::Submit EngineRig::submit_frame(std::uint64_t request, std::uint8_t token_byte, std::size_t body,
                                    std::uint32_t recipients) {
  ipc::Submit submit;
  submit.request = base::RequestId(request);
  submit.token = token(token_byte);
  submit.origin = base::parse_ip("10.1.2.3").value();
  submit.hello = "client.example";
  submit.esmtp = true;
  submit.from = mail::ReversePath(address("ann@example.org"));
  submit.recipient_count = recipients;
  submit.body_size = body;
  return submit;
}

void EngineRig::send(FakeSmtpd& smtpd, const ipc::Submit& submit, std::vector<std::string> to,
                     const std::string& body) {
  smtpd.connection->send(submit);
  ipc::SubmitRecipients recipients{submit.request, {}};
  for (const auto& one : to) recipients.recipients.push_back({address(one), {}, {}});
  smtpd.connection->send(recipients);
  for (std::size_t at = 0; at < body.size(); at += ipc::kBodySlice)
    smtpd.connection->send(
        ipc::SubmitBody{submit.request, {std::string_view(body).substr(at, ipc::kBodySlice)}});
}

base::MessageId EngineRig::mail(const std::string& to, std::string body, bool null_sender) {
  return mail(std::vector{to}, std::move(body), null_sender);
}

base::MessageId EngineRig::mail(const std::vector<std::string>& to, std::string body,
                                bool null_sender) {
  auto record = envelope(0);
  if (null_sender) record.from = {};
  for (std::uint32_t n = 0; n < to.size(); ++n)
    record.recipients.push_back({.number = n, .address = address(to[n])});
  record.body_size = body.size();
  const auto id = record.id;
  store->accept(std::move(record), std::make_shared<const std::string>(std::move(body)),
                [this, id](bool) noexcept { engine->admit(id); });
  turn();
  return id;
}

}  // namespace postern::queued
