#include "deliverd/relay/daemon.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "common/base/random.h"
#include "common/base/text.h"
#include "common/log/log.h"
#include "common/tls/digest.h"

namespace postern::relay {
namespace {

constexpr base::Millis kStateInterval{1'000};

Pool::Settings settings_of(const config::RelayConfig& config) {
  const Ourselves ourselves{config.own_addresses, config.own_ports,
                            base::to_lower(config.hostname)};
  return {.hostname = config.hostname,
          .port = config.port,
          .bounds = {ourselves, config.forbid},
          .logins = Logins(config.logins),
          .sources = Sources(config.sources)};
}

void apply_log(const config::LogConfig& config) {
  log::set_level(static_cast<log::Format>(config.format), static_cast<log::Level>(config.level));
}

}  // namespace

os::Result<void> Daemon::prepare(std::string config, role::Directories, const ipc::Boot&) {
  auto parsed = ipc::decode<config::RelayConfig>(config);
  if (!parsed || parsed->dns.empty())
    return os::failure("read the configuration from the parent", EPROTO);
  config_ = *std::move(parsed);
  apply_log(config_.log);
  auto options = dns::Resolver::kDefaults;
  options.trust_ad = config_.trust_ad;
  auto resolver = dns::Resolver::make(config_.dns, options);
  if (!resolver) return os::failure("start the resolver (" + resolver.error() + ")", EPROTO);
  resolver_ = *std::move(resolver);
  auto context = TlsDesk::context_for(config_.ca, config_.tls_minimum);
  if (!context) return os::failure("prepare TLS (" + context.error() + ")", EPROTO);
  context_ = *std::move(context);
  tls::ready_digests();
  return {};
}

void Daemon::start(event::Loop& loop) {
  resolver_->attach(loop);
  directory_ =
      std::make_unique<Directory>(loop, *resolver_, base::system_clock(), &base::random_u64);
  book_ = std::make_unique<TlsaBook>(loop, *resolver_, base::system_clock());
  tls_ = std::make_unique<TlsDesk>(book_.get());
  tls_->use(context_);
  if (config_.policies)
    policies_ = std::make_unique<PolicyLink>(loop, base::system_clock(), [this]() noexcept {
      host_.peer_lost(ipc::Role::kFetch);
    });
  const Reach reach{directory_.get(), nullptr, resolver_.get(), policies_.get()};
  pool_ = std::make_unique<Pool>(loop, reach, *tls_, settings_of(config_),
                                 [this]() noexcept { host_.peer_lost(ipc::Role::kQueued); });
  state_timer_ = std::make_unique<event::Timer>(loop, [this]() noexcept { show_state(); });
  state_timer_->start(kStateInterval);
}

void Daemon::show_state() {
  host_.set_state(fmt::format("{} connections", pool_->slots()));
  state_timer_->start(kStateInterval);
}

std::expected<void, std::string> Daemon::configure(std::string config, base::Generation) {
  auto parsed = ipc::decode<config::RelayConfig>(config);
  if (!parsed || parsed->dns.empty())
    return std::unexpected("relay cannot read the configuration from the parent");
  const bool other_servers =
      parsed->dns != config_.dns || parsed->trust_ad != config_.trust_ad;
  if (parsed->ca != config_.ca || parsed->tls_minimum != config_.tls_minimum) {
    auto context = TlsDesk::context_for(parsed->ca, parsed->tls_minimum);
    if (!context) return std::unexpected("relay cannot use delivery.ca: " + context.error());
    tls_->use(*std::move(context));
  }
  config_ = *std::move(parsed);
  apply_log(config_.log);
  pool_->configure(settings_of(config_));
  if (other_servers) {
    resolver_->set_servers(config_.dns, config_.trust_ad);
    directory_->clear();
    tls_->forget_records();
  }
  return {};
}

void Daemon::peer(const ipc::Peer& peer, base::UniqueFd fd) {
  if (peer.role == ipc::Role::kQueued) pool_->connect(std::move(fd));
  if (peer.role == ipc::Role::kFetch && policies_) policies_->connect(std::move(fd));
}

void Daemon::stop(event::Callback done) {
  state_timer_->cancel();
  host_.set_state("stopping");
  pool_->stop(std::move(done));
}

}  // namespace postern::relay
