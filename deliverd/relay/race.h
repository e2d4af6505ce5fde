// Race: connects to the first of a host's addresses that answers (RFC 8305 5). The attempts begin
// one after the other, a little apart, in the given order; one that fails lets the next begin at
// once. The first to connect wins, and the others are closed. Its owner hears of everything at the
// end of a turn, and may destroy the race then.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "common/base/ip.h"
#include "common/event/loop.h"

namespace postern::relay {

class RaceOwner {
 public:
  virtual ~RaceOwner() = default;
  // The attempt at this endpoint failed; others may go on.
  virtual void on_attempt_failed(std::size_t number, std::string_view why) noexcept = 0;
  // It won: `fd` is a connected socket. Nothing follows.
  virtual void on_connected(std::size_t number, base::UniqueFd fd) noexcept = 0;
  // All failed. Nothing follows.
  virtual void on_nobody() noexcept = 0;
};

class Race {
 public:
  static constexpr base::Millis kHeadStart{250};   // RFC 8305 5
  static constexpr base::Millis kTimeout{30'000};  // of an attempt
  static constexpr std::size_t kAtOnce = 6;        // attempts under way

  // `endpoints` is not empty; `owner` outlives the race.
  Race(event::Loop& loop, std::vector<base::Endpoint> endpoints, RaceOwner& owner);
  ~Race();
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;

 private:
  struct Attempt;

  void begin_next() noexcept;
  bool begin(std::size_t number);
  void on_writable(std::size_t number) noexcept;
  void failed(std::size_t number, std::string_view why);
  void retire(std::size_t number) noexcept;
  void finish(event::Callback tell);

  event::Loop& loop_;
  const std::vector<base::Endpoint> endpoints_;
  RaceOwner& owner_;
  event::Timer head_start_;                         // until the next attempt
  std::vector<std::unique_ptr<Attempt>> attempts_;  // by number; null: failed
  std::size_t under_way_ = 0;
  bool over_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::relay
