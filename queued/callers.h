// Callers: hosts that call for their mail by ATRN (RFC 2645). Who may, what such a host hears, and when it has to go.
//
// A session that is turned round is a pair of sockets: one end goes to the smtpd whose client has called, which does no
// more than carry bytes, the other with a grant to a relay, which is the client of the session from then on. The pair is
// made here, so that no smtpd can hand a relay another thing than that. Owned by the intake.
#pragma once

#include <expected>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/unique_fd.h"
#include "common/ipc/delivery.h"
#include "common/mail/reply.h"
#include "queued/engine.h"

namespace postern::queued {

class Callers {
 public:
  // Whose session it is, by the ticket that auth gave for it, and what its smtpd says of it.
  struct Call {
    std::string account;
    base::IpAddress client;
    std::string tls;                  // empty: clear text
    std::vector<std::string> queues;  // that were named; empty: all that the account may take
  };
  // What ATRN gets in place of a session, and why, where the client does not hear that.
  struct Refusal {
    mail::Reply reply;
    std::string why;
  };
  // Gives a relay its end; nullopt: there can be no more connections now.
  using Connect = std::move_only_function<std::optional<base::GrantId>(
      const Schedule::Call& call, ipc::Turned turned, base::UniqueFd fd) noexcept>;
  // What waits in this queue for its own time is to be tried now.
  using Start = std::move_only_function<void(const std::string& queue) noexcept>;

  Callers(Engine& engine, Start start) : engine_(engine), start_(std::move(start)) {}

  void set_connect(Connect connect) { connect_ = std::move(connect); }
  // smtpd's end of a session that is turned round.
  [[nodiscard]] std::expected<base::UniqueFd, Refusal> take(const Call& call);
  // Rights, routes or blocks are others: whoever may not take anything any more goes as soon as nothing is on its way, and
  // the others are served by the routes that there are now.
  void review();

 private:
  struct Known {
    std::string account;
    std::string tls;
    std::vector<mail::Domain> queues;
  };
  struct Routes {
    std::vector<Route> free;     // of which it may take mail now; never empty
    std::vector<Route> stopped;  // of which it may when they are let go, while its connection stands
    [[nodiscard]] std::vector<Schedule::Call::For> all() const;
  };
  // Where those lead that it has named, which are not empty; why it may not take mail of even one.
  [[nodiscard]] std::expected<Routes, Refusal> routes_of(const Known& caller) const;
  // Why nothing of this queue may go; empty: it may.
  [[nodiscard]] std::string stopped_by(const Route& route) const;
  [[nodiscard]] std::expected<std::vector<mail::Domain>, Refusal> named_by(const Call& call) const;
  [[nodiscard]] bool has_mail(const std::vector<Route>& routes) const;
  void start(const std::vector<Route>& routes);

  Engine& engine_;
  Start start_;
  Connect connect_ = [](const Schedule::Call&, ipc::Turned, base::UniqueFd) noexcept {
    return std::optional<base::GrantId>();
  };
  std::map<base::GrantId, Known> callers_;
};

}  // namespace postern::queued
