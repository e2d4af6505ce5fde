// FakeQueued: the other end of a deliverer's channel, in the test's own loop.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/ipc/channel.h"

namespace postern::deliverd {

template <ipc::Role kDeliverer>
class FakeQueued {
 public:
  FakeQueued(event::Loop& loop, base::UniqueFd fd, std::uint64_t epoch = 1)
      : epoch_(epoch), connection_(loop, std::move(fd), *this) {}

  void on(const ipc::HeldLeases& m) { held.insert(held.end(), m.leases.begin(), m.leases.end()); }
  void on(const ipc::HopFound& m) {
    found.push_back(m);
    if (goes_ahead) connection_.send(ipc::GoAhead{m.grant});
  }
  void on(const ipc::GrantEnded& m) { ended.push_back(m); }
  void on(const ipc::AskWork& m) { asks.push_back(m); }
  void on(const ipc::Outcome& m) {
    outcomes.push_back(m);
    if (saves) connection_.send(ipc::OutcomeSaved{m.request});
  }
  void on(const ipc::Probed& m) { probed.push_back(m); }
  void on(const ipc::NameKnown& m) { named.push_back(m); }
  void on(const ipc::TurnedRound& m, ipc::Descriptors descriptors) {
    turned.push_back(m);
    if (!descriptors.empty()) sessions.push_back(std::move(descriptors.front()));
  }
  void on(const ipc::Collected& m) { collected.push_back(m); }
  void closed() noexcept { is_closed = true; }

  base::GrantId grant(std::string queue, config::HopSpec hop = {}, std::string next_hop = {}) {
    last_grant_ = last_grant_.next();
    connection_.send(
        ipc::Grant{last_grant_, std::move(queue), std::move(hop), std::move(next_hop), {}});
    return last_grant_;
  }
  // A host has called, and this is its connection.
  base::GrantId call(std::string queue, ipc::Turned caller, base::UniqueFd fd) {
    last_grant_ = last_grant_.next();
    ipc::Descriptors descriptors;
    descriptors.push_back(std::move(fd));
    connection_.send(ipc::Grant{last_grant_, std::move(queue), {.kind = config::HopKind::kTurn}, {}, std::move(caller)},
                     std::move(descriptors));
    return last_grant_;
  }
  void collect(config::HopSpec hop, std::vector<mail::Domain> domains = {}) {
    last_call_ = last_call_.next();
    connection_.send(ipc::Collect{last_call_, std::move(hop), std::move(domains)});
  }
  void end_collect() { connection_.send(ipc::EndCollect{last_call_}); }
  void cancel(base::GrantId id) { connection_.send(ipc::CancelGrant{id}); }
  void break_off(const ipc::Lease& lease) {
    connection_.send(ipc::BreakOff{lease.lease, lease.epoch});
  }
  void no_work() { connection_.send(ipc::NoWork{take_ask().request}); }

  // Answers the oldest request for work.
  ipc::Lease lease(std::string_view body, std::vector<std::string> recipients = {"r@example.org"}) {
    auto lease = make_lease(body.size(), recipients);
    connection_.send(lease);
    for (std::size_t at = 0; at < body.size(); at += ipc::kBodySlice)
      connection_.send(ipc::LeaseBody{lease.lease, {body.substr(at, ipc::kBodySlice)}});
    return lease;
  }
  ipc::Lease lease_large(const std::string& body) {
    auto lease = make_lease(body.size(), {"r@example.org"});
    lease.large = true;
    auto file = base::UniqueFd::adopt(::memfd_create("body", MFD_CLOEXEC));
    for (std::size_t at = 0; at < body.size();)
      at += static_cast<std::size_t>(::write(file.get(), body.data() + at, body.size() - at));
    ipc::Descriptors descriptors;
    descriptors.push_back(std::move(file));
    connection_.send(lease, std::move(descriptors));
    return lease;
  }
  ipc::Lease make_lease(std::size_t size, const std::vector<std::string>& recipients) {
    ipc::Lease lease;
    lease.request = take_ask().request;
    lease.lease = last_lease_ = last_lease_.next();
    lease.epoch = base::Epoch(epoch_);
    lease.message = base::MessageId(1'000 + last_lease_.value);
    lease.arrived = {1'700'000'000'000};
    lease.from = mail::ReversePath(mail::Address::parse("a@us.example").value());
    std::uint32_t number = 5;  // recipients keep the numbers that they have in their message
    for (const auto& text : recipients)
      lease.recipients.push_back(
          {number++, mail::Address::parse(text).value(), "user", "example.org"});
    lease.client = client;
    lease.prefix = "Received: by us\r\n";
    lease.body_size = size;
    lease.tls_wish = tls_wish;
    return lease;
  }
  ipc::AskWork take_ask() {
    auto ask = asks.at(0);
    asks.erase(asks.begin());
    return ask;
  }
  auto& connection() { return connection_; }

  mail::TlsWish tls_wish = mail::TlsWish::kUnsaid;  // of all that is leased from now on
  std::optional<ipc::FirstClient> client;  // that messages come from, from now on
  std::vector<ipc::HeldLease> held;
  std::vector<ipc::HopFound> found;
  std::vector<ipc::GrantEnded> ended;
  std::vector<ipc::AskWork> asks;
  std::vector<ipc::Outcome> outcomes;
  std::vector<ipc::Probed> probed;
  std::vector<ipc::NameKnown> named;
  std::vector<ipc::TurnedRound> turned;
  std::vector<base::UniqueFd> sessions;  // of these
  std::vector<ipc::Collected> collected;
  bool saves = true;
  bool goes_ahead = true;
  bool is_closed = false;

 private:
  std::uint64_t epoch_;
  ipc::Connection<FakeQueued, ipc::Role::kQueued, kDeliverer> connection_;
  base::RequestId last_call_;
  base::GrantId last_grant_;
  base::LeaseId last_lease_;
};

}  // namespace postern::deliverd
