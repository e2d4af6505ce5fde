// Maildir: a directory with tmp, new and cur for each user. A message is written into tmp under a
// name that no other delivery has, flushed, given its arrival as modification time (IMAP's internal
// date), and renamed into new; then the directory is flushed, and only then it is delivered. A
// crash at any line leaves either nothing, a file in tmp (which readers of Maildir remove after 36
// hours), or the message in new.
//
// On top of the message stand Return-Path (RFC 5321 4.4) and Delivered-To. Lines end in LF, but
// those of a binary message in CR LF, for it is written byte for byte as it came. The name ends in the file's size
// (",S=", Maildir++), so that nobody has to ask for it.
//
// With `folders`, mail for user+name goes into the folder ".name" of the mailbox if its owner has made one, also
// by another case; nobody makes one by sending. With a quota, the mailbox and all its folders count.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>

#include "deliverd/local/mailbox.h"

namespace postern::local {

class Maildir final : public Mailbox {
 public:
  static constexpr std::size_t kMaxKnown = 10'000;  // mailboxes that are remembered as complete

  Maildir(os::Disk& disk, const config::LocalConfig& config, const base::Clock& clock);

  Filed file(const deliverd::Delivery& delivery, const ipc::LeaseRecipient& recipient) override;
  // Did an earlier try file it, of whose end nobody heard? Then it is delivered, also where its reader has moved it to
  // cur; nothing: it was not filed, or has been removed.
  [[nodiscard]] std::optional<Filed> filed_before(const deliverd::Delivery& delivery,
                                                  const ipc::LeaseRecipient& recipient);

 private:
  [[nodiscard]] std::string unique_name(base::MessageId message, std::uint32_t recipient);
  os::Result<void> prepare(const std::string& mailbox);
  [[nodiscard]] std::string folder_of(const std::string& mailbox, const ipc::LeaseRecipient& r) const;
  Filed file_there(const std::string& mailbox, const std::string& head,
                   const deliverd::Delivery& delivery, const ipc::LeaseRecipient& recipient);
  os::Result<void> write(const std::string& directory, const std::string& name,
                         const std::string& head, const deliverd::Delivery& delivery);
  os::Result<void> settle(const std::string& directory);
  bool known(const std::string& mailbox);
  void remember(const std::string& mailbox, bool complete);

  os::Disk& disk_;
  const std::string path_;  // below the root, with {domain} and {user}; ".": the root is one mailbox
  const bool folders_;
  std::string host_;  // of file names
  const base::Clock& clock_;
  Quota quota_;
  std::atomic<std::uint64_t> deliveries_{0};
  std::mutex mutex_;
  std::unordered_set<std::string> known_;  // their directories are on disk
};

}  // namespace postern::local
