// Collector: calls hosts that keep mail for us (RFC 2645): connects, logs in over verified TLS, has the session
// turned round, and lends it to whoever queued gives the other end of a socket pair to. The connection and its keys
// stay here; what is said on it is none of ours any more.
//
// When the channel to queued breaks, calls that are still being made end. A session that was turned round goes on,
// for its smtpd may have a message in hand; the next call of the same host is that one, until it ends.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/event/bridge.h"
#include "common/ipc/messages.h"
#include "deliverd/relay/connection.h"
#include "deliverd/relay/logins.h"
#include "deliverd/relay/lookup.h"

namespace postern::relay {

class Collector {
 public:
  // What of the configuration it uses, for calls from now on.
  struct Settings {
    std::string hostname;
    Logins logins = {};
    Sources sources = {};
  };
  using Turned = std::move_only_function<void(const ipc::TurnedRound&, base::UniqueFd) noexcept>;
  using Ended = std::move_only_function<void(const ipc::Collected&) noexcept>;

  // What is in reach and `tls` outlive the collector. `ended` is called once for each call, in another turn; `emptied`
  // whenever no session is left.
  Collector(event::Loop& loop, const Reach& reach, TlsDesk& tls, Settings settings, Turned turned, Ended ended,
            event::Callback emptied);
  ~Collector();
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  void configure(Settings settings) { settings_ = std::move(settings); }
  void collect(const ipc::Collect& collect);
  void end(base::RequestId request);
  // Whoever asked is gone, or we are about to go: what was not turned round ends, and nobody hears of the rest.
  void forget();
  [[nodiscard]] bool idle() const noexcept { return calls_.empty(); }

 private:
  struct Call final : ConnectionOwner, event::StreamOwner {
    Call(Collector& owner, const ipc::Collect& what) : collector(owner), asked(what), request(what.request) {}
    // Of the connection, until the session is turned round.
    void on_ready() noexcept override;
    void on_done(std::vector<Verdict>) noexcept override {}
    void on_gone(Trouble why) noexcept override { collector.gone(*this, std::move(why)); }
    void on_turn(const mail::Reply& reply) noexcept override { collector.answered(*this, reply); }
    // Of its stream, from then on.
    std::size_t on_input(std::string_view bytes) noexcept override { return bridge ? bridge->on_input(bytes) : 0; }
    void on_drained() noexcept override {
      if (bridge) bridge->on_drained();
    }
    void on_closed(event::CloseReason reason) noexcept override {
      if (bridge) bridge->on_closed(reason);
    }

    Collector& collector;
    const ipc::Collect asked;
    std::optional<base::RequestId> request;  // none: nobody waits for its end any more
    dns::Query query;
    std::unique_ptr<Connection> connection;
    std::unique_ptr<event::Stream> stream;
    std::unique_ptr<event::Bridge> bridge;
    std::optional<mail::Reply> refusal;  // what ATRN was answered
  };

  [[nodiscard]] Call* find(base::RequestId request);
  [[nodiscard]] bool has(const Call& call) const;
  void connect(Call& call, Targets targets);
  void answered(Call& call, const mail::Reply& reply);
  void lend(Call& call);
  void gone(Call& call, Trouble why);
  void fail_later(Call& call, Trouble why);
  void served(Call& call, const event::BridgeEnd& end);
  void finish(Call& call, ipc::Collected collected);

  event::Loop& loop_;
  const Reach reach_;
  TlsDesk& tls_;
  Settings settings_;
  Turned turned_;
  Ended ended_;
  event::Callback emptied_;
  std::vector<std::unique_ptr<Call>> calls_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::relay
