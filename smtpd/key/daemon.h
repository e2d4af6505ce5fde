// Daemon: the process key: it keeps the private keys, signs TLS handshakes for smtpd and nothing
// else, and makes the keys of session tickets for all of them. It has no file, no network, and
// hears nobody but its siblings.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/role/role.h"
#include "common/tls/key.h"
#include "common/tls/tickets.h"

namespace postern::smtpd::key {

class Daemon final : public role::Daemon {
 public:
  // A key of tickets is the newest for so long.
  explicit Daemon(role::Host& host, base::Millis ticket_life = tls::kTicketLife);
  ~Daemon() override;

  os::Result<void> prepare(std::string config, role::Directories directories,
                           const ipc::Boot& boot) override;
  void start(event::Loop& loop) override;
  std::expected<void, std::string> configure(std::string config,
                                             base::Generation generation) override;
  void peer(const ipc::Peer& peer, base::UniqueFd fd) override;
  void listen(base::ListenerIndex, base::UniqueFd) override {}
  void processes(const ipc::Processes&) override {}
  void stop(event::Callback done) override { done(); }

 private:
  class Client;
  using Keys = std::map<tls::KeyId, tls::PrivateKey>;

  [[nodiscard]] std::expected<Keys, std::string> read(std::string config) const;
  void apply(Keys keys);
  [[nodiscard]] ipc::Signed sign(const ipc::Sign& request) const;
  void change_ticket_keys();
  void tell(Client& client) const;

  role::Host& host_;
  base::Millis ticket_life_;
  event::Loop* loop_ = nullptr;
  Keys keys_;
  Keys former_;  // of the generation before: an smtpd that is told a little later still uses its
                 // certificates
  std::vector<tls::TicketKey> tickets_;  // the newest first
  std::unique_ptr<event::Timer> change_;
  std::map<std::uint32_t, std::unique_ptr<Client>> clients_;  // by smtpd's index
};

}  // namespace postern::smtpd::key
