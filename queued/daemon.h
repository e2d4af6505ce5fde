// The queued daemon: owns the store, the engine and all channels, and wires them together.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/os/disk.h"
#include "common/role/role.h"
#include "queued/collector.h"
#include "queued/control.h"
#include "queued/delivery.h"
#include "queued/history.h"
#include "queued/intake.h"
#include "queued/local_store.h"
#include "queued/usage_file.h"

namespace postern::queued {

class QueuedDaemon final : public role::Daemon {
 public:
  explicit QueuedDaemon(role::Host& host) : host_(host) {}
  ~QueuedDaemon() override;

  os::Result<void> prepare(std::string config, role::Directories directories,
                           const ipc::Boot& boot) override;
  void start(event::Loop& loop) override;
  std::expected<void, std::string> configure(std::string config,
                                             base::Generation generation) override;
  void peer(const ipc::Peer& peer, base::UniqueFd fd) override;
  void listen(base::ListenerIndex listener, base::UniqueFd fd) override;
  void processes(const ipc::Processes& processes) override;
  void stop(event::Callback done) override;

 private:
  void start_collecting();
  void tick();
  [[nodiscard]] HistoryLimits history_limits() const;
  void fill(ipc::Status& status);
  [[nodiscard]] std::vector<std::string> stopped() const;
  [[nodiscard]] std::vector<std::string> attention(const StoreHealth& health);
  void show_state();
  void finish_when_idle();

  role::Host& host_;
  config::QueuedConfig config_;
  base::Generation generation_;
  base::UniqueFd lock_;  // on the spool, for life
  std::map<std::uint32_t, std::string> user_names_;
  std::unique_ptr<os::Disk> disk_;
  std::unique_ptr<os::Disk> badmail_disk_;  // null: in the spool
  event::Loop* loop_ = nullptr;
  std::unique_ptr<History> history_;  // what the store's thread still does at the end needs it
  std::unique_ptr<UsageFile> usage_file_;  // likewise
  std::unique_ptr<LocalStore> store_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Intake> intake_;
  std::unique_ptr<TicketDesk> ticket_desk_;
  std::unique_ptr<Delivery> delivery_;
  std::unique_ptr<Collector> collector_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<event::Timer> ticker_;
  std::unique_ptr<event::Timer> finisher_;
  event::Callback finished_;
  base::SteadyTime started_;
  std::vector<ipc::ProcessRow> process_rows_;
  std::string shown_state_;
};

}  // namespace postern::queued
