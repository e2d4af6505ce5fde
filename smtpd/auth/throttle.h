// Throttle: how long a login waits, by what failed before it from the same network (IPv4 /24, IPv6
// /64) and for the same account. Pure: the time comes from outside.
//
// The first failures cost nothing; from then on each doubles the pause between two attempts, up to
// kMostPause. Attempts at the same time queue up behind each other, so more connections win nothing: while
// kMostAtOnce of a network or kFreeFailures for an account wait or are being checked, others ask again in kFirstPause.
// Whoever would wait longer than kMostWait is refused at once. A failure is forgotten every
// kForgetAfter. A network that has logged into an account is not slowed down by what others do to
// that account, so nobody can be locked out of a place where he is known.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>

#include "common/base/clock.h"
#include "common/base/ip.h"

namespace postern::smtpd::auth {

class Throttle {
 public:
  static constexpr std::uint32_t kFreeFailures = 3;
  static constexpr base::Millis kFirstPause{250};
  static constexpr base::Millis kMostPause{15'000};
  static constexpr base::Millis kMostWait{30'000};
  static constexpr base::Millis kForgetAfter{60'000};
  static constexpr std::uint32_t kMostFailures = 20;   // more count no more
  static constexpr std::uint32_t kMostAtOnce = 10;     // attempts of one network that are under way
  static constexpr std::size_t kMostEntries = 65'536;  // of each kind; the one unused longest goes

  struct Wait {
    base::Millis time;
    bool again = false;  // then it asks again: it is not under way
  };
  // How long this attempt is to wait before it is judged, and is under way; nullopt: it is refused.
  [[nodiscard]] std::optional<Wait> admit(const base::IpAddress& client, const std::string& account,
                                          base::SteadyTime now);
  // An attempt that was under way is judged, or was given up.
  void ended(const base::IpAddress& client, const std::string& account);
  void failed(const base::IpAddress& client, const std::string& account, base::SteadyTime now);
  void succeeded(const base::IpAddress& client, const std::string& account, base::SteadyTime now);

  [[nodiscard]] std::size_t entries() const noexcept {
    return networks_.size() + accounts_.size() + known_.size();
  }

 private:
  struct Record {
    std::uint32_t failures = 0;
    base::SteadyTime counted;  // failures are of this time
    base::SteadyTime free;     // when the next attempt may be judged
  };
  // The least recently used goes when there are too many.
  class Table {
   public:
    [[nodiscard]] Record* find(const std::string& key);
    Record& at(const std::string& key);
    void erase(const std::string& key);
    [[nodiscard]] std::size_t size() const noexcept { return places_.size(); }

   private:
    using Order = std::list<std::pair<std::string, Record>>;
    Order order_;  // used last first
    std::unordered_map<std::string, Order::iterator> places_;
  };

  static void forget(Record& record, base::SteadyTime now);
  static base::Millis pause(const Record& record);
  [[nodiscard]] std::uint32_t under_way(const std::string& key) const;
  static void note_failure(Table& table, const std::string& key, base::SteadyTime now);

  Table networks_, accounts_;
  Table known_;  // a network and an account that it has logged into
  std::unordered_map<std::string, std::uint32_t> under_way_;  // by network, and by account behind "@"
};

}  // namespace postern::smtpd::auth
