#include <memory>

#include "common/role/role.h"
#include "smtpd/daemon.h"

int main(int argc, char** argv) {
  using namespace postern;
  return role::run(argc, argv, [](ipc::Role, role::Host& host) -> std::unique_ptr<role::Daemon> {
    return std::make_unique<smtpd::Daemon>(host);
  });
}
