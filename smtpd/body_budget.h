// BodyBudget: the memory that the bodies of all sessions of a process may hold together, from their
// first byte until queued has given its word. BodyShare: what one body holds of it.
#pragma once

#include <cstddef>
#include <utility>

#include "common/base/check.h"

namespace postern::smtpd {

class BodyBudget {
 public:
  static constexpr std::size_t kBytes = 64U << 20;
  explicit BodyBudget(std::size_t bytes = kBytes) noexcept : left_(bytes) {}
  BodyBudget(const BodyBudget&) = delete;
  BodyBudget& operator=(const BodyBudget&) = delete;

  [[nodiscard]] std::size_t left() const noexcept { return left_; }

 private:
  friend class BodyShare;
  std::size_t left_;
};

// Given back when it dies; a share that was moved from holds nothing and may grow again.
class BodyShare {
 public:
  static constexpr std::size_t kStep = 16 * 1024;  // the budget is taken in steps, not per piece

  BodyShare() noexcept = default;
  // `budget` outlives the share and all that it is moved to.
  explicit BodyShare(BodyBudget& budget) noexcept : budget_(&budget) {}
  BodyShare(BodyShare&& other) noexcept
      : budget_(other.budget_), bytes_(std::exchange(other.bytes_, 0)) {}
  BodyShare& operator=(BodyShare&& other) noexcept {
    if (this == &other) return *this;
    give_back();
    budget_ = other.budget_;
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }
  BodyShare(const BodyShare&) = delete;
  BodyShare& operator=(const BodyShare&) = delete;
  ~BodyShare() { give_back(); }

  // false: the budget is used up; the share keeps what it has.
  [[nodiscard]] bool grow_to(std::size_t bytes) noexcept {
    CHECK(budget_ != nullptr);
    while (bytes_ < bytes) {
      if (budget_->left_ < kStep) return false;
      budget_->left_ -= kStep;
      bytes_ += kStep;
    }
    return true;
  }
  void give_back() noexcept {
    if (budget_ != nullptr) budget_->left_ += std::exchange(bytes_, 0);
  }

 private:
  BodyBudget* budget_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace postern::smtpd
