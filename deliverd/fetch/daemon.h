// The process fetch: it asks hosts of strangers for the MTA-STS policies of domains, and tells the relays what
// these say. It has the network, one file that it was given open, and nothing of mail.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/config/roles.h"
#include "common/role/role.h"
#include "deliverd/fetch/download.h"
#include "deliverd/fetch/policy_book.h"
#include "deliverd/fetch/vault.h"
#include "deliverd/fetch/ways.h"

namespace postern::fetch {

class Daemon final : public role::Daemon, private Sources {
 public:
  explicit Daemon(role::Host& host);
  ~Daemon() override;

  os::Result<void> prepare(std::string config, role::Directories directories,
                           const ipc::Boot& boot) override;
  [[nodiscard]] std::vector<std::uint16_t> ports() const override;
  void start(event::Loop& loop) override;
  std::expected<void, std::string> configure(std::string config,
                                             base::Generation generation) override;
  void peer(const ipc::Peer& peer, base::UniqueFd fd) override;
  void listen(base::ListenerIndex, base::UniqueFd) override {}
  void processes(const ipc::Processes&) override {}
  void stop(event::Callback done) override;

 private:
  class Client;

  // Sources
  dns::Query record(const std::string& name, dns::Resolver::OnTxt done) override;
  void policy(const std::string& domain, OnPolicy done) override;

  void on_tick();
  void save();

  role::Host& host_;
  config::FetchConfig config_;
  Ways ways_;  // of the configuration
  std::vector<std::uint16_t> ports_;  // that the sandbox lets it connect to
  event::Loop* loop_ = nullptr;
  std::unique_ptr<dns::Resolver> resolver_;
  std::shared_ptr<tls::ClientContext> context_;
  std::unique_ptr<Vault> vault_;
  std::unique_ptr<PolicyBook> book_;
  std::unique_ptr<event::Timer> tick_;
  std::map<std::string, std::unique_ptr<Download>> downloads_;  // by domain
  std::map<std::uint32_t, std::shared_ptr<Client>> clients_;    // by relay's index
};

}  // namespace postern::fetch
