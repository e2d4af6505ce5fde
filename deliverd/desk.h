// Desk: a deliverer's side of its conversation with queued, the same for relay and local delivery.
// It turns frames into slots (a grant each) and whole deliveries, and keeps every outcome until
// queued has it in its journal.
//
// When the channel breaks, the grants died with it: every slot becomes an orphan, which finishes
// the delivery that it has in hand and ends without a word. On the next channel the desk first
// names those leases, then sends the outcomes that were not saved, under the epoch that they belong
// to.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "common/ipc/channel.h"

namespace postern::deliverd {

// A grant, by a number that no later channel repeats.
using SlotId = base::Strong<struct SlotIdTag>;

// A message with its body: in `body`, or in `file` from its beginning, `lease.body_size` bytes.
struct Delivery {
  ipc::Lease lease;
  std::string body;
  base::UniqueFd file;
  bool probe = false;  // there is no message: the next hop is asked about the recipients alone
};

// What serves the slots.
class Deliverer {
 public:
  virtual ~Deliverer() = default;
  virtual void granted(SlotId slot, const ipc::Grant& grant) noexcept = 0;
  // The next hop has opened the connection: this is it.
  virtual void called(SlotId slot, const ipc::Grant& grant, base::UniqueFd) noexcept { granted(slot, grant); }
  // The answer to Desk::ask(): deliver it, then report() or give_back().
  virtual void deliver(SlotId slot, Delivery delivery) noexcept = 0;
  // The answer to Desk::found(): connect.
  virtual void go_ahead(SlotId) noexcept {}
  // End the slot as soon as it has nothing in hand: NoWork, CancelGrant, or an orphan.
  virtual void dismissed(SlotId slot) noexcept = 0;
  // Give up the delivery in hand at once, with report() or give_back(), and end the slot.
  virtual void broken_off(SlotId slot) noexcept = 0;
  // Fewer outcomes than before are unsaved.
  virtual void saved() noexcept = 0;
  // The answer is owed by Desk::probed(), unless channel_lost() comes before. Only relays are asked.
  virtual void probe(const ipc::Probe&) noexcept {}
  // Likewise by Desk::collected().
  virtual void collect(const ipc::Collect&) noexcept {}
  virtual void end_collect(const ipc::EndCollect&) noexcept {}
  // Likewise by Desk::named().
  virtual void ask_name(const ipc::AskName&) noexcept {}
  virtual void channel_lost() noexcept {}
};

class Desk {
 public:
  // `deliverer` outlives the desk; `lost` is called when the channel broke and another is needed.
  Desk(event::Loop& loop, Deliverer& deliverer, event::Callback lost)
      : loop_(loop), deliverer_(deliverer), lost_(std::move(lost)) {}
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  // A fresh channel to queued, in place of any earlier one. `self`: relay or local.
  void connect(ipc::Role self, base::UniqueFd fd);

  // The slot's queue leads to other hosts than its grant names: answered by go_ahead(), or dismissed().
  void found(SlotId slot, std::string next_hop, base::Millis ttl);
  // The slot wants a message.
  void ask(SlotId slot);
  // What became of the delivery in hand.
  void report(SlotId slot, const std::string& remote, ipc::TlsNote tls,
              std::vector<ipc::RecipientResult> results);
  // Nothing was tried of the delivery in hand.
  void give_back(SlotId slot);
  // The slot is over and has nothing in hand; `ended.grant` is filled in here.
  void end(SlotId slot, ipc::GrantEnded ended);

  // The answer to a probe of this channel.
  void probed(const ipc::Probed& probed);
  void named(const ipc::NameKnown& known);
  void turned(const ipc::TurnedRound& turned, base::UniqueFd fd);
  void collected(const ipc::Collected& collected);

  // Nothing is in hand and every outcome is saved.
  [[nodiscard]] bool settled() const noexcept;

  // For ipc::Connection.
  void on(const ipc::Grant& grant, ipc::Descriptors descriptors);
  void on(const ipc::GoAhead& go);
  void on(const ipc::CancelGrant& cancel);
  void on(ipc::Lease lease, ipc::Descriptors descriptors);
  void on(const ipc::LeaseBody& part);
  void on(const ipc::NoWork& none);
  void on(const ipc::OutcomeSaved& saved);
  void on(const ipc::BreakOff& off);
  void on(const ipc::Probe& probe) { deliverer_.probe(probe); }
  void on(const ipc::AskName& ask) { deliverer_.ask_name(ask); }
  void on(const ipc::Collect& collect) { deliverer_.collect(collect); }
  void on(const ipc::EndCollect& end) { deliverer_.end_collect(end); }
  void closed() noexcept;

 private:
  struct Slot {
    std::optional<base::GrantId> grant;    // none: an orphan
    std::optional<base::RequestId> asked;  // an AskWork under way
    bool wants = false;                    // asked for work, but there was no credit
    std::optional<ipc::HeldLease> in_hand;
  };
  struct Arriving {  // a lease whose body is not complete
    std::optional<SlotId> slot;
    Delivery delivery;
  };

  [[nodiscard]] ipc::Channel* channel() noexcept;
  void hand_over(std::optional<SlotId> slot, Delivery delivery);
  void store(const ipc::HeldLease& lease, std::string remote, ipc::TlsNote tls,
             std::vector<ipc::RecipientResult> results);
  void drop_channel() noexcept;
  void send_waiting();
  void send_held_leases();
  void break_off(const char* why);

  event::Loop& loop_;
  Deliverer& deliverer_;
  event::Callback lost_;
  std::variant<std::monostate, ipc::Connection<Desk, ipc::Role::kRelay, ipc::Role::kQueued>,
               ipc::Connection<Desk, ipc::Role::kLocal, ipc::Role::kQueued>>
      connection_;
  std::unordered_map<SlotId, Slot> slots_;
  std::unordered_map<base::GrantId, SlotId> by_grant_;
  std::unordered_map<base::RequestId, SlotId> asking_;
  std::unordered_map<base::LeaseId, Arriving> arriving_;
  std::map<base::RequestId, ipc::Outcome> reports_;  // not yet saved, in the order of their making
  std::deque<base::RequestId> unsent_;               // of them
  SlotId last_slot_;
  base::RequestId last_request_;
};

}  // namespace postern::deliverd
