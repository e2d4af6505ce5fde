// Namer: which host is at an address, as the DNS has it: one of the names that the address has, which leads back
// to it (RFC 8499, forward-confirmed). At most kMostOpen questions are open; it remembers nothing, for who asks
// does.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/dns/resolver.h"
#include "common/ipc/submission.h"

namespace postern::relay {

class Namer {
 public:
  // Each has one query under way: whoever may ask for names leaves the other half to mail.
  static constexpr std::size_t kMostOpen = dns::Resolver::kMaxUnderWay / 2;
  using Answered = std::move_only_function<void(const ipc::NameKnown&) noexcept>;

  // `resolver` outlives this; `answered` hears of each question once, unless forget() comes before.
  Namer(dns::Resolver& resolver, Answered answered)
      : resolver_(resolver), answered_(std::move(answered)) {}
  Namer(const Namer&) = delete;
  Namer& operator=(const Namer&) = delete;

  void ask(const ipc::AskName& question);
  // Whoever asked is gone.
  void forget() { open_.clear(); }

 private:
  struct Open {
    base::IpAddress client;
    std::vector<mail::Domain> names;  // not yet looked at, the next one last
    mail::Domain name;                // that is being looked at
    base::Millis ttl{0};              // the smallest so far
    bool unclear = false;             // of one name nobody could say whether it leads back
    dns::Query query;
  };
  void on_names(std::uint64_t number, dns::NamesAnswer answer);
  void on_addresses(std::uint64_t number, const dns::AddressAnswer& answer);
  void try_next(std::uint64_t number, Open& open);
  void end(std::uint64_t number, ipc::NameState state, base::Millis ttl);

  dns::Resolver& resolver_;
  Answered answered_;
  std::unordered_map<std::uint64_t, Open> open_;  // by request
};

}  // namespace postern::relay
