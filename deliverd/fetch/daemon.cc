#include "deliverd/fetch/daemon.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/log/log.h"

namespace postern::fetch {
namespace {

constexpr base::Millis kTick{1'000};

void apply_log(const config::LogConfig& config) {
  log::set_level(static_cast<log::Format>(config.format), static_cast<log::Level>(config.level));
}

std::vector<std::uint16_t> ports_of(const config::FetchConfig& config) {
  std::vector<std::uint16_t> ports{config.port};
  for (const auto& server : config.dns) ports.push_back(server.port);
  for (const auto& way : config.ways)
    if (way.socks) ports.push_back(way.socks->port);
  std::sort(ports.begin(), ports.end());
  ports.erase(std::unique(ports.begin(), ports.end()), ports.end());
  return ports;
}

}  // namespace

class Daemon::Client : public std::enable_shared_from_this<Client> {
 public:
  Client(Daemon& daemon, std::uint32_t index, base::UniqueFd fd)
      : daemon_(daemon), index_(index), connection_(*daemon.loop_, std::move(fd), *this) {}

  void on(const ipc::AskPolicy& ask) {
    daemon_.book_->ask(ask.domain, [weak = weak_from_this(), ask](std::optional<const Held*> found) noexcept {
      const auto self = weak.lock();
      if (!self) return;
      const auto* const held = found.value_or(nullptr);
      ipc::PolicySaid said{.request = ask.request, .known = found.has_value()};
      if (held != nullptr && held->policy.mode != StsMode::kNone) {
        said.mode = held->policy.mode;
        said.id = held->id;
        for (const auto& host : ask.hosts)
          if (!names_host(held->policy, host)) said.strangers.push_back(host);
      }
      self->connection_.send(said);
    });
  }
  void closed() noexcept { daemon_.clients_.erase(index_); }

 private:
  Daemon& daemon_;
  std::uint32_t index_;
  ipc::Connection<Client, ipc::Role::kFetch, ipc::Role::kRelay> connection_;
};

Daemon::Daemon(role::Host& host) : host_(host) {}
Daemon::~Daemon() = default;

os::Result<void> Daemon::prepare(std::string config, role::Directories directories, const ipc::Boot&) {
  auto parsed = ipc::decode<config::FetchConfig>(config);
  if (!parsed || parsed->dns.empty() || !directories.policies.valid())
    return os::failure("read the configuration from the parent", EPROTO);
  config_ = *std::move(parsed);
  ways_ = Ways(config_.ways);
  ports_ = ports_of(config_);
  apply_log(config_.log);
  auto resolver = dns::Resolver::make(config_.dns, dns::Resolver::kDefaults);
  if (!resolver) return os::failure("start the resolver (" + resolver.error() + ")", EPROTO);
  resolver_ = *std::move(resolver);
  auto context = tls::ClientContext::make({.roots = config_.ca});
  if (!context) return os::failure("prepare TLS (" + context.error() + ")", EPROTO);
  context_ = *std::move(context);
  vault_ = std::make_unique<Vault>(os::real_file(std::move(directories.policies), "policies"));
  auto content = vault_->read();
  if (!content) return std::unexpected(std::move(content.error()));
  const auto& clock = base::system_clock();
  Sources& sources = *this;
  book_ = std::make_unique<PolicyBook>(sources, clock,
                                       Cache::decode(content->bytes, content->version, clock.wall()));
  return {};
}

// Those of the name servers too, for what does not fit into a datagram.
std::vector<std::uint16_t> Daemon::ports() const {
  return ports_;
}

void Daemon::start(event::Loop& loop) {
  loop_ = &loop;
  resolver_->attach(loop);
  tick_ = std::make_unique<event::Timer>(loop, [this]() noexcept { on_tick(); });
  on_tick();
}

void Daemon::on_tick() {
  book_->tick();
  save();
  host_.set_state(fmt::format("{} policies", book_->cache().size()));
  tick_->start(kTick);
}

// A crash may forget what was fetched in the last second; it is fetched again. Where it cannot be written it
// is not lost as long as this process lives.
void Daemon::save() {
  if (!book_->cache().take_changed()) return;
  if (auto done = vault_->write(book_->cache().encode()); !done)
    log::error("sts.unsaved").field("error", done.error().text());
}

std::expected<void, std::string> Daemon::configure(std::string config, base::Generation) {
  auto parsed = ipc::decode<config::FetchConfig>(config);
  if (!parsed || parsed->dns.empty())
    return std::unexpected("fetch cannot read the configuration from the parent");
  for (const auto port : ports_of(*parsed))
    if (!std::ranges::binary_search(ports_, port))
      return std::unexpected(fmt::format(
          "fetch was not started for TCP port {} (a resolver, a SOCKS server, or policies): a restart lets it connect there",
          port));
  if (parsed->ca != config_.ca) {
    auto context = tls::ClientContext::make({.roots = parsed->ca});
    if (!context) return std::unexpected("fetch cannot use delivery.ca: " + context.error());
    context_ = *std::move(context);
  }
  if (parsed->dns != config_.dns) resolver_->set_servers(parsed->dns, false);
  config_ = *std::move(parsed);
  ways_ = Ways(config_.ways);
  apply_log(config_.log);
  book_->forget_failures();
  return {};
}

void Daemon::peer(const ipc::Peer& peer, base::UniqueFd fd) {
  if (peer.role != ipc::Role::kRelay) return;
  clients_[peer.index] = std::make_shared<Client>(*this, peer.index, std::move(fd));
}

void Daemon::stop(event::Callback done) {
  tick_->cancel();
  save();
  done();
}

// --- Sources ------------------------------------------------------------------------------------

dns::Query Daemon::record(const std::string& name, dns::Resolver::OnTxt done) {
  return resolver_->txt(name, std::move(done));
}

void Daemon::policy(const std::string& domain, OnPolicy done) {
  downloads_[domain] = std::make_unique<Download>(
      *loop_, *resolver_, Download::Settings{config_.port, config_.forbid, context_, ways_.socks(domain)}, domain,
      [this, domain, done = std::move(done)](std::expected<std::string, std::string> text) mutable noexcept {
        downloads_.erase(domain);
        done(std::move(text));
      });
}

}  // namespace postern::fetch
