// Mailboxes: the processes that file into one mailbox each, as its user. One is started when the local deliverer asks for
// it, gets one end of a channel whose other end the deliverer gets, and is stopped when that needs it no more. Of one
// mailbox there is never more than one, and of all together never more than MailboxLimits::most: who asks for another waits
// for an end.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "parent/child.h"

namespace postern::parent {

struct MailboxLimits {
  std::size_t most = 64;  // processes
  base::Millis patience{5'000};  // for the end of one that was stopped; then it is killed
};

class Mailboxes final : public Child::Owner {
 public:
  // What the local deliverer is told of its request.
  using Answer = std::move_only_function<void(const ipc::MailboxReady& ready, base::UniqueFd channel) noexcept>;
  // `ended`: a process is gone.
  Mailboxes(event::Loop& loop, LogPump& log, Answer answer, event::Callback ended, MailboxLimits limits = {});
  ~Mailboxes() override;

  // `spec` is of a process for this mailbox, and lives once.
  void ask(base::RequestId request, std::string mailbox, Child::Spec spec);
  void drop(base::RequestId request);
  // Who asked is gone: nobody waits any more, and all are stopped.
  void forget_asker();
  void kill() noexcept;
  void reap() noexcept;
  [[nodiscard]] bool empty() const noexcept { return processes_.empty(); }

  // Child::Owner: of a process of its own.
  void on_child_ready(Child& child) override;
  void on_child_dead(Child& child) override;
  void on_child_unable(Child& child, const std::string& why) override;
  void on_child_configured(Child&, const ipc::Configured&) override {}
  void on_peer_lost(Child&, ipc::Role) override {}
  void on_socket_asked(Child&, const ipc::AskSocket&) override {}
  void on_mailbox_asked(const ipc::AskMailbox&) override {}
  void on_mailbox_dropped(base::RequestId) override {}
  void on_reload_asked(base::RequestId) override {}
  void on_stop_asked(base::RequestId) override {}

 private:
  struct Wanted {
    base::RequestId request;
    std::string mailbox;
    Child::Spec spec;
  };
  struct Process {
    base::RequestId request;
    std::string mailbox;
    std::unique_ptr<Child> child;
    bool answered = false;  // who asked for it was told, or is gone
    bool stopping = false;
    base::SteadyTime since;  // stopping
  };

  [[nodiscard]] Process* of(const Child& child) noexcept;
  [[nodiscard]] Process* of(const std::string& mailbox) noexcept;
  void start(Wanted wanted);
  void stop(Process& process);
  void serve_waiting();
  void tell(Process& process, std::string error, base::UniqueFd channel);
  void end_slow() noexcept;

  event::Loop& loop_;
  LogPump& log_;
  Answer answer_;
  event::Callback ended_;
  const MailboxLimits limits_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::deque<Wanted> waiting_;
  event::Timer slow_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::parent
