// SignerLink: smtpd's side of the conversation with key: signatures for its handshakes, and the
// keys of session tickets. Where there is no key process now, a handshake fails at once: its client
// comes again.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "common/event/loop.h"
#include "common/ipc/channel.h"
#include "common/tls/signer.h"
#include "common/tls/tickets.h"

namespace postern::smtpd {

class SignerLink final : public tls::Signer {
 public:
  using Connection = ipc::Connection<SignerLink, ipc::Role::kSmtpd, ipc::Role::kKey>;

  // `lost` is called when the channel has broken: somebody should see to a new one.
  SignerLink(event::Loop& loop, std::shared_ptr<tls::TicketKeys> tickets, event::Callback lost);

  // A fresh channel, in place of the former.
  void connect(base::UniqueFd fd);

  // tls::Signer
  void sign(tls::SignRequest request, Signed done) override;

  // From key.
  void on(const ipc::Signed& message);
  void on(const ipc::TicketKeys& message);
  void closed() noexcept;

 private:
  void drop_channel() noexcept;

  event::Loop& loop_;
  event::Callback lost_;
  std::unique_ptr<Connection> connection_;
  base::RequestId last_request_;
  std::unordered_map<std::uint64_t, Signed> asked_;  // by request
  std::shared_ptr<tls::TicketKeys> tickets_;         // kept as key tells them
};

}  // namespace postern::smtpd
