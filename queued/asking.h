// Asking: whether the next hop of one of our domains knows a recipient (`recipients = "ask"`), so that
// mail for others is refused at RCPT and never bounces. Answers are remembered; who asks for what is
// being asked already joins it; how much is under way is bounded, for each queue and in all.
//
// Only a next hop's 2yz to RCPT accepts, only its 5yz refuses for good. Whatever else happens, and
// where the next hop must not be contacted now, the client is told to come again.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/ipc/delivery.h"
#include "queued/clock.h"
#include "queued/recipient_cache.h"
#include "queued/routing.h"

namespace postern::queued {

// What RCPT gets by what the next hop said of `address`; nothing: it is accepted.
[[nodiscard]] std::optional<mail::Reply> answer_to_rcpt(const mail::Address& address,
                                                        const ipc::Probed& probed);

class Asking {
 public:
  static constexpr std::size_t kMost = 1'000;        // recipients that are being asked for
  static constexpr std::size_t kMostOfQueue = 200;   // so that a silent next hop leaves room for others
  static constexpr std::size_t kMostWaiting = 100;   // for the answer on one recipient

  // The reply that RCPT gets; nothing: the recipient is there.
  using Answered = std::move_only_function<void(const std::optional<mail::Reply>&) noexcept>;
  // Hands the question to a deliverer; false: there is none that could take it.
  using Probe = std::move_only_function<bool(const ipc::Probe&) noexcept>;

  explicit Asking(const QueueClock& clock) : clock_(clock) {}

  void set_probe(Probe probe) { probe_ = std::move(probe); }
  // `blocked`: nothing may be sent to the next hop now.
  void ask(const mail::Address& address, const Route& route, bool blocked, Answered answered);
  void probed(const ipc::Probed& probed);
  // Other next hops may know others; what is under way goes on.
  void forget() { cache_.clear(); }

 private:
  struct Open {
    mail::Address address;
    std::string queue;
    std::vector<Answered> waiting;
  };

  const QueueClock& clock_;
  Probe probe_;
  RecipientCache cache_;
  std::unordered_map<std::string, base::RequestId> by_address_;
  std::map<base::RequestId, Open> open_;
  std::unordered_map<std::string, std::size_t> of_queue_;
  base::RequestId last_request_;
};

}  // namespace postern::queued
