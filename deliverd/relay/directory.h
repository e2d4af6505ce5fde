// Directory: asks the DNS for the hosts of a domain and their addresses, and remembers the answer
// by its TTL, so that the many connections of a queue cost one lookup. Questions that are asked
// while the same one is under way join it. What the answers mean is decided in next_hop.h.
//
// What was certain once is used for a day beyond its time while the name servers fail (RFC 8767):
// mail then goes where it went before.
//
// Not everything is waited for: once addresses are known that mail may go to, what is still unanswered has but
// a moment left, a family of addresses kFamilyPatience (RFC 8305 3, "resolution delay"), a host kHostPatience. A
// host that is better than all that are known is waited for. What is missing then counts as a failure that may
// pass, as if the name servers had failed, so mail never fails by it; it is used once it comes, and the answer is
// remembered when it is whole.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/dns/resolver.h"
#include "deliverd/relay/next_hop.h"

namespace postern::relay {

class Directory {
 public:
  using Result = std::expected<std::vector<Host>, Trouble>;
  using Done = std::move_only_function<void(Result) noexcept>;

  static constexpr base::Millis kMinTtl{5'000};
  static constexpr base::Millis kMaxTtl{3'600'000};
  static constexpr base::Millis kMaxStale{24LL * 3'600'000};  // RFC 8767 5: one to three days
  static constexpr base::Millis kStaleTtl{30'000};  // then the name servers are asked again
  static constexpr base::Millis kFamilyPatience{50};
  static constexpr base::Millis kHostPatience{1'000};
  static constexpr std::size_t kMaxEntries = 10'000;

  // `resolver` and `clock` outlive the directory.
  Directory(event::Loop& loop, dns::Resolver& resolver, const base::Clock& clock, Chance chance)
      : loop_(loop), resolver_(resolver), clock_(clock), chance_(std::move(chance)) {}
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { *alive_ = false; }

  // The hosts that take mail for `domain`, best first, equal ones in random order anew each time.
  // `done` is called at the end of a turn, unless the returned handle died before.
  [[nodiscard]] dns::Query mail_hosts(const mail::Domain& domain, Done done);
  // A host by its name, without MX.
  [[nodiscard]] dns::Query host(const mail::Domain& name, Done done);
  // Forgets all that is remembered.
  void clear();

 private:
  struct Waiting {
    std::weak_ptr<char> interest;
    Done done;
  };
  struct Entry {
    bool complete = false;
    bool usable = false;  // before it is complete: as far as it goes
    Result result;
    base::SteadyTime expires;
    base::Millis ttl = kMaxTtl;  // the smallest seen so far
    std::vector<Host> stale;     // what was certain before, for use until:
    base::SteadyTime stale_until;
    std::vector<dns::Query> queries;
    std::size_t open_queries = 0;
    std::vector<Waiting> waiting;
    std::unique_ptr<event::Timer> patience;  // until it is usable
    base::Millis patience_left{0};           // when the timer was started
  };
  using Key = std::pair<bool, std::string>;  // by MX?, name
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept {
      return std::hash<std::string>{}(key.second) * 2 + (key.first ? 1 : 0);
    }
  };

  dns::Query find(Key key, const mail::Domain& name, Done done);
  void start(const Key& key, const mail::Domain& name);
  void on_mx(const Key& key, const mail::Domain& domain, const dns::MxAnswer& answer);
  void ask_addresses(const Key& key);
  void on_addresses(const Key& key, std::size_t host, base::IpFamily family,
                    dns::AddressAnswer answer);
  void be_patient(const Key& key, Entry& entry);
  void answer_early(const Key& key);
  static void expire(Entry& entry);
  void fill_from_stale(const Entry& entry, Result& result) const;
  [[nodiscard]] Result so_far(const Entry& entry) const;
  void complete(const Key& key);
  void answer_later(Result result, Waiting waiting);
  void make_room();
  void answer(const Result& result, Waiting& waiting);

  event::Loop& loop_;
  dns::Resolver& resolver_;
  const base::Clock& clock_;
  Chance chance_;
  std::unordered_map<Key, Entry, KeyHash> entries_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::relay
