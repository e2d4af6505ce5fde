// Delivery: the channels of the deliverers. It carries out what the schedule decides, hands bodies on,
// and takes outcomes in. A malformed or unknown message from a deliverer costs that deliverer only.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/ipc/channel.h"
#include "queued/engine.h"

namespace postern::queued {

class Delivery;

// One deliverer's channel.
class Deliverer {
 public:
  Deliverer(Delivery& owner, DelivererId id, bool local, event::Loop& loop, base::UniqueFd fd);

  void on(const ipc::HeldLeases& held);
  void on(const ipc::HopFound& found);
  void on(const ipc::GrantEnded& ended);
  void on(const ipc::AskWork& ask);
  void on(const ipc::Outcome& outcome);
  void on(const ipc::Probed& probed);
  void on(const ipc::NameKnown& known);
  void on(const ipc::TurnedRound& turned, ipc::Descriptors descriptors);
  void on(const ipc::Collected& collected);
  void closed() noexcept;

  [[nodiscard]] ipc::Channel& channel();
  [[nodiscard]] DelivererId id() const { return id_; }
  [[nodiscard]] bool local() const { return local_; }
  bool told_all = false;  // what it holds from before
  std::vector<ipc::HeldLease> leases;
  // While that is read, how many frames of it, and what it says of it before it is adopted.
  std::size_t adopting = 0;
  std::vector<ipc::Outcome> early;

 private:
  Delivery& owner_;
  DelivererId id_;
  bool local_;
  std::unique_ptr<ipc::Connection<Deliverer, ipc::Role::kQueued, ipc::Role::kRelay>> relay_;
  std::unique_ptr<ipc::Connection<Deliverer, ipc::Role::kQueued, ipc::Role::kLocal>> mailbox_;
};

class Delivery {
 public:
  Delivery(event::Loop& loop, Engine& engine);

  void connect(ipc::Role role, std::uint32_t index, base::UniqueFd fd);
  // How many deliverers there should be; nothing is handed out before they all said what they hold
  // from before, or two seconds have passed.
  void expect(std::uint32_t deliverers);
  // Hands a host's call, which has come by this descriptor, to a relay; nullopt: there can be no more connections now.
  std::optional<base::GrantId> call(const Schedule::Call& call, ipc::Turned turned, base::UniqueFd fd);
  // Hands the question to a relay; false: there is none that could take it.
  bool ask_name(const ipc::AskName& question);
  // Hears the answer to each question that was taken.
  using Named = std::move_only_function<void(const ipc::NameKnown&) noexcept>;
  void on_named(Named named) { named_ = std::move(named); }
  // Has a relay make the call; false: there is none that could.
  bool collect(const ipc::Collect& call);
  void end_collect(const ipc::EndCollect& end);
  // Hears of the sessions and of the end of each call that was taken.
  using Turned = std::move_only_function<void(const ipc::TurnedRound&, base::UniqueFd) noexcept>;
  using Collected = std::move_only_function<void(const ipc::Collected&) noexcept>;
  void on_collect(Turned turned, Collected collected) {
    turned_ = std::move(turned);
    collected_ = std::move(collected);
  }
  void perform(Action action);
  // From now on nothing is handed out, and a channel that closes is no death.
  void stop();
  // Nothing is in delivery, and every outcome is on its way to the journal.
  [[nodiscard]] bool idle() const;

  // From the channels.
  void held(Deliverer& from, const ipc::HeldLeases& held);
  void hop_found(Deliverer& from, const ipc::HopFound& found);
  void grant_ended(Deliverer& from, const ipc::GrantEnded& ended);
  void ask(Deliverer& from, const ipc::AskWork& ask);
  void outcome(Deliverer& from, const ipc::Outcome& outcome);
  void probed(const ipc::Probed& probed);
  void named(const ipc::NameKnown& known);
  void turned(const Deliverer& from, const ipc::TurnedRound& turned, base::UniqueFd fd);
  void collected(const Deliverer& from, const ipc::Collected& collected);
  void closed(Deliverer& which);

 private:
  struct Mishaps {  // of one message, since its last real outcome
    std::uint32_t deaths = 0;
    std::uint32_t returns = 0;
  };
  using Key = std::pair<ipc::Role, std::uint32_t>;

  Deliverer* find(DelivererId id);
  void check_open();
  void lose_patience();
  void adopt_all();
  void open();
  [[nodiscard]] Key key_of(const Deliverer& which) const;
  [[nodiscard]] bool may_adopt(const Deliverer& from, const ipc::HeldLease& lease) const;
  void adopt(Deliverer& from, const ipc::HeldLease& lease);
  void adopted(Deliverer& from);
  void hand_out(HandOut out);
  void read_ahead(const HandOut& out);
  void send(const HandOut& out, LoadedBody&& body);
  void send_backlog();
  void break_off(const LeaseInfo& lease);
  void take_back(const HandOut& out);
  void cannot_send(const HandOut& out, const std::string& why);
  void settled(const LeaseInfo& lease, const ipc::Outcome& outcome, event::Callback written);
  void returned(const LeaseInfo& lease, const std::vector<std::uint32_t>& numbers);
  void lost(Key key, const std::vector<LeaseInfo>& leases);
  bool probe(const ipc::Probe& probe);
  void lost_probes(DelivererId with);
  void lost_names(DelivererId with);
  void lost_collects(DelivererId with);
  [[nodiscard]] bool calls(const Deliverer& which, base::RequestId request) const;

  event::Loop& loop_;
  Engine& engine_;
  std::map<Key, std::unique_ptr<Deliverer>> deliverers_;
  std::uint32_t last_id_ = 0;
  std::optional<std::uint32_t> expected_;
  bool opening_ = false;  // what was held before is being adopted
  bool open_ = false;
  bool stopping_ = false;
  event::Timer patience_;
  int waited_ = 0;  // steps of it
  // What went with a deliverer's channel, until its next one has told what it still holds.
  std::map<Key, std::set<LeaseKey>> lost_;
  struct Unsent {
    HandOut out;
    LoadedBody body;
  };
  std::vector<Unsent> backlog_;
  event::Timer drain_;
  std::unordered_map<base::MessageId, Mishaps> mishaps_;
  std::map<base::RequestId, DelivererId> probes_;  // under way
  std::map<base::RequestId, DelivererId> names_;   // likewise
  Named named_ = [](const ipc::NameKnown&) noexcept {};
  std::map<base::RequestId, DelivererId> collects_;  // likewise
  Turned turned_ = [](const ipc::TurnedRound&, base::UniqueFd) noexcept {};
  Collected collected_ = [](const ipc::Collected&) noexcept {};
};

}  // namespace postern::queued
