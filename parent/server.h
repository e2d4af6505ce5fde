// Server: the parent's work: starts the children in order, wires them, watches them, applies a new
// configuration or none of it, and stops all within ten seconds. It reads no byte of the network or
// the queue.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/os/shared_memory.h"
#include "parent/child.h"
#include "parent/listeners.h"
#include "parent/mailbox_users.h"
#include "parent/mailboxes.h"
#include "parent/reload.h"
#include "parent/site.h"

namespace postern::parent {

class Server final : public Child::Owner {
 public:
  Server(event::Loop& loop, config::Config config, MailboxUsers users);
  ~Server() override;

  // Prepares the ground and starts all; an error is a sentence for people.
  [[nodiscard]] std::expected<void, std::string> start();
  // Called once, when every child serves (empty text), or when the start has failed (why).
  void on_started(std::move_only_function<void(std::string) noexcept> started) {
    started_ = std::move(started);
  }
  // From the signals.
  void reload() { begin_reload(std::nullopt); }
  void stop();
  void reopen_log();
  // What main() returns after the loop has ended.
  [[nodiscard]] int exit_status() const noexcept { return exit_status_; }

  // Child::Owner
  void on_child_ready(Child& child) override;
  void on_child_dead(Child& child) override;
  void on_child_configured(Child& child, const ipc::Configured& answer) override;
  void on_peer_lost(Child& child, ipc::Role role) override;
  void on_socket_asked(Child& child, const ipc::AskSocket& ask) override;
  void on_mailbox_asked(const ipc::AskMailbox& ask) override;
  void on_mailbox_dropped(base::RequestId request) override { mailboxes_.drop(request); }
  void on_child_unable(Child&, const std::string&) override {}
  void on_reload_asked(base::RequestId request) override { begin_reload(request); }
  void on_stop_asked(base::RequestId request) override;

 private:
  void make_children();
  os::Result<void> make_tallies();
  void give_tallies(Child& child);
  void add_child(ipc::Role role, std::uint32_t index, config::Service service);
  void wire(Child& child);
  void connect(Child& a, Child& b);
  [[nodiscard]] std::vector<base::ListenerIndex> listeners_of(const Child& child) const;
  [[nodiscard]] std::string config_for(const Child::Spec& spec) const;
  [[nodiscard]] const config::Config* config_of(base::Generation generation) const;
  [[nodiscard]] std::string socket_path(ipc::Role role, const ipc::AskSocket& ask) const;
  void answer_mailbox(const ipc::MailboxReady& ready, base::UniqueFd channel);
  [[nodiscard]] Child* queued() noexcept;  // null while it is not ready
  [[nodiscard]] std::string refusal_of(const config::Config& fresh);
  void serve_listeners(const Listeners::Change& change);
  void tell_processes();
  void reap();
  void fail_start(std::string why);

  void begin_reload(std::optional<base::RequestId> asked);
  void finish_reload(std::string error);
  void commit_reload();
  void answer(std::optional<base::RequestId> request, std::uint8_t exit, std::string text);

  void next_stop_phase();
  void check_stop_phase();
  void on_stop_timer();

  event::Loop& loop_;
  config::Config config_;
  MailboxUsers users_, fresh_users_;  // of `config_`, and of what is being reloaded
  config::Facts facts_;
  Site site_;
  LogPump log_;
  Listeners listeners_;
  base::UniqueFd control_;
  std::vector<std::unique_ptr<Child>> children_;
  Mailboxes mailboxes_;
  std::vector<os::SharedMemory> tallies_;  // by the index of an smtpd
  base::Generation generation_{1};
  std::unique_ptr<Reload> reload_;
  std::move_only_function<void(std::string) noexcept> started_;
  event::Signal child_signal_;
  event::Timer stop_timer_;
  std::size_t stop_phase_ = 0;  // 0: running
  bool killing_ = false;        // the phase's time is over
  int exit_status_ = 0;
  bool all_ready_ = false;
};

}  // namespace postern::parent
