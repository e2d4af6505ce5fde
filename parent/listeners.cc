#include "parent/listeners.h"

#include <fmt/format.h>

#include "common/os/socket.h"

namespace postern::parent {
namespace {

constexpr unsigned kSocketMode = 0666;  // who may reach it, its directory says

os::Result<base::UniqueFd> listen(const config::ListenAddress& address) {
  return address.is_socket() ? os::listen_unix(address.path, kSocketMode)
                             : os::listen_tcp(address.endpoint);
}

}  // namespace

std::expected<void, std::string> Listeners::prepare(const std::vector<config::Listener>& wanted) {
  discard();
  wanted_.assign(entries_.size(), false);
  for (const auto& entry : entries_) next_.push_back({entry.listener, {}});
  for (const auto& listener : wanted) {
    if (auto done = prepare_one(listener); !done) {
      discard();
      return done;
    }
  }
  return {};
}

std::expected<void, std::string> Listeners::prepare_one(const config::Listener& listener) {
  const auto refuse = [&](std::string_view why) {
    return std::unexpected(fmt::format("{}:{}: {}", listener.where.file, listener.where.line, why));
  };
  std::size_t at = 0;
  while (at < next_.size() && next_[at].listener.address != listener.address) ++at;
  if (at == kMaxListeners)
    return refuse("too many addresses since the start; this needs a restart");
  if (at == next_.size()) {
    next_.push_back({listener, {}});
    wanted_.push_back(false);
  }
  if (next_[at].listener.service != listener.service)
    return refuse(fmt::format("changing the service of {} needs a restart",
                              to_string(listener.address)));
  next_[at].listener = listener;
  wanted_[at] = true;
  if (at < entries_.size() && entries_[at].fd.valid()) return {};
  auto fd = listen(listener.address);
  if (!fd) return refuse("cannot " + fd.error().text());
  next_[at].fd = *std::move(fd);
  return {};
}

std::vector<config::Listener> Listeners::prepared() const {
  std::vector<config::Listener> result;
  for (std::size_t i = 0; i < next_.size(); ++i) {
    result.push_back(next_[i].listener);
    if (wanted_[i]) continue;
    result.back().service = config::Service::kMx;
    result.back().relay_from.clear();
  }
  return result;
}

Listeners::Change Listeners::commit() {
  Change change;
  for (std::size_t i = 0; i < next_.size(); ++i) {
    const base::ListenerIndex index(static_cast<std::uint32_t>(i));
    if (i == entries_.size()) entries_.emplace_back();
    auto& entry = entries_[i];
    entry.listener = std::move(next_[i].listener);
    if (next_[i].fd.valid()) {
      entry.fd = std::move(next_[i].fd);
      change.added.push_back(index);
    } else if (!wanted_[i] && entry.fd.valid()) {
      entry.fd.reset();
      if (const auto& path = entry.listener.address.path; !path.empty()) (void)os::remove_unix(path);
      change.removed.push_back(index);
    }
  }
  discard();
  return change;
}

// A name that nobody will listen at is taken away again.
void Listeners::discard() noexcept {
  for (const auto& entry : next_)
    if (entry.fd.valid() && entry.listener.address.is_socket())
      (void)os::remove_unix(entry.listener.address.path);
  next_.clear();
  wanted_.clear();
}

}  // namespace postern::parent
