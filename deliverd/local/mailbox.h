// Mailbox: where local delivery puts a message, one file for each recipient. Two kinds: a Maildir
// for each user, and one folder of .eml files for everybody. Both write below one directory through
// os::Disk, never follow a symbolic link, and say "delivered" only when file and name are on disk.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "common/config/roles.h"
#include "common/mail/unstuffer.h"
#include "common/os/disk.h"
#include "deliverd/local/filer.h"
#include "deliverd/local/quota.h"

namespace postern::local {

class Mailbox {
 public:
  virtual ~Mailbox() = default;
  // Files the message for one of its recipients. Blocks on the disk; called from several threads.
  [[nodiscard]] virtual Filed file(const deliverd::Delivery& delivery,
                                   const ipc::LeaseRecipient& recipient) = 0;
};

// The kind that `config` names, below the root of `disk`, which outlives it.
[[nodiscard]] std::unique_ptr<Mailbox> make_mailbox(const config::LocalConfig& config,
                                                    os::Disk& disk, const base::Clock& clock);

// --- For the two kinds
// ----------------------------------------------------------------------------

// May this be one part of a path? Not empty, at most 255 bytes, no "/", no control byte, no dot in
// front. Decided by queued already; decided again where it becomes a file name.
[[nodiscard]] bool is_safe_name(std::string_view name) noexcept;

// {user} and {domain} of `path` replaced by what the recipient's mailbox has for them; or why that cannot be.
[[nodiscard]] std::expected<std::string, std::string> place_of(std::string_view path, std::string_view user,
                                                               std::string_view domain);
inline constexpr std::string_view kDomainMark = "{domain}", kUserMark = "{user}";

// Writes `head` (CRLF lines), the prefix and the body without its dots: text with these line ends, a binary
// message (RFC 3030) byte for byte as it came, its lines ended by CR LF.
// How many bytes that are.
[[nodiscard]] os::Result<std::uint64_t> write_message(os::File& file, std::string_view head,
                                                      const deliverd::Delivery& delivery,
                                                      mail::LineEnd text_ends);
// No fewer than that: what it takes at most.
[[nodiscard]] std::uint64_t most_bytes(std::string_view head, const deliverd::Delivery& delivery) noexcept;

// Creates the file, also over the leftover of a delivery that was cut off.
[[nodiscard]] os::Result<std::unique_ptr<os::File>> create_anew(os::Disk& disk,
                                                                const std::string& path);

[[nodiscard]] Filed delivered(const ipc::LeaseRecipient& recipient, std::string text);
// The environment's trouble: it can be tried again.
[[nodiscard]] Filed deferred(const ipc::LeaseRecipient& recipient, const os::Error& error);
[[nodiscard]] Filed deferred(const ipc::LeaseRecipient& recipient, std::string text);
[[nodiscard]] Filed failed(const ipc::LeaseRecipient& recipient, mail::EnhancedCode code,
                           std::string text);
// The quota leaves no room, now or ever (`room` is not kEnough).
[[nodiscard]] Filed without_room(const ipc::LeaseRecipient& recipient, Room room);

}  // namespace postern::local
