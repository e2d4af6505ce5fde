// Resolver: asks the configured name servers without ever blocking. One per process.
//
// It only creates UDP and TCP sockets to the servers, one for each attempt (exchange.h). Every
// query ends with exactly one call of its continuation, at the end of a loop turn, unless its
// handle died before. Tries: 2 at each server, the first for 3 s; at most kMaxUnderWay queries at a
// time, others wait in line.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/dns/answer.h"
#include "common/dns/exchange.h"
#include "common/event/loop.h"

namespace postern::dns {

// Owns the interest in one query: its death cancels the continuation.
class Query {
 public:
  Query() noexcept = default;
  explicit Query(std::shared_ptr<void> interest) noexcept : interest_(std::move(interest)) {}
  Query(Query&&) noexcept = default;
  Query& operator=(Query&&) noexcept = default;
  [[nodiscard]] bool active() const noexcept { return interest_ != nullptr; }

 private:
  std::shared_ptr<void> interest_;
};

class Resolver {
 public:
  using OnMx = std::move_only_function<void(MxAnswer) noexcept>;
  using OnAddresses = std::move_only_function<void(AddressAnswer) noexcept>;

  static constexpr Exchange::Options kDefaults{base::Millis(3'000), 2};
  static constexpr std::size_t kMaxUnderWay = 256;

  // `servers` is not empty; `loop` outlives the resolver.
  Resolver(event::Loop& loop, std::vector<base::Endpoint> servers,
           Exchange::Options options = kDefaults);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Other servers, for queries from now on.
  void set_servers(std::vector<base::Endpoint> servers);

  // `name` is no literal and not empty.
  [[nodiscard]] Query mx(const mail::Domain& name, OnMx done);
  [[nodiscard]] Query addresses(const mail::Domain& name, base::IpFamily family, OnAddresses done);

 private:
  // The response, or why there is none.
  using OnResponse =
      std::move_only_function<void(std::string_view packet, std::string_view trouble) noexcept>;
  struct Pending {
    std::weak_ptr<void> interest;
    std::string name;
    std::uint16_t type;
    OnResponse done;
  };

  Query ask(const mail::Domain& name, std::uint16_t type, OnResponse done);
  void begin_next();

  event::Loop& loop_;
  std::vector<base::Endpoint> servers_;
  const Exchange::Options options_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Exchange>> under_way_;
  std::uint64_t last_ = 0;
  std::deque<Pending> waiting_;
};

}  // namespace postern::dns
