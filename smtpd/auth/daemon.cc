#include "smtpd/auth/daemon.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "common/base/secret.h"
#include "common/log/log.h"
#include "common/os/socket.h"
#include "common/os/users.h"
#include "common/tls/digest.h"

namespace postern::smtpd::auth {

class Daemon::Client {
 public:
  Client(Daemon& daemon, std::uint32_t index, base::UniqueFd fd)
      : daemon_(daemon), index_(index), connection_(*daemon.loop_, std::move(fd), *this) {}

  void on(const ipc::Login& login) { daemon_.desk_->begin(index_, login); }
  void on(const ipc::LoginResponse& response) { daemon_.desk_->respond(index_, response); }
  void on(const ipc::UserLogin& login, ipc::Descriptors descriptors) {
    daemon_.admit(index_, login, descriptors);
  }
  void on(const ipc::EndLogin& end) { daemon_.desk_->end(index_, end.session); }
  void closed() noexcept {
    daemon_.desk_->smtpd_gone(index_);
    daemon_.clients_.erase(index_);
  }
  template <class M>
  void send(const M& message) {
    connection_.send(message);
  }

 private:
  Daemon& daemon_;
  std::uint32_t index_;
  ipc::Connection<Client, ipc::Role::kAuth, ipc::Role::kSmtpd> connection_;
};

class Daemon::Queue {
 public:
  Queue(Daemon& daemon, base::UniqueFd fd)
      : daemon_(daemon), connection_(*daemon.loop_, std::move(fd), *this) {}

  void on(const ipc::TicketTaken& taken) { daemon_.desk_->taken(taken); }
  void closed() noexcept {
    auto& daemon = daemon_;
    daemon.queue_.reset();
    daemon.desk_->queued_gone();
    daemon.host_.peer_lost(ipc::Role::kQueued);
  }
  [[nodiscard]] bool give(const ipc::Ticket& ticket) {
    if (!connection_.channel().has_credit<ipc::Ticket>()) return false;
    connection_.send(ticket);
    return true;
  }
  void send(const ipc::DropTicket& drop) { connection_.send(drop); }

 private:
  Daemon& daemon_;
  ipc::Connection<Queue, ipc::Role::kAuth, ipc::Role::kQueued> connection_;
};

Daemon::Daemon(role::Host& host) : host_(host) {}
Daemon::~Daemon() = default;

std::expected<config::AuthConfig, std::string> Daemon::read(std::string config) {
  auto parsed = ipc::decode<config::AuthConfig>(config);
  base::wipe(config);
  if (!parsed) return std::unexpected("auth cannot read the configuration from the parent");
  return *std::move(parsed);
}

os::Result<void> Daemon::prepare(std::string config, role::Directories, const ipc::Boot&) {
  auto read_config = read(std::move(config));
  if (!read_config) return os::failure(read_config.error(), EPROTO);
  config_ = *std::move(read_config);
  tls::ready_digests();
  users_ = os::read_user_names();
  return {};
}

void Daemon::start(event::Loop& loop) {
  loop_ = &loop;
  Desk::Wire& wire = *this;
  desk_ = std::make_unique<Desk>(loop, base::system_clock(), wire);
  apply(std::move(config_));
}

void Daemon::apply(config::AuthConfig config) {
  log::set_level(static_cast<log::Format>(config.log.format),
                 static_cast<log::Level>(config.log.level));
  if (config.dovecot) {
    if (!dovecot_)
      dovecot_ = std::make_unique<DovecotLink>(*loop_, [this]() noexcept { connect_dovecot(); });
    desk_->use(nullptr, *dovecot_);
    hasher_.reset();
    return host_.set_state("accounts of Dovecot");
  }
  const auto accounts = std::make_shared<const Accounts>(std::move(config.accounts));
  if (hasher_)
    hasher_->use(accounts);
  else
    hasher_ = std::make_unique<Hasher>(*loop_, accounts);
  desk_->use(accounts, *hasher_);
  dovecot_.reset();
  host_.set_state(fmt::format("{} account{}", accounts->size(), accounts->size() == 1 ? "" : "s"));
}

std::expected<void, std::string> Daemon::configure(std::string config, base::Generation) {
  auto read_config = read(std::move(config));
  if (!read_config) return std::unexpected(std::move(read_config.error()));
  apply(*std::move(read_config));
  return {};
}

void Daemon::peer(const ipc::Peer& peer, base::UniqueFd fd) {
  if (peer.role == ipc::Role::kSmtpd) {
    if (clients_.contains(peer.index)) desk_->smtpd_gone(peer.index);
    clients_[peer.index] = std::make_unique<Client>(*this, peer.index, std::move(fd));
  } else if (peer.role == ipc::Role::kQueued) {
    if (queue_) desk_->queued_gone();
    queue_ = std::make_unique<Queue>(*this, std::move(fd));
    desk_->queued_came();
  }
}

// smtpd says nothing of who that is: its connection says it.
void Daemon::admit(std::uint32_t smtpd, const ipc::UserLogin& login, const ipc::Descriptors& descriptors) {
  const auto uid = os::connected_user(descriptors.empty() ? -1 : descriptors.front().get());
  if (!uid) {
    (void)log::warning("login.unavailable").field("reason", uid.error().text());
    return answer(smtpd, {login.request, ipc::LoginResult::kUnavailable, {}, {}});
  }
  const auto known = users_.find(*uid);
  desk_->admit(smtpd, login, known != users_.end() ? known->second : fmt::format("uid:{}", *uid));
}

void Daemon::connect_dovecot() {
  host_.ask_socket(0, [this](std::expected<base::UniqueFd, std::string> fd) noexcept {
    if (dovecot_) dovecot_->connected(fd ? *std::move(fd) : base::UniqueFd());
  });
}

void Daemon::answer(std::uint32_t smtpd, const ipc::LoginAnswer& answer) {
  if (const auto at = clients_.find(smtpd); at != clients_.end()) at->second->send(answer);
}

void Daemon::end_account(const std::string& account) {
  for (auto& [index, client] : clients_) client->send(ipc::EndAccount{account});
}

bool Daemon::give(const ipc::Ticket& ticket) { return queue_ != nullptr && queue_->give(ticket); }

void Daemon::drop(const base::Token& session) {
  if (queue_) queue_->send(ipc::DropTicket{session});
}

}  // namespace postern::smtpd::auth
