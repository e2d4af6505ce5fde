// Mail that another host keeps for us until we call (RFC 2645). queued has a relay call; a session that was turned
// round is handed to an smtpd, by way of queued, as one end of a socket pair.
#pragma once

#include "common/ipc/types.h"
#include "common/mail/trace.h"

namespace postern::ipc {

// Call this host, log in, and have the session turned round. One call of a host at a time.
struct Collect {
  static constexpr Type kType = Type::kCollect;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kRelay)};
  static constexpr Window kWindow{.requests = 2 * config::kMaxCollects};
  base::RequestId request;
  config::HopSpec hop;
  std::vector<mail::Domain> domains;
  static constexpr auto fields() {
    return fields_of(field("request", &Collect::request), field("hop", &Collect::hop),
                      field("domains", &Collect::domains, config::kMaxCollectDomains));
  }
};

// End this call, whatever it is at; answered by Collected as any other end.
struct EndCollect {
  static constexpr Type kType = Type::kEndCollect;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kRelay)};
  base::RequestId request;
  static constexpr auto fields() { return fields_of(field("request", &EndCollect::request)); }
};

// The host has turned the session round. Descriptor: where its commands come out. Once for a call.
struct TurnedRound {
  static constexpr Type kType = Type::kTurnedRound;
  static constexpr Route kRoute{roles(Role::kRelay), roles(Role::kQueued)};
  static constexpr std::size_t kDescriptors = 1;
  base::RequestId request;
  base::IpAddress client;  // unspecified: a SOCKS server alone knows it
  std::string remote;
  std::string tls;       // as in Submit: of the session that the relay opened, and keeps
  std::string tls_peer;  // likewise; the host's certificate, by which we know whom we called
  static constexpr auto fields() {
    return fields_of(field("request", &TurnedRound::request), field("client", &TurnedRound::client),
                      field("remote", &TurnedRound::remote, kMaxRemote),
                      field("tls", &TurnedRound::tls, mail::kMaxTlsText),
                      field("tls_peer", &TurnedRound::tls_peer, mail::kMaxTlsPeer));
  }
};

enum class CollectEnd : std::uint8_t {
  kServed,   // the session was turned round, and is over
  kNothing,  // there was no mail (453)
  kFailed,   // nothing came of it
};
template <>
inline constexpr CollectEnd kLastEnumerator<CollectEnd> = CollectEnd::kFailed;

struct Collected {
  static constexpr Type kType = Type::kCollected;
  static constexpr Route kRoute{roles(Role::kRelay), roles(Role::kQueued)};
  using ReplyTo = Replies<Collect>;
  base::RequestId request;
  CollectEnd end = CollectEnd::kFailed;
  ReplyText reply;     // not for kServed: what was said, or what we say of it (code 0)
  std::string remote;  // whom we talked to, if anybody
  std::uint64_t received = 0, sent = 0;  // bytes, of kServed
  static constexpr auto fields() {
    return fields_of(field("request", &Collected::request), field("end", &Collected::end),
                      field("reply", &Collected::reply), field("remote", &Collected::remote, kMaxRemote),
                      field("received", &Collected::received), field("sent", &Collected::sent));
  }
};

// A connection that was turned round: serve it as one of an mx listener without any right (config::kTurned).
// Descriptor: the connection.
struct ServeTurned {
  static constexpr Type kType = Type::kServeTurned;
  static constexpr Route kRoute{roles(Role::kQueued), roles(Role::kSmtpd)};
  static constexpr std::size_t kDescriptors = 1;
  base::IpAddress client;
  std::string tls, tls_peer;  // as in TurnedRound
  static constexpr auto fields() {
    return fields_of(field("client", &ServeTurned::client), field("tls", &ServeTurned::tls, mail::kMaxTlsText),
                      field("tls_peer", &ServeTurned::tls_peer, mail::kMaxTlsPeer));
  }
};

}  // namespace postern::ipc
