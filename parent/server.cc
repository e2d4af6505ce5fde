#include "parent/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "common/config/parse.h"
#include "common/log/log.h"
#include "common/os/socket.h"

namespace postern::parent {
namespace {

using ipc::Role;

constexpr unsigned kControlMode = 0666;  // queued checks who calls, and answers with a sentence
constexpr std::uint32_t kStopSeconds = 2;   // a role's own time to finish
constexpr base::Millis kPhaseTimeout{2'800};  // then it is killed; three phases stay below ten seconds
constexpr int kOsError = 71;

// The order in which roles are stopped: first those that take mail in, last the one that keeps it.
constexpr ipc::RoleSet kStopPhases[] = {ipc::roles(Role::kSmtpd), ipc::roles(Role::kRelay, Role::kLocal),
                                        ipc::roles(Role::kQueued)};
// The order in which a new configuration is applied.
constexpr Role kReloadOrder[] = {Role::kRelay, Role::kLocal, Role::kQueued, Role::kSmtpd};

bool talk(Role a, Role b) { return (a == Role::kQueued) != (b == Role::kQueued); }

// What a running server cannot change; empty if nothing of it differs.
std::string needs_restart(const config::Config& now, const config::Config& then) {
  if (now.spool != then.spool) return "spool";
  if (now.runtime != then.runtime) return "runtime";
  if (now.log.file != then.log.file) return "log.to";
  if (now.mailbox.root != then.mailbox.root || now.mailbox.kind != then.mailbox.kind) return "mailbox.path";
  if (now.mailbox.owner != then.mailbox.owner) return "mailbox.owner";
  if (now.processes.smtpd != then.processes.smtpd) return "processes.smtpd";
  if (now.processes.relay != then.processes.relay) return "processes.relay";
  if (config::needs_local(now) != config::needs_local(then)) return "the first or last use of mailboxes";
  return {};
}

bool serves(const std::vector<config::Listener>& listeners, config::Service service) {
  return std::any_of(listeners.begin(), listeners.end(),
                     [service](const auto& l) { return l.service == service; });
}

}  // namespace

Server::Server(event::Loop& loop, config::Config config)
    : loop_(loop),
      config_(std::move(config)),
      log_(loop, config_.log.file, config_.log.role.format),
      child_signal_(loop, SIGCHLD, [this]() noexcept { reap(); }),
      stop_timer_(loop, [this]() noexcept { check_stop_phase(); }) {}

Server::~Server() = default;

// --- Start ----------------------------------------------------------------------------------------

std::expected<void, std::string> Server::start() {
  if (auto opened = log_.open(); !opened) return std::unexpected(opened.error().text());
  log::set_level(static_cast<log::Format>(config_.log.role.format),
                 static_cast<log::Level>(config_.log.role.level));
  auto site = prepare_site(config_);
  if (!site) return std::unexpected(std::move(site.error()));
  site_ = *std::move(site);
  facts_ = gather_facts(config_);

  const auto path = config::control_socket(config_);
  auto control = os::listen_unix(path, kControlMode);
  if (!control && control.error().number == EADDRINUSE)
    return std::unexpected(fmt::format("another Postern runs already with the runtime directory {}",
                                       config_.runtime));
  if (!control) return std::unexpected("cannot " + control.error().text());
  control_ = *std::move(control);
  if (auto bound = listeners_.prepare(config_.listeners); !bound)
    return std::unexpected(std::move(bound.error()));
  config_.listeners = listeners_.prepared();
  listeners_.commit();
  if (::geteuid() != 0)
    (void)log::warning("rights.shared").field("reason", "not started as root: no chroot, one user for all");
  make_children();
  for (auto& child : children_) child->start();
  return {};
}

void Server::make_children() {
  add_child(Role::kQueued, 0, config::Service::kMx);
  if (config::needs_local(config_)) add_child(Role::kLocal, 0, config::Service::kMx);
  for (std::uint32_t i = 0; i < config::relay_processes(config_, facts_.cores); ++i)
    add_child(Role::kRelay, i, config::Service::kMx);
  std::uint32_t index = 0;
  for (const auto service : {config::Service::kMx, config::Service::kRelay}) {
    if (!serves(config_.listeners, service)) continue;
    for (std::uint32_t i = 0; i < config::smtpd_processes(config_, facts_.cores); ++i)
      add_child(Role::kSmtpd, index++, service);
  }
}

void Server::add_child(Role role, std::uint32_t index, config::Service service) {
  Child::Spec spec{role, index, service, {}, generation_};
  spec.config = config_for(spec);
  children_.push_back(std::make_unique<Child>(loop_, log_, site_, std::move(spec), *this));
}

std::string Server::config_for(const Child::Spec& spec) const {
  const auto& config = reload_ ? reload_->config() : config_;
  switch (spec.role) {
    case Role::kSmtpd: return ipc::encode(config::cut_smtpd(config, facts_));
    case Role::kQueued: return ipc::encode(config::cut_queued(config, facts_));
    case Role::kRelay: return ipc::encode(config::cut_relay(config, facts_));
    case Role::kLocal: return ipc::encode(config::cut_local(config));
    case Role::kParent:
    case Role::kControl: break;
  }
  CHECK(false);
}

// --- Children -------------------------------------------------------------------------------------

void Server::on_child_ready(Child& child) {
  wire(child);
  tell_processes();
  const bool all = std::all_of(children_.begin(), children_.end(),
                               [](const auto& c) { return c->state() == Child::State::kReady; });
  if (!all || std::exchange(all_ready_, true)) return;
  (void)log::info("server.ready").field("version", POSTERN_VERSION).field("pid", ::getpid());
  if (started_) std::exchange(started_, {})({});
}

void Server::wire(Child& child) {
  for (auto& other : children_)
    if (other->state() == Child::State::kReady && talk(child.role(), other->role())) connect(child, *other);
  if (child.role() == Role::kQueued)
    child.link().send(ipc::Listen{}, base::UniqueFd::adopt(::fcntl(control_.get(), F_DUPFD_CLOEXEC, 0)));
  if (child.role() != Role::kSmtpd) return;
  for (const auto index : listeners_of(child)) {
    const int fd = listeners_.entries()[index.value].fd.get();
    child.link().send(ipc::Listen{index}, base::UniqueFd::adopt(::fcntl(fd, F_DUPFD_CLOEXEC, 0)));
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

void Server::tell_processes() {
  Child* queued = nullptr;
  ipc::Processes message;
  for (const auto& child : children_) {
    if (child->role() == Role::kQueued && child->state() == Child::State::kReady) queued = child.get();
    auto row = std::find_if(message.rows.begin(), message.rows.end(),
                            [&](const auto& r) { return r.role == child->role(); });
    if (row == message.rows.end()) row = message.rows.insert(row, ipc::ProcessRow{child->role()});
    ++row->wanted;
    row->running += child->state() == Child::State::kReady;
    row->deaths += child->deaths();
  }
  if (queued != nullptr) queued->link().send(message);
}

void Server::reap() {
  for (auto& child : children_) child->reap();
}

void Server::on_child_dead(Child& child) {
  if (reload_) reload_->on_dead(child);
  if (stop_phase_ > 0) return check_stop_phase();
  if (!all_ready_ && !child.was_ready())
    return fail_start(child.name() + " could not start; its reason stands in the log above");
  tell_processes();
}

void Server::on_child_configured(Child& child, const ipc::Configured& answer) {
  if (reload_ && answer.request.value != 0)
    reload_->on_configured(child, answer);
  else if (!answer.accepted)  // it refuses what it ran with before: start it anew
    child.kill();
}

void Server::fail_start(std::string why) {
  (void)log::error("server.failed").field("reason", why);
  exit_status_ = kOsError;
  if (started_) std::exchange(started_, {})(why);
  stop();
}

void Server::reopen_log() {
  if (auto opened = log_.open(); !opened)
    (void)log::error("log.failed").field("reason", opened.error().text());
}

// --- Reload ---------------------------------------------------------------------------------------

void Server::begin_reload(std::optional<base::RequestId> asked) {
  if (reload_ || stop_phase_ > 0 || !all_ready_)
    return answer(asked, 75, "a start, stop or reload is under way; try again");
  auto fresh = config::load(config_.file);
  if (!fresh) {
    std::string text;
    for (const auto& mistake : fresh.error()) {
      text += config::to_string(mistake) + '\n';
      (void)log::error("config.mistake").field("text", config::to_string(mistake));
    }
    return answer(asked, 78, text + "nothing was changed");
  }
  std::string refusal;
  if (const auto what = needs_restart(config_, *fresh); !what.empty())
    refusal = what + " cannot change while Postern runs; nothing was changed, restart to apply it";
  else if (auto bound = listeners_.prepare(fresh->listeners); !bound)
    refusal = bound.error();
  else
    for (const auto service : {config::Service::kMx, config::Service::kRelay})
      if (serves(fresh->listeners, service) && !serves(config_.listeners, service))
        refusal = "the first listener of a service needs a restart; nothing was changed";
  if (!refusal.empty()) {
    (void)log::error("config.refused").field("reason", refusal);
    return answer(asked, 78, refusal);
  }
  fresh->listeners = listeners_.prepared();
  reload_ = std::make_unique<Reload>(loop_, *std::move(fresh), generation_.next(), asked,
                                     [this](std::string error) noexcept { finish_reload(std::move(error)); });
  facts_ = gather_facts(reload_->config());
  for (const auto role : kReloadOrder)
    for (auto& child : children_)
      if (child->role() == role) reload_->add({child.get(), config_for(child->spec())});
  reload_->begin();
}

void Server::finish_reload(std::string error) {
  const auto asked = reload_->asked();
  if (error.empty()) {
    commit_reload();
    (void)log::info("config.reloaded").field("generation", generation_.value);
    answer(asked, 0, fmt::format("configuration {} is in force", generation_.value));
  } else {
    (void)log::error("config.refused").field("reason", error);
    answer(asked, 78, error + "; nothing was changed");
  }
  reload_.reset();
}

void Server::commit_reload() {
  generation_ = reload_->generation();
  config_ = std::move(reload_->config());
  log_.set_format(config_.log.role.format);
  log::set_level(static_cast<log::Format>(config_.log.role.format),
                 static_cast<log::Level>(config_.log.role.level));
  for (const auto& step : reload_->steps()) {
    step.child->spec().config = step.fresh;
    step.child->spec().generation = generation_;
  }
  const auto change = listeners_.commit();
  for (auto& child : children_) {
    if (child->role() != Role::kSmtpd || child->state() != Child::State::kReady) continue;
    const auto served = listeners_of(*child);
    for (const auto index : change.added) {
      if (std::find(served.begin(), served.end(), index) == served.end()) continue;
      const int fd = listeners_.entries()[index.value].fd.get();
      child->link().send(ipc::Listen{index}, base::UniqueFd::adopt(::fcntl(fd, F_DUPFD_CLOEXEC, 0)));
    }
    for (const auto index : change.removed) child->link().send(ipc::Listen{index}, {});
  }
}

void Server::answer(std::optional<base::RequestId> request, std::uint8_t exit, std::string text) {
  if (!request) return;
  for (auto& child : children_)
    if (child->role() == Role::kQueued && child->state() == Child::State::kReady)
      child->link().send(ipc::Done{*request, exit, std::move(text)});
}

// --- Stop -----------------------------------------------------------------------------------------

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
  if (stop_phase_ > std::size(kStopPhases)) {
    stop_timer_.cancel();
    log_.drain();
    (void)log::info("server.stopped");
    return loop_.stop();
  }
  for (auto& child : children_)
    if (ipc::contains(kStopPhases[stop_phase_ - 1], child->role())) child->stop(kStopSeconds);
  stop_timer_.start(kPhaseTimeout);
  check_stop_phase();
}

// A child of this phase died, or the phase's time is over.
void Server::check_stop_phase() {
  if (stop_phase_ > std::size(kStopPhases)) return;
  bool running = false;
  for (auto& child : children_) {
    if (!ipc::contains(kStopPhases[stop_phase_ - 1], child->role())) continue;
    if (child->state() == Child::State::kDown) continue;
    running = true;
    if (!stop_timer_.running()) child->kill();
  }
  if (!running) next_stop_phase();
}

}  // namespace postern::parent
