// Drop: one folder of .eml files for programs that fetch mail there. The envelope stands on top, in
// X-Sender and X-Receiver, as drop folders have it; lines end in CR LF. A file appears under its
// last name, ID-NUMBER.eml, only when it is complete and on disk; what is being written begins with
// a dot. A delivery that is repeated after a crash replaces the file of the first. The quota is of the whole
// folder.
#pragma once

#include <string>

#include "deliverd/local/mailbox.h"

namespace postern::local {

class Drop final : public Mailbox {
 public:
  Drop(os::Disk& disk, const config::LocalConfig& config, const base::Clock& clock)
      : disk_(disk), folder_(config.path), quota_(disk, clock, config.quota) {}

  Filed file(const deliverd::Delivery& delivery, const ipc::LeaseRecipient& recipient) override;

 private:
  os::Result<void> write(const std::string& temporary, const std::string& head,
                         const deliverd::Delivery& delivery);
  [[nodiscard]] std::string directory() const { return folder_.empty() ? "." : folder_; }

  os::Disk& disk_;
  const std::string folder_;  // below the root; "" is the root itself
  Quota quota_;
};

}  // namespace postern::local
