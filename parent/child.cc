#include "parent/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "common/log/log.h"
#include "common/os/process.h"
#include "common/os/socket.h"

namespace postern::parent {
namespace {

constexpr base::Millis kFirstDelay{10};
constexpr base::Millis kMaxDelay{1'000};
constexpr base::Millis kMaxQueuedDelay{10'000};  // its recovery is work; it must not run in circles
constexpr base::Millis kHealthyAfter{10'000};    // a life this long forgives earlier deaths
constexpr base::Millis kPeerInterval{500};       // between fresh channels that a child asks for

std::string describe(int status) {
  if (WIFEXITED(status)) return fmt::format("exit {}", WEXITSTATUS(status));
  const int number = WTERMSIG(status);
  if (number == SIGSYS) return "SIGSYS: a system call outside its sandbox";
  return fmt::format("SIG{}", ::sigabbrev_np(number) != nullptr ? ::sigabbrev_np(number) : "?");
}

}  // namespace

Child::Child(event::Loop& loop, LogPump& log, Spec spec, Owner& owner)
    : loop_(loop),
      log_(log),
      spec_(std::move(spec)),
      owner_(owner),
      restart_(loop, [this]() noexcept { start(); }) {}

std::string Child::name() const {
  return fmt::format("{}[{}]", ipc::name(spec_.role), spec_.index);
}

void Child::start() {
  started_ = base::system_clock().steady();
  if (auto done = launch(); !done) {
    (void)log::error("process.failed")
        .field("process", name())
        .field("reason", done.error().text());
    if (!spec_.once) schedule_restart();
    // Told later: the owner may be in the middle of starting others.
    loop_.defer([this, alive = alive_]() noexcept {
      if (*alive && state_ == State::kDown) owner_.on_child_dead(*this);
    });
  }
}

os::Result<void> Child::launch() {
  auto config = os::sealed_memory("postern-config", spec_.config);
  if (!config) return std::unexpected(config.error());
  auto log = log_.add(name());
  if (!log) return std::unexpected(log.error());
  auto root = base::UniqueFd::adopt(::fcntl(spec_.root, F_DUPFD_CLOEXEC, 0));
  if (!root.valid()) return os::failure("duplicate a directory");
  base::UniqueFd second;
  if (spec_.second >= 0) {
    second = base::UniqueFd::adopt(::fcntl(spec_.second, F_DUPFD_CLOEXEC, 0));
    if (!second.valid()) return os::failure("duplicate a descriptor");
  }
  auto pair = ipc::make_channel_pair();
  auto pid = os::spawn(spec_.program, {std::string(ipc::name(spec_.role))}, std::move(pair.b));
  if (!pid) return std::unexpected(pid.error());

  pid_ = *pid;
  state_ = State::kStarting;
  generation_ = spec_.generation;
  link_ = make_child_link(loop_, spec_.role, std::move(pair.a), *this);
  const auto& identity = spec_.identity;
  ipc::Boot boot{spec_.role,
                 spec_.index,
                 identity.has_value(),
                 identity ? identity->uid : 0,
                 identity ? identity->gid : 0,
                 spec_.generation};
  ipc::Descriptors descriptors;
  descriptors.push_back(*std::move(config));
  descriptors.push_back(*std::move(log));
  descriptors.push_back(std::move(root));
  if (second.valid()) descriptors.push_back(std::move(second));
  link_->send(boot, std::move(descriptors));
  (void)(spec_.once ? log::debug("process.started") : log::info("process.started"))
      .field("process", name())
      .field("pid", pid_);
  return {};
}

void Child::on_ready(const ipc::Ready&) {
  if (state_ != State::kStarting) return;
  state_ = State::kReady;
  was_ready_ = true;
  if (generation_ != spec_.generation) restore();  // a reload came while it was starting
  owner_.on_child_ready(*this);
}

void Child::stop(std::uint32_t seconds) {
  unwanted_ = true;
  restart_.cancel();
  if (state_ == State::kDown) return;
  state_ = State::kStopping;
  link_->send(ipc::Stop{seconds});
}

void Child::kill() noexcept {
  if (pid_ > 0) ::kill(pid_, SIGKILL);
}

// --- Configuration ------------------------------------------------------------------------------

os::Result<void> Child::configure(const std::string& config, base::Generation generation) {
  return ask(config, generation, false);
}

void Child::restore() noexcept {
  if (!ask(spec_.config, spec_.generation, true)) kill();
}

os::Result<void> Child::ask(const std::string& config, base::Generation generation, bool restores) {
  auto memory = os::sealed_memory("postern-config", config);
  if (!memory) return std::unexpected(memory.error());
  next_ = Asked{*std::move(memory), generation, restores};
  send_next();
  return {};
}

// One at a time: a second one on its way would break the window, and with it the channel.
void Child::send_next() {
  if (asked_ || !next_) return;
  CHECK(state_ != State::kDown);
  asked_ = std::exchange(next_, std::nullopt);
  last_request_ = last_request_.next();
  link_->send(ipc::Configure{last_request_, asked_->generation}, std::move(asked_->config));
}

void Child::on_configured(const ipc::Configured& answer) {
  const auto asked = std::exchange(asked_, std::nullopt);
  if (!asked) return;
  if (answer.accepted) generation_ = asked->generation;
  if (!answer.accepted && asked->restores) {  // it refuses what it would be started with
    (void)log::error("config.refused").field("process", name()).field("reason", answer.error);
    return kill();
  }
  if (next_) return send_next();
  if (!asked->restores) owner_.on_child_configured(*this, answer);
}

void Child::on_peer_lost(ipc::Role role) {
  const auto now = base::system_clock().steady();
  if (peer_given_.ms != 0 && now - peer_given_ < kPeerInterval) return;
  peer_given_ = now;
  owner_.on_peer_lost(*this, role);
}

// --- End ----------------------------------------------------------------------------------------

// A child that speaks nonsense or closes its channel without ending is of no use.
void Child::on_link_closed() {
  if (state_ == State::kReady || state_ == State::kStarting) kill();
}

void Child::reap() noexcept {
  int status = 0;
  if (pid_ > 0 && ::waitpid(pid_, &status, WNOHANG) == pid_) on_death(status);
}

void Child::on_death(int status) noexcept {
  const bool expected =
      (unwanted_ || spec_.once) && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  (void)(!expected    ? log::warning("process.died")
         : spec_.once ? log::debug("process.ended")
                      : log::info("process.ended"))
      .field("process", name())
      .field("pid", pid_)
      .field("status", describe(status));
  if (!expected) ++deaths_;
  pid_ = -1;
  state_ = State::kDown;
  link_.reset();
  asked_.reset();
  next_.reset();
  owner_.on_child_dead(*this);
  if (!unwanted_ && !spec_.once) schedule_restart();
}

void Child::schedule_restart() {
  const bool healthy = base::system_clock().steady() - started_ >= kHealthyAfter;
  const auto most = spec_.role == ipc::Role::kQueued ? kMaxQueuedDelay : kMaxDelay;
  delay_ = healthy || delay_.count() == 0 ? kFirstDelay : std::min(delay_ * 4, most);
  restart_.start(delay_);
}

}  // namespace postern::parent
