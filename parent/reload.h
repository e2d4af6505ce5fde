// Reload: one attempt to apply a new generation: the children get it in order, and when one refuses,
// those that took it get the old one back, so all keep the same.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/config/config.h"
#include "parent/child.h"

namespace postern::parent {

class Reload {
 public:
  struct Step {
    Child* child;
    std::string fresh;  // encoded
  };
  // Called once: empty (all took it) or why not. At the end of a turn.
  using Finished = std::move_only_function<void(std::string) noexcept>;

  Reload(event::Loop& loop, config::Config config, base::Generation generation,
         std::optional<base::RequestId> asked, Finished finished);

  // Steps in the order of the design: deliverers, queued, smtpd.
  void add(Step step) { steps_.push_back(std::move(step)); }
  void begin() { next(); }
  void on_configured(Child& child, const ipc::Configured& answer);
  // A child that dies meanwhile is started again with what all agree on.
  void on_dead(Child& child);

  [[nodiscard]] config::Config& config() noexcept { return config_; }
  [[nodiscard]] const std::vector<Step>& steps() const noexcept { return steps_; }
  [[nodiscard]] base::Generation generation() const noexcept { return generation_; }
  [[nodiscard]] std::optional<base::RequestId> asked() const noexcept { return asked_; }

 private:
  void next();
  void roll_back();
  void finish(std::string why);

  event::Loop& loop_;
  config::Config config_;
  base::Generation generation_;
  std::vector<Step> steps_;
  std::optional<base::RequestId> asked_;
  Finished finished_;
  event::Timer deadline_;
  std::size_t at_ = 0;
  bool over_ = false;
};

// Sends `config` as a sealed memory file.
[[nodiscard]] os::Result<void> send_config(Child& child, const std::string& config,
                                           base::Generation generation, base::RequestId request);

}  // namespace postern::parent
