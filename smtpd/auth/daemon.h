// Daemon: the process auth: it alone knows the passwords of accounts, or speaks to Dovecot, which does.
// smtpd tells it what clients say; who is logged in it tells queued itself. No files, no network, and
// nobody but its siblings to hear.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/ipc/channel.h"
#include "common/role/role.h"
#include "smtpd/auth/desk.h"
#include "smtpd/auth/dovecot_link.h"
#include "smtpd/auth/hasher.h"

namespace postern::smtpd::auth {

class Daemon final : public role::Daemon, private Desk::Wire {
 public:
  explicit Daemon(role::Host& host);
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
  class Queue;

  [[nodiscard]] static std::expected<config::AuthConfig, std::string> read(std::string config);
  void apply(config::AuthConfig config);
  void admit(std::uint32_t smtpd, const ipc::UserLogin& login, const ipc::Descriptors& descriptors);
  void connect_dovecot();

  // Desk::Wire
  void answer(std::uint32_t smtpd, const ipc::LoginAnswer& answer) override;
  void end_account(const std::string& account) override;
  [[nodiscard]] bool give(const ipc::Ticket& ticket) override;
  void drop(const base::Token& session) override;

  role::Host& host_;
  event::Loop* loop_ = nullptr;
  config::AuthConfig config_;  // until start()
  std::map<std::uint32_t, std::string> users_;  // of this host, by uid
  std::unique_ptr<Hasher> hasher_;
  std::unique_ptr<DovecotLink> dovecot_;
  std::unique_ptr<Desk> desk_;
  std::map<std::uint32_t, std::unique_ptr<Client>> clients_;  // by smtpd's index
  std::unique_ptr<Queue> queue_;
};

}  // namespace postern::smtpd::auth
