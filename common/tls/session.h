// Session: one connection's TLS, as the filter of its event::Stream. An SSL object without a
// socket: what came in goes through it at once, and what it wants to send is handed back, so there
// is one read and one write for a turn, as without TLS.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/event/filter.h"
#include "common/tls/client.h"
#include "common/tls/server.h"
#include "common/tls/signer.h"

struct ssl_st;

namespace postern::tls {

// What was agreed.
struct Facts {
  std::string version;  // "TLSv1.3"
  std::string cipher;   // "TLS_AES_256_GCM_SHA384"
  std::string name;     // the host that the client named; empty: none
  bool resumed = false;
  // The name in the peer's certificate, if one of those that we believe has signed it; else empty.
  std::string peer;
  // The client's side: why its server's certificate is not to be believed; empty: it is.
  std::string doubt;
};

class Session final : public event::Filter {
 public:
  // The server's side. `signer` outlives the session.
  [[nodiscard]] static std::unique_ptr<Session> accept(std::shared_ptr<const ServerContext> context,
                                                       Signer& signer);
  // The client's side. Nothing: the wish cannot be put to OpenSSL (no record is usable).
  [[nodiscard]] static std::unique_ptr<Session> connect(std::shared_ptr<ClientContext> context,
                                                        const Wish& wish);
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // event::Filter
  void receive(std::string_view wire, std::string& plain, std::string& out) noexcept override;
  void send(std::string_view plain, std::string& out) noexcept override;
  void end(std::string& out) noexcept override;
  [[nodiscard]] State state() const noexcept override { return state_; }
  void on_ready(event::Callback ready) override { ready_ = std::move(ready); }

  // In kOpen and after.
  [[nodiscard]] Facts facts() const;
  // Does the peer's certificate bear the name of this host? In kOpen and after.
  [[nodiscard]] bool names(const std::string& host) const;
  // What a login can be bound to (RFC 9266, RFC 5929); empty where it cannot, and tls-unique in TLS 1.3
  // always. In kOpen.
  [[nodiscard]] std::string exporter_binding() const;
  [[nodiscard]] std::string unique_binding() const;
  // Why it failed.
  [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }

 private:
  struct Wire;   // what the SSL object reads and writes meanwhile
  struct Point;  // where its signature is waited for
  Session();

  void attach(ssl_st* ssl);
  void shake_hands() noexcept;
  void handshake_failed() noexcept;
  void ask_signer() noexcept;
  void read(std::string& plain) noexcept;
  void resume_as(const std::string& key);
  static int keep_session(ssl_st* ssl, ssl_session_st* fresh) noexcept;
  void fail(std::string why) noexcept;

  std::shared_ptr<const ServerContext> server_;
  std::shared_ptr<ClientContext> client_;
  std::string resume_key_;
  Signer* signer_ = nullptr;
  struct Free {
    void operator()(ssl_st* ssl) const noexcept;
  };
  std::unique_ptr<ssl_st, Free> ssl_;
  std::unique_ptr<Wire> wire_;
  std::unique_ptr<Point> point_;  // during the handshake
  std::string early_;             // came while a signature was waited for
  event::Callback ready_;
  State state_ = State::kOpening;
  bool waiting_ = false;  // for a signature
  bool paused_ = false;   // the handshake stands still on its fibre
  std::string trouble_;
  std::shared_ptr<Session*> self_;  // for the signer's answer, which may come too late
};

}  // namespace postern::tls
