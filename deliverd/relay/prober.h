// Prober: asks next hops whether they take mail for an address: MAIL from nobody, RCPT, and nothing sent.
// One connection for each queue and its hop; what is asked meanwhile waits for it, and goes out in one
// transaction, or in as many as the hop takes it in. It lives while it is asked, and for Connection::kIdle behind.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "deliverd/relay/connection.h"
#include "deliverd/relay/lookup.h"

namespace postern::relay {

class Prober {
 public:
  static constexpr std::size_t kRecipients = 50;       // of one transaction
  static constexpr std::size_t kTransactions = 100;  // of one connection

  // What of the configuration it uses, for connections from now on.
  struct Settings {
    std::string hostname;
    std::uint16_t port = 25;  // for MX
    Bounds bounds;
    base::Millis idle = Connection::kIdle;
    Sources sources = {};  // as in Pool::Settings
  };
  using Answered = std::move_only_function<void(const ipc::Probed&) noexcept>;

  // What is in reach and `tls` outlive the prober. `answered` is called once for each probe, at the end of a turn.
  Prober(event::Loop& loop, const Reach& reach, TlsDesk& tls, Settings settings,
         Answered answered);
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;
  ~Prober() { *alive_ = false; }

  void configure(Settings settings) { settings_ = std::move(settings); }
  void probe(const ipc::Probe& probe);
  // Whoever asked is gone, or we are about to go: ends all connections and answers nobody.
  void forget();

 private:
  struct Hop final : ConnectionOwner {
    explicit Hop(Prober& owner) : prober(owner) {}
    void on_ready() noexcept override { prober.ready(*this); }
    void on_done(std::vector<Verdict> verdicts) noexcept override {
      prober.done(*this, verdicts);
    }
    void on_gone(Trouble why) noexcept override { prober.gone(*this, std::move(why)); }

    Prober& prober;
    config::HopSpec hop;
    dns::Query query;
    std::unique_ptr<Connection> connection;
    std::deque<ipc::Probe> waiting;
    std::vector<ipc::Probe> in_hand;
    std::size_t transactions = 0;  // of this connection
  };
  using Key = std::pair<std::string, std::string>;  // queue, hop

  void start(Hop& hop);
  void connect(Hop& hop, Targets targets);
  void ready(Hop& hop);
  void done(Hop& hop, const std::vector<Verdict>& verdicts);
  void gone(Hop& hop, Trouble why);
  void gone_later(Hop& hop, Trouble why);

  event::Loop& loop_;
  const Reach reach_;
  TlsDesk& tls_;
  Settings settings_;
  Answered answered_;
  std::map<Key, std::unique_ptr<Hop>> hops_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::relay
