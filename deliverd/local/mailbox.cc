#include "deliverd/local/mailbox.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "deliverd/local/drop.h"
#include "deliverd/local/maildir.h"

namespace postern::local {
namespace {

constexpr std::size_t kChunk = 64 * 1024;  // of a large body, in memory at once

Filed result(const ipc::LeaseRecipient& recipient, ipc::Result what, mail::EnhancedCode code,
             std::string text) {
  ipc::RecipientResult r;
  r.number = recipient.number;
  r.result = what;
  r.failure = ipc::FailureClass::kLocal;
  mail::Reply reply;
  reply.enhanced = code;
  reply.lines.push_back(std::move(text));
  r.reply = ipc::to_ipc(reply);
  return {std::move(r), {}};
}

// RFC 3463: 4.3.1 system full, 4.2.2 mailbox full, 4.3.0 other.
mail::EnhancedCode code_of(int error) noexcept {
  if (error == ENOSPC) return {4, 3, 1};
  if (error == EDQUOT) return {4, 2, 2};
  return {4, 3, 0};
}

// Collects output and writes it in large pieces.
class Sink {
 public:
  explicit Sink(os::File& file) : file_(file) {}
  std::string& buffer() noexcept { return buffer_; }
  [[nodiscard]] std::uint64_t written() const noexcept { return offset_; }
  os::Result<void> write() {
    auto done = file_.write_at(offset_, buffer_);
    offset_ += buffer_.size();
    buffer_.clear();
    return done;
  }

 private:
  os::File& file_;
  std::string buffer_;
  std::uint64_t offset_ = 0;
};

void append_header(std::string_view lines, mail::LineEnd ends, std::string& out) {
  if (ends == mail::LineEnd::kCrLf) {
    out += lines;
    return;
  }
  std::copy_if(lines.begin(), lines.end(), std::back_inserter(out),
               [](char c) { return c != '\r'; });
}

os::Result<void> write_large(const deliverd::Delivery& delivery, mail::Unstuffer& unstuffer,
                             Sink& sink) {
  std::string chunk(kChunk, '\0');
  for (std::uint64_t offset = 0; offset < delivery.lease.body_size;) {
    const auto want = std::min<std::uint64_t>(kChunk, delivery.lease.body_size - offset);
    const ssize_t got =
        ::pread(delivery.file.get(), chunk.data(), want, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return os::failure("read the stored message", got < 0 ? errno : EIO);
    offset += static_cast<std::uint64_t>(got);
    unstuffer.feed(std::string_view(chunk).substr(0, static_cast<std::size_t>(got)), sink.buffer());
    if (auto done = sink.write(); !done) return done;
  }
  return {};
}

}  // namespace

bool is_safe_name(std::string_view name) noexcept {
  constexpr std::size_t kMaxName = 255;  // NAME_MAX
  return !name.empty() && name.size() <= kMaxName && name.front() != '.' &&
         std::none_of(name.begin(), name.end(), [](char c) {
           return c == '/' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

std::expected<std::string, std::string> place_of(std::string_view path, std::string_view user,
                                                 std::string_view domain) {
  std::string place;
  for (auto rest = path; !rest.empty();) {
    const auto mark = std::min(rest.find(kDomainMark), rest.find(kUserMark));
    place += rest.substr(0, mark);
    if (mark == std::string_view::npos) break;
    const bool is_user = rest.substr(mark).starts_with(kUserMark);
    const auto name = is_user ? user : domain;
    if (!is_safe_name(name)) return std::unexpected("this is no name of a mailbox");
    place += name;
    rest.remove_prefix(mark + (is_user ? kUserMark : kDomainMark).size());
  }
  return place;
}

os::Result<std::uint64_t> write_message(os::File& file, std::string_view head,
                                        const deliverd::Delivery& delivery,
                                        mail::LineEnd text_ends) {
  // A CR LF may be part of a picture there.
  const auto ends =
      delivery.lease.form == ipc::BodyForm::kBinary ? mail::LineEnd::kCrLf : text_ends;
  Sink sink(file);
  append_header(head, ends, sink.buffer());
  append_header(delivery.lease.prefix, ends, sink.buffer());
  mail::Unstuffer unstuffer(ends);
  if (delivery.lease.large) {
    if (auto done = write_large(delivery, unstuffer, sink); !done) return std::unexpected(done.error());
  } else {
    sink.buffer().reserve(sink.buffer().size() + delivery.body.size());
    unstuffer.feed(delivery.body, sink.buffer());
  }
  unstuffer.finish(sink.buffer());
  if (auto done = sink.write(); !done) return std::unexpected(done.error());
  return sink.written();
}

std::uint64_t most_bytes(std::string_view head, const deliverd::Delivery& delivery) noexcept {
  constexpr std::uint64_t kLineEnd = 2;  // that the last line may lack
  return head.size() + delivery.lease.prefix.size() + delivery.lease.body_size + kLineEnd;
}

os::Result<std::unique_ptr<os::File>> create_anew(os::Disk& disk, const std::string& path) {
  auto file = disk.open(path, os::OpenMode::kCreateWriteOnly);
  if (file || file.error().number != EEXIST) return file;
  if (auto done = disk.unlink(path); !done) return std::unexpected(done.error());
  return disk.open(path, os::OpenMode::kCreateWriteOnly);
}

Filed delivered(const ipc::LeaseRecipient& recipient, std::string text) {
  return result(recipient, ipc::Result::kDelivered, {2, 0, 0}, std::move(text));
}

Filed deferred(const ipc::LeaseRecipient& recipient, const os::Error& error) {
  auto filed =
      result(recipient, ipc::Result::kDeferred, code_of(error.number),
             std::string("the mailbox cannot be written: ") + ::strerrordesc_np(error.number));
  filed.trouble = error.text();
  return filed;
}

Filed deferred(const ipc::LeaseRecipient& recipient, std::string text) {
  return result(recipient, ipc::Result::kDeferred, {4, 3, 0}, std::move(text));
}

Filed failed(const ipc::LeaseRecipient& recipient, mail::EnhancedCode code, std::string text) {
  return result(recipient, ipc::Result::kFailed, code, std::move(text));
}

// RFC 3463: X.2.2 mailbox full, X.2.3 message too large for it.
Filed without_room(const ipc::LeaseRecipient& recipient, Room room) {
  if (room == Room::kNever)
    return failed(recipient, {5, 2, 3}, "the message is larger than the mailbox may be");
  return result(recipient, ipc::Result::kDeferred, {4, 2, 2}, "the mailbox is full");
}

std::unique_ptr<Mailbox> make_mailbox(const config::LocalConfig& config, os::Disk& disk,
                                      const base::Clock& clock) {
  switch (config.kind) {
    case config::MailboxKind::kMaildir:
      return std::make_unique<Maildir>(disk, config, clock);
    case config::MailboxKind::kDrop:
      return std::make_unique<Drop>(disk, config, clock);
  }
  return nullptr;
}

}  // namespace postern::local
