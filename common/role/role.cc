#include "common/role/role.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <optional>
#include <unordered_map>

#include "common/log/log.h"
#include "common/os/process.h"
#include "common/os/sandbox.h"
#include "common/os/socket.h"
#include "common/role/parent_link.h"

#ifdef POSTERN_SANITIZE
// The leak check at exit would trace this process, which no sandbox allows.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0:handle_segv=0:handle_abort=0";
}
#endif

namespace postern::role {
namespace {

using ipc::Role;

constexpr std::size_t kMaxConfig = 1U << 30;
constexpr int kUsage = 64, kOsError = 71;    // sysexits(3)
constexpr std::uint32_t kOrphanSeconds = 5;  // to finish in after the parent's death
constexpr base::Millis kPeerPatience{
    1'000};                             // a sibling that died is back by then, or the parent knows
constexpr std::size_t kMaxAsked = 32;   // below the windows of what is asked
constexpr std::uint8_t kTryAgain = 75;  // sysexits(3)
constexpr std::size_t kMaxConnecting = 128;  // likewise below the windows

std::optional<Role> role_named(std::string_view text) {
  for (const auto role : {Role::kSmtpd, Role::kQueued, Role::kRelay, Role::kLocal, Role::kKey, Role::kAuth,
                          Role::kFetch, Role::kMailbox})
    if (ipc::name(role) == text) return role;
  return std::nullopt;
}

os::SandboxKind sandbox_kind(Role role) {
  switch (role) {
    case Role::kQueued:
      return os::SandboxKind::kStoring;
    case Role::kRelay:
      return os::SandboxKind::kConnecting;
    case Role::kLocal:
    case Role::kMailbox:
      return os::SandboxKind::kFiling;
    case Role::kKey:
      return os::SandboxKind::kSigning;
    case Role::kAuth:
      return os::SandboxKind::kAuthenticating;
    case Role::kFetch:
      return os::SandboxKind::kFetching;
    case Role::kSmtpd:
    case Role::kParent:
    case Role::kControl:
      break;
  }
  return os::SandboxKind::kAccepting;
}

class Skeleton final : public Host, public ParentLink::Listener {
 public:
  Skeleton(Role self, std::unique_ptr<ParentLink>& link) : self_(self), link_(link) {}

  // The order of a child's start, and nowhere else.
  void start(std::move_only_function<std::unique_ptr<Daemon>(Role, Host&)>& make) {
    while (!boot_) loop_.run_once(true);
    log::open(std::move(log_fd_), log::Format::kText, log::Level::kInfo);
    const bool elsewhere = directories_.badmail.valid();
    auto config = os::read_sealed_memory(config_fd_.get(), kMaxConfig);
    if (!config) fatal(config.error().text());
    config_fd_.reset();
    auto sandbox_root = base::UniqueFd::adopt(::dup(directories_.root.get()));
    auto sandbox_badmail =
        base::UniqueFd::adopt(elsewhere ? ::dup(directories_.badmail.get()) : -1);

    // gmtime_r(3), by which OpenSSL looks at the dates of certificates, loads the zone when it is first called.
    ::tzset();
    // An arena of a thread's own would open files of /proc and /sys when it grows or shrinks.
    ::mallopt(M_ARENA_MAX, 1);
    // Libraries initialise and open what they need...
    daemon_ = make(self_, *this);
    if (auto done = daemon_->prepare(*std::move(config), std::move(directories_), *boot_); !done)
      give_up(done.error().text());
    // ...then every right goes that is not needed any more...
    os::SandboxPlan plan;
    plan.kind = sandbox_kind(self_);
    plan.root = daemon_->root() >= 0 ? daemon_->root() : sandbox_root.get();
    plan.badmail = sandbox_badmail.get();
    if (boot_->drop_rights) plan.identity = os::SandboxPlan::Identity{boot_->uid, boot_->gid};
    plan.open_files = kOpenFiles;
    plan.ports = daemon_->ports();
    const auto pid = static_cast<std::uint32_t>(::getpid());
    ::prctl(PR_SET_PDEATHSIG,
            0);  // from here on the loop sees the parent's end, and work is finished
    if (auto done = os::enter_sandbox(plan); !done) fatal(done.error().text());
    sandbox_root.reset();
    sandbox_badmail.reset();
    // ...and only then the first foreign byte may come.
    set_state("ready");
    daemon_->start(loop_);
    link_->send(ipc::Ready{pid});
  }
  void run() { loop_.run(); }

  [[nodiscard]] event::Loop& loop() { return loop_; }

  // Host
  void set_state(std::string_view state) override {
    os::set_title(fmt::format("postern: {}, {}", ipc::name(self_), state));
  }
  void peer_lost(Role role) override {
    lost_peers_ |= ipc::roles(role);
    peer_timer_.start(kPeerPatience);
  }
  void ask_reload(Answer answer) override { ask<ipc::Reload>(std::move(answer)); }
  void ask_stop(Answer answer) override { ask<ipc::StopServer>(std::move(answer)); }
  void ask_socket(std::uint32_t socket, Connected connected) override {
    if (const auto request = connect_later(std::move(connected)))
      link_->send(ipc::AskSocket{*request, generation_, socket});
  }
  base::RequestId ask_mailbox(const std::string& user, const std::string& domain,
                              Connected connected) override {
    const auto request = connect_later(std::move(connected));
    if (request) link_->send(ipc::AskMailbox{*request, generation_, user, domain});
    return request.value_or(base::RequestId());
  }
  void drop_mailbox(base::RequestId request) override { link_->send(ipc::DropMailbox{request}); }
  [[noreturn]] void fatal(const std::string& why) override {
    log::error("process.fatal").field("reason", why);
    log::finish();
    ::_exit(kOsError);
  }

  // ParentLink::Listener
  void on_boot(const ipc::Boot& boot, ipc::Descriptors descriptors) override {
    const bool two = self_ == Role::kQueued || self_ == Role::kFetch;
    const auto most = ipc::Boot::kDescriptors - (two ? 0 : 1);
    if (boot_ || boot.role != self_ || descriptors.size() < ipc::Boot::kDescriptors - 1 ||
        descriptors.size() > most)
      fatal("the parent sent a wrong boot message");
    config_fd_ = std::move(descriptors[0]);
    log_fd_ = std::move(descriptors[1]);
    directories_.root = std::move(descriptors[2]);
    if (descriptors.size() > 3)
      (self_ == Role::kFetch ? directories_.policies : directories_.badmail) = std::move(descriptors[3]);
    boot_ = boot;
    generation_ = boot.generation;
  }
  void on_configure(const ipc::Configure& configure, base::UniqueFd config) override {
    must_serve();
    auto bytes = os::read_sealed_memory(config.get(), kMaxConfig);
    ipc::Configured answer{configure.request, false, {}};
    if (!bytes) {
      answer.error = bytes.error().text();
    } else if (auto done = daemon_->configure(*std::move(bytes), configure.generation); !done) {
      answer.error = done.error().substr(0, ipc::kMaxText);
    } else {
      answer.accepted = true;
      generation_ = configure.generation;
    }
    link_->send(answer);
  }
  void on_peer(const ipc::Peer& peer, base::UniqueFd fd) override {
    must_serve();
    if (fd.valid() && ipc::contains(lost_peers_, peer.role)) {
      lost_peers_ ^= ipc::roles(peer.role);
      if (lost_peers_ == 0) peer_timer_.cancel();
    }
    if (fd.valid() || self_ == Role::kQueued) daemon_->peer(peer, std::move(fd));
  }
  void on_listen(const ipc::Listen& listen, base::UniqueFd fd) override {
    must_serve();
    daemon_->listen(listen.listener, std::move(fd));
  }
  void on_tally(const ipc::Tally& tally, base::UniqueFd fd) override {
    must_serve();
    daemon_->tally(tally, std::move(fd));
  }
  void on_socket(const ipc::Socket& socket, base::UniqueFd fd) override {
    hand_over(socket.request, std::move(fd), socket.error);
  }
  void on_mailbox_ready(const ipc::MailboxReady& ready, base::UniqueFd fd) override {
    hand_over(ready.request, std::move(fd), ready.error);
  }
  void on_stop(const ipc::Stop& stop) override {
    if (!daemon_) ::_exit(0);  // it came right behind Boot: nothing has begun
    end(stop.seconds);
  }
  void on_processes(const ipc::Processes& processes) override {
    must_serve();
    daemon_->processes(processes);
  }
  void on_done(const ipc::Done& done) override {
    const auto at = asked_.find(done.request.value);
    if (at == asked_.end()) return;
    auto answer = std::move(at->second);
    asked_.erase(at);
    answer(done);
  }
  // No orphan keeps a port or the spool.
  void on_parent_gone() override {
    if (!daemon_) ::_exit(kOsError);
    (void)log::warning("parent.gone");
    end(kOrphanSeconds);
  }

 private:
  // The parent says nothing but Boot and Stop before Ready.
  void must_serve() {
    if (!daemon_) fatal("the parent spoke out of order");
  }

  // Whoever has a mailbox's process started hears why, and stops it; nothing is broken by it.
  [[noreturn]] void give_up(const std::string& why) {
    if (self_ != Role::kMailbox) fatal(why);
    link_->send(ipc::Unable{why.substr(0, ipc::kMaxText)});
    loop_.run();
    ::_exit(0);
  }

  // The number of the request that is to bring it; none: there are too many.
  std::optional<base::RequestId> connect_later(Connected connected) {
    if (connecting_.size() >= kMaxConnecting) {
      loop_.defer([connected = std::move(connected)]() mutable noexcept {
        connected(std::unexpected("too many connections are being made"));
      });
      return std::nullopt;
    }
    last_request_ = last_request_.next();
    connecting_.emplace(last_request_.value, std::move(connected));
    return last_request_;
  }
  void hand_over(base::RequestId request, base::UniqueFd fd, const std::string& error) {
    must_serve();
    const auto at = connecting_.find(request.value);
    if (at == connecting_.end()) return;
    auto connected = std::move(at->second);
    connecting_.erase(at);
    if (fd.valid()) return connected(std::move(fd));
    connected(std::unexpected(error));
  }

  void end(std::uint32_t seconds) {
    if (deadline_) return;
    set_state("stopping");
    deadline_ = std::make_unique<event::Timer>(loop_, [this]() noexcept { loop_.stop(); });
    deadline_->start(base::Millis(seconds * 1000));
    daemon_->stop([this]() noexcept { loop_.stop(); });
  }

  template <class M>
  void ask(Answer answer) {
    if (asked_.size() >= kMaxAsked) {
      loop_.defer([answer = std::move(answer)]() mutable noexcept {
        answer(ipc::Done{{}, kTryAgain, "too many commands are under way; try again", {}});
      });
      return;
    }
    last_request_ = last_request_.next();
    asked_.emplace(last_request_.value, std::move(answer));
    link_->send(M{last_request_});
  }

  void ask_for_peer() noexcept {
    for (const auto role : {Role::kSmtpd, Role::kQueued, Role::kRelay, Role::kLocal, Role::kKey, Role::kAuth,
                          Role::kFetch})
      if (ipc::contains(lost_peers_, role)) link_->send(ipc::PeerLost{role});
    peer_timer_.start(kPeerPatience);
  }

  event::Loop loop_;
  Role self_;
  std::unique_ptr<ParentLink>& link_;
  std::optional<ipc::Boot> boot_;
  base::UniqueFd config_fd_, log_fd_;
  Directories directories_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<event::Timer> deadline_;
  ipc::RoleSet lost_peers_ = 0;
  event::Timer peer_timer_{loop_, [this]() noexcept { ask_for_peer(); }};
  base::RequestId last_request_;
  std::unordered_map<std::uint64_t, Answer> asked_;
  base::Generation generation_;  // of what the daemon works with
  std::unordered_map<std::uint64_t, Connected> connecting_;  // what was asked for
};

void prepare_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  // A terminal's Ctrl-C reaches the whole group; only the parent decides when a child ends.
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) ::signal(number, SIG_IGN);
}

}  // namespace

int run(int argc, char** argv,
        std::move_only_function<std::unique_ptr<Daemon>(Role role, Host& host)> make) {
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    std::puts("postern " POSTERN_VERSION);
    return 0;
  }
  const auto self = argc == 2 ? role_named(argv[1]) : std::nullopt;
  if (!self || ::fcntl(os::kInheritedChannel, F_GETFD) < 0) {
    std::fprintf(stderr, "%s is started by postern(8) only\n", argv[0]);
    return kUsage;
  }
  ::fcntl(os::kInheritedChannel, F_SETFD, FD_CLOEXEC);
  // No orphan, even one that is still preparing and does not look at its channel.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  prepare_signals();
  os::save_title_area(argc, argv);
  std::unique_ptr<ParentLink> link;
  Skeleton skeleton(*self, link);
  skeleton.set_state("starting");
  link = make_parent_link(skeleton.loop(), *self, skeleton);
  skeleton.start(make);
  skeleton.run();
  log::finish();
  // Threads and channels end with the process; what had to be kept is on disk.
  ::_exit(0);
}

}  // namespace postern::role
