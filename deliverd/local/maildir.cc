#include "deliverd/local/maildir.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "common/base/fault.h"
#include "common/base/text.h"

namespace postern::local {
namespace {

constexpr std::string_view kRoot = ".";

// "/" and ":" mean something in a Maildir's file names.
std::string file_name_host(std::string_view hostname) {
  std::string host;
  for (const char c : hostname) {
    if (c == '/')
      host += "\\057";
    else if (c == ':')
      host += "\\072";
    else
      host += c;
  }
  return host;
}

// What stands behind the mark in "user+name", by the mailbox's name: "user", or "user@example.net". It becomes a
// Maildir++ folder, in whose names "&" and bytes beyond ASCII mean something else.
std::string folder_name(std::string_view local_part, std::string_view user) {
  user = user.substr(0, user.find('@'));
  if (local_part.size() < user.size() + 2 ||
      !base::equals_ignoring_case(local_part.substr(0, user.size()), user))
    return {};
  const auto name = local_part.substr(user.size() + 1);
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return std::all_of(name.begin(), name.end(), fits) ? std::string(name) : std::string();
}

// What the names of this copy's files have in common, however often it is filed.
std::string mark_of(base::MessageId message, std::uint32_t recipient) {
  return fmt::format("X{}R{}.", base::to_string(message), recipient);
}

// A name in tmp tells no size yet, and an owner may have made his tmp his new.
bool is_complete_copy(std::string_view name, std::string_view mark) noexcept {
  return name.find(mark) != std::string_view::npos && size_in_name(name);
}

std::int64_t now_micros() noexcept {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count() % 1'000'000;
}

}  // namespace

Maildir::Maildir(os::Disk& disk, const config::LocalConfig& config, const base::Clock& clock)
    : disk_(disk),
      path_(config.path),
      folders_(config.folders),
      host_(file_name_host(config.hostname)),
      clock_(clock),
      quota_(disk, clock, config.quota) {}

// TIME.DELIVERY.HOST, as every reader of Maildir expects; the message's id and the recipient's
// number in it tell a person, and a repeated delivery, which message this is.
std::string Maildir::unique_name(base::MessageId message, std::uint32_t recipient) {
  return fmt::format("{}.M{:06}P{}Q{}{}{}", clock_.wall().ms / 1000, now_micros(), ::getpid(),
                     deliveries_.fetch_add(1) + 1, mark_of(message, recipient), host_);
}

std::optional<Filed> Maildir::filed_before(const deliverd::Delivery& delivery,
                                           const ipc::LeaseRecipient& recipient) {
  const auto mailbox = place_of(path_, recipient.user, recipient.mailbox_domain);
  if (!mailbox) return std::nullopt;
  const auto directory = folder_of(*mailbox, recipient);
  const auto mark = mark_of(delivery.lease.message, recipient.number);
  for (const auto* sub : {"/new", "/cur"}) {
    const auto names = disk_.list(directory + sub);
    if (!names || std::none_of(names->begin(), names->end(),
                               [&](const std::string& name) { return is_complete_copy(name, mark); }))
      continue;
    const auto done = settle(directory);
    return done ? delivered(recipient, "delivered to the mailbox") : deferred(recipient, done.error());
  }
  return std::nullopt;
}

Filed Maildir::file(const deliverd::Delivery& delivery, const ipc::LeaseRecipient& recipient) {
  const auto mailbox = place_of(path_, recipient.user, recipient.mailbox_domain);
  if (!mailbox) return failed(recipient, {5, 1, 3}, mailbox.error());
  const auto head = fmt::format("Return-Path: <{}>\r\nDelivered-To: {}\r\n",
                                delivery.lease.from.text(), recipient.address.text());
  const auto size = most_bytes(head, delivery);
  if (const auto room = quota_.take_in_maildir(*mailbox, size); room != Room::kEnough)
    return without_room(recipient, room);
  auto filed = file_there(*mailbox, head, delivery, recipient);
  if (filed.result.result != ipc::Result::kDelivered) quota_.give_back(*mailbox, size);
  return filed;
}

Filed Maildir::file_there(const std::string& mailbox, const std::string& head,
                          const deliverd::Delivery& delivery, const ipc::LeaseRecipient& recipient) {
  const auto name = unique_name(delivery.lease.message, recipient.number);
  auto directory = folder_of(mailbox, recipient);
  bool fresh = directory == mailbox && !known(mailbox);
  for (;;) {
    os::Result<void> done;
    if (fresh) done = prepare(mailbox);
    if (done) done = write(directory, name, head, delivery);
    if (done) return delivered(recipient, "delivered to the mailbox");
    remember(mailbox, false);
    // A known mailbox, or the folder, may have been removed meanwhile: once more, from its directory on.
    if (fresh || done.error().number != ENOENT) return deferred(recipient, done.error());
    directory = mailbox;
    fresh = true;
  }
}

// The mailbox itself where nothing leads to a folder of it.
std::string Maildir::folder_of(const std::string& mailbox, const ipc::LeaseRecipient& r) const {
  if (!folders_) return mailbox;
  const auto name = folder_name(r.address.local_part(), r.user);
  if (!is_safe_name(name)) return mailbox;
  for (const auto& one : {name, base::to_lower(name)}) {
    auto folder = mailbox + "/." + one;
    if (disk_.exists(folder + "/new").value_or(false)) return folder;
  }
  return mailbox;
}

// Every level is made and flushed where this process has not done so before: a directory that is
// merely seen may still be lost with the power. The root itself is there.
os::Result<void> Maildir::prepare(const std::string& mailbox) {
  std::string parent(kRoot);
  for (std::size_t end = mailbox == kRoot ? std::string::npos : 0; end != std::string::npos;) {
    end = mailbox.find('/', end + 1);
    const auto level = mailbox.substr(0, end);
    if (auto done = disk_.make_directory(level); !done) return done;
    if (auto done = disk_.flush_directory(parent); !done) return done;
    parent = level;
  }
  for (const auto* sub : {"/tmp", "/new", "/cur"})
    if (auto done = disk_.make_directory(mailbox + sub); !done) return done;
  if (auto done = disk_.flush_directory(mailbox); !done) return done;
  remember(mailbox, true);
  return {};
}

// The order of durability: contents and time, the name, the directory.
os::Result<void> Maildir::write(const std::string& directory, const std::string& name,
                                const std::string& head, const deliverd::Delivery& delivery) {
  const auto temporary = directory + "/tmp/" + name;
  auto file = create_anew(disk_, temporary);
  if (!file) return std::unexpected(std::move(file.error()));
  os::Result<void> done;
  const auto size = write_message(**file, head, delivery, mail::LineEnd::kLf);
  if (!size) done = std::unexpected(size.error());
  if (done) done = (*file)->set_modified(delivery.lease.arrived);
  if (done) done = (*file)->flush();
  if (done)
    done = disk_.rename(temporary, fmt::format("{}/new/{},S={}", directory, name, *size));
  if (!done) {
    static_cast<void>(disk_.unlink(temporary));  // a leftover harms nobody
    return done;
  }
  if (fault::planted(fault::Fault::kMailNameUnflushed)) return {};
  return settle(directory);
}

// When this is done it is delivered.
os::Result<void> Maildir::settle(const std::string& directory) {
  return disk_.flush_directory(directory + "/new");
}

bool Maildir::known(const std::string& mailbox) {
  const std::scoped_lock lock(mutex_);
  return known_.contains(mailbox);
}

void Maildir::remember(const std::string& mailbox, bool complete) {
  const std::scoped_lock lock(mutex_);
  if (!complete) {
    known_.erase(mailbox);
    return;
  }
  if (known_.size() >= kMaxKnown) known_.clear();
  known_.insert(mailbox);
}

}  // namespace postern::local
