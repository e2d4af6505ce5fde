// Child: one child process over all its lives: started, booted, watched, restarted after a delay
// that grows with each early death. Or over its one life, if it was started for somebody who asked.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/config/rights.h"
#include "common/os/sandbox.h"
#include "parent/child_link.h"
#include "parent/configurable.h"
#include "parent/log_pump.h"

namespace postern::parent {

class Child final : public ChildLink::Listener, public Configurable {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_child_ready(Child& child) = 0;
    virtual void on_child_dead(Child& child) = 0;  // the process is gone, or could not be started
    virtual void on_child_configured(Child& child, const ipc::Configured& answer) = 0;
    virtual void on_peer_lost(Child& child, ipc::Role role) = 0;
    virtual void on_socket_asked(Child& child, const ipc::AskSocket& ask) = 0;
    virtual void on_mailbox_asked(const ipc::AskMailbox& ask) = 0;
    virtual void on_mailbox_dropped(base::RequestId request) = 0;
    virtual void on_child_unable(Child& child, const std::string& why) = 0;
    virtual void on_reload_asked(base::RequestId request) = 0;
    virtual void on_stop_asked(base::RequestId request) = 0;
  };
  // What every life of this child is started with; the owner may change `config` between lives.
  struct Spec {
    ipc::Role role = ipc::Role::kSmtpd;
    std::uint32_t index = 0;  // among those of its role; of a mailbox, the uid of its user
    config::Service service = config::Service::kMx;  // smtpd: whose listeners it serves
    std::string program;
    std::string config;  // encoded
    base::Generation generation;
    std::optional<os::SandboxPlan::Identity> identity;  // what it becomes; nothing: it stays who we are
    int root = -1;                     // its directory; it outlives the child, likewise the next
    int second = -1;                   // what it gets beside that; -1: nothing
    bool once = false;                 // it has one life
  };
  enum class State : std::uint8_t { kDown, kStarting, kReady, kStopping };

  Child(event::Loop& loop, LogPump& log, Spec spec, Owner& owner);

  [[nodiscard]] Spec& spec() noexcept { return spec_; }
  [[nodiscard]] const Spec& spec() const noexcept { return spec_; }
  [[nodiscard]] ipc::Role role() const noexcept { return spec_.role; }
  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] std::uint32_t deaths() const noexcept { return deaths_; }
  [[nodiscard]] bool was_ready() const noexcept { return was_ready_; }
  // What its present life said that it works with.
  [[nodiscard]] base::Generation generation() const noexcept { return generation_; }
  // How long the next life waits, or waited, after the death before it.
  [[nodiscard]] base::Millis restart_delay() const noexcept { return delay_; }
  [[nodiscard]] ChildLink& link() noexcept { return *link_; }  // while not kDown

  void start();
  // Asks it to finish; no restart follows. Down at once where it does not run.
  void stop(std::uint32_t seconds);
  // Collects the process if it has ended.
  void reap() noexcept;

  // Configurable
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] bool is_ready() const override { return state_ == State::kReady; }
  os::Result<void> configure(const std::string& config, base::Generation generation) override;
  void restore() noexcept override;
  void kill() noexcept override;

  // ChildLink::Listener
  void on_ready(const ipc::Ready& ready) override;
  void on_configured(const ipc::Configured& answer) override;
  void on_peer_lost(ipc::Role role) override;
  void on_ask_socket(const ipc::AskSocket& ask) override { owner_.on_socket_asked(*this, ask); }
  void on_ask_mailbox(const ipc::AskMailbox& ask) override { owner_.on_mailbox_asked(ask); }
  void on_drop_mailbox(const ipc::DropMailbox& drop) override { owner_.on_mailbox_dropped(drop.request); }
  void on_unable(const ipc::Unable& unable) override { owner_.on_child_unable(*this, unable.error); }
  void on_reload(base::RequestId request) override { owner_.on_reload_asked(request); }
  void on_stop_server(base::RequestId request) override { owner_.on_stop_asked(request); }
  void on_link_closed() override;

 private:
  struct Asked {  // a configuration that it is to take
    base::UniqueFd config;
    base::Generation generation;
    bool restores = false;
  };

  os::Result<void> launch();
  void on_death(int status) noexcept;
  void schedule_restart();
  os::Result<void> ask(const std::string& config, base::Generation generation, bool restores);
  void send_next();

  event::Loop& loop_;
  LogPump& log_;
  Spec spec_;
  Owner& owner_;
  State state_ = State::kDown;
  pid_t pid_ = -1;
  std::unique_ptr<ChildLink> link_;
  event::Timer restart_;
  base::SteadyTime started_;
  base::Millis delay_{0};
  base::Generation generation_;
  base::RequestId last_request_;
  std::optional<Asked> asked_;  // on its way; one at a time
  std::optional<Asked> next_;   // the latest that waits for the answer to that
  base::SteadyTime peer_given_;
  std::uint32_t deaths_ = 0;
  bool was_ready_ = false;
  bool unwanted_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

 public:
  ~Child() override { *alive_ = false; }
};

}  // namespace postern::parent
