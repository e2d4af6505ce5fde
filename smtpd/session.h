// Session: one client's connection: moves bytes between its socket and the protocol machine, keeps
// the body of the message that comes in, hands it to queued and tells the machine the answer. Once it is turned round
// (ATRN) it moves bytes between its socket and a relay, of which it reads none.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/base/ip.h"
#include "common/event/bridge.h"
#include "common/event/stream.h"
#include "smtpd/auth_link.h"
#include "smtpd/body_store.h"
#include "smtpd/client_desk.h"
#include "smtpd/client_names.h"
#include "smtpd/patience.h"
#include "smtpd/protocol.h"
#include "smtpd/queue_link.h"
#include "smtpd/tls_desk.h"

namespace postern::smtpd {

// What the sessions of a process share; outlives them.
struct SessionContext {
  event::Loop& loop;
  const base::Clock& clock;
  QueueLink& link;
  BodyBudget& budget;  // outlives the link too, whose submissions hold shares of it
  TlsDesk& tls;
  AuthLink& auth;
  ClientDesk& clients;
  ClientNames& names;
};

class Session final : public event::StreamOwner, public MessageSink {
 public:
  // A turned session that has to end gets so long to end in order, for the relay is told at the same time.
  static constexpr base::Millis kTurnedStop{3'000};
  static constexpr base::Millis kTurnedLock{800};
  // A proxy says at once whom it is connected for; the time is for a packet that was lost on the way.
  static constexpr base::Millis kProxyTimeout{10'000};

  // `place` is the peer's; none where it must name its client in a PROXY header first.
  // `kept`: what another process has agreed on that keeps the connection in TLS (ATRN); there can be no other.
  // The session is over and may be destroyed; comes at the end of a turn.
  using Ended = std::move_only_function<void(Session*) noexcept>;

  Session(SessionContext& context, const Service& service, base::UniqueFd fd,
          base::IpAddress peer, ClientDesk::Place place, Ended ended, std::optional<TlsFacts> kept = {});
  ~Session() override;

  [[nodiscard]] base::ListenerIndex listener() const noexcept { return listener_; }
  // From now on by another generation of the configuration.
  void reconfigure(const Service& service);
  // As whom the client has logged in; empty: it has not.
  [[nodiscard]] const std::string& account() const noexcept { return protocol_.account(); }
  // The account may not be used any more.
  void end_login();
  // Says 421 as soon as no answer is owed for a message.
  void shutdown();
  // Ends the session if its client has had its time. Comes by itself in time.
  void check_deadline() noexcept;

 private:
  // event::StreamOwner
  std::size_t on_input(std::string_view bytes) noexcept override;
  void on_closed(event::CloseReason reason) noexcept override;
  void on_drained() noexcept override;
  void on_filter_open() noexcept override;
  // MessageSink
  const mail::Reply* intake_refusal() override { return context_.link.intake_refusal(); }
  void begin(const Envelope& envelope) override;
  Flow body(std::string_view stuffed) override { return body_.add(stuffed); }
  void end(Envelope&& envelope, const BodyFacts& facts) override;
  void ask(const mail::Address& recipient) override;
  void start_queue(const mail::Domain& queue) override;
  void turn_session(std::vector<std::string> queues) override;
  void abort() override;
  void refused(const Refusal& refusal) override;
  void log_in(const LoginStart& start) override;
  void login_response(std::string_view response) override;
  void log_out() override;
  bool may_send(const base::IpAddress& client) override {
    return context_.clients.may_send(client);
  }
  bool introduced(const ClientAttributes& said) override;
  ClientName client_name(const base::IpAddress& client) override;

  void on_result(SubmissionResult result) noexcept;
  void on_answer(const std::optional<mail::Reply>& refusal) noexcept;
  void on_started(const mail::Reply& reply) noexcept;
  void on_turned(const mail::Reply& reply, base::UniqueFd lent) noexcept;
  void on_turn_over(const event::BridgeEnd& end) noexcept;
  [[nodiscard]] AuthLink::Answered login_answer();
  void on_login_step(LoginStep step) noexcept;
  void on_body_resumed() noexcept;
  void begin(std::optional<TlsFacts> kept = {});
  [[nodiscard]] std::size_t read_commands(std::string_view bytes);
  [[nodiscard]] std::size_t read_proxy_header(std::string_view bytes);
  void refuse_proxy(std::string_view why) noexcept;
  [[nodiscard]] config::Origin origin() const { return protocol_.origin().value_or(config::kThisHost); }
  [[nodiscard]] base::IpAddress client() const { return origin().client(); }
  void identify_user();
  [[nodiscard]] bool take_client_place();
  void answer_client() noexcept;
  void say_replies();
  void after_step();
  void begin_tls(bool alone);
  void shake_hands();
  void set_deadline(TimeoutKind kind);
  void start_deadline(base::Millis wait);
  void finish(std::string_view reason) noexcept;

  SessionContext& context_;
  const Service* service_;
  base::ListenerIndex listener_;
  Ended ended_;
  event::Stream stream_;
  tls::Session* tls_ = nullptr;  // the stream's filter, where there is one
  std::unique_ptr<event::Bridge> bridge_;  // to the relay, once the session is turned round
  TlsDesk::Place place_;         // during the handshake
  ClientDesk::Place client_place_;
  Protocol protocol_;
  base::Token login_;  // by which auth and queued know the client's login; zero: it has not tried
  BodyStore body_;
  event::Timer timer_;
  base::SteadyTime opened_;
  TimeoutKind awaited_ = TimeoutKind::kNone;  // what the deadline is for
  base::SteadyTime deadline_;                 // 0: none
  Patience patience_;
  std::uint64_t body_bytes_ = 0;              // that came since it was asked
  base::SteadyTime timer_due_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool awaits_proxy_;  // the PROXY header, in front of all else
  bool in_message_ = false;  // a body has begun, and is wanted
  bool finished_ = false;
};

}  // namespace postern::smtpd
