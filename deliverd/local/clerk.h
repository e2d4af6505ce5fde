// Clerk: local delivery's side of the desk. A grant of mailboxes is a slot that asks for a message, has it
// filed, reports, and asks again. One of a socket that speaks LMTP is for the pool,
// which serves it as a relay serves a host.
#pragma once

#include <memory>
#include <unordered_map>

#include "deliverd/desk.h"
#include "deliverd/local/filer.h"
#include "deliverd/relay/pool.h"

namespace postern::local {

class Clerk final : public deliverd::Deliverer {
 public:
  // `hostname`: what LMTP's servers are told that we are. `filer` and `sockets` outlive the clerk; `lost`: the
  // channel to queued broke.
  Clerk(event::Loop& loop, Filer& filer, relay::Sockets& sockets, std::string hostname,
        event::Callback lost);
  ~Clerk() override;
  Clerk(const Clerk&) = delete;
  Clerk& operator=(const Clerk&) = delete;

  // For sessions from now on.
  void configure(std::string hostname);
  void connect(base::UniqueFd queued) { desk_.connect(ipc::Role::kLocal, std::move(queued)); }
  // Finishes what is in hand and ends all slots; then calls `done`, once.
  void stop(event::Callback done);

  // For the desk.
  void granted(deliverd::SlotId id, const ipc::Grant& grant) noexcept override;
  void deliver(deliverd::SlotId id, deliverd::Delivery delivery) noexcept override;
  void dismissed(deliverd::SlotId id) noexcept override;
  void broken_off(deliverd::SlotId id) noexcept override;
  void saved() noexcept override;
  void probe(const ipc::Probe& probe) noexcept override { pool_.probe(probe); }
  void channel_lost() noexcept override { pool_.channel_lost(); }

 private:
  struct Slot {
    bool busy = false;
    bool dismissed = false;
  };
  void filed(deliverd::SlotId id, std::vector<Filed> copies);
  void end_later(deliverd::SlotId id);
  void check_stopped();

  event::Loop& loop_;
  Filer& filer_;
  deliverd::Desk desk_;
  relay::TlsDesk tls_{nullptr};  // that is never asked: no socket knows TLS
  relay::Pool pool_;
  bool pool_stopped_ = false;
  std::unordered_map<deliverd::SlotId, Slot> slots_;
  event::Callback stopped_;
  bool stopping_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::local
