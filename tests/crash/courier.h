// Courier: a deliverer as queued sees one, relay or local, without a network: it takes leases, is
// told what becomes of each, and keeps every outcome until queued has it in its journal. It
// outlives queued.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <memory>
#include <vector>

#include "common/ipc/channel.h"
#include "deliverd/desk.h"

namespace postern::crash {

class Courier {
 public:
  // An outcome that queued was told and has not confirmed.
  struct Report {
    ipc::Outcome outcome;
    std::vector<std::uint32_t> entries;  // of the ledger; those that are promised when it is saved
  };
  using Saved = std::function<void(const Report&)>;

  Courier(event::Loop& loop, ipc::Role role, Saved saved)
      : loop_(loop), role_(role), saved_(std::move(saved)) {}

  // A channel to a fresh queued; says first what is held from before. Outcomes follow by again().
  void connect(base::UniqueFd fd);
  // The process ends: everything is forgotten.
  void die();

  [[nodiscard]] ipc::Role role() const { return role_; }
  // Leases whose bodies have come.
  std::vector<deliverd::Delivery>& in_hand() { return in_hand_; }
  std::map<base::RequestId, Report>& reports() { return reports_; }
  void report(ipc::Outcome outcome, std::vector<std::uint32_t> entries);
  // Sends an unconfirmed outcome on the present channel.
  void again(base::RequestId request) { send(reports_.at(request).outcome); }
  // The connection of some grant could not be made. One that a host has opened by its call is there already.
  bool fail_a_grant(ipc::FailureClass failure);
  // The host whose call this is ends it, whatever it is at; false: it is not here.
  bool hang_up(base::GrantId call);
  // Is it to end that call?
  [[nodiscard]] bool dismisses(base::GrantId call) const { return dismissed_.contains(call); }
  // Calls of hosts that keep mail for us.
  [[nodiscard]] const std::map<base::RequestId, ipc::Collect>& collects() const { return collects_; }
  void turn_round(base::RequestId collect, base::UniqueFd fd);
  void end_collect(base::RequestId collect, ipc::CollectEnd end, std::uint16_t code);

  void on(const ipc::Grant& grant, ipc::Descriptors);
  void on(const ipc::GoAhead& go);
  void on(const ipc::CancelGrant& cancel);
  void on(const ipc::Lease& lease, ipc::Descriptors descriptors);
  void on(const ipc::LeaseBody& part);
  void on(const ipc::NoWork& none);
  void on(const ipc::OutcomeSaved& saved);
  void on(const ipc::BreakOff&) {}  // nobody says so in these stories
  void on(const ipc::Probe&) {}  // nothing is asked for in these stories
  void on(const ipc::AskName&) {}
  void on(const ipc::Collect& collect) { collects_.emplace(collect.request, collect); }
  void on(const ipc::EndCollect& ended) { end_collect(ended.request, ipc::CollectEnd::kFailed, 0); }
  void closed() noexcept {}

 private:
  using Relay = ipc::Connection<Courier, ipc::Role::kRelay, ipc::Role::kQueued>;
  using Local = ipc::Connection<Courier, ipc::Role::kLocal, ipc::Role::kQueued>;
  template <class M>
  void send(const M& message) {
    if (relay_) relay_->send(message);
    if (local_) local_->send(message);
  }
  void ask(base::GrantId grant);
  void end(base::GrantId grant);
  void forget_channel();

  event::Loop& loop_;
  ipc::Role role_;
  Saved saved_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<Local> local_;
  std::map<base::RequestId, base::GrantId> asked_;
  std::set<base::GrantId> looking_;  // whose hosts were reported
  std::set<base::GrantId> calls_, dismissed_;  // of hosts; those of them that are to end
  std::map<base::RequestId, ipc::Collect> collects_;
  std::map<base::LeaseId, deliverd::Delivery> arriving_;
  std::map<base::LeaseId, base::GrantId> grants_;  // of leases of this channel
  std::vector<deliverd::Delivery> in_hand_;
  std::map<base::RequestId, Report> reports_;
  std::uint64_t last_request_ = 0;
};

}  // namespace postern::crash
