// Work on the spool of a server that does not run: postern-queued is started for it, without delivery.
#pragma once

#include <sys/types.h>

#include <memory>

#include "ctl/client.h"
#include "ctl/command.h"

namespace postern::ctl {

// Can this verb do without a server?
[[nodiscard]] bool works_offline(Verb verb);

// One postern-queued --offline, and the conversation with it.
class OfflineQueued {
 public:
  // The spool is the one of the configuration, of which only a few settings are read.
  [[nodiscard]] static std::expected<std::unique_ptr<OfflineQueued>, Ending> start(
      const Command& command);
  ~OfflineQueued();  // waits for its end: what it did is on disk then, and the spool free
  OfflineQueued(const OfflineQueued&) = delete;
  OfflineQueued& operator=(const OfflineQueued&) = delete;

  [[nodiscard]] Client& client() { return *client_; }

 private:
  OfflineQueued(std::unique_ptr<Client> client, pid_t pid) : client_(std::move(client)), pid_(pid) {}

  std::unique_ptr<Client> client_;
  pid_t pid_;
};

}  // namespace postern::ctl
