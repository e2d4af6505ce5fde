#include "parent/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

#include "common/base/tally.h"
#include "common/config/parse.h"
#include "common/log/log.h"
#include "common/os/socket.h"

namespace postern::parent {
namespace {

using ipc::Role;

constexpr unsigned kControlMode = 0666;    // queued checks who calls, and answers with a sentence
constexpr std::uint32_t kStopSeconds = 2;  // a role's own time to finish
constexpr base::Millis kPhaseTimeout{
    2'800};                                // then it is killed; three phases stay below ten seconds
constexpr base::Millis kKillTimeout{200};  // for the kernel to end it; then we go on without it
constexpr base::Millis kOrphanPatience{8'000};  // they end within five seconds
constexpr base::Millis kOrphanPause{50};
constexpr int kOsError = 71;
constexpr std::uint8_t kTryAgain = 75, kConfigError = 78;  // sysexits(3)
constexpr std::size_t kMaxAnswer = 16 * 1024;              // of ipc::Done

// The order in which roles are stopped: first those that take mail in, last the one that keeps it. Processes of
// mailboxes end behind local, which may need them to finish.
constexpr ipc::RoleSet kStopPhases[] = {
    ipc::roles(Role::kSmtpd),
    ipc::roles(Role::kRelay, Role::kLocal, Role::kMailbox, Role::kKey, Role::kAuth, Role::kFetch),
    ipc::roles(Role::kQueued)};
// The order in which a new configuration is applied.
constexpr Role kReloadOrder[] = {Role::kAuth,  Role::kKey,   Role::kFetch, Role::kRelay,
                                 Role::kLocal, Role::kQueued, Role::kSmtpd};

constexpr config::Service kServices[] = {config::Service::kMx, config::Service::kRelay,
                                         config::Service::kSubmission};

bool talk(Role a, Role b) {
  if (a == Role::kKey || b == Role::kKey) return a == Role::kSmtpd || b == Role::kSmtpd;
  if (a == Role::kAuth || b == Role::kAuth) {
    const auto other = a == Role::kAuth ? b : a;
    return other == Role::kSmtpd || other == Role::kQueued;
  }
  if (a == Role::kFetch || b == Role::kFetch) return a == Role::kRelay || b == Role::kRelay;
  return (a == Role::kQueued) != (b == Role::kQueued);
}

// What a running server cannot change; empty if nothing of it differs.
std::string needs_restart(const config::Config& now, const config::Config& then) {
  if (now.spool != then.spool) return "spool";
  if (now.runtime != then.runtime) return "runtime";
  if (now.log.file != then.log.file) return "log.to";
  if (now.bounce.badmail != then.bounce.badmail) return "bounce.badmail";
  if (now.mailbox.root != then.mailbox.root || now.mailbox.kind != then.mailbox.kind)
    return "mailbox.path";
  if (now.mailbox.owner != then.mailbox.owner) return "mailbox.owner";
  if (now.processes.smtpd != then.processes.smtpd) return "processes.smtpd";
  if (now.processes.relay != then.processes.relay) return "processes.relay";
  if (config::needs_mailboxes(now) != config::needs_mailboxes(then))
    return "the first or last use of mailboxes";
  if (config::needs_local(now) != config::needs_local(then))
    return "the first or last LMTP socket";
  if (config::needs_key(now) != config::needs_key(then)) return "the first or last [[certificate]]";
  if (config::needs_auth(now) != config::needs_auth(then)) return "the first or last use of [auth] or of a Unix socket";
  if (config::needs_fetch(now) != config::needs_fetch(then))
    return "whether MTA-STS policies are asked for";
  return {};
}

// A parent that was killed leaves children which finish what they have begun; a start right behind it
// waits for them.
os::Result<base::UniqueFd> listen_for_control(const std::string& path) {
  const auto& clock = base::system_clock();
  const auto until = clock.steady() + kOrphanPatience;
  for (;;) {
    auto control = os::listen_unix(path, kControlMode);
    if (control || control.error().number != EADDRINUSE || clock.steady() >= until) return control;
    std::this_thread::sleep_for(kOrphanPause);
  }
}

bool serves(const std::vector<config::Listener>& listeners, config::Service service) {
  return std::any_of(listeners.begin(), listeners.end(),
                     [service](const auto& l) { return l.service == service; });
}

}  // namespace

Server::Server(event::Loop& loop, config::Config config, MailboxUsers users)
    : loop_(loop),
      config_(std::move(config)),
      users_(std::move(users)),
      log_(loop, config_.log.file, config_.log.role.format),
      mailboxes_(
          loop, log_,
          [this](const ipc::MailboxReady& ready, base::UniqueFd channel) noexcept {
            answer_mailbox(ready, std::move(channel));
          },
          [this]() noexcept {
            if (stop_phase_ > 0) check_stop_phase();
          }),
      child_signal_(loop, SIGCHLD, [this]() noexcept { reap(); }),
      stop_timer_(loop, [this]() noexcept { on_stop_timer(); }) {}

Server::~Server() = default;

// --- Start --------------------------------------------------------------------------------------

std::expected<void, std::string> Server::start() {
  if (auto opened = log_.open(); !opened) return std::unexpected(opened.error().text());
  auto log = log_.add("parent");  // our own lines go where all lines go
  if (!log) return std::unexpected(log.error().text());
  log::open(*std::move(log), static_cast<log::Format>(config_.log.role.format),
            static_cast<log::Level>(config_.log.role.level));
  auto site = prepare_site(config_);
  if (!site) return std::unexpected(std::move(site.error()));
  site_ = *std::move(site);
  facts_ = gather_facts(config_);

  const auto path = config::control_socket(config_);
  auto control = listen_for_control(path);
  if (!control && control.error().number == EADDRINUSE)
    return std::unexpected(
        fmt::format("another Postern runs already with the runtime directory {}", config_.runtime));
  if (!control) return std::unexpected("cannot " + control.error().text());
  control_ = *std::move(control);
  if (auto bound = listeners_.prepare(config_.listeners); !bound)
    return std::unexpected(std::move(bound.error()));
  config_.listeners = listeners_.prepared();
  listeners_.commit();
  if (::geteuid() != 0)
    (void)log::warning("rights.shared")
        .field("reason", "not started as root: no chroot, one user for all");
  make_children();
  if (auto made = make_tallies(); !made) return std::unexpected(made.error().text());
  for (auto& child : children_) child->start();
  return {};
}

void Server::make_children() {
  add_child(Role::kQueued, 0, config::Service::kMx);
  if (config::needs_auth(config_)) add_child(Role::kAuth, 0, config::Service::kMx);
  if (config::needs_key(config_)) add_child(Role::kKey, 0, config::Service::kMx);
  if (config::needs_fetch(config_)) add_child(Role::kFetch, 0, config::Service::kMx);
  if (config::needs_local(config_)) add_child(Role::kLocal, 0, config::Service::kMx);
  for (std::uint32_t i = 0; i < config::relay_processes(config_, facts_.cores); ++i)
    add_child(Role::kRelay, i, config::Service::kMx);
  std::uint32_t index = 0;
  for (const auto service : kServices) {
    if (!serves(config_.listeners, service)) continue;
    for (std::uint32_t i = 0; i < config::smtpd_processes(config_, facts_.cores); ++i)
      add_child(Role::kSmtpd, index++, service);
  }
}

void Server::add_child(Role role, std::uint32_t index, config::Service service) {
  Child::Spec spec{role, index, service, program_path(role), {}, generation_,
                   site_.identity(role), site_.root(role), site_.second(role)};
  spec.config = config_for(spec);
  children_.push_back(std::make_unique<Child>(loop_, log_, std::move(spec), *this));
}

std::string Server::config_for(const Child::Spec& spec) const {
  const auto& config = reload_ ? reload_->config() : config_;
  switch (spec.role) {
    case Role::kSmtpd:
      return ipc::encode(config::cut_smtpd(config));
    case Role::kQueued:
      return ipc::encode(config::cut_queued(config, facts_));
    case Role::kRelay:
      return ipc::encode(config::cut_relay(config, facts_));
    case Role::kLocal:
      return ipc::encode(config::cut_local(config));
    case Role::kKey:
      return ipc::encode(config::cut_key(config));
    case Role::kAuth:
      return ipc::encode(config::cut_auth(config));
    case Role::kFetch:
      return ipc::encode(config::cut_fetch(config, facts_));
    case Role::kMailbox:  // each another
    case Role::kParent:
    case Role::kControl:
      break;
  }
  CHECK(false);
}

// --- Children -----------------------------------------------------------------------------------

void Server::on_child_ready(Child& child) {
  wire(child);
  tell_processes();
  const bool all = std::all_of(children_.begin(), children_.end(),
                               [](const auto& c) { return c->state() == Child::State::kReady; });
  if (!all || std::exchange(all_ready_, true)) return;
  (void)log::info("server.ready").field("version", POSTERN_VERSION).field("pid", ::getpid());
  if (started_) std::exchange(started_, {})({});
}

// A sibling that is stopping still finishes what it has begun, and may need the new one for that.
void Server::wire(Child& child) {
  for (auto& other : children_) {
    const auto state = other->state();
    if (state != Child::State::kReady && state != Child::State::kStopping) continue;
    if (other->was_ready() && talk(child.role(), other->role())) connect(child, *other);
  }
  if (child.role() == Role::kQueued)
    child.link().send(ipc::Listen{},
                      base::UniqueFd::adopt(::fcntl(control_.get(), F_DUPFD_CLOEXEC, 0)));
  if (child.role() != Role::kSmtpd) return;
  give_tallies(child);
  for (const auto index : listeners_of(child)) {
    const int fd = listeners_.entries()[index.value].fd.get();
    child.link().send(ipc::Listen{index}, base::UniqueFd::adopt(::fcntl(fd, F_DUPFD_CLOEXEC, 0)));
  }
}

// What each smtpd counts outlives it, so that a client does not gain by its death.
os::Result<void> Server::make_tallies() {
  for (const auto& child : children_) {
    if (child->role() != Role::kSmtpd) continue;
    auto memory = os::make_shared_memory("postern-clients", base::Tally::kBytes);
    if (!memory) return std::unexpected(memory.error());
    tallies_.push_back(*std::move(memory));
  }
  return {};
}

void Server::give_tallies(Child& child) {
  for (std::uint32_t index = 0; index < tallies_.size(); ++index) {
    const bool own = index == child.spec().index;
    const auto& memory = tallies_[index];
    child.link().send(ipc::Tally{index, own},
                      base::UniqueFd::adopt(::fcntl((own ? memory.writable : memory.readable).get(),
                                                    F_DUPFD_CLOEXEC, 0)));
  }
}

void Server::connect(Child& a, Child& b) {
  auto pair = ipc::make_channel_pair();
  b.link().send(ipc::Peer{a.role(), a.spec().index, listeners_of(a)}, std::move(pair.b));
  a.link().send(ipc::Peer{b.role(), b.spec().index, listeners_of(b)}, std::move(pair.a));
}

std::vector<base::ListenerIndex> Server::listeners_of(const Child& child) const {
  std::vector<base::ListenerIndex> result;
  if (child.role() != Role::kSmtpd) return result;
  const auto& entries = listeners_.entries();
  for (std::uint32_t i = 0; i < entries.size(); ++i)
    if (entries[i].fd.valid() && entries[i].listener.service == child.spec().service)
      result.push_back(base::ListenerIndex(i));
  return result;
}

Child* Server::queued() noexcept {
  for (auto& child : children_)
    if (child->role() == Role::kQueued && child->is_ready()) return child.get();
  return nullptr;
}

// Its sibling lives, but the channel between them does not.
void Server::on_peer_lost(Child& child, Role role) {
  for (auto& other : children_)
    if (other->role() == role && other->is_ready() && talk(child.role(), role))
      connect(child, *other);
}

// Of the paths that the configuration names, and no other.
void Server::on_socket_asked(Child& child, const ipc::AskSocket& ask) {
  const auto path = socket_path(child.role(), ask);
  if (path.empty())  // a reload came between
    return child.link().send(ipc::Socket{ask.request, "the configuration names no such socket"}, {});
  auto connected = os::connect_unix(path, os::Waiting::kNever);
  if (connected) return child.link().send(ipc::Socket{ask.request, {}}, *std::move(connected));
  if (child.role() == Role::kAuth)
    (void)log::warning("auth.no_dovecot")
        .field("path", path)
        .field("reason", connected.error().text());
  child.link().send(ipc::Socket{ask.request, ::strerrordesc_np(connected.error().number)}, {});
}

// What a child works with that asks; in a reload it has the new one first. Null: a reload came between.
const config::Config* Server::config_of(base::Generation generation) const {
  if (generation == generation_) return &config_;
  return reload_ && generation == reload_->generation() ? &reload_->config() : nullptr;
}

// Numbers are places in that configuration.
std::string Server::socket_path(Role role, const ipc::AskSocket& ask) const {
  const auto* const config = config_of(ask.generation);
  if (config == nullptr) return {};
  if (role == Role::kAuth) return config->auth.dovecot;
  const auto sockets = config::lmtp_sockets(*config);
  return ask.socket < sockets.size() ? sockets[ask.socket] : std::string();
}

// Of the mailboxes that the configuration names, and no other.
void Server::on_mailbox_asked(const ipc::AskMailbox& ask) {
  const auto* const config = config_of(ask.generation);
  const auto& users = ask.generation == generation_ ? users_ : fresh_users_;
  const auto* const user = config == nullptr ? nullptr : users.find(ask.user, ask.domain);
  if (user == nullptr) return answer_mailbox({ask.request, "the configuration names no such mailbox"}, {});
  Child::Spec spec;
  spec.role = Role::kMailbox;
  spec.index = user->uid;
  spec.program = program_path(Role::kMailbox);
  spec.config = ipc::encode(config::cut_mailbox(*config, ask.user, ask.domain));
  spec.generation = ask.generation;
  spec.identity = *user;
  spec.root = site_.root(Role::kMailbox);
  spec.once = true;
  mailboxes_.ask(ask.request, ask.domain + '/' + ask.user, std::move(spec));
}

// One that is stopping may need it for what it has begun.
void Server::answer_mailbox(const ipc::MailboxReady& ready, base::UniqueFd channel) {
  for (auto& child : children_)
    if (child->role() == Role::kLocal && child->state() != Child::State::kDown)
      child->link().send(ready, std::move(channel));
}

void Server::tell_processes() {
  ipc::Processes message;
  for (const auto& child : children_) {
    auto row = std::find_if(message.rows.begin(), message.rows.end(),
                            [&](const auto& r) { return r.role == child->role(); });
    if (row == message.rows.end()) row = message.rows.insert(row, ipc::ProcessRow{child->role()});
    ++row->wanted;
    row->running += child->is_ready();
    row->deaths += child->deaths();
  }
  if (auto* to = queued()) to->link().send(message);
}

void Server::reap() {
  for (auto& child : children_) child->reap();
  mailboxes_.reap();
}

void Server::on_child_dead(Child& child) {
  if (reload_) reload_->on_dead(child);
  if (reload_ && child.role() == Role::kQueued) reload_->forget_asker();
  if (child.role() == Role::kLocal) mailboxes_.forget_asker();
  if (stop_phase_ > 0) return check_stop_phase();
  if (!all_ready_ && !child.was_ready())
    return fail_start(child.name() + " could not start; its reason stands in the log above");
  tell_processes();
}

void Server::on_child_configured(Child& child, const ipc::Configured& answer) {
  if (reload_) reload_->on_configured(child, answer);
}

void Server::fail_start(std::string why) {
  (void)log::error("server.failed").field("reason", why);
  exit_status_ = kOsError;
  if (started_) std::exchange(started_, {})(why);
  // What could not start is not started again while the others end.
  for (auto& child : children_)
    if (child->state() == Child::State::kDown) child->stop(kStopSeconds);
  stop();
}

void Server::reopen_log() {
  if (auto opened = log_.open(); !opened)
    (void)log::error("log.failed").field("reason", opened.error().text());
}

// --- Reload -------------------------------------------------------------------------------------

void Server::begin_reload(std::optional<base::RequestId> asked) {
  if (reload_ || stop_phase_ > 0 || !all_ready_)
    return answer(asked, kTryAgain, "a start, stop or reload is under way; try again");
  auto fresh = config::load(config_.file);
  auto users = fresh ? MailboxUsers::find_all(*fresh, MailboxUsers::of_this_host) : MailboxUsers();
  if (!fresh || !users) {
    std::string text;
    for (const auto& mistake : fresh ? users.error() : fresh.error()) {
      text += config::to_string(mistake) + '\n';
      (void)log::error("config.mistake").field("text", config::to_string(mistake));
    }
    return answer(asked, kConfigError, text + "nothing was changed");
  }
  fresh_users_ = *std::move(users);
  if (const auto refusal = refusal_of(*fresh); !refusal.empty()) {
    listeners_.discard();
    (void)log::error("config.refused").field("reason", refusal);
    return answer(asked, kConfigError, refusal);
  }
  fresh->listeners = listeners_.prepared();
  reload_ = std::make_unique<Reload>(
      loop_, *std::move(fresh), generation_.next(), asked,
      [this](std::string error) noexcept { finish_reload(std::move(error)); });
  facts_ = gather_facts(reload_->config());
  for (const auto role : kReloadOrder)
    for (auto& child : children_)
      if (child->role() == role) reload_->add(*child, config_for(child->spec()));
  reload_->begin();
}

// Why a running server cannot take it; otherwise its listeners are prepared.
std::string Server::refusal_of(const config::Config& fresh) {
  if (const auto what = needs_restart(config_, fresh); !what.empty())
    return what + " cannot change while Postern runs; nothing was changed, restart to apply it";
  for (const auto service : kServices) {
    const bool served =
        std::any_of(children_.begin(), children_.end(), [service](const auto& child) {
          return child->role() == Role::kSmtpd && child->spec().service == service;
        });
    if (serves(fresh.listeners, service) && !served)
      return "the first listener of a service needs a restart; nothing was changed";
  }
  auto prepared = listeners_.prepare(fresh.listeners);
  return prepared ? std::string() : std::move(prepared.error());
}

void Server::finish_reload(std::string error) {
  const auto asked = reload_->asked();
  if (error.empty()) {
    commit_reload();
    (void)log::info("config.reloaded").field("generation", generation_.value);
    answer(asked, 0, fmt::format("configuration {} is in force", generation_.value));
  } else {
    listeners_.discard();
    (void)log::error("config.refused").field("reason", error);
    answer(asked, kConfigError, error + "; nothing was changed");
  }
  reload_.reset();
}

void Server::commit_reload() {
  generation_ = reload_->generation();
  log_.set_format(reload_->config().log.role.format);
  log::set_level(static_cast<log::Format>(reload_->config().log.role.format),
                 static_cast<log::Level>(reload_->config().log.role.level));
  for (auto& child : children_) {
    const auto* fresh = reload_->fresh_for(*child);
    CHECK(fresh != nullptr);
    child->spec().config = *fresh;
    child->spec().generation = generation_;
    // It came back while the others were asked, with what was in force then.
    if (child->is_ready() && child->generation() != generation_) child->restore();
  }
  config_ = std::move(reload_->config());
  users_ = std::move(fresh_users_);
  serve_listeners(listeners_.commit());
}

// queued hears of it first: it refuses what comes from a listener that it does not know.
void Server::serve_listeners(const Listeners::Change& change) {
  if (change.added.empty() && change.removed.empty()) return;
  auto* const store = queued();
  for (auto& child : children_) {
    if (child->role() != Role::kSmtpd || !child->is_ready()) continue;
    const auto served = listeners_of(*child);
    if (store != nullptr)
      store->link().send(ipc::Peer{child->role(), child->spec().index, served}, base::UniqueFd());
    for (const auto index : change.added) {
      if (std::find(served.begin(), served.end(), index) == served.end()) continue;
      const int fd = listeners_.entries()[index.value].fd.get();
      child->link().send(ipc::Listen{index},
                         base::UniqueFd::adopt(::fcntl(fd, F_DUPFD_CLOEXEC, 0)));
    }
    for (const auto index : change.removed) child->link().send(ipc::Listen{index}, {});
  }
}

void Server::answer(std::optional<base::RequestId> request, std::uint8_t exit, std::string text) {
  auto* const asker = queued();
  if (!request || asker == nullptr) return;
  if (text.size() > kMaxAnswer) text.resize(kMaxAnswer);
  asker->link().send(ipc::Done{*request, exit, std::move(text), {}});
}

// --- Stop ---------------------------------------------------------------------------------------

void Server::on_stop_asked(base::RequestId request) {
  answer(request, 0, "stopping");
  stop();
}

void Server::stop() {
  if (stop_phase_ > 0) return;
  (void)log::info("server.stopping");
  next_stop_phase();
}

void Server::next_stop_phase() {
  ++stop_phase_;
  killing_ = false;
  if (stop_phase_ > std::size(kStopPhases)) {
    stop_timer_.cancel();
    (void)log::info("server.stopped");
    log::flush();
    log_.drain();
    return loop_.stop();
  }
  stop_timer_.start(kPhaseTimeout);
  for (auto& child : children_)
    if (ipc::contains(kStopPhases[stop_phase_ - 1], child->role())) child->stop(kStopSeconds);
  check_stop_phase();
}

// A child of this phase died.
void Server::check_stop_phase() {
  if (stop_phase_ > std::size(kStopPhases)) return;
  const auto phase = kStopPhases[stop_phase_ - 1];
  const bool running = std::any_of(children_.begin(), children_.end(), [phase](const auto& child) {
    return ipc::contains(phase, child->role()) && child->state() != Child::State::kDown;
  });
  if (!running && (!ipc::contains(phase, Role::kMailbox) || mailboxes_.empty())) next_stop_phase();
}

// Two steps: kill what has not ended; leave what even then does not (it hangs in the kernel).
void Server::on_stop_timer() {
  if (killing_) return next_stop_phase();
  killing_ = true;
  stop_timer_.start(kKillTimeout);
  for (auto& child : children_)
    if (ipc::contains(kStopPhases[stop_phase_ - 1], child->role())) child->kill();
  if (ipc::contains(kStopPhases[stop_phase_ - 1], Role::kMailbox)) mailboxes_.kill();
}

}  // namespace postern::parent
