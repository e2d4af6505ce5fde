// Plan: which message is due when: a number of messages or a time, as fast as it goes or at a rate.
#pragma once

#include <cstdint>
#include <optional>

namespace postern::bench {

class Plan {
 public:
  // 0 in `messages`, `micros` or `rate` (a second): no such limit.
  Plan(std::uint64_t messages, std::uint64_t micros, double rate) noexcept
      : messages_(messages), micros_(micros), rate_(rate) {}

  // The number of the next message, from 1 on, if one is due `elapsed` after the start.
  [[nodiscard]] std::optional<std::uint64_t> take(std::uint64_t elapsed) noexcept {
    if (finished(elapsed)) return std::nullopt;
    if (rate_ > 0 && static_cast<double>(given_) > rate_ * static_cast<double>(elapsed) / 1e6)
      return std::nullopt;
    return ++given_;
  }
  // Nothing will ever be due again.
  [[nodiscard]] bool finished(std::uint64_t elapsed) const noexcept {
    return stopped_ || (messages_ != 0 && given_ >= messages_) ||
           (micros_ != 0 && elapsed >= micros_);
  }
  void stop() noexcept { stopped_ = true; }
  [[nodiscard]] std::uint64_t given() const noexcept { return given_; }
  [[nodiscard]] std::uint64_t never_begun() const noexcept {
    return messages_ > given_ ? messages_ - given_ : 0;
  }
  [[nodiscard]] bool paced() const noexcept { return rate_ > 0; }

 private:
  std::uint64_t messages_, micros_;
  double rate_;
  std::uint64_t given_ = 0;
  bool stopped_ = false;
};

}  // namespace postern::bench
