// Pool: the connections of one relay process, one for each grant. A grant is looked up, connected
// and then fed with messages, one after the other, until queued dismisses it, it was idle, or it
// has carried kMessagesPerConnection (not where the next hop has called for them), or the one of the client that it speaks
// for. The pool owns everything that works for a grant.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/config/roles.h"
#include "deliverd/desk.h"
#include "deliverd/relay/collector.h"
#include "deliverd/relay/connection.h"
#include "deliverd/relay/directory.h"
#include "deliverd/relay/logins.h"
#include "deliverd/relay/namer.h"
#include "deliverd/relay/prober.h"

namespace postern::relay {

class Pool final : public deliverd::Deliverer {
 public:
  static constexpr std::size_t kMessagesPerConnection = 100;

  // What of the configuration the pool uses, for grants from now on.
  struct Settings {
    std::string hostname;
    std::uint16_t port = 25;  // for MX
    Bounds bounds;
    base::Millis idle = Connection::kIdle;
    Logins logins = {};
    Sources sources = {};  // of hops that have none of their own
  };

  // What is in reach and `tls` outlive the pool; `lost`: the channel to queued broke.
  Pool(event::Loop& loop, const Reach& reach, TlsDesk& tls, Settings settings,
       event::Callback lost);
  // For slots of another's desk, which hands on what concerns them.
  Pool(event::Loop& loop, const Reach& reach, TlsDesk& tls, Settings settings, deliverd::Desk& desk);
  ~Pool() override;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void configure(Settings settings);
  // Only with a desk of its own.
  void connect(base::UniqueFd queued) { desk_.connect(ipc::Role::kRelay, std::move(queued)); }
  // Finishes what is in hand and ends all connections; then calls `done`, once.
  void stop(event::Callback done);
  [[nodiscard]] std::size_t slots() const noexcept { return slots_.size(); }

  // For the desk.
  void granted(deliverd::SlotId id, const ipc::Grant& grant) noexcept override;
  void called(deliverd::SlotId id, const ipc::Grant& grant, base::UniqueFd fd) noexcept override;
  void go_ahead(deliverd::SlotId id) noexcept override;
  void deliver(deliverd::SlotId id, deliverd::Delivery delivery) noexcept override;
  void dismissed(deliverd::SlotId id) noexcept override;
  void broken_off(deliverd::SlotId id) noexcept override;
  void saved() noexcept override { check_stopped(); }
  void probe(const ipc::Probe& probe) noexcept override;
  void ask_name(const ipc::AskName& ask) noexcept override;
  void collect(const ipc::Collect& collect) noexcept override;
  void end_collect(const ipc::EndCollect& end) noexcept override {
    if (collector_) collector_->end(end.request);
  }
  void channel_lost() noexcept override {
    prober_.forget();
    if (collector_) collector_->forget();
    if (namer_) namer_->forget();
  }

 private:
  struct Slot final : ConnectionOwner {
    Slot(Pool& owner, deliverd::SlotId number) : pool(owner), id(number) {}
    void on_ready() noexcept override { pool.ready(*this); }
    void on_done(std::vector<Verdict> verdicts) noexcept override {
      pool.done(*this, std::move(verdicts));
    }
    void on_gone(Trouble why) noexcept override { pool.end(*this, std::move(why)); }

    Pool& pool;
    const deliverd::SlotId id;
    dns::Query query;
    std::unique_ptr<Connection> connection;
    config::HopSpec hop;
    std::string next_hop;                   // that queued knows of
    std::vector<Target> found;              // until queued says that they may be connected to
    std::vector<std::uint32_t> recipients;  // of the message in hand, by their numbers
    std::size_t messages = 0;
    bool turned = false;  // the next hop has opened the connection
    bool discards = false;
    bool dismissed = false;
  };

  Slot& add_slot(deliverd::SlotId id);
  void look_up(Slot& slot, const ipc::Grant& grant);
  void found(Slot& slot, Place place);
  void connect(Slot& slot, Targets targets);
  void ready(Slot& slot);
  void done(Slot& slot, std::vector<Verdict> verdicts);
  void discard(Slot& slot, const deliverd::Delivery& delivery);
  void end(Slot& slot, Trouble why);
  void end_later(Slot& slot, Trouble why);
  void check_stopped();

  event::Loop& loop_;
  const Reach reach_;
  TlsDesk& tls_;
  Settings settings_;
  std::unique_ptr<deliverd::Desk> own_desk_;  // null: desk_ is another's
  deliverd::Desk& desk_;
  Prober prober_;
  std::optional<Namer> namer_;  // where there is the DNS
  std::optional<Collector> collector_;  // likewise
  std::unordered_map<deliverd::SlotId, std::unique_ptr<Slot>> slots_;
  event::Callback stopped_;
  bool stopping_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::relay
