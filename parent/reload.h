// Reload: one attempt to apply a new generation: the children get it in order, and when one
// refuses, those that took it get the old one back, so all keep the same. A child that is not ready
// meanwhile, or dies, is left out: it takes what all have agreed on when it is back.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/config/config.h"
#include "common/event/loop.h"
#include "common/ipc/messages.h"
#include "parent/configurable.h"

namespace postern::parent {

class Reload {
 public:
  // Called once: empty (all took it) or why not. At the end of a turn.
  using Finished = std::move_only_function<void(std::string) noexcept>;
  static constexpr base::Millis kDeadline{10'000};  // for one child's answer

  Reload(event::Loop& loop, config::Config config, base::Generation generation,
         std::optional<base::RequestId> asked, Finished finished);

  // Steps in the order of the design: deliverers, queued, smtpd. `child` outlives the reload.
  void add(Configurable& child, std::string fresh) { steps_.push_back({&child, std::move(fresh)}); }
  void begin() { next(); }
  void on_configured(const Configurable& child, const ipc::Configured& answer);
  void on_dead(const Configurable& child);
  // The child that is asked has had its time: it is killed, since it may still take the new one
  // later.
  void on_timeout() noexcept;
  // Who asked for it died, and no answer may go to its next life.
  void forget_asker() noexcept { asked_.reset(); }

  [[nodiscard]] config::Config& config() noexcept { return config_; }
  // What the child gets; null if it is no part of this.
  [[nodiscard]] const std::string* fresh_for(const Configurable& child) const noexcept;
  [[nodiscard]] base::Generation generation() const noexcept { return generation_; }
  [[nodiscard]] std::optional<base::RequestId> asked() const noexcept { return asked_; }

 private:
  struct Step {
    Configurable* child;
    std::string fresh;  // encoded
  };

  void next();
  [[nodiscard]] bool is_asked(const Configurable& child) const noexcept;
  void finish(std::string why);

  event::Loop& loop_;
  config::Config config_;
  base::Generation generation_;
  std::vector<Step> steps_;
  std::optional<base::RequestId> asked_;
  Finished finished_;
  event::Timer deadline_;
  std::size_t at_ =
      0;  // the step whose answer is waited for; those before have taken it, or are dead
  bool over_ = false;
};

}  // namespace postern::parent
