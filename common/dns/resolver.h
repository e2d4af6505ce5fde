// Resolver: asks the configured name servers, over c-ares, without ever blocking. One per process.
//
// Made before the sandbox, where c-ares reads what it wants to read; afterwards it only creates UDP
// and TCP sockets to the servers: each try has its own (query_sockets.h), and each query an id from
// the kernel's random numbers. Every query ends with exactly one call of its continuation, at the
// end of a loop turn, unless its handle died before. Tries: 2 at each server, the first for 3 s; a
// truncated answer is asked for again over TCP.
//
// At most kMaxUnderWay queries are under way; others wait in line, as many as there are who ask. The
// time for tries begins when a query is sent: what is slow in front of it makes it late, never fail.
#pragma once

#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "common/dns/answer.h"
#include "common/dns/query_sockets.h"
#include "common/event/loop.h"

struct ares_channeldata;

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
  using OnTlsa = std::move_only_function<void(TlsaAnswer) noexcept>;
  using OnNames = std::move_only_function<void(NamesAnswer) noexcept>;
  using OnTxt = std::move_only_function<void(TxtAnswer) noexcept>;

  struct Options {
    base::Millis timeout;  // of the first try
    int tries;
    bool trust_ad;  // believe the servers when they say that an answer is secure
  };
  static constexpr Options kDefaults{base::Millis(3'000), 2, false};
  // Fewer than fit into the receive buffer of a name server: by default some 250 small datagrams.
  static constexpr std::size_t kMaxUnderWay = 200;

  // An error, in words, where c-ares cannot start.
  [[nodiscard]] static std::expected<std::unique_ptr<Resolver>, std::string> make(
      const std::vector<base::Endpoint>& servers, Options options);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Once, before the first query; `loop` outlives the resolver.
  void attach(event::Loop& loop);
  // Other servers from now on. Queries that are under way end with the old ones; new ones wait for
  // that.
  void set_servers(std::vector<base::Endpoint> servers, bool trust_ad);

  // `name` is no literal and not empty.
  [[nodiscard]] Query mx(const mail::Domain& name, OnMx done);
  [[nodiscard]] Query addresses(const mail::Domain& name, base::IpFamily family, OnAddresses done);
  // `name`: "_25._tcp.mx.example.org", in lower case.
  [[nodiscard]] Query tlsa(const std::string& name, OnTlsa done);
  // Those that its owner gives an address; whether they are true, addresses() says.
  [[nodiscard]] Query names(const base::IpAddress& address, OnNames done);
  // `name`: "_mta-sts.example.org", likewise.
  [[nodiscard]] Query txt(const std::string& name, OnTxt done);

 private:
  struct Pending;
  // The response, or why there is none; `trusted`: it came from servers that are believed.
  using OnResponse = std::move_only_function<void(std::string_view packet, std::string_view trouble,
                                                  bool trusted) noexcept>;
  Resolver() = default;

  Query ask(std::string name, int type, OnResponse done);
  template <class Answer, class Read, class Done>
  static auto reading(Read read, Done done);
  void send_next();
  void send(std::unique_ptr<Pending> pending);
  void send_again(std::unique_ptr<Pending> pending);
  void settle(std::unique_ptr<Pending> pending, std::string packet, std::string trouble);
  void process(int number, bool readable, bool writable) noexcept;
  void update_timer() noexcept;
  static void on_answer(void* pending, int status, int timeouts, unsigned char* packet,
                        int size) noexcept;

  struct Servers {
    std::vector<base::Endpoint> endpoints;
    bool trust_ad = false;
  };

  QuerySockets sockets_{[this](int number, bool readable, bool writable) noexcept {
    process(number, readable, writable);
  }};
  ares_channeldata* channel_ = nullptr;
  event::Loop* loop_ = nullptr;
  bool trust_ad_ = false;
  std::unique_ptr<event::Timer> timer_;
  std::unordered_set<std::uint16_t> under_way_;    // by id
  std::deque<std::unique_ptr<Pending>> waiting_;   // in line
  Servers next_servers_;                           // wait until nothing is under way; empty: none
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::dns
