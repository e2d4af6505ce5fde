#include <memory>

#include "common/role/role.h"
#include "smtpd/auth/daemon.h"
#include "smtpd/daemon.h"
#include "smtpd/key/daemon.h"

int main(int argc, char** argv) {
  using namespace postern;
  return role::run(argc, argv, [](ipc::Role role, role::Host& host) -> std::unique_ptr<role::Daemon> {
    if (role == ipc::Role::kAuth) return std::make_unique<smtpd::auth::Daemon>(host);
    if (role == ipc::Role::kKey) return std::make_unique<smtpd::key::Daemon>(host);
    return std::make_unique<smtpd::Daemon>(host);
  });
}
