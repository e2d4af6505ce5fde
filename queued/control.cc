#include "queued/control.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "common/log/log.h"
#include "common/os/socket.h"
#include "queued/explain.h"
#include "queued/history_listing.h"
#include "queued/reserve.h"
#include "queued/exits.h"

namespace postern::queued {
namespace {

constexpr std::size_t kMaxGroups = 1024;  // of one peer
constexpr int kMaxAccepts = 16;           // in one turn
constexpr base::Millis kRest{1'000};      // while there are no descriptors

// The peer of a Unix socket: its user, and all its groups (SO_PEERCRED, SO_PEERGROUPS).
std::optional<ControlPeer> peer_of(int fd) {
  const auto credentials = os::peer_credentials(fd);
  if (!credentials) return std::nullopt;
  ControlPeer peer;
  peer.uid = credentials->uid;
  std::vector<gid_t> groups(kMaxGroups);
  auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0)
    peer.groups.assign(groups.begin(),
                       groups.begin() + static_cast<std::ptrdiff_t>(size / sizeof(gid_t)));
  peer.groups.push_back(credentials->gid);
  return peer;
}

}  // namespace

ControlLevel level_of(const ControlPeer& peer, const config::ControlGroups& groups,
                      std::uint32_t own_uid) {
  if (peer.uid == 0 || peer.uid == own_uid) return ControlLevel::kAdmin;
  const auto in = [&](std::uint32_t group) {
    return group != ~0U &&
           std::find(peer.groups.begin(), peer.groups.end(), group) != peer.groups.end();
  };
  if (in(groups.admin)) return ControlLevel::kAdmin;
  if (in(groups.operate)) return ControlLevel::kOperate;
  if (in(groups.view)) return ControlLevel::kView;
  return ControlLevel::kNone;
}

Control::Control(event::Loop& loop, Engine& engine, role::Host& host,
                 std::map<std::uint32_t, std::string> user_names, FillStatus fill_status)
    : loop_(loop),
      engine_(engine),
      host_(host),
      user_names_(std::move(user_names)),
      fill_status_(std::move(fill_status)),
      expiring_(loop, engine),
      rest_(loop, [this]() noexcept {
        if (readable_) readable_->watch(true, false);
      }) {}

void Control::listen(base::UniqueFd socket) {
  readable_.reset();
  socket_ = std::move(socket);
  if (!socket_.valid()) return;
  readable_ = std::make_unique<event::FdEvent>(loop_, socket_.get(),
                                               [this](bool, bool) noexcept { accept(); });
  readable_->watch(true, false);
  keep_spare();
}

void Control::keep_spare() {
  if (!spare_.valid() && socket_.valid())
    spare_ = base::UniqueFd::adopt(::fcntl(socket_.get(), F_DUPFD_CLOEXEC, 0));
}

void Control::accept() {
  for (int n = 0; n < kMaxAccepts; ++n) {
    auto accepted = os::accept(socket_.get());
    if (!accepted && is_exhausted(accepted.error())) {
      spare_.reset();
      accepted = os::accept(socket_.get());
    }
    if (!accepted) {
      if (!is_exhausted(accepted.error())) return;
      readable_->watch(false, false);  // it stays readable all the time
      return rest_.start(kRest);
    }
    const auto peer = peer_of(accepted->fd.get());
    const auto level = peer ? level_of(*peer, engine_.config().control, ::getuid())
                            : ControlLevel::kNone;
    if (level == ControlLevel::kNone || sessions_.size() >= kMaxSessions) {
      log::warning("control.refused")
          .field("uid", peer ? peer->uid : ~0U)
          .field("reason", level == ControlLevel::kNone ? "no right" : "too many connections");
      continue;
    }
    const auto name = user_names_.find(peer->uid);
    serve(std::move(accepted->fd), level,
          name != user_names_.end() ? name->second.substr(0, 64) : fmt::format("uid {}", peer->uid));
  }
}

void Control::serve(base::UniqueFd fd, ControlLevel level, std::string who) {
  const SessionId id(++last_id_);
  sessions_[id] =
      std::make_unique<ControlSession>(*this, id, level, std::move(who), loop_, std::move(fd));
}

void Control::closed(SessionId id) {
  sessions_.erase(id);
  stopping_.erase(id);
  keep_spare();
}

ControlSession* Control::find(SessionId id) {
  const auto at = sessions_.find(id);
  return at == sessions_.end() ? nullptr : at->second.get();
}

void Control::done(SessionId id, base::RequestId request, std::uint8_t exit, std::string text) {
  constexpr std::size_t kMost = 16 * 1024;
  if (text.size() > kMost) text.resize(kMost);
  if (ControlSession* to = find(id)) to->send(ipc::Done{request, exit, std::move(text), {}});
}

void Control::status(SessionId id, base::RequestId request) {
  expiring_.ask([this, id, request](const std::optional<Expiring::Count>& expiring) noexcept {
    ControlSession* to = find(id);
    if (to == nullptr) return;
    const Throttle::Use use(engine_.throttle());
    ipc::Status status;
    status.request = request;
    fill_status_(status);
    if (expiring) {
      status.expiring = expiring->messages;
      status.expiring_when = expiring->when;
    }
    to->send(status);
  });
}

void Control::history(SessionId id, const ipc::ListHistory& ask) {
  list_history(engine_.history(), ask, engine_.store().clock().wall(),
               [this, id](const ipc::HistoryRows& rows) noexcept {
                 if (ControlSession* to = find(id)) to->send(rows);
               });
}

// --- Sessions ---------------------------------------------------------------------------------------

ControlSession::ControlSession(Control& owner, SessionId id, ControlLevel level, std::string who,
                               event::Loop& loop, base::UniqueFd fd)
    : owner_(owner),
      id_(id),
      level_(level),
      who_(std::move(who)),
      spool_(loop, owner.transfer()),
      connection_(loop, std::move(fd), *this) {}

bool ControlSession::may(ControlLevel needed, base::RequestId request) {
  if (level_ >= needed) return true;
  owner_.done(id_, request, 77, "you are not in the group that may do this ([control])");
  return false;
}

template <class Answer>
auto ControlSession::answer() {
  return [&owner = owner_, id = id_](const Answer& found) noexcept {
    if (ControlSession* to = owner.find(id)) to->send(found);
  };
}

void ControlSession::when_it_may(auto look) {
  owner_.engine().throttle().run([&owner = owner_, id = id_, look = std::move(look)]() mutable noexcept {
    if (ControlSession* session = owner.find(id)) look(*session);
  });
}

void ControlSession::on(const ipc::AskStatus& ask) {
  when_it_may([request = ask.request](ControlSession& session) noexcept {
    session.owner_.status(session.id_, request);
  });
}
void ControlSession::on(const ipc::ListQueues& ask) {
  when_it_may([ask](ControlSession& session) noexcept {
    list_queues(session.owner_.engine(), ask, session.answer<ipc::QueueRows>());
  });
}
void ControlSession::on(const ipc::ListMessages& ask) {
  when_it_may([ask](ControlSession& session) noexcept {
    list_messages(session.owner_.engine(), ask, session.answer<ipc::MessageRows>());
  });
}
void ControlSession::on(const ipc::Show& ask) {
  show(owner_.engine(), ask, answer<ipc::Shown>());
}
void ControlSession::on(const ipc::ListBlocks& ask) { send(list_blocks(owner_.engine(), ask)); }
void ControlSession::on(const ipc::ListHistory& ask) { owner_.history(id_, ask); }
void ControlSession::on(const ipc::Explain& ask) {
  explain(owner_.engine(), ask, answer<ipc::Explained>());
}
void ControlSession::on(const ipc::ExplainQueue& ask) { send(explain_queue(owner_.engine(), ask)); }
void ControlSession::on(const ipc::AskBody& ask) {
  // Mail is private: who may only look at the queue may not read it.
  if (level_ < ControlLevel::kOperate) return send(ipc::BodyPart{.request = ask.request});
  owner_.body(id_, ask);
}
void ControlSession::on(const ipc::Freeze& command) {
  if (may(ControlLevel::kOperate, command.request)) owner_.freeze(id_, command, who_);
}
void ControlSession::on(const ipc::Unfreeze& command) {
  if (may(ControlLevel::kOperate, command.request)) owner_.unfreeze(id_, command, who_);
}
void ControlSession::on(const ipc::SwitchOutbound& command) {
  if (may(ControlLevel::kOperate, command.request)) owner_.switch_outbound(id_, command, who_);
}
void ControlSession::on(const ipc::LockAccount& command) {
  if (may(ControlLevel::kOperate, command.request)) owner_.lock_account(id_, command, who_);
}
void ControlSession::on(const ipc::SwitchIntake& command) {
  if (may(ControlLevel::kOperate, command.request)) owner_.switch_intake(id_, command, who_);
}
void ControlSession::on(const ipc::AwaitQuiet& ask) {
  owner_.await_quiet(id_, ask);
}
void ControlSession::on(const ipc::Hold& command) {
  if (may(ControlLevel::kOperate, command.request)) owner_.hold(id_, command, who_);
}
void ControlSession::on(const ipc::Retry& command) {
  if (may(ControlLevel::kOperate, command.request)) owner_.retry(id_, command, who_);
}
void ControlSession::on(const ipc::Reload& command) {
  if (may(ControlLevel::kAdmin, command.request)) owner_.reload(id_, command.request, who_);
}
void ControlSession::on(const ipc::StopServer& command) {
  if (may(ControlLevel::kAdmin, command.request)) owner_.stop_server(id_, command.request, who_);
}

std::string ControlSession::refusal(std::string_view what, bool begins) {
  if (level_ < ControlLevel::kAdmin) return "you are not in the group that may do this ([control])";
  if (begins) log::info("spool.handled").field("what", what).field("who", who_);
  return {};
}

void ControlSession::on(const ipc::CheckSpool& ask) {
  if (const auto no = refusal("check", ask.begin); !no.empty())
    return send(ipc::SpoolFindings{.request = ask.request, .exit = kNoRight, .summary = no});
  spool_.check(ask, answer<ipc::SpoolFindings>());
}
void ControlSession::on(const ipc::ExportSpool& ask) {
  if (const auto no = refusal("export", ask.begin); !no.empty())
    return send(ipc::ExportPart{.request = ask.request, .exit = kNoRight, .error = no});
  spool_.export_next(ask, answer<ipc::ExportPart>());
}
void ControlSession::on(const ipc::RemoveExported& ask) {
  if (const auto no = refusal("remove", true); !no.empty())
    return send(ipc::SpoolDone{.request = ask.request, .exit = kNoRight, .text = no});
  spool_.remove_exported(ask, answer<ipc::SpoolDone>());
}
void ControlSession::on(const ipc::ImportSpool& ask) {
  if (const auto no = refusal("import", ask.begin); !no.empty())
    return send(ipc::SpoolDone{.request = ask.request, .exit = kNoRight, .over = true, .text = no});
  spool_.import_next(ask, answer<ipc::SpoolDone>());
}
void ControlSession::closed() noexcept { owner_.closed(id_); }

}  // namespace postern::queued
