// What the model of the schedule knows: plain maps, and where its queues lead. In a namespace of its own, for some
// of it has names that the real thing has.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "queued/schedule.h"
#include "tests/unit/queued/plain_line.h"

namespace postern::queued::model {

inline constexpr std::uint32_t kConnections = 5;
inline constexpr base::Millis kInterval{25};  // between messages to the next hop that has a rate

// --- Mail -------------------------------------------------------------------------------------------

// Of five senders, each of two hashes that Turns takes for one. One sends anything up to 1 MiB, two only little.
inline std::uint64_t mixed(std::uint64_t message) {
  message = (message ^ (message >> 31)) * 0x7FB5'D329'728E'A185;
  return message ^ (message >> 27);
}
inline std::uint8_t sender_of(std::uint64_t message) {
  const auto n = mixed(message);
  return static_cast<std::uint8_t>(n % 5 + (n / 5 % 2) * Turns::kSenders);
}
inline std::uint64_t size_of(std::uint64_t message) {
  constexpr std::uint64_t kMost[] = {1 << 20, 64 << 10, 64 << 10, 4 << 10, 4 << 10};
  return 1 + mixed(message) / 10 % kMost[sender_of(message) % Turns::kSenders];
}

struct Recipient {
  QueueTime due{0};
  bool held = false;
  bool leased = false;
  bool ready = false;
};
using Recipients = std::map<std::uint32_t, Recipient>;

struct ModelQueue {
  std::map<std::uint64_t, Recipients> messages;
  PlainLine line;  // of messages with a ready recipient
  bool frozen = false;
  std::uint64_t partings = 0;  // how often it left its next hop's ring, at least

  // After a change of the message's recipients.
  void review(std::uint64_t message) {
    const auto at = messages.find(message);
    const bool ready = at != messages.end() && any(at->second, &Recipient::ready);
    if (ready && !line.contains(message))
      line.join(message, sender_of(message), cost_of(static_cast<std::uint32_t>(size_of(message))));
    if (!ready && line.contains(message)) line.leave(message);
    if (line.empty()) ++partings;
    if (at != messages.end() && at->second.empty()) messages.erase(at);
  }
  static bool any(const Recipients& recipients, bool Recipient::*what) {
    return std::any_of(recipients.begin(), recipients.end(),
                       [&](const auto& entry) { return entry.second.*what; });
  }
};

struct ModelLease {
  LeaseKey key;
  DelivererId deliverer;
  base::GrantId grant;
  std::uint64_t message = 0;
  std::vector<std::uint32_t> recipients;  // of any queue: see queue_of()
};

struct ModelGrant {
  DelivererId deliverer;
  std::string queue;
  std::string hop;       // empty: not reported yet
  bool waits = false;    // for the word to go ahead
  bool busy = false;
  bool parked = false;
  bool leaving = false;
};

// A recipient's number tells its queue, "q3.example", for a message may have some in several.
inline std::uint32_t number_in(const std::string& queue, std::uint32_t n) {
  return static_cast<std::uint32_t>(queue[1] - '0') * 1'000 + n;
}
inline std::string queue_of(std::uint32_t number) { return "q" + std::to_string(number / 1'000) + ".example"; }

// --- Where it goes ----------------------------------------------------------------------------------

inline constexpr std::size_t kQueues = 10;

// A queue's next hops, in order. Two queues share one, two sets of MX hosts have two queues each; two queues
// have two ways, of which the first is the same, and one goes on to where others go anyway.
inline std::vector<std::string> ways_of(const std::string& queue) {
  const int n = queue[1] - '0';
  if (n < 2) return {"shared:25"};
  if (n < 6) return {"mx" + std::to_string(n % 2) + ":25"};
  if (n == 8) return {"first:25", "second:25"};
  if (n == 9) return {"first:25", "shared:25"};
  return {queue + ":25"};
}
inline bool leads_to(const std::string& queue, const std::string& hop) {
  const auto ways = ways_of(queue);
  return std::ranges::find(ways, hop) != ways.end();
}
inline bool is_by_mx(const std::string& hop) { return hop.starts_with("mx"); }
// Its one queue is often empty, and forgotten.
inline bool has_rate(const std::string& hop) { return hop.starts_with("q7"); }

inline Destination destination_of(const std::string& queue) {
  Destination to{.connections = kConnections, .via = {}};
  for (const auto& hop : ways_of(queue)) {
    if (has_rate(hop)) to.interval = static_cast<std::uint64_t>(kInterval.count()) * 1000;
    to.via.push_back(is_by_mx(hop)
                         ? config::HopSpec{}
                         : config::HopSpec{config::HopKind::kHost, hop.substr(0, hop.find(':')), 25});
  }
  return to;
}

}  // namespace postern::queued::model
