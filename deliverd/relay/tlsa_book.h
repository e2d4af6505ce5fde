// TlsaBook: asks for the TLSA records of hosts and remembers the answers by their TTL, for a connection
// asks each time. What is not certain is not remembered, and nothing is used beyond its time: a host may
// have changed its certificate.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>

#include "common/base/clock.h"
#include "common/dns/resolver.h"

namespace postern::relay {

class TlsaBook {
 public:
  static constexpr base::Millis kMinTtl{5'000};
  static constexpr base::Millis kMaxTtl{3'600'000};
  static constexpr base::Millis kNoneTtl{60'000};  // for "there are none"
  static constexpr std::size_t kMaxEntries = 10'000;
  using Done = std::move_only_function<void(dns::TlsaAnswer) noexcept>;

  // `resolver` and `clock` outlive the book.
  TlsaBook(event::Loop& loop, dns::Resolver& resolver, const base::Clock& clock)
      : loop_(loop), resolver_(resolver), clock_(clock) {}
  TlsaBook(const TlsaBook&) = delete;
  TlsaBook& operator=(const TlsaBook&) = delete;
  ~TlsaBook() { *alive_ = false; }

  // `name`: "_25._tcp.mx.example.org". `done` is called at the end of a turn, unless the handle died.
  [[nodiscard]] dns::Query find(const std::string& name, Done done);
  void clear() { entries_.clear(); }

 private:
  struct Entry {
    dns::TlsaAnswer answer;
    base::SteadyTime expires;
  };
  void remember(const std::string& name, const dns::TlsaAnswer& answer);

  event::Loop& loop_;
  dns::Resolver& resolver_;
  const base::Clock& clock_;
  std::unordered_map<std::string, Entry> entries_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::relay
