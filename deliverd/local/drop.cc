#include "deliverd/local/drop.h"

#include <fmt/format.h>

#include <utility>

namespace postern::local {

Filed Drop::file(const deliverd::Delivery& delivery, const ipc::LeaseRecipient& recipient) {
  const auto& lease = delivery.lease;
  const auto base = folder_.empty() ? std::string() : folder_ + "/";
  const auto stem = fmt::format("{}-{}", base::to_string(lease.message), recipient.number);
  const auto temporary = base + ".tmp-" + stem;
  const auto head =
      fmt::format("X-Sender: {}\r\nX-Receiver: {}\r\n",
                  lease.from.is_null() ? "<>" : lease.from.text(), recipient.address.text());
  auto file = create_anew(disk_, temporary);
  if (!file) return deferred(recipient, file.error());
  auto done = write_message(**file, head, delivery, mail::LineEnd::kCrLf);
  if (done) done = (*file)->set_modified(lease.arrived);
  if (done) done = (*file)->flush();
  if (done) done = disk_.rename(temporary, base + stem + ".eml");
  if (!done) {
    static_cast<void>(disk_.unlink(temporary));  // a leftover harms nobody
    return deferred(recipient, done.error());
  }
  done = disk_.flush_directory(folder_.empty() ? "." : folder_);
  return done ? delivered(recipient, "delivered to " + stem + ".eml")
              : deferred(recipient, done.error());
}

}  // namespace postern::local
