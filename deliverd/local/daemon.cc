#include "deliverd/local/daemon.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/log/log.h"

namespace postern::local {

namespace {
constexpr std::uint32_t kMaxWorkers = 64;
}

os::Result<void> Daemon::prepare(std::string config, role::Directories directories, const ipc::Boot&) {
  auto parsed = ipc::decode<config::LocalConfig>(config);
  if (!parsed) return os::failure("read the configuration from the parent", EPROTO);
  if (!directories.root.valid()) return os::failure("open the mailbox root", EBADF);
  config_ = *std::move(parsed);
  disk_ = os::real_disk(std::move(directories.root));
  return {};
}

void Daemon::start(event::Loop& loop) {
  apply(config_);
  if (config_.as_users)
    users_ = std::make_unique<UserFiler>(loop, base::system_clock(), host_);
  else
    threads_ = std::make_unique<ThreadFiler>(loop, std::clamp(config_.workers, 1U, kMaxWorkers), mailbox());
  Filer& filer = users_ ? static_cast<Filer&>(*users_) : *threads_;
  clerk_ = std::make_unique<Clerk>(loop, filer, sockets_, config_.hostname,
                                   [this]() noexcept { host_.peer_lost(ipc::Role::kQueued); });
}

std::shared_ptr<Mailbox> Daemon::mailbox() const {
  return make_mailbox(config_, *disk_, base::system_clock());
}

void Daemon::apply(const config::LocalConfig& config) {
  log::set_level(static_cast<log::Format>(config.log.format),
                 static_cast<log::Level>(config.log.level));
  sockets_.use(config.sockets);
}

// The number of workers stays what it was at the start, and so does whose the mailboxes are.
std::expected<void, std::string> Daemon::configure(std::string config, base::Generation) {
  auto parsed = ipc::decode<config::LocalConfig>(config);
  if (!parsed) return std::unexpected("local cannot read the configuration from the parent");
  config_ = *std::move(parsed);
  apply(config_);
  if (users_) users_->renew();
  else threads_->use(mailbox());
  clerk_->configure(config_.hostname);
  return {};
}

void Daemon::peer(const ipc::Peer& peer, base::UniqueFd fd) {
  if (peer.role == ipc::Role::kQueued) clerk_->connect(std::move(fd));
}

void Daemon::stop(event::Callback done) {
  host_.set_state("stopping");
  clerk_->stop(std::move(done));
}

}  // namespace postern::local
