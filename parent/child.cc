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

std::string describe(int status) {
  if (WIFEXITED(status)) return fmt::format("exit {}", WEXITSTATUS(status));
  const int number = WTERMSIG(status);
  if (number == SIGSYS) return "SIGSYS: a system call outside its sandbox";
  return fmt::format("SIG{}", ::sigabbrev_np(number) != nullptr ? ::sigabbrev_np(number) : "?");
}

}  // namespace

Child::Child(event::Loop& loop, LogPump& log, const Site& site, Spec spec, Owner& owner)
    : loop_(loop),
      log_(log),
      site_(site),
      spec_(std::move(spec)),
      owner_(owner),
      restart_(loop, [this]() noexcept { start(); }) {}

std::string Child::name() const { return fmt::format("{}[{}]", ipc::name(spec_.role), spec_.index); }

void Child::start() {
  started_ = base::system_clock().steady();
  if (auto done = launch(); !done) {
    (void)log::error("process.failed").field("process", name()).field("reason", done.error().text());
    schedule_restart();
  }
}

os::Result<void> Child::launch() {
  auto config = os::sealed_memory("postern-config", spec_.config);
  if (!config) return std::unexpected(config.error());
  auto log = log_.add(name());
  if (!log) return std::unexpected(log.error());
  auto root = base::UniqueFd::adopt(::fcntl(site_.root(spec_.role), F_DUPFD_CLOEXEC, 0));
  if (!root.valid()) return os::failure("duplicate a directory");
  auto pair = ipc::make_channel_pair();
  auto pid = os::spawn(program_path(spec_.role), {std::string(ipc::name(spec_.role))}, std::move(pair.b));
  if (!pid) return std::unexpected(pid.error());

  pid_ = *pid;
  state_ = State::kStarting;
  link_ = make_child_link(loop_, spec_.role, std::move(pair.a), *this);
  const auto& identity = site_.identity(spec_.role);
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
  link_->send(boot, std::move(descriptors));
  (void)log::info("process.started").field("process", name()).field("pid", pid_);
  return {};
}

void Child::on_ready(const ipc::Ready&) {
  if (state_ != State::kStarting) return;
  state_ = State::kReady;
  was_ready_ = true;
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

// A child that speaks nonsense or closes its channel without ending is of no use.
void Child::on_link_closed() {
  if (state_ == State::kReady || state_ == State::kStarting) kill();
}

void Child::reap() noexcept {
  int status = 0;
  if (pid_ > 0 && ::waitpid(pid_, &status, WNOHANG) == pid_) on_death(status);
}

void Child::on_death(int status) noexcept {
  const bool expected = unwanted_ && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  (void)(expected ? log::info("process.ended") : log::warning("process.died"))
      .field("process", name())
      .field("pid", pid_)
      .field("status", describe(status));
  if (!expected) ++deaths_;
  pid_ = -1;
  state_ = State::kDown;
  link_.reset();
  owner_.on_child_dead(*this);
  if (!unwanted_) schedule_restart();
}

void Child::schedule_restart() {
  const bool healthy = base::system_clock().steady() - started_ >= kHealthyAfter;
  const auto most = spec_.role == ipc::Role::kQueued ? kMaxQueuedDelay : kMaxDelay;
  delay_ = healthy || delay_.count() == 0 ? kFirstDelay : std::min(delay_ * 4, most);
  restart_.start(delay_);
}

}  // namespace postern::parent
