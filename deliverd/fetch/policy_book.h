// PolicyBook: which policy holds for a domain now (RFC 8461 3.3, 5.1). It asks the DNS whether the domain names
// a policy, has that fetched where it is not the one that is held, and holds it. Pure but for what Sources
// does; every answer comes by a call of one of its continuations, or of ask() or tick().
//
//   the DNS names      held                          then
//   the id held        its time is not over          what is held
//   another, or some   -                             it is fetched: what came; else what is held; else none
//   none, or nothing   its time is not over          what is held
//   is heard           nothing                       none
//
// For a domain there is one question and one fetch at a time, whoever asks meanwhile; a fetch that failed is
// not begun again within kFailureHolds for the same id. Nobody waits longer than kPatience: then what is held
// holds, and the fetch goes on; where nothing is held and the fetch was not tried, nothing is known, for whoever
// keeps us busy must not make mail go past a policy. Policies are fetched again before their time is over.
#pragma once

#include <deque>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/dns/resolver.h"
#include "deliverd/fetch/cache.h"

namespace postern::fetch {

class Sources {
 public:
  using OnPolicy = std::move_only_function<void(std::expected<std::string, std::string>) noexcept>;

  virtual ~Sources() = default;
  // Both call `done` once, in another turn. The book outlives what was asked, but for a query that died.
  [[nodiscard]] virtual dns::Query record(const std::string& name, dns::Resolver::OnTxt done) = 0;
  // The text of the policy that the domain's host has, or why there is none. It ends within kPatience.
  virtual void policy(const std::string& domain, OnPolicy done) = 0;
};

class PolicyBook {
 public:
  static constexpr std::size_t kAtOnce = 100;      // fetches under way
  static constexpr std::size_t kRefreshes = 10;    // checks under way for which no mail waits
  static constexpr std::size_t kMaxKnown = 10'000;  // domains of which the DNS's word is remembered
  static constexpr base::Millis kPatience{40'000};
  static constexpr base::Millis kFailureHolds{5 * 60'000};  // RFC 8461 3.3
  static constexpr base::Millis kMinTtl{5'000};
  static constexpr base::Millis kMaxTtl{5 * 60'000};
  static constexpr base::Millis kNoneTtl{60'000};   // for "there is none"
  static constexpr base::Millis kSilentTtl{30'000};  // for no answer

  // The policy that holds; null: there is none; nothing: it is not known yet. Read before the continuation returns.
  using Done = std::move_only_function<void(std::optional<const Held*>) noexcept>;

  // `sources` and `clock` outlive the book.
  PolicyBook(Sources& sources, const base::Clock& clock, Cache cache)
      : sources_(sources), clock_(clock), cache_(std::move(cache)) {}
  PolicyBook(const PolicyBook&) = delete;
  PolicyBook& operator=(const PolicyBook&) = delete;

  // `domain` in lower case. `done` is called once, perhaps before this returns.
  void ask(const std::string& domain, Done done);
  // Now and then, at least every few seconds: lets nobody wait too long, begins what is due.
  void tick();
  // Other name servers, authorities or bounds from now on: what failed may be tried again.
  void forget_failures();

  [[nodiscard]] Cache& cache() noexcept { return cache_; }

 private:
  struct Known {  // what the DNS said
    std::optional<std::string> id;
    base::SteadyTime until;
  };
  struct Failure {
    std::string id;
    base::SteadyTime until;
  };
  struct Waiting {
    Done done;
    base::SteadyTime since;
  };
  struct Check {
    std::vector<Waiting> waiting;
    dns::Query query;
    std::string id;        // that is fetched, or is to be
    bool refresh = false;  // nobody waits for it where something is held
  };

  void start(const std::string& domain, bool refresh);
  void on_record(const std::string& domain, const dns::TxtAnswer& answer);
  void decide(const std::string& domain, const std::optional<std::string>& id);
  void fetch_next();
  void on_policy(const std::string& domain, std::expected<std::string, std::string> text);
  [[nodiscard]] std::expected<void, std::string> take(const std::string& domain, const std::string& id,
                                                      std::expected<std::string, std::string> text);
  void finish(const std::string& domain);
  void answer(const std::string& domain, Done done);
  [[nodiscard]] bool is_refreshed_aside(const std::string& domain) const;

  Sources& sources_;
  const base::Clock& clock_;
  Cache cache_;
  std::unordered_map<std::string, Known> known_;
  std::unordered_map<std::string, Failure> failures_;
  std::unordered_map<std::string, Check> checks_;  // under way
  std::deque<std::string> queue_;                  // of these, those that wait for a fetch
  std::size_t fetching_ = 0;
  base::SteadyTime looked_;  // for what is due
};

}  // namespace postern::fetch
