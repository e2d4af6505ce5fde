// Connection: one SMTP or LMTP session to a next hop, the I/O side of Client. It connects to its targets
// until one gives it a session, host after host in their order and the addresses of one host by a
// race, sends what it is handed, and ends by itself when it was idle for kIdle. Owned by the pool's
// slot.
//
// A session that breaks before the body of its first message moves on to the next target with that
// message in hand. One that breaks later, or at a later message, is over.
//
// A message that requires TLS (RFC 8689) ends a session with a host that is not good enough for it, and goes on to the
// next host, whose session is its alone. Behind the last one it fails, or waits where one of them could not be asked.
//
// What a session must be before it carries mail is decided for each host (tls_plan.h). Where TLS is only
// tried and fails, the same address is connected to once more, and spoken to in clear. A Unix socket, to which
// others connect for us, knows no TLS.
//
// Where the next hop has opened the connection (ATRN, RFC 2645) another process keeps it, and lends it to us as one end of a
// socket pair: there is nothing to connect to, before and after, and TLS is or is not there already. Who the next hop is,
// its login has proved. What is waited for there may take hours, so it is asked now and then whether it is still there.
//
// Where its hop names a SOCKS server, that one is connected to in place of every host (race.h).
// What the next hop is to hear of a message's client (config::PassClient) it hears by XFORWARD with the message, by
// XCLIENT behind TLS and login, or by a PROXY header in front of everything. By the latter two the session is that
// client's, and carries one message. For a PROXY header the connection waits for the message before it connects: then
// it is ready at once, and a message that no host could be reached for is given back. What a host refuses behind
// the header of a client it refuses that client: the message is the trouble.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/event/loop.h"
#include "common/event/stream.h"
#include "common/mail/unstuffer.h"
#include "deliverd/desk.h"
#include "deliverd/relay/body.h"
#include "deliverd/relay/next_hop.h"
#include "deliverd/relay/protocol.h"
#include "deliverd/relay/race.h"
#include "deliverd/relay/sockets.h"
#include "deliverd/relay/tls_desk.h"

namespace postern::relay {

class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  // The session stands, or will with its first message, and wants one.
  virtual void on_ready() noexcept = 0;
  // What became of the message in hand: a verdict for each recipient, or none where nothing was
  // tried. If connection.ready() then the session goes on; else on_gone() follows.
  virtual void on_done(std::vector<Verdict> verdicts) noexcept = 0;
  // The connection is gone, for this reason. Called at the end of a turn, nothing follows; the
  // owner may destroy the connection in it.
  virtual void on_gone(Trouble why) noexcept = 0;
  // What turn() was answered: positive: release() or destroy the session in another turn; else quit().
  virtual void on_turn(const mail::Reply&) noexcept {}
};

