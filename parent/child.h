// Child: one child process over all its lives: started, booted, watched, restarted after a delay that
// grows with each early death.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "parent/child_link.h"
#include "parent/log_pump.h"
#include "parent/site.h"

namespace postern::parent {

class Child final : public ChildLink::Listener {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_child_ready(Child& child) = 0;
    virtual void on_child_dead(Child& child) = 0;  // the process is gone
    virtual void on_child_configured(Child& child, const ipc::Configured& answer) = 0;
    virtual void on_reload_asked(base::RequestId request) = 0;
    virtual void on_stop_asked(base::RequestId request) = 0;
  };
  // What every life of this child is started with; the owner may change `config` between lives.
  struct Spec {
    ipc::Role role = ipc::Role::kSmtpd;
    std::uint32_t index = 0;
    config::Service service = config::Service::kMx;  // smtpd: whose listeners it serves
    std::string config;                              // encoded
    base::Generation generation;
  };
  enum class State : std::uint8_t { kDown, kStarting, kReady, kStopping };

  Child(event::Loop& loop, LogPump& log, const Site& site, Spec spec, Owner& owner);

  [[nodiscard]] Spec& spec() noexcept { return spec_; }
  [[nodiscard]] const Spec& spec() const noexcept { return spec_; }
  [[nodiscard]] ipc::Role role() const noexcept { return spec_.role; }
  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] std::uint32_t deaths() const noexcept { return deaths_; }
  [[nodiscard]] bool was_ready() const noexcept { return was_ready_; }
  [[nodiscard]] std::string name() const;  // "smtpd[1]"
  [[nodiscard]] ChildLink& link() noexcept { return *link_; }  // while not kDown

  void start();
  // Asks it to finish; no restart follows. Down at once where it does not run.
  void stop(std::uint32_t seconds);
  void kill() noexcept;
  // Collects the process if it has ended.
  void reap() noexcept;

  // ChildLink::Listener
  void on_ready(const ipc::Ready& ready) override;
  void on_configured(const ipc::Configured& c) override { owner_.on_child_configured(*this, c); }
  void on_reload(base::RequestId request) override { owner_.on_reload_asked(request); }
  void on_stop_server(base::RequestId request) override { owner_.on_stop_asked(request); }
  void on_link_closed() override;

 private:
  os::Result<void> launch();
  void on_death(int status) noexcept;
  void schedule_restart();

  event::Loop& loop_;
  LogPump& log_;
  const Site& site_;
  Spec spec_;
  Owner& owner_;
  State state_ = State::kDown;
  pid_t pid_ = -1;
  std::unique_ptr<ChildLink> link_;
  event::Timer restart_;
  base::SteadyTime started_;
  base::Millis delay_{0};
  std::uint32_t deaths_ = 0;
  bool was_ready_ = false;
  bool unwanted_ = false;
};

}  // namespace postern::parent
