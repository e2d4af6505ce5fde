// postern-queued: started by the parent, or by posternctl while there is none.
#include <string_view>

#include "queued/daemon.h"
#include "queued/offline.h"

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--offline") return postern::queued::run_offline(argc, argv);
  return postern::role::run(
      argc, argv, [](postern::ipc::Role, postern::role::Host& host) -> std::unique_ptr<postern::role::Daemon> {
        return std::make_unique<postern::queued::QueuedDaemon>(host);
      });
}
