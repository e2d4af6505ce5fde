#include "queued/collector.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/log/log.h"

namespace postern::queued {
namespace {

constexpr std::size_t kMaxResult = 300;  // as in CollectRow

std::string name_of(const config::HopSpec& hop) {
  const bool v6 = hop.host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", hop.host, hop.port) : fmt::format("{}:{}", hop.host, hop.port);
}

bool is_same(const config::CollectConfig& a, const config::CollectConfig& b) {
  return a.hop == b.hop && a.domains == b.domains;
}

std::string_view name_of(ipc::CollectEnd end) {
  switch (end) {
    case ipc::CollectEnd::kServed:
      return "served";
    case ipc::CollectEnd::kNothing:
      return "nothing";
    case ipc::CollectEnd::kFailed:
      return "failed";
  }
  return {};
}

std::string result_of(const ipc::Collected& collected) {
  if (collected.end == ipc::CollectEnd::kServed) return "served";
  if (collected.end == ipc::CollectEnd::kNothing) return "no mail";
  auto text = fmt::format("failed: {}", ipc::from_ipc(collected.reply).text());
  text.resize(std::min(text.size(), kMaxResult));
  return text;
}

// It will say so again, until somebody changes something: no such account, no such command, or not for us.
bool is_final(const ipc::Collected& collected) {
  return collected.end == ipc::CollectEnd::kFailed && collected.reply.code >= 500;
}

}  // namespace

Collector::Collector(event::Loop& loop, const base::Clock& clock, Outlets outlets)
    : clock_(clock), outlets_(std::move(outlets)), timer_(loop, [this]() noexcept { check(); }) {}

void Collector::configure(const std::vector<config::CollectConfig>& collects) {
  auto before = std::exchange(hosts_, {});
  for (const auto& collect : collects) {
    const auto at = std::ranges::find_if(before, [&](const Host& host) { return is_same(host.config, collect); });
    if (at == before.end()) {
      hosts_.push_back({collect, CallPlan(collect.every, collect.wait), clock_.steady(), {}, false, {}, {}});
      continue;
    }
    at->config = collect;
    at->plan.configure(collect.every, collect.wait);
    at->due = std::min(at->due, clock_.steady() + collect.every);
    hosts_.push_back(std::move(*at));
    before.erase(at);
  }
  for (const auto& gone : before)
    if (gone.call) outlets_.end({*gone.call});
  schedule();
}

void Collector::stop() {
  stopped_ = true;
  timer_.cancel();
}

void Collector::schedule() {
  timer_.cancel();
  if (stopped_) return;
  std::optional<base::SteadyTime> first;
  for (const auto& host : hosts_)
    if (!host.call && (!first || host.due < *first)) first = host.due;
  if (first) timer_.start(std::max(*first - clock_.steady(), base::Millis(0)));
}

void Collector::check() noexcept {
  const auto now = clock_.steady();
  for (auto& host : hosts_)
    if (!host.call && host.due <= now) call(host);
  schedule();
}

void Collector::call(Host& host) {
  const auto now = clock_.steady();
  const auto request = last_request_.next();
  if (!outlets_.ready() || !outlets_.call({request, host.config.hop, host.config.domains})) {
    host.due = now + kRetry;
    return;
  }
  last_request_ = request;
  host.call = request;
  host.plan.begin(now);
  log::debug("collect.called").field("from", name_of(host.config.hop));
}

Collector::Host* Collector::find(base::RequestId request) {
  const auto at = std::ranges::find_if(hosts_, [&](const Host& host) { return host.call == request; });
  return at == hosts_.end() ? nullptr : &*at;
}

// One session for a call: a stolen relay opens no more.
void Collector::turned(const ipc::TurnedRound& turned, base::UniqueFd fd) {
  auto* const host = find(turned.request);
  if (host == nullptr || host->serving || !fd.valid()) return;
  host->serving = outlets_.serve({turned.client, turned.tls, turned.tls_peer}, std::move(fd));
  auto line = log::info("collect.turned")
                  .field("from", name_of(host->config.hop))
                  .field("remote", turned.remote)
                  .field("served", host->serving);
  if (!turned.tls.empty()) (void)std::move(line).field("tls", turned.tls);
  if (!turned.tls_peer.empty()) (void)std::move(line).field("certificate", turned.tls_peer);
}

void Collector::collected(const ipc::Collected& collected) {
  auto* const host = find(collected.request);
  if (host == nullptr) return;  // taken out of the configuration meanwhile
  host->call.reset();
  host->serving = false;
  host->last = clock_.wall();
  host->result = result_of(collected);
  host->due = host->plan.end(collected.end, is_final(collected), clock_.steady());
  auto line = log::info("collect.ended")
                  .field("from", name_of(host->config.hop))
                  .field("remote", collected.remote)
                  .field("end", name_of(collected.end));
  if (collected.end == ipc::CollectEnd::kServed)
    (void)std::move(line).field("received", collected.received).field("sent", collected.sent);
  else
    (void)std::move(line).field("reply", ipc::from_ipc(collected.reply).text());
  schedule();
}

std::vector<ipc::CollectRow> Collector::rows(std::size_t most) const {
  std::vector<ipc::CollectRow> rows;
  for (const auto& host : hosts_) {
    if (rows.size() == most) break;
    auto& row = rows.emplace_back();
    row.from = name_of(host.config.hop);
    row.calling = host.call.has_value();
    row.serving = host.serving;
    row.last = host.last;
    row.result = host.result;
    if (!host.call && outlets_.ready()) row.next = clock_.wall() + std::max(host.due - clock_.steady(), base::Millis(0));
  }
  return rows;
}

}  // namespace postern::queued
