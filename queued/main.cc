// postern-queued: started by the parent only.
#include "queued/daemon.h"

int main(int argc, char** argv) {
  return postern::role::run(
      argc, argv, [](postern::ipc::Role, postern::role::Host& host) -> std::unique_ptr<postern::role::Daemon> {
        return std::make_unique<postern::queued::QueuedDaemon>(host);
      });
}
