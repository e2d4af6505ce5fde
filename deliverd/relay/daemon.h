// The relay deliverer: one process that asks the DNS, connects outwards and sends what is leased to
// it.
#pragma once

#include <memory>

#include "common/config/roles.h"
#include "common/dns/resolver.h"
#include "common/role/role.h"
#include "deliverd/relay/directory.h"
#include "deliverd/relay/pool.h"

namespace postern::relay {

class Daemon final : public role::Daemon {
 public:
  explicit Daemon(role::Host& host) : host_(host) {}

  os::Result<void> prepare(std::string config, role::Directories directories,
                           const ipc::Boot& boot) override;
  void start(event::Loop& loop) override;
  std::expected<void, std::string> configure(std::string config,
                                             base::Generation generation) override;
  void peer(const ipc::Peer& peer, base::UniqueFd fd) override;
  void listen(base::ListenerIndex, base::UniqueFd) override {}
  void processes(const ipc::Processes&) override {}
  void stop(event::Callback done) override;

 private:
  void show_state();

  role::Host& host_;
  config::RelayConfig config_;
  std::unique_ptr<dns::Resolver> resolver_;
  std::unique_ptr<Directory> directory_;
  std::unique_ptr<TlsaBook> book_;
  std::unique_ptr<PolicyLink> policies_;  // null: there is no fetch
  std::unique_ptr<TlsDesk> tls_;
  std::shared_ptr<tls::ClientContext> context_;  // of the configuration
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<event::Timer> state_timer_;
};

}  // namespace postern::relay
