#include "smtpd/daemon.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "common/log/log.h"

namespace postern::smtpd {
namespace {

constexpr base::Millis kStateInterval{1'000};
// Descriptors that are not a session's: channels, log, listeners, and what the parent sends.
constexpr std::size_t kOtherDescriptors = 64;

// Each session may need two, its socket and a file for its body. Without one left, a descriptor
// that queued or the parent sends would be lost, and its channel with it.
std::size_t sessions_with_descriptors() {
  rlimit limits{};
  if (::getrlimit(RLIMIT_NOFILE, &limits) != 0) return 0;
  const auto files = std::min<std::size_t>(limits.rlim_max, role::kOpenFiles);
  return (std::max(files, 2 * kOtherDescriptors) - kOtherDescriptors) / 2;
}

tls::ServerSettings settings(config::SmtpdTls config) {
  tls::ServerSettings settings;
  for (auto& certificate : config.certificates)
    settings.certificates.push_back({std::move(certificate.names), std::move(certificate.chain)});
  settings.minimum = config.minimum;
  settings.client_ca = std::move(config.client_ca);
  return settings;
}

// Where there is no TLS, and passwords do not go without, nobody can log in.
void set_logins(const config::SmtpdConfig& config, std::size_t listener, Service& service) {
  const auto kind = config.rights.listeners[listener].service;
  service.local = config.rights.listeners[listener].local;
  service.login_required = kind == config::Service::kSubmission;
  service.plaintext_logins = config.auth.allow_plaintext;
  service.atrn = config.auth.atrn;
  const bool can = service.tls != config::TlsMode::kOff || service.plaintext_logins;
  if (config::RightsIndex::takes_logins(kind) && can && !service.local) service.mechanisms = config.auth.mechanisms;
}

// A login cannot be bound to the TLS of another process.
std::optional<TlsFacts> kept_in(const ipc::ServeTurned& turned) {
  if (turned.tls.empty()) return std::nullopt;
  return TlsFacts{turned.tls, turned.tls_peer};
}

}  // namespace

Daemon::Daemon(role::Host& host) : host_(host) {}
Daemon::~Daemon() = default;

std::expected<std::unique_ptr<Daemon::Rules>, std::string> Daemon::read(const std::string& config) {
  auto parsed = ipc::decode<config::SmtpdConfig>(config);
  if (!parsed) return std::unexpected("smtpd cannot read the configuration from the parent");
  config::RightsIndex rights(parsed->rights);
  config::PolicyIndex policy(std::exchange(parsed->policy, {}));
  auto rules = std::make_unique<Rules>(
      Rules{*std::move(parsed), std::move(rights), std::move(policy), {}, {}, {}});
  rules->turned = rules->basis(config::kTurned);
  for (std::size_t i = 0; i < rules->config.listeners.size(); ++i) {
    auto service = rules->basis(base::ListenerIndex(static_cast<std::uint32_t>(i)));
    service.require_hello = rules->config.listeners[i].require_hello;
    service.tls = rules->config.listeners[i].tls;
    service.default_domain = rules->config.default_domain;
    service.xforward_from = config::NetworkSet(rules->config.listeners[i].xforward_from);
    set_logins(rules->config, i, service);
    rules->services.push_back(std::move(service));
  }
  if (auto& tls = rules->config.tls; !tls.certificates.empty()) {
    auto context = tls::ServerContext::make(settings(std::exchange(tls, {})), tickets_);
    if (!context) return std::unexpected("smtpd: " + context.error());
    rules->tls = *std::move(context);
  }
  return rules;
}

// What holds for all listeners; there is neither TLS nor a login, and nobody has rights.
Service Daemon::Rules::basis(base::ListenerIndex listener) const {
  Service service;
  service.hostname = config.hostname;
  service.listener = listener;
  service.rights = &rights;
  service.limits = config.limits;
  service.expanded = config.expanded;
  service.policy = &policy;
  return service;
}

void Daemon::apply(std::unique_ptr<Rules> rules) {
  rules_ = std::move(rules);
  if (tls_) tls_->use(rules_->tls);
  clients_.use(rules_->config.limits.connections_per_client, rules_->policy.rate());
  if (names_) names_->use(rules_->policy.reverse() != config::Reverse::kOff);
  log::set_level(static_cast<log::Format>(rules_->config.log.format),
                 static_cast<log::Level>(rules_->config.log.level));
}

os::Result<void> Daemon::prepare(std::string config, role::Directories, const ipc::Boot&) {
  auto rules = read(config);
  if (!rules) return os::failure(rules.error(), EPROTO);
  apply(*std::move(rules));
  most_sessions_ = sessions_with_descriptors();
  return {};
}

void Daemon::start(event::Loop& loop) {
  loop_ = &loop;
  link_ = std::make_unique<QueueLink>(loop, base::system_clock(),
                                      [this]() noexcept { host_.peer_lost(ipc::Role::kQueued); });
  signer_ = std::make_unique<SignerLink>(
      loop, tickets_, [this]() noexcept { host_.peer_lost(ipc::Role::kKey); });
  auth_ = std::make_unique<AuthLink>(loop, base::system_clock(),
                                     [this]() noexcept { host_.peer_lost(ipc::Role::kAuth); });
  const auto ended = [this](const std::string& account) noexcept { end_account(account); };
  link_->on_account_ended(ended);
  link_->on_serve([this](const ipc::ServeTurned& turned, base::UniqueFd fd) noexcept {
    if (!stopped_) on_connection(config::kTurned, {std::move(fd), {turned.client, 0}}, kept_in(turned));
  });
  auth_->on_account_ended(ended);
  names_ = std::make_unique<ClientNames>(*link_, base::system_clock());
  names_->use(rules_->policy.reverse() != config::Reverse::kOff);
  tls_ = std::make_unique<TlsDesk>(*signer_);
  tls_->use(rules_->tls);
  context_ = std::make_unique<SessionContext>(
      SessionContext{loop, base::system_clock(), *link_, budget_, *tls_, *auth_, clients_, *names_});
  state_timer_ = std::make_unique<event::Timer>(loop, [this]() noexcept { show_state(); });
  state_timer_->start(kStateInterval);
}

std::expected<void, std::string> Daemon::configure(std::string config, base::Generation) {
  auto read_anew = read(config);
  if (!read_anew) return std::unexpected(std::move(read_anew.error()));
  auto fresh = *std::move(read_anew);
  // Only sessions and sockets count: a configuration that is taken back may have had more
  // listeners.
  const auto lost = [&](base::ListenerIndex listener) {
    return listener != config::kTurned && listener.value >= fresh->services.size();
  };
  if (std::any_of(sessions_.begin(), sessions_.end(),
                  [&](auto& s) { return lost(s.first->listener()); }) ||
      std::any_of(acceptors_.begin(), acceptors_.end(),
                  [&](auto& a) { return lost(base::ListenerIndex(a.first)); }))
    return std::unexpected("the configuration lost listeners that are still in use");
  for (auto& [key, session] : sessions_)
    session->reconfigure(fresh->of(session->listener()));
  apply(std::move(fresh));
  return {};
}

void Daemon::peer(const ipc::Peer& peer, base::UniqueFd fd) {
  if (peer.role == ipc::Role::kQueued) link_->connect(std::move(fd));
  if (peer.role == ipc::Role::kAuth) auth_->connect(std::move(fd));
  if (peer.role == ipc::Role::kKey) signer_->connect(std::move(fd));
}

void Daemon::tally(const ipc::Tally& tally, base::UniqueFd fd) {
  if (tally.own && !sessions_.empty()) host_.fatal("the parent gave memory for clients too late");
  auto memory = os::Mapping::of(fd.get(), base::Tally::kBytes, tally.own);
  if (!memory) host_.fatal(memory.error().text());
  if (tally.own)
    clients_.count_in(*std::move(memory));
  else
    clients_.watch(tally.index, *std::move(memory));
}

// A listener that comes again replaces its former socket; no socket: it is no longer served.
void Daemon::listen(base::ListenerIndex listener, base::UniqueFd fd) {
  if (!fd.valid() || stopped_) {
    acceptors_.erase(listener.value);
    return;
  }
  CHECK(listener.value < rules_->services.size());  // the parent configures first
  acceptors_[listener.value] = std::make_unique<Acceptor>(
      *loop_, std::move(fd), [this, listener](os::Accepted accepted) noexcept {
        on_connection(listener, std::move(accepted));
      });
}

void Daemon::on_connection(base::ListenerIndex listener, os::Accepted accepted, std::optional<TlsFacts> kept) {
  const auto& limits = rules_->config.limits;
  const auto client =
      rules_->of(listener).local ? config::kThisHost : accepted.client.address;
  if (const auto* no = link_->intake_refusal(); no != nullptr && no->code == 421)
    return turn_away(listener, std::move(accepted.fd), no->lines.front());
  if (sessions_.size() >= most_sessions_ ||
      (limits.connections != 0 && clients_.sessions() >= limits.connections))
    return turn_away(listener, std::move(accepted.fd), "too many connections");
  // Of a proxy's connection the client is not known yet; who may say XCLIENT comes for others.
  ClientDesk::Place place;
  if (rules_->rights.may_claim(listener, client)) {
    place = clients_.enter_unlimited(client);
  } else if (!rules_->rights.expects_proxy(listener, client)) {
    auto taken = clients_.enter(client);
    if (!taken)
      return turn_away(listener, std::move(accepted.fd), "too many connections from your address");
    place = *std::move(taken);
  }
  clients_.count_sessions(sessions_.size() + 1);  // before its greeting is heard
  auto session = std::make_unique<Session>(
      *context_, rules_->of(listener), std::move(accepted.fd), client, std::move(place),
      [this](Session* s) noexcept { on_ended(s); }, std::move(kept));
  sessions_.emplace(session.get(), std::move(session));
}

void Daemon::turn_away(base::ListenerIndex listener, base::UniqueFd fd, std::string_view why) {
  (void)log::info("session.refused").field("reason", why);
  // Where TLS is spoken from the first byte, clear text would only confuse.
  if (rules_->of(listener).tls == config::TlsMode::kImplicit) return;
  const auto text = fmt::format("421 4.3.2 {} {}\r\n", rules_->config.hostname, why);
  (void)::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

void Daemon::on_ended(Session* session) noexcept {
  sessions_.erase(session);
  clients_.count_sessions(sessions_.size());
  if (stopped_ && sessions_.empty()) stopped_();
}

void Daemon::end_account(const std::string& account) noexcept {
  for (auto& [key, session] : sessions_)
    if (session->account() == account) session->end_login();
}

void Daemon::stop(event::Callback done) {
  acceptors_.clear();
  if (sessions_.empty()) return done();
  stopped_ = std::move(done);
  for (auto& [key, session] : sessions_) session->shutdown();
}

void Daemon::show_state() noexcept {
  if (std::exchange(shown_, sessions_.size()) != sessions_.size())
    host_.set_state(fmt::format("{}{} sessions", stopped_ ? "stopping, " : "", sessions_.size()));
  state_timer_->start(kStateInterval);
}

}  // namespace postern::smtpd
