// EngineRig: an engine on a store in memory, and deliverers and an smtpd that speak real channels.
#pragma once

#include "queued/control.h"
#include "queued/delivery.h"
#include "queued/intake.h"
#include "tests/unit/queued/late_store.h"
#include "tests/unit/queued/store_rig.h"

namespace postern::queued {

config::QueuedConfig demo_config();

// The far end of a channel of queued; gathers what comes.
struct FakeRelay {
  using Connection = ipc::Connection<FakeRelay, ipc::Role::kRelay, ipc::Role::kQueued>;
  FakeRelay();
  ~FakeRelay();
  FakeRelay& operator=(FakeRelay&&);

  // Only those that may be connected to. By MX each queue has a host of its own.
  void on(const ipc::Grant& m, ipc::Descriptors d);
  void on(const ipc::GoAhead& m);
  void on(const ipc::CancelGrant& m);
  void on(const ipc::Lease& m, ipc::Descriptors);
  void on(const ipc::LeaseBody& m);
  void on(const ipc::NoWork& m);
  void on(const ipc::OutcomeSaved& m);
  void on(const ipc::BreakOff& m);
  void on(const ipc::Probe& m);
  void on(const ipc::AskName& m);
  void on(const ipc::Collect& m);
  void on(const ipc::EndCollect& m);
  void closed() noexcept;

  base::RequestId ask(const ipc::Grant& grant);
  void answer(const ipc::Lease& lease, ipc::Result result, std::uint16_t code, std::string text);
  std::unique_ptr<Connection> connection;
  std::vector<ipc::Grant> grants;
  std::map<base::GrantId, base::UniqueFd> turned;  // connections that hosts have opened
  std::map<base::GrantId, ipc::Grant> looking;  // whose hosts are not known
  bool finds_hosts = true;
  std::vector<ipc::CancelGrant> cancelled;
  std::vector<ipc::Lease> leases;
  std::map<std::uint64_t, std::string> bodies;
  std::vector<ipc::NoWork> no_work;
  std::vector<ipc::OutcomeSaved> saved;
  std::vector<ipc::BreakOff> broken_off;
  std::vector<ipc::Probe> probes;
  std::vector<ipc::AskName> names;
  std::vector<ipc::Collect> calls;
  std::vector<ipc::EndCollect> calls_ended;
  std::uint64_t request = 0;
  bool is_closed = false;
};

struct FakeSmtpd {
  using Connection = ipc::Connection<FakeSmtpd, ipc::Role::kSmtpd, ipc::Role::kQueued>;
  FakeSmtpd();
  ~FakeSmtpd();
  FakeSmtpd& operator=(FakeSmtpd&&);

  void on(const ipc::Submitted& m);
  void on(const ipc::TokenResult& m);
  void on(const ipc::LargeOpened& m, ipc::Descriptors);
  void on(const ipc::Intake& m);
  void on(const ipc::RecipientKnown& m);
  void on(const ipc::NameKnown& m);
  void on(const ipc::QueueStarted& m);
  void on(const ipc::SessionTurned& m, ipc::Descriptors d);
  void on(const ipc::EndAccount& m);
  void on(const ipc::ServeTurned& m, ipc::Descriptors descriptors);
  void closed() noexcept;

  std::unique_ptr<Connection> connection;
  std::vector<ipc::Submitted> submitted;
  std::vector<ipc::TokenResult> tokens;
  std::vector<ipc::LargeOpened> large;
  std::vector<ipc::Intake> intake;
  std::vector<ipc::RecipientKnown> known;
  std::vector<ipc::NameKnown> named;
  std::vector<ipc::QueueStarted> queues_started;
  std::vector<ipc::SessionTurned> sessions_turned;
  base::UniqueFd lent;  // of the last of them
  std::vector<std::string> ended;
  std::vector<std::pair<ipc::ServeTurned, std::size_t>> turned;  // with the count of descriptors
  bool is_closed = false;
};

struct FakeHost final : role::Host {
  void set_state(std::string_view) override;
  void peer_lost(ipc::Role) override;
  void ask_reload(Answer answer) override;
  void ask_stop(Answer answer) override;
  [[noreturn]] void fatal(const std::string&) override;
};

struct EngineRig : StoreRig {
  config::QueuedConfig config = demo_config();
  std::unique_ptr<LateStore> late_store;  // through which the engine sees the store
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Delivery> delivery;
  std::unique_ptr<Intake> intake;
  FakeHost host;
  std::unique_ptr<Control> control;

  EngineRig();
  ~EngineRig();

  void begin();
  void end();
  void turn(int times = 8);
  // Time passes on the queue clock; due work is done.
  void pass(base::Millis time);
  void connect(FakeRelay& relay, std::uint32_t index = 0, std::vector<ipc::HeldLease> held = {});
  void connect(FakeSmtpd& smtpd, std::uint32_t index = 0);
  ipc::Submit submit_frame(std::uint64_t request, std::uint8_t token_byte, std::size_t body,
                           std::uint32_t recipients = 1);
  void send(FakeSmtpd& smtpd, const ipc::Submit& submit, std::vector<std::string> to,
            const std::string& body);
  // A message straight into the store and the schedule.
  base::MessageId mail(const std::string& to, std::string body = "Subject: x\r\n\r\nhello\r\n",
                       bool null_sender = false);
  base::MessageId mail(const std::vector<std::string>& to,
                       std::string body = "Subject: x\r\n\r\nhello\r\n",
                       bool null_sender = false);
};

}  // namespace postern::queued
