// Drop: one folder of .eml files for programs that fetch mail there. The envelope stands on top, in
// X-Sender and X-Receiver, as drop folders have it; lines end in CR LF. A file appears under its
// last name, ID-NUMBER.eml, only when it is complete and on disk; what is being written begins with
// a dot. A delivery that is repeated after a crash replaces the file of the first.
#pragma once

#include <string>

#include "deliverd/local/mailbox.h"

namespace postern::local {

class Drop final : public Mailbox {
 public:
  // `folder`: below the root; "" is the root itself.
  Drop(os::Disk& disk, std::string folder) : disk_(disk), folder_(std::move(folder)) {}

  Filed file(const deliverd::Delivery& delivery, const ipc::LeaseRecipient& recipient) override;

 private:
  os::Disk& disk_;
  const std::string folder_;
};

}  // namespace postern::local
