// Control: the control socket. Who may do what is decided by the peer's groups; root and our own user
// may do all. Answers questions (listings.h) and carries out the operator's commands.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/ipc/channel.h"
#include "common/role/role.h"
#include "queued/engine.h"
#include "queued/expiring.h"
#include "queued/listings.h"
#include "queued/live_transfer.h"
#include "queued/spool_desk.h"

namespace postern::queued {

enum class ControlLevel : std::uint8_t { kNone, kView, kOperate, kAdmin };

struct ControlPeer {
  std::uint32_t uid = ~0U;
  std::vector<std::uint32_t> groups;  // primary and supplementary
};
[[nodiscard]] ControlLevel level_of(const ControlPeer& peer, const config::ControlGroups& groups,
                                    std::uint32_t own_uid);

class Control;
using SessionId = base::Strong<struct SessionTag, std::uint64_t>;

// One connection of the control tool.
class ControlSession {
 public:
  ControlSession(Control& owner, SessionId id, ControlLevel level, std::string who,
                 event::Loop& loop, base::UniqueFd fd);

  void on(const ipc::AskStatus& ask);
  void on(const ipc::ListQueues& ask);
  void on(const ipc::ListMessages& ask);
  void on(const ipc::Show& ask);
  void on(const ipc::AskBody& ask);
  void on(const ipc::ListBlocks& ask);
  void on(const ipc::ListHistory& ask);
  void on(const ipc::Explain& ask);
  void on(const ipc::ExplainQueue& ask);
  void on(const ipc::Freeze& command);
  void on(const ipc::Unfreeze& command);
  void on(const ipc::SwitchOutbound& command);
  void on(const ipc::SwitchIntake& command);
  void on(const ipc::LockAccount& command);
  void on(const ipc::AwaitQuiet& ask);
  void on(const ipc::Hold& command);
  void on(const ipc::Retry& command);
  void on(const ipc::Reload& command);
  void on(const ipc::StopServer& command);
  void on(const ipc::CheckSpool& ask);
  void on(const ipc::ExportSpool& ask);
  void on(const ipc::RemoveExported& ask);
  void on(const ipc::ImportSpool& ask);
  void closed() noexcept;

  template <class M>
  void send(const M& message) {
    connection_.send(message);
  }
  [[nodiscard]] SessionId id() const { return id_; }

 private:
  // Sends what a listing answers, if the session is still there then.
  template <class Answer>
  auto answer();
  // Looks at the queue in its turn, likewise.
  void when_it_may(auto look);
  // False, and told so, if this session may not.
  bool may(ControlLevel needed, base::RequestId request);
  // The spool as a whole holds all mail: admin. Empty: this session may; and the log hears of it.
  [[nodiscard]] std::string refusal(std::string_view what, bool begins);

  Control& owner_;
  SessionId id_;
  ControlLevel level_;
  std::string who_;
  SpoolDesk spool_;
  ipc::Connection<ControlSession, ipc::Role::kQueued, ipc::Role::kControl> connection_;
};

class Control {
 public:
  static constexpr std::size_t kMaxSessions = 64;
  // A status but for what expires soon: the daemon knows.
  using FillStatus = std::move_only_function<void(ipc::Status&) noexcept>;

  Control(event::Loop& loop, Engine& engine, role::Host& host,
          std::map<std::uint32_t, std::string> user_names, FillStatus fill_status);

  void listen(base::UniqueFd socket);
  // A connection whose rights are known already.
  void serve(base::UniqueFd fd, ControlLevel level, std::string who);

  // From the sessions; `text` is told by Done.
  void done(SessionId id, base::RequestId request, std::uint8_t exit, std::string text);
  void status(SessionId id, base::RequestId request);
  // The session, if it is still there: for answers that come later.
  [[nodiscard]] ControlSession* find(SessionId id);
  void body(SessionId id, const ipc::AskBody& ask);
  void history(SessionId id, const ipc::ListHistory& ask);
  void freeze(SessionId id, const ipc::Freeze& command, const std::string& who);
  void unfreeze(SessionId id, const ipc::Unfreeze& command, const std::string& who);
  void switch_outbound(SessionId id, const ipc::SwitchOutbound& command, const std::string& who);
  void switch_intake(SessionId id, const ipc::SwitchIntake& command, const std::string& who);
  void lock_account(SessionId id, const ipc::LockAccount& command, const std::string& who);
  void await_quiet(SessionId id, const ipc::AwaitQuiet& ask);
  void hold(SessionId id, const ipc::Hold& command, const std::string& who);
  void retry(SessionId id, const ipc::Retry& command, const std::string& who);
  void reload(SessionId id, base::RequestId request, const std::string& who);
  void stop_server(SessionId id, base::RequestId request, const std::string& who);
  void closed(SessionId id);
  [[nodiscard]] Engine& engine() { return engine_; }
  [[nodiscard]] TransferHost& transfer() { return transfer_; }

 private:
  struct Selecting;
  struct Holding;
  void accept();
  void select(std::shared_ptr<Selecting> work);
  void select_from(std::shared_ptr<Selecting> work, base::MessageId after);
  void select_among(const std::shared_ptr<Selecting>& work,
                    const std::vector<const Message*>& messages, event::Callback then);
  void act_on(const std::shared_ptr<Selecting>& work, const std::vector<const Message*>& selected,
              event::Callback then);
  void begin_standing_hold(const std::shared_ptr<Holding>& work);
  void end_standing_hold(const std::shared_ptr<Holding>& work);
  void hold_selected(const std::shared_ptr<Holding>& work);
  void hold_one(Holding& work, const Message& message);
  void held(const std::shared_ptr<Holding>& work);
  void keep_spare();
  void send_body(SessionId id, const ipc::AskBody& ask, const LoadedBody& body);
  void enable_outbound(SessionId id, base::RequestId request, const std::string& who);
  // What a session stopped last.
  struct Stopping {
    std::move_only_function<std::uint64_t() noexcept> in_flight;  // of it, now
    std::shared_ptr<const Engine::BrokenOff> broken_off;          // null: nothing was
  };
  // It is in force; how much of it is in flight is told with `text`, and from then on to who asks.
  void stopped(SessionId id, base::RequestId request, std::string text, Stopping what);
  [[nodiscard]] std::uint64_t in_flight_of(const Engine::Stopped& stopped) const;
  // It goes on; `text` is told with how many messages that it concerns expire soon.
  using Concerns = std::move_only_function<Leads(const Route&, const Recipient&) const noexcept>;
  void say_expiring(SessionId id, base::RequestId request, std::string text, ipc::Selector selector,
                    Concerns concerns);

  event::Loop& loop_;
  Engine& engine_;
  LiveTransfer transfer_{engine_};
  role::Host& host_;
  std::map<std::uint32_t, std::string> user_names_;
  FillStatus fill_status_;
  Expiring expiring_;
  base::UniqueFd socket_;
  std::unique_ptr<event::FdEvent> readable_;
  // Given up for a connection when no other descriptor is left: the operator can always get in.
  base::UniqueFd spare_;
  event::Timer rest_;
  std::map<SessionId, std::unique_ptr<ControlSession>> sessions_;
  std::map<SessionId, Stopping> stopping_;
  std::uint64_t last_id_ = 0;
};

}  // namespace postern::queued
