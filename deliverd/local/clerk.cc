#include "deliverd/local/clerk.h"

#include <utility>

#include "common/log/log.h"

namespace postern::local {
namespace {

relay::Pool::Settings settings_of(std::string hostname) {
  relay::Pool::Settings settings;
  settings.hostname = std::move(hostname);
  return settings;
}

}  // namespace

using deliverd::SlotId;

Clerk::Clerk(event::Loop& loop, Filer& filer, relay::Sockets& sockets, std::string hostname,
             event::Callback lost)
    : loop_(loop),
      filer_(filer),
      desk_(loop, *this, std::move(lost)),
      pool_(loop, {nullptr, &sockets}, tls_, settings_of(std::move(hostname)), desk_) {}

Clerk::~Clerk() {
  *alive_ = false;
}

void Clerk::configure(std::string hostname) {
  pool_.configure(settings_of(std::move(hostname)));
}

void Clerk::granted(SlotId id, const ipc::Grant& grant) noexcept {
  if (grant.hop.kind != config::HopKind::kMailbox) return pool_.granted(id, grant);
  slots_[id].dismissed = stopping_;
  if (stopping_) return end_later(id);
  desk_.ask(id);
}

void Clerk::deliver(SlotId id, deliverd::Delivery delivery) noexcept {
  const auto at = slots_.find(id);
  if (at == slots_.end()) return pool_.deliver(id, std::move(delivery));
  auto& slot = at->second;
  if (slot.dismissed) return desk_.give_back(id);
  slot.busy = true;
  filer_.file(std::move(delivery), [this, alive = alive_, id](std::vector<Filed> copies) noexcept {
    if (*alive) filed(id, std::move(copies));
  });
}

void Clerk::filed(SlotId id, std::vector<Filed> copies) {
  std::vector<ipc::RecipientResult> results;
  for (auto& copy : copies) {
    if (!copy.trouble.empty()) log::warning("mailbox.trouble").field("error", copy.trouble);
    results.push_back(std::move(copy.result));
  }
  auto& slot = slots_.at(id);
  slot.busy = false;
  desk_.report(id, "local", {}, std::move(results));
  if (slot.dismissed) return end_later(id);
  desk_.ask(id);
}

void Clerk::dismissed(SlotId id) noexcept {
  const auto at = slots_.find(id);
  if (at == slots_.end()) return pool_.dismissed(id);
  if (std::exchange(at->second.dismissed, true)) return;
  if (!at->second.busy) end_later(id);
}

// What is being filed has nothing to break off.
void Clerk::broken_off(SlotId id) noexcept {
  if (!slots_.contains(id)) pool_.broken_off(id);
}

void Clerk::saved() noexcept {
  pool_.saved();
  check_stopped();
}

// Not inside a call of the desk's.
void Clerk::end_later(SlotId id) {
  loop_.defer([this, alive = alive_, id]() noexcept {
    if (!*alive || slots_.erase(id) == 0) return;
    ipc::GrantEnded ended;
    ended.end = ipc::GrantEnd::kClosed;
    desk_.end(id, std::move(ended));
    check_stopped();
  });
}

void Clerk::stop(event::Callback done) {
  stopping_ = true;
  stopped_ = std::move(done);
  std::vector<SlotId> all;
  for (const auto& [id, slot] : slots_) all.push_back(id);
  for (const auto id : all) dismissed(id);
  pool_.stop([this]() noexcept {
    pool_stopped_ = true;
    check_stopped();
  });
  check_stopped();
}

void Clerk::check_stopped() {
  if (!stopping_ || !stopped_ || !pool_stopped_ || !slots_.empty() || !desk_.settled()) return;
  loop_.defer([done = std::exchange(stopped_, {})]() mutable noexcept { done(); });
}

}  // namespace postern::local
