// PolicyLink: a relay's side of its conversation with fetch: what the MTA-STS policy of a domain says of its
// MX hosts. A question outlives the channel: the next one carries it again. Who is left without an answer for
// kPatience hears that there is none, for mail must not go past a policy because somebody ended fetch.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/dns/resolver.h"
#include "common/ipc/channel.h"

namespace postern::relay {

class PolicyLink {
 public:
  static constexpr base::Millis kPatience{60'000};  // fetch itself answers within less

  using Done = std::move_only_function<void(std::optional<ipc::PolicySaid>) noexcept>;
  using Connection = ipc::Connection<PolicyLink, ipc::Role::kRelay, ipc::Role::kFetch>;

  // `clock` outlives the link. `lost`: the channel broke, and somebody should see to a new one.
  PolicyLink(event::Loop& loop, const base::Clock& clock, event::Callback lost);

  // A fresh channel, in place of the former.
  void connect(base::UniqueFd fd);
  // `hosts`: at most ipc::kPolicyHosts. `done` is called once, in another turn, unless the handle died.
  [[nodiscard]] dns::Query ask(const std::string& domain, std::vector<std::string> hosts, Done done);

  // Tells those who have waited for kPatience. Done by a timer of its own.
  void give_up_late();

  // From fetch.
  void on(const ipc::PolicySaid& said);
  void closed() noexcept;

 private:
  struct Question {
    ipc::AskPolicy message;
    std::weak_ptr<char> interest;
    Done done;
    base::SteadyTime until;
    bool sent = false;
  };

  void send_waiting();

  event::Loop& loop_;
  const base::Clock& clock_;
  event::Callback lost_;
  std::unique_ptr<Connection> connection_;
  base::RequestId last_request_;
  std::map<std::uint64_t, Question> questions_;  // by request: the oldest first
  event::Timer timer_;                           // for the oldest
};

}  // namespace postern::relay
