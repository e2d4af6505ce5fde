// Routing: from a recipient to its queue and how that is served, by the configuration of the moment.
// Pure.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "common/config/rights.h"
#include "common/config/roles.h"
#include "common/ipc/explain.h"
#include "queued/schedule.h"

namespace postern::queued {

inline constexpr std::string_view kLocalQueue = "local";

struct Route {
  std::string queue;
  Destination destination;
};

struct RoutedBy {
  ipc::RoutedBy by = ipc::RoutedBy::kNothing;
  std::string place;  // where it stands: "postern.toml:46"; empty: nobody knows
};

// "postern.toml:46"; empty for line 0, which is none.
[[nodiscard]] std::string place_text(const std::string& file, std::uint32_t line);

// Whose mailbox a recipient of a local queue is.
struct Mailbox {
  std::string user;
  std::string domain;
};

class Router {
 public:
  explicit Router(const config::QueuedConfig& config);

  // The second decision of rights, for what a client submits.
  [[nodiscard]] config::Decision decide(base::ListenerIndex listener,
                                        const config::Origin& origin,
                                        const mail::Address& recipient, bool logged_in) const {
    return index_.decide(listener, origin, recipient, logged_in);
  }
  // Likewise: may this client have queues started?
  [[nodiscard]] bool may_start(base::ListenerIndex listener, const config::Origin& origin) const {
    return index_.may_start(listener, origin);
  }
  // Did it come through a Unix socket?
  [[nodiscard]] bool is_socket(base::ListenerIndex listener) const { return index_.is_socket(listener); }
  // As a sender's address is compared with patterns.
  [[nodiscard]] std::string sender_name(const mail::Address& address) const { return index_.sender_name(address); }
  // The same for all addresses of one mailbox.
  [[nodiscard]] std::string key(const mail::Address& address) const { return index_.key(address); }
  // As mail of our own names it.
  [[nodiscard]] config::Decision find(const mail::Address& recipient) const { return index_.find(recipient); }
  // Where accepted mail goes: never refused, whoever sent it. Aliases are behind it.
  [[nodiscard]] Route route(const mail::Address& recipient) const;
  // Its queue alone; valid as long as the address.
  [[nodiscard]] std::string_view queue(const mail::Address& recipient) const;
  // As another host is told of a sender where a route says `masquerade`: one at a domain of ours, an alias domain or this
  // host is the same name at that domain. Others, and one that would be too long so, are left as they are.
  [[nodiscard]] mail::ReversePath masked(const mail::ReversePath& from, const std::string& domain) const;
  // Does only the next hop know whether there is such a recipient?
  [[nodiscard]] bool asks(const mail::Address& recipient) const;
  // nullopt: no such user any more.
  [[nodiscard]] std::optional<Mailbox> mailbox(const mail::Address& recipient) const;
  // Where mail for this domain waits until its host calls; nullopt: it does not.
  [[nodiscard]] std::optional<Route> called_for(const mail::Domain& domain) const;
  // The section that says so of this queue.
  [[nodiscard]] std::string called_for_by(const std::string& queue) const;
  // The section of the configuration that says where it goes.
  [[nodiscard]] RoutedBy routed_by(const mail::Address& recipient) const;
  // Does a route or a domain name a queue of this name, or of this pattern? A route for "*" names
  // none.
  [[nodiscard]] bool names(std::string_view queue) const;
  // Is any next hop told of the clients that mail came from?
  [[nodiscard]] bool passes_clients() const { return passes_clients_; }
  // Does a route or a domain name a host that a freeze of next hops of this name stands for?
  [[nodiscard]] bool names_hop(std::string_view name) const;
  // What `outbound disable` spares, as the configuration writes it: at most `most`.
  [[nodiscard]] std::vector<std::string> internal(std::size_t most) const;

 private:
  [[nodiscard]] const Destination& outbound(const std::string& domain) const;
  // Where mail for a domain of ours goes; null: it is none.
  [[nodiscard]] const config::HopSpec* own_hop(const mail::Address& recipient) const;
  // The pattern of the route for it; empty: there is none.
  [[nodiscard]] std::string pattern(const std::string& domain) const;

  config::RightsIndex index_;
  std::vector<config::HopSpec> domain_hops_;
  std::unordered_map<std::string, std::size_t> called_for_;  // domains of ours, with their index
  std::unordered_map<std::string, Destination> exact_;
  std::unordered_map<std::string, Destination> below_;  // by "corp.example" for "*.corp.example"
  Destination other_;
  bool passes_clients_ = false;
  std::vector<std::string> internal_;  // "corp.example", "*.corp.example"
  std::vector<std::string> hop_keys_;  // of all hosts that are named
  std::vector<std::string> domain_places_;               // by index, as domain_hops_
  std::unordered_map<std::string, std::string> places_;  // of routes, by their patterns
};

}  // namespace postern::queued
