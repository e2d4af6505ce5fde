#include "smtpd/key/daemon.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "common/config/roles.h"
#include "common/log/log.h"

namespace postern::smtpd::key {
namespace {

// The newest seals tickets, the one before opens those that it sealed.
constexpr std::size_t kTicketKeys = 2;

template <std::size_t N>
std::string text(const std::array<std::uint8_t, N>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), N};
}

}  // namespace

class Daemon::Client {
 public:
  Client(Daemon& daemon, std::uint32_t index, base::UniqueFd fd)
      : daemon_(daemon), index_(index), connection_(*daemon.loop_, std::move(fd), *this) {}

  void on(const ipc::Sign& request) { connection_.send(daemon_.sign(request)); }
  void closed() noexcept { daemon_.clients_.erase(index_); }
  void send(const ipc::TicketKeys& keys) { connection_.send(keys); }

 private:
  Daemon& daemon_;
  std::uint32_t index_;
  ipc::Connection<Client, ipc::Role::kKey, ipc::Role::kSmtpd> connection_;
};

Daemon::Daemon(role::Host& host, base::Millis ticket_life) : host_(host), ticket_life_(ticket_life) {}
Daemon::~Daemon() = default;

std::expected<Daemon::Keys, std::string> Daemon::read(std::string config) const {
  auto parsed = ipc::decode<config::KeyConfig>(config);
  ::explicit_bzero(config.data(), config.size());
  if (!parsed) return std::unexpected("key cannot read the configuration from the parent");
  log::set_level(static_cast<log::Format>(parsed->log.format),
                 static_cast<log::Level>(parsed->log.level));
  Keys keys;
  for (auto& pem : parsed->keys) {
    auto key = tls::PrivateKey::parse(pem);
    ::explicit_bzero(pem.data(), pem.size());
    if (!key) return std::unexpected("key: " + key.error());
    const auto id = key->id();
    keys.emplace(id, *std::move(key));
  }
  return keys;
}

void Daemon::apply(Keys keys) {
  former_ = std::exchange(keys_, std::move(keys));
  host_.set_state(fmt::format("{} keys", keys_.size()));
}

os::Result<void> Daemon::prepare(std::string config, role::Directories, const ipc::Boot&) {
  auto keys = read(std::move(config));
  if (!keys) return os::failure(keys.error(), EPROTO);
  keys_ = *std::move(keys);
  return {};
}

void Daemon::start(event::Loop& loop) {
  loop_ = &loop;
  host_.set_state(fmt::format("{} keys", keys_.size()));
  change_ = std::make_unique<event::Timer>(loop, [this]() noexcept { change_ticket_keys(); });
  change_ticket_keys();
}

std::expected<void, std::string> Daemon::configure(std::string config, base::Generation) {
  auto keys = read(std::move(config));
  if (!keys) return std::unexpected(std::move(keys.error()));
  apply(*std::move(keys));
  return {};
}

void Daemon::peer(const ipc::Peer& peer, base::UniqueFd fd) {
  if (peer.role != ipc::Role::kSmtpd) return;
  auto& client = clients_[peer.index];
  client = std::make_unique<Client>(*this, peer.index, std::move(fd));
  tell(*client);
}

ipc::Signed Daemon::sign(const ipc::Sign& request) const {
  ipc::Signed answer{request.request, {}};
  tls::KeyId id{};
  const tls::PrivateKey* key = nullptr;
  if (request.key.size() == id.size()) {
    std::memcpy(id.data(), request.key.data(), id.size());
    for (const auto* const keys : {&keys_, &former_})
      if (const auto at = keys->find(id); at != keys->end() && key == nullptr) key = &at->second;
  }
  if (key == nullptr || !tls::is_server_handshake(request.bytes)) {
    (void)log::warning("key.refused")
        .field("reason", key == nullptr ? "no such key" : "no handshake");
    return answer;
  }
  if (auto made = key->sign({request.algorithm, request.digest}, request.bytes))
    answer.signature = *std::move(made);
  return answer;
}

void Daemon::change_ticket_keys() {
  tickets_.insert(tickets_.begin(), tls::random_ticket_key());
  if (tickets_.size() > kTicketKeys) tickets_.resize(kTicketKeys);
  for (auto& [index, client] : clients_) tell(*client);
  change_->start(ticket_life_);
}

void Daemon::tell(Client& client) const {
  ipc::TicketKeys message;
  for (const auto& key : tickets_)
    message.keys.push_back({text(key.name), text(key.cipher), text(key.mac)});
  client.send(message);
}

}  // namespace postern::smtpd::key
