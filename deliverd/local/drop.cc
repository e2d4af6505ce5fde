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
  const auto size = most_bytes(head, delivery);
  if (const auto room = quota_.take_in_directory(directory(), size); room != Room::kEnough)
    return without_room(recipient, room);
  auto done = write(temporary, head, delivery);
  if (done) done = disk_.rename(temporary, base + stem + ".eml");
  if (!done) {
    static_cast<void>(disk_.unlink(temporary));  // a leftover harms nobody
    quota_.give_back(directory(), size);
    return deferred(recipient, done.error());
  }
  done = disk_.flush_directory(directory());
  return done ? delivered(recipient, "delivered to " + stem + ".eml")
              : deferred(recipient, done.error());
}

os::Result<void> Drop::write(const std::string& temporary, const std::string& head,
                             const deliverd::Delivery& delivery) {
  auto file = create_anew(disk_, temporary);
  if (!file) return std::unexpected(std::move(file.error()));
  auto written = write_message(**file, head, delivery, mail::LineEnd::kCrLf);
  if (!written) return std::unexpected(std::move(written.error()));
  if (auto done = (*file)->set_modified(delivery.lease.arrived); !done) return done;
  return (*file)->flush();
}

}  // namespace postern::local