class Connection final : public event::StreamOwner, public RaceOwner {
 public:
  static constexpr base::Millis kIdle{5'000};  // without a message
  static constexpr base::Millis kAlive{120'000};  // of a longer one, before a NOOP; RFC 5321 4.5.3.2.7 gives it 5 min

  // What it leads to.
  struct Way {
    config::HopSpec hop;          // what is demanded there
    std::vector<Target> targets;  // not empty
    Sockets* sockets = nullptr;   // for a hop that is one; it outlives the connection
    std::shared_ptr<HopAccount> account = nullptr;  // as whom to log in; null: not at all
    Sources sources = {};  // of a hop that has none of its own
    std::optional<ipc::Turned> turned = {};  // it has opened the connection; its one target has no address
  };

  // `owner` and `tls` outlive the connection; `idle`: see kIdle.
  Connection(event::Loop& loop, std::string hostname, Way way, TlsDesk& tls, ConnectionOwner& owner,
             base::Millis idle = kIdle);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start();
  // In its place, on the connection that the next hop has opened.
  void start(base::UniqueFd lent);
  // Waits for a message: deliver() may be called.
  [[nodiscard]] bool ready() const noexcept;
  // The next hop takes no further message in this session.
  [[nodiscard]] bool spent() const noexcept;
  // It takes none of whomever: not even a probe, which is our own in a session that is for one client.
  [[nodiscard]] bool at_limit() const noexcept;
  // Only when ready(), and not spent(); a probe where it is not at_limit().
  void deliver(deliverd::Delivery delivery);
  // Asks the peer to turn the session round; on_turn() follows, or on_gone(). Only when ready(), before any message.
  void turn(std::string_view domains);
  // In on_turn(), of a session that was turned round: it is `next`'s from now on, and nothing follows here.
  [[nodiscard]] std::unique_ptr<event::Stream> release(event::StreamOwner& next);
  // Of whom we are connected to; unspecified: it is not known to us.
  [[nodiscard]] const base::IpAddress& address() const noexcept { return target_.endpoint.address; }
  // Ends the session as soon as no message is being sent; on_gone() follows. A message that waits
  // for the next target is given back.
  void quit();
  // Ends the session now, whatever is being sent; on_gone() follows. A message in hand is given
  // back, or unknown to have arrived where its final dot may have been sent.
  void break_off();
  // Whom it talks or talked to.
  [[nodiscard]] const std::string& remote() const noexcept { return remote_; }
  // How its session was kept from others, or why it was not.
  [[nodiscard]] const ipc::TlsNote& tls() const noexcept { return note_; }
  // What was agreed on for its session; nullopt: it is in clear text, or in the TLS of another process.
  [[nodiscard]] std::optional<tls::Facts> agreed() const;

  // For the stream.
  std::size_t on_input(std::string_view bytes) noexcept override;
  void on_closed(event::CloseReason reason) noexcept override;
  void on_drained() noexcept override;
  void on_filter_open() noexcept override;
  // For the race.
  void on_attempt_failed(std::size_t number, std::string_view why) noexcept override;
  void on_connected(std::size_t number, base::UniqueFd fd) noexcept override;
  void on_nobody() noexcept override;

 private:
  void connect_next() noexcept;
  void race(Planned plan) noexcept;
  void plug_in();
  [[nodiscard]] std::optional<base::IpAddress> source_of(std::size_t number) const;
  [[nodiscard]] std::optional<Login> login() const;
  void note_session();
  void begin_tls();
  void note_clear();
  void tell_policy_complaint();
  void fall_back_if_it_may();
  void nobody_left();
  void forget_tried();
  void forget_host(const std::string& host);
  void on_timeout() noexcept;
  void handle(Client::Event event);
  [[nodiscard]] std::optional<ipc::FirstClient> told() const;
  void begin();
  [[nodiscard]] std::vector<Verdict> unproved() const;
  void find_better_host(Verdict lack);
  [[nodiscard]] Envelope envelope() const;
  [[nodiscard]] std::uint64_t message_size() const;
  [[nodiscard]] bool needs_utf8() const;
  void finished(std::vector<Verdict> verdicts);
  void tell_forward_refusal();
  void send_body();
  void send_chunk();
  void start_pump();
  void pump() noexcept;
  void end_pump();
  bool read_piece();
  void put_plain(const std::string& piece, std::size_t before);
  void give_up_body(mail::EnhancedCode code, std::string_view why);
  void arm();
  [[nodiscard]] base::Millis pause() const;
  void stay();
  void session_over();
  void after_session() noexcept;
  void gone(Trouble why);
  void finish(std::vector<Verdict> verdicts);
  [[nodiscard]] bool dot_left() const noexcept;

  event::Loop& loop_;
  const std::string hostname_;
  const config::HopSpec hop_;
  std::vector<Target> targets_;  // that were not tried yet
  std::vector<std::string> unheard_;  // hosts that may be good enough for what requires TLS, for all that is known
  Sockets* const sockets_;
  const std::shared_ptr<HopAccount> account_;
  const Sources sources_;
  const std::optional<ipc::Turned> turned_;
  TlsDesk& desk_;
  ConnectionOwner& owner_;
  const base::Millis idle_;
  base::Millis idled_{0};    // since the last message, up to the last NOOP
  event::Timer timer_;       // of the current wait: a reply, idleness
  event::Timer pump_timer_;  // the next piece of a large body, in another turn
  std::string remote_;
  dns::Query planning_;         // for the host of the first of the targets
  Plan plan_;                   // of the host that is or was connected to last
  Target target_;               // that it was
  std::string clear_why_;       // TLS was tried there, and failed: now it is spoken to in clear
  std::unique_ptr<Race> race_;  // for the first of the targets, which are one host's
  std::vector<bool> tried_;     // of them, by number
  std::unique_ptr<event::Stream> stream_;
  tls::Session* session_ = nullptr;  // the stream's
  ipc::TlsNote note_;
  std::optional<Client> client_;
  std::optional<deliverd::Delivery> delivery_;
  std::uint64_t body_offset_ = 0;  // of a large body: what was read
  std::string body_tail_;          // its last two bytes
  WireCheck check_;                // of it
  std::uint64_t chunk_left_ = 0;   // of a large binary body: what was promised and not yet sent
  mail::Unstuffer unstuffer_{mail::LineEnd::kCrLf};  // of it
  std::size_t messages_ = 0;       // finished transactions
  Trouble last_trouble_;           // of a target that gave no session
  bool had_session_ = false;       // some target greeted us well, or refused the message's client
  bool went_on_ = false;           // for the sake of a message that requires TLS
  bool waiting_ = false;           // nothing is connected to before there is a message
  bool told_refusal_ = false;      // that XFORWARD is not taken was logged
  bool over_ = false;              // of this session: after_session() is due
  bool quitting_ = false;          // QUIT was sent, or nothing that needs one was open
  bool dismissed_ = false;         // quit() came while a message was being sent
  bool gone_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::relay
