#include "queued/routing.h"

#include <fmt/format.h>

#include <algorithm>

#include "queued/frozen_name.h"

namespace postern::queued {
namespace {

constexpr std::uint32_t kDefaultConnections = 20;
constexpr std::uint32_t kMailboxConnections = 8;  // messages that are filed at the same time

Destination to_destination(const config::RouteConfig& route) {
  return {.local = false,
          .internal = route.internal,
          .connections = route.connections,
          .interval = route.interval,
          .via = route.via.empty() ? std::vector<config::HopSpec>{{}} : route.via,
          .masquerade = route.masquerade.text(),
          .second_path = route.second_path};
}

// A foreign domain may call itself "local"; our own queue keeps that name.
std::string_view queue_of(const std::string& domain) {
  constexpr std::string_view kForeignLocal = "local.";
  return domain == kLocalQueue ? kForeignLocal : std::string_view(domain);
}

// `own`: as Router::own_hop() says.
std::string_view queue_by(const mail::Address& recipient, const config::HopSpec* own) {
  if (own != nullptr && own->kind == config::HopKind::kMailbox) return kLocalQueue;
  return queue_of(recipient.domain().text());
}

// A domain of ours behind another host: no outbound mail.
Destination to_inner(const config::HopSpec& hop) {
  return {.internal = true, .connections = kDefaultConnections, .via = {hop}};
}

}  // namespace

std::string place_text(const std::string& file, std::uint32_t line) {
  return line == 0 ? std::string() : fmt::format("{}:{}", file, line);
}

Router::Router(const config::QueuedConfig& config)
    : index_(config.rights),
      domain_hops_(config.domain_hops),
      other_{.connections = kDefaultConnections, .via = {config::HopSpec{}}} {
  const auto add_hop = [&](const config::HopSpec& hop) {
    if (is_named(hop)) hop_keys_.push_back(hop_name(hop));
    passes_clients_ = passes_clients_ || hop.pass_client != config::PassClient::kNone;
  };
  for (const auto& hop : domain_hops_) add_hop(hop);
  for (std::size_t i = 0; i < domain_hops_.size() && i < config.rights.domains.size(); ++i)
    if (domain_hops_[i].kind != config::HopKind::kMailbox)
      for (const auto& name : config.rights.domains[i].names) {
        internal_.push_back(name.text());
        if (is_called_for(domain_hops_[i])) called_for_.emplace(name.text(), i);
      }
  for (const auto& place : config.domain_places)
    domain_places_.push_back(place_text(place.file, place.line));
  for (const auto& route : config.routes)
    for (const auto& to : route.to) places_[to] = place_text(route.file, route.line);
  for (const auto& route : config.routes) {
    for (const auto& hop : route.via) add_hop(hop);
    if (route.internal) internal_.insert(internal_.end(), route.to.begin(), route.to.end());
    for (const auto& to : route.to) {
      if (to == "*")
        other_ = to_destination(route);
      else if (to.starts_with("*."))
        below_[to.substr(2)] = to_destination(route);
      else
        exact_[to] = to_destination(route);
    }
  }
}

const Destination& Router::outbound(const std::string& domain) const {
  if (const auto at = exact_.find(domain); at != exact_.end()) return at->second;
  // The longest pattern wins.
  for (auto dot = domain.find('.'); dot != std::string::npos; dot = domain.find('.', dot + 1))
    if (const auto at = below_.find(domain.substr(dot + 1)); at != below_.end()) return at->second;
  return other_;
}

const config::HopSpec* Router::own_hop(const mail::Address& recipient) const {
  static const config::HopSpec kMailbox{.kind = config::HopKind::kMailbox};
  if (!index_.is_local(recipient.domain()) && !recipient.domain().text().empty()) return nullptr;
  const auto decision = index_.place(recipient);
  // A user who is gone fails in the local queue, like one whom the mailbox refuses.
  return decision.verdict == config::Verdict::kLocal && decision.domain < domain_hops_.size()
             ? &domain_hops_[decision.domain]
             : &kMailbox;
}

Route Router::route(const mail::Address& recipient) const {
  const auto* own = own_hop(recipient);
  Route route{.queue = std::string(queue_by(recipient, own)), .destination = {}};
  if (own == nullptr)
    route.destination = outbound(recipient.domain().text());
  else if (own->kind == config::HopKind::kMailbox)
    route.destination = {.local = true, .internal = true, .connections = kMailboxConnections, .via = {*own}};
  else
    route.destination = to_inner(*own);
  return route;
}

std::string_view Router::queue(const mail::Address& recipient) const {
  return queue_by(recipient, own_hop(recipient));
}

std::optional<Route> Router::called_for(const mail::Domain& domain) const {
  const auto own = called_for_.find(domain.text());
  if (own == called_for_.end() && index_.is_local(domain)) return std::nullopt;
  auto destination = own != called_for_.end() ? to_inner(domain_hops_[own->second]) : outbound(domain.text());
  if (!is_called_for(destination.via.front())) return std::nullopt;
  return Route{std::string(queue_of(domain.text())), std::move(destination)};
}

std::string Router::called_for_by(const std::string& queue) const {
  if (const auto own = called_for_.find(queue); own != called_for_.end())
    return own->second < domain_places_.size() ? domain_places_[own->second] : "";
  const auto route = pattern(queue);
  return route.empty() ? "" : places_.at(route);
}

bool Router::asks(const mail::Address& recipient) const { return index_.place(recipient).ask; }

mail::ReversePath Router::masked(const mail::ReversePath& from, const std::string& domain) const {
  if (from.is_null()) return from;
  const auto& own = from.address().domain();
  if (!index_.is_local(own) && own != index_.rights().hostname) return from;
  const auto mask = mail::Domain::parse(domain);
  auto address = mask ? from.address().at(*mask) : std::unexpected(mask.error());
  return address ? mail::ReversePath(*std::move(address)) : from;
}

std::string Router::pattern(const std::string& domain) const {
  if (places_.contains(domain)) return domain;
  for (auto dot = domain.find('.'); dot != std::string::npos; dot = domain.find('.', dot + 1))
    if (auto below = fmt::format("*{}", std::string_view(domain).substr(dot));
        places_.contains(below))
      return below;
  return places_.contains("*") ? "*" : "";
}

RoutedBy Router::routed_by(const mail::Address& recipient) const {
  if (index_.is_local(recipient.domain()) || recipient.domain().text().empty()) {
    const auto decision = index_.place(recipient);
    const bool known = decision.verdict == config::Verdict::kLocal &&
                       decision.domain < domain_places_.size();
    return {ipc::RoutedBy::kDomain, known ? domain_places_[decision.domain] : ""};
  }
  const auto route = pattern(recipient.domain().text());
  if (route.empty()) return {};
  return {ipc::RoutedBy::kRoute, places_.at(route)};
}

std::optional<Mailbox> Router::mailbox(const mail::Address& recipient) const {
  auto decision = index_.place(recipient);
  if (decision.verdict != config::Verdict::kLocal) return std::nullopt;
  return Mailbox{std::move(decision.user), std::move(decision.mailbox_domain)};
}

bool Router::names(std::string_view queue) const {
  if (queue == kLocalQueue || queue == "*") return true;
  const auto is_meant = [&](std::string_view name) { return matches(queue, name); };
  const auto& domains = index_.rights().domains;
  return std::any_of(below_.begin(), below_.end(),
                     [&](const auto& entry) {
                       return is_meant(entry.first) || queue.ends_with("." + entry.first);
                     }) ||
         std::any_of(exact_.begin(), exact_.end(),
                     [&](const auto& entry) { return is_meant(entry.first); }) ||
         std::any_of(domains.begin(), domains.end(), [&](const config::DomainRights& domain) {
           return std::any_of(domain.names.begin(), domain.names.end(),
                              [&](const mail::Domain& d) { return is_meant(d.text()); });
         });
}

bool Router::names_hop(std::string_view name) const {
  if (name.starts_with(kCalledFor)) {
    const auto domain = mail::Domain::parse(name.substr(kCalledFor.size()));
    return domain && called_for(*domain);
  }
  return std::any_of(hop_keys_.begin(), hop_keys_.end(),
                     [&](const std::string& key) { return fit_hop(name, key) != 0; });
}

std::vector<std::string> Router::internal(std::size_t most) const {
  return {internal_.begin(),
          internal_.begin() + static_cast<std::ptrdiff_t>(std::min(most, internal_.size()))};
}

}  // namespace postern::queued
