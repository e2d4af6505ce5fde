// postern-deliverd: one binary for the roles that deliver (relay, local, and a mailbox's), and the one that fetches
// policies for them; a process has one of them.
#include <memory>

#include "common/base/check.h"
#include "common/role/role.h"
#include "deliverd/fetch/daemon.h"
#include "deliverd/local/daemon.h"
#include "deliverd/local/mailbox_daemon.h"
#include "deliverd/relay/daemon.h"

int main(int argc, char** argv) {
  using namespace postern;
  return role::run(argc, argv,
                   [](ipc::Role role, role::Host& host) -> std::unique_ptr<role::Daemon> {
                     if (role == ipc::Role::kRelay) return std::make_unique<relay::Daemon>(host);
                     if (role == ipc::Role::kFetch) return std::make_unique<fetch::Daemon>(host);
                     if (role == ipc::Role::kMailbox) return std::make_unique<local::MailboxDaemon>(host);
                     CHECK(role == ipc::Role::kLocal);
                     return std::make_unique<local::Daemon>(host);
                   });
}
