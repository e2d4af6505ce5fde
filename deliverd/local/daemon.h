// The local deliverer: one process that files mail below the mailbox root, or hands it to processes of the mailboxes'
// users, and speaks LMTP over sockets that it is given. It can do nothing else.
#pragma once

#include <memory>

#include "common/config/roles.h"
#include "common/role/role.h"
#include "deliverd/local/clerk.h"
#include "deliverd/local/sockets.h"
#include "deliverd/local/thread_filer.h"
#include "deliverd/local/user_filer.h"

namespace postern::local {

class Daemon final : public role::Daemon {
 public:
  explicit Daemon(role::Host& host) : host_(host), sockets_(host) {}

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
  void apply(const config::LocalConfig& config);
  [[nodiscard]] std::shared_ptr<Mailbox> mailbox() const;

  role::Host& host_;
  config::LocalConfig config_;
  std::unique_ptr<os::Disk> disk_;  // the mailbox root
  Sockets sockets_;
  std::unique_ptr<ThreadFiler> threads_;  // one of both, for life
  std::unique_ptr<UserFiler> users_;
  std::unique_ptr<Clerk> clerk_;
};

}  // namespace postern::local
