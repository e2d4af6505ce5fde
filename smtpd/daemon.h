// Daemon: the process smtpd: its listeners, its sessions, its link to queued.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/role/role.h"
#include "smtpd/acceptor.h"
#include "smtpd/session.h"
#include "smtpd/signer_link.h"

namespace postern::smtpd {

class Daemon final : public role::Daemon {
 public:
  explicit Daemon(role::Host& host);
  ~Daemon() override;

  os::Result<void> prepare(std::string config, role::Directories directories,
                           const ipc::Boot& boot) override;
  void start(event::Loop& loop) override;
  std::expected<void, std::string> configure(std::string config,
                                             base::Generation generation) override;
  void peer(const ipc::Peer& peer, base::UniqueFd fd) override;
  void listen(base::ListenerIndex listener, base::UniqueFd fd) override;
  void tally(const ipc::Tally& tally, base::UniqueFd fd) override;
  void processes(const ipc::Processes&) override {}
  void stop(event::Callback done) override;

 private:
  // One generation of the configuration, as the sessions use it.
  struct Rules {
    config::SmtpdConfig config;
    config::RightsIndex rights;
    config::PolicyIndex policy;
    std::vector<Service> services;  // by listener
    Service turned;                 // of connections that we made (config::kTurned)
    [[nodiscard]] Service basis(base::ListenerIndex listener) const;
    [[nodiscard]] const Service& of(base::ListenerIndex listener) const {
      return listener == config::kTurned ? turned : services[listener.value];
    }
    std::shared_ptr<const tls::ServerContext> tls;  // null: there is no certificate
  };
  // On failure why not.
  std::expected<std::unique_ptr<Rules>, std::string> read(const std::string& config);
  void apply(std::unique_ptr<Rules> rules);

  // `kept`: as in Session.
  void on_connection(base::ListenerIndex listener, os::Accepted accepted, std::optional<TlsFacts> kept = {});
  void turn_away(base::ListenerIndex listener, base::UniqueFd fd, std::string_view why);
  void end_account(const std::string& account) noexcept;
  void on_ended(Session* session) noexcept;
  void show_state() noexcept;

  role::Host& host_;
  event::Loop* loop_ = nullptr;
  std::unique_ptr<Rules> rules_;
  std::size_t most_sessions_ = 0;  // that the process has descriptors for
  ClientDesk clients_{base::system_clock()};
  BodyBudget budget_;
  std::unique_ptr<QueueLink> link_;
  std::shared_ptr<tls::TicketKeys> tickets_ = std::make_shared<tls::TicketKeys>();
  std::unique_ptr<AuthLink> auth_;
  std::unique_ptr<SignerLink> signer_;
  std::unique_ptr<ClientNames> names_;
  std::unique_ptr<TlsDesk> tls_;
  std::unique_ptr<SessionContext> context_;
  std::unordered_map<std::uint32_t, std::unique_ptr<Acceptor>> acceptors_;  // by listener
  std::unordered_map<Session*, std::unique_ptr<Session>> sessions_;
  std::unique_ptr<event::Timer> state_timer_;
  std::size_t shown_ = ~std::size_t{0};
  event::Callback stopped_;
};

}  // namespace postern::smtpd
