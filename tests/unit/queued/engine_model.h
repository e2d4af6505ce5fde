// EngineModel: an engine that lives at random, with all who deal with it, and a ledger beside it that knows what was
// promised. What happens next is engine_model_test.cc's; what each of them does, and what must hold then, stands here:
// mail and deliverers in engine_model.cc, the operator in engine_model_operator.cc, hosts that call, and those that are
// called, in engine_model_calls.cc, what is told of it all in engine_model_told.cc.
#pragma once

#include <map>
#include <optional>
#include <random>
#include <set>

#include "queued/collector.h"
#include "tests/crash/courier.h"
#include "tests/unit/queued/blocker_pairs.h"
#include "tests/unit/queued/fake_control.h"
#include "tests/unit/queued/notices_told.h"

namespace postern::queued {

// Mail is never younger when it expires.
inline constexpr base::Millis kLeastExpire{900'000};

class EngineModel : public ::testing::Test, public ControlRig {
 protected:
  using Name = std::pair<base::MessageId, std::uint32_t>;  // of a recipient
  struct Entry {
    std::string queue;
    std::string address = {};    // of nobody else
    std::string sender = {};     // empty: the null one
    mail::Notify notify = {};
    bool in_hand = false;   // leased to a deliverer, or its outcome is on the way
    bool ended = false;     // for certain
    bool refused = false;   // that is how
    bool arrived = false;   // that is how, and its next hop makes no reports
    bool removed = false;   // by the operator
    bool expired = false;
    QueueTime born{0};
    bool unsure = false;    // its deliverer died with an outcome of which nobody knows whether it was taken
    std::uint32_t leases = 0;       // so far
    std::uint64_t refused_in = 0;   // `routes` in which a host refused it by its policy, and it may go on; 0: none
    std::string refused_by = {};    // that next hop
  };
  using LeaseName = std::pair<std::uint64_t, std::uint64_t>;  // its epoch and number
  struct Handed {  // a lease, until its outcome is saved
    std::uint64_t life = 0;  // 0: nobody knows how it was handed out
    base::GrantId grant;
    std::string hop;  // empty: the connection has ended
    Passage by;
    std::map<std::uint32_t, std::uint32_t> leases = {};  // recipients, with their counts of leases
    std::uint64_t reported_in = 0;                       // `routes`
    std::map<std::uint32_t, bool> refused = {};  // whom a host refused by its policy for good; does he go on?
  };
  struct Call {  // of a host for its mail
    std::string account;
    std::vector<std::string> queues;
    bool waits = false;
  };

  EngineModel();

  // --- chance
  std::size_t dice(std::size_t sides) { return random() % sides; }
  static std::string queue_name(std::size_t n) { return "q" + std::to_string(n) + ".example"; }
  std::string any_queue();
  // One in ten is a pattern of all of them.
  std::string any_name();
  // Of a route, or one that the DNS tells, or all of them.
  std::string any_hop();
  std::string any_sender() { return "s" + std::to_string(dice(4)) + "@back.example"; }
  mail::Notify any_notify();
  ipc::Selector any_selector();
  // Whose recipients are open, mostly.
  base::MessageId any_message();
  crash::Courier& any_relay() { return *relays[dice(relays.size())]; }

  // --- one life after another
  void live();
  void crash();
  void turns(int times = 3);
  void pass_time(base::Millis time);

  // --- mail
  void mail_in();
  // Leases that have just come.
  void take_in();
  void deliver();
  void relay_dies();
  // What is gone, and was not delivered, refused or removed, was given up, and was old enough.
  void find_expired();
  void set_routes();
  void set_retry();
  void reload();
  // The next hops that the queue may lead to.
  [[nodiscard]] std::set<std::string> hops_of(const std::string& queue) const;
  [[nodiscard]] bool is_turned(const std::string& queue) const { return hops_of(queue).contains("turn:" + queue); }

  // --- the operator
  void freeze_or_not(const std::string& name, bool hop);
  void switch_outbound();
  void lock_or_not(const std::string& account);
  void hold_or_release();
  void retry_selected();
  void remove();
  // What is stopped while its body is read does not go.
  void stop_while_bodies_are_read();
  void let_all_go();

  // --- hosts that call for their mail, and hosts that keep ours
  void host_calls(const config::AccountLimits& account, bool for_all);
  void host_hangs_up();
  void start_queue();
  void collect();
  // Whoever waits has got what there is for him.
  void expect_callers_served();
  // Hosts that are called are called one at a time, and not in a circle.
  void look_at_collects();
  void expect_all_are_called();

  // --- what is told
  void explain_something();
  // Each sender was told what he asked for of each of his recipients, once, and nobody else of anything.
  void expect_told();
  // Of notices that could not be delivered, and of mail of which nobody can be told.
  void read_badmail();

  static std::uint64_t chosen_seed();
  const std::uint64_t seed = chosen_seed();
  std::mt19937_64 random{seed};
  event::Loop relay_loop;  // outlives queued's
  std::vector<std::unique_ptr<crash::Courier>> relays;
  FakeSmtpd smtpd;
  std::map<Name, Entry> ledger;
  std::set<Name> unfinished;  // of them; some have ended meanwhile
  std::map<LeaseName, Handed> handed;
  std::uint64_t routes = 1;           // how often they were read anew, in all lives
  std::set<std::string> frozen;       // queues, or a pattern of them
  std::set<std::string> stopped;      // queues that these stop, by what is in force
  std::set<std::string> frozen_hops;  // likewise
  std::set<std::string> stopped_hops;
  std::set<std::string> locked;       // accounts
  std::set<base::MessageId> held;
  std::optional<ipc::Selector> selected;  // by which some were held
  std::map<base::GrantId, Call> calls;    // of this life
  std::optional<Call> calling;
  std::unique_ptr<Collector> collector;
  std::map<std::string, std::pair<base::RequestId, base::SteadyTime>> collected;  // last, by host; of this life
  NoticesTold told;
  std::set<std::pair<base::MessageId, std::string>> in_badmail;  // failed recipients
  std::uint64_t last_recipient = 0;
  std::map<std::pair<bool, std::string>, base::WallTime> until_;  // of freezes, by hop or not and name
  std::set<std::pair<Blocker, Blocker>> pairs_told;
  std::size_t expired = 0;
  std::size_t of_several = 0;  // leases of several queues
  std::size_t of_second = 0;   // leases of a second path
  std::size_t of_calls = 0;    // leases over connections of hosts that called
  std::size_t collects = 0;
  bool off = false;
  bool draining = false;

 private:
  void add_relay();
  void connect_relay(std::size_t n);
  void begin_collecting();
  void expect_blocks_survive();
  void flush();
  void lease_came(const deliverd::Delivery& one);
  void recipient_came(const deliverd::Delivery& one, const ipc::LeaseRecipient& recipient, Handed& how);
  void expect_way(const Entry& entry, const Handed& how);
  [[nodiscard]] ipc::RecipientResult any_result(std::uint32_t number);
  void note_refusal(const Name& name, Entry& entry, const ipc::RecipientResult& result, Handed& how);
  [[nodiscard]] bool goes_on(const Entry& entry, const Handed& how) const;
  [[nodiscard]] bool goes_second(const Entry& entry, const Handed& how) const;
  [[nodiscard]] bool ended_by_policy(const Name& name, const Entry& entry, const Handed& how);
  // An outcome is acknowledged.
  void saved(const crash::Courier::Report& report);
  void find_stopped();
  void ended_by_time();
  template <class M>
  void command(M message, const auto& reported);
  std::vector<Message> picked_of(const ipc::Selector& by, const std::set<base::MessageId>& before);
  std::set<base::MessageId> ids_now();
  void hold_selected(bool release);
  void change(Engine::Change change);
  [[nodiscard]] bool may_go(const std::string& queue) const;
  [[nodiscard]] bool is_called(const std::string& queue) const;
  void expect_truth_of_calls(const Entry& entry, const ipc::Explanation& told);
  void expect_truth_of_paths(const Name& name, const Entry& entry, const ipc::Explanation& told);
};

}  // namespace postern::queued
