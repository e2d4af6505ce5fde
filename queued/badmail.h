// Badmail: failed messages that nobody can be told of, kept for people: for each one ID.eml, the message
// as it would be sent, and ID.reason, its envelope and why each recipient failed. Files are whole or not
// there; nothing here ever removes one.
//
// All work is done in the store thread.
#pragma once

#include <string>

#include "common/os/disk.h"
#include "queued/store.h"
#include "queued/worker.h"

namespace postern::queued {

class Badmail {
 public:
  // `place` holds the directory `folder`; "." where it is itself the directory. `spool` has the large
  // bodies.
  Badmail(os::Disk& place, std::string folder, os::Disk& spool, Worker& worker)
      : place_(place), folder_(std::move(folder)), spool_(spool), worker_(worker) {}

  struct Letter {
    base::MessageId id;
    std::string prefix;
    Bytes body;              // null: the file large/ID, or lost
    std::uint64_t size = 0;  // of the body
    bool lost = false;       // the message cannot be read: only the reason is kept
    BadmailReason reason;
  };
  // Again for a message that lies there: what is new of the reason is added. `saved` when all is flushed.
  void put(Letter letter, Store::Saved saved);

 private:
  os::Result<void> write(const Letter& letter);
  os::Result<void> write_message(const Letter& letter);
  os::Result<void> write_reason(const Letter& letter);
  // A file that appears under its name when it is whole; `fill` writes it.
  template <class Fill>
  os::Result<void> replace(const std::string& name, Fill fill);
  [[nodiscard]] std::string path(base::MessageId id, std::string_view kind) const;

  os::Disk& place_;
  std::string folder_;
  os::Disk& spool_;
  Worker& worker_;
};

}  // namespace postern::queued
