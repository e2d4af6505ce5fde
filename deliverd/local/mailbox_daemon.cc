#include "deliverd/local/mailbox_daemon.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/log/log.h"
#include "common/os/owned_directory.h"

namespace postern::local {
namespace {

constexpr std::uint64_t kMaxBody = 80ULL << 20;  // in frames, as the desk has it

// How many levels of the path stand before the one that is the first to name the user.
std::size_t levels_before_user(std::string_view path) {
  const auto before = path.substr(0, path.find(kUserMark));
  return static_cast<std::size_t>(std::count(before.begin(), before.end(), '/'));
}

}  // namespace

os::Result<void> MailboxDaemon::prepare(std::string config, role::Directories directories,
                                        const ipc::Boot& boot) {
  auto parsed = ipc::decode<config::MailboxConfig>(config);
  if (!parsed) return os::failure("read the configuration from the parent", EPROTO);
  auto& local = parsed->local;
  log::set_level(static_cast<log::Format>(local.log.format), static_cast<log::Level>(local.log.level));
  const auto path = place_of(local.path, parsed->user, parsed->domain);
  if (!path) return os::failure(path.error(), 0);
  auto directory = os::open_owned({directories.root.get(), parsed->root, *path, levels_before_user(local.path),
                                   boot.uid, boot.gid});
  if (!directory) return std::unexpected(std::move(directory.error()));
  root_ = *std::move(directory);
  auto copy = base::UniqueFd::adopt(::fcntl(root_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return os::failure("duplicate a directory");
  disk_ = os::real_disk(std::move(copy));
  local.path.assign(1, '.');  // g++ 12 sees an overlap in an assignment (GCC bug 105329)
  maildir_.emplace(*disk_, local, base::system_clock());
  return {};
}

void MailboxDaemon::peer(const ipc::Peer& peer, base::UniqueFd fd) {
  if (peer.role != ipc::Role::kLocal || local_) return;
  local_ = std::make_unique<ipc::Connection<MailboxDaemon, ipc::Role::kMailbox, ipc::Role::kLocal>>(
      *loop_, std::move(fd), *this);
}

void MailboxDaemon::on(const ipc::FileMail& mail, ipc::Descriptors descriptors) {
  if (arriving_) return break_off("a message within another");
  if (mail.large != (descriptors.size() == 1)) return break_off("a large message without its file");
  if (!mail.large && mail.body_size > kMaxBody) return break_off("a body too large for frames");
  Mail one{mail.request, mail.again, {}};
  auto& lease = one.delivery.lease;
  lease.message = mail.message;
  lease.arrived = mail.arrived;
  lease.from = mail.from;
  lease.recipients.push_back(mail.recipient);
  lease.form = mail.form;
  lease.prefix = mail.prefix;
  lease.body_size = mail.body_size;
  lease.large = mail.large;
  if (mail.large) one.delivery.file = std::move(descriptors.front());
  if (mail.large || mail.body_size == 0) return file(one);
  one.delivery.body.reserve(mail.body_size);
  arriving_ = std::move(one);
}

void MailboxDaemon::on(const ipc::FileBody& part) {
  if (!arriving_ || arriving_->request != part.request) return break_off("a body without its message");
  auto& delivery = arriving_->delivery;
  if (part.bytes.bytes.size() > delivery.lease.body_size - delivery.body.size())
    return break_off("a body larger than announced");
  delivery.body += part.bytes.bytes;
  if (delivery.body.size() < delivery.lease.body_size) return;
  const auto complete = *std::exchange(arriving_, std::nullopt);
  file(complete);
}

void MailboxDaemon::file(const Mail& mail) {
  const auto& recipient = mail.delivery.lease.recipients.front();
  auto before = mail.again ? maildir_->filed_before(mail.delivery, recipient) : std::nullopt;
  auto filed = before ? *std::move(before) : maildir_->file(mail.delivery, recipient);
  if (filed.trouble.size() > ipc::kMaxText) filed.trouble.resize(ipc::kMaxText);
  local_->send(ipc::MailFiled{mail.request, std::move(filed.result), std::move(filed.trouble)});
}

void MailboxDaemon::break_off(const char* why) {
  log::warning("channel.malformed").field("peer", "local").field("error", why);
  local_->channel().close();
  // Not here: the channel is on the stack.
  loop_->defer([this]() noexcept { closed(); });
}

void MailboxDaemon::closed() noexcept {
  local_.reset();
  if (stopped_) std::exchange(stopped_, {})();
}

void MailboxDaemon::stop(event::Callback done) {
  if (!local_) return done();
  stopped_ = std::move(done);
}

}  // namespace postern::local
