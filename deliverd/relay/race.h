// Race: connects to the first of a host's addresses that answers (RFC 8305 5). The attempts begin
// one after the other, a little apart, in the given order; one that fails lets the next begin at
// once. The first to connect wins, and the others are closed. Its owner hears of everything at the
// end of a turn, and may destroy the race then.
//
// With a SOCKS server each attempt connects to that one, asks it for the endpoint, and has won when the
// server has connected.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/event/loop.h"
#include "deliverd/relay/dial.h"
#include "deliverd/relay/socks.h"

namespace postern::relay {

class RaceOwner {
 public:
  virtual ~RaceOwner() = default;
  // The attempt at this endpoint failed; others may go on.
  virtual void on_attempt_failed(std::size_t number, std::string_view why) noexcept = 0;
  // It won: `fd` is a socket that leads to the endpoint. Nothing follows.
  virtual void on_connected(std::size_t number, base::UniqueFd fd) noexcept = 0;
  // All failed. Nothing follows.
  virtual void on_nobody() noexcept = 0;
};

class Race {
 public:
  static constexpr base::Millis kHeadStart{250};   // RFC 8305 5
  static constexpr base::Millis kTimeout{30'000};  // of an attempt, with all that a SOCKS server does for it
  static constexpr std::size_t kAtOnce = 6;        // attempts under way

  // `endpoints` is not empty; `owner` outlives the race.
  Race(event::Loop& loop, std::vector<base::Endpoint> endpoints, RaceOwner& owner, Dial dial = {});
  ~Race();
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;

  // From where an attempt was made; nothing: it was not made, or from where the kernel chose.
  [[nodiscard]] std::optional<base::IpAddress> source(std::size_t number) const;

 private:
  struct Attempt;

  void pass_over_unreachable();
  void begin_next() noexcept;
  bool begin(std::size_t number);
  void on_ready(std::size_t number) noexcept;
  void on_timeout(std::size_t number) noexcept;
  void won(std::size_t number);
  void failed(std::size_t number, std::string why);
  void tell_failed(std::size_t number, std::string why);
  void retire(std::size_t number) noexcept;
  void finish(event::Callback tell);
  [[nodiscard]] const base::Endpoint& peer(std::size_t number) const;
  [[nodiscard]] bool has_source(std::size_t number) const;
  [[nodiscard]] SocksClient request(std::size_t number) const;
  [[nodiscard]] std::string not_connected(std::string_view why) const;

  event::Loop& loop_;
  const std::vector<base::Endpoint> endpoints_;
  RaceOwner& owner_;
  const Dial dial_;
  event::Timer head_start_;                         // until the next attempt
  std::vector<std::unique_ptr<Attempt>> attempts_;  // by number; null: failed
  std::vector<std::optional<base::IpAddress>> from_;  // of each of them, failed or not
  std::size_t under_way_ = 0;
  bool over_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::relay
