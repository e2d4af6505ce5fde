#include "smtpd/client_desk.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/random.h"

namespace postern::smtpd {
namespace {

constexpr std::uint32_t kIdlePeriod = 60;  // seconds, where no rate is limited
constexpr std::ptrdiff_t kNetwork6 = 8;    // bytes of an IPv6 address that tell one client from another

// Whoever has one address of IPv6 has as many as it likes of its network of 64 bits.
base::IpAddress counted(base::IpAddress client) noexcept {
  if (client.family == base::IpFamily::kV6) std::fill(client.bytes.begin() + kNetwork6, client.bytes.end(), std::uint8_t{0});
  return client;
}

}  // namespace

ClientDesk::ClientDesk(const base::Clock& clock) : clock_(clock) {
  auto memory = os::Mapping::of_own(base::Tally::kBytes);
  CHECK(memory.has_value());
  count_in(*std::move(memory));
}

void ClientDesk::count_in(os::Mapping memory) {
  own_ = std::move(memory);
  own().own(base::random_u64());
}

void ClientDesk::watch(std::uint32_t sibling, os::Mapping memory) {
  siblings_.insert_or_assign(sibling, std::move(memory));
}

void ClientDesk::use(std::uint32_t connections, const config::Rate& rate) noexcept {
  connections_ = connections;
  rate_ = rate;
}

void ClientDesk::count_sessions(std::size_t sessions) noexcept {
  own().set_sessions(static_cast<std::uint32_t>(sessions));
}

std::uint64_t ClientDesk::sessions() const noexcept {
  std::uint64_t all = own().sessions();
  for (const auto& [number, memory] : siblings_) all += base::Tally(memory.data()).sessions();
  return all;
}

// The same number at the same time in every process: they share the machine's clock.
std::uint64_t ClientDesk::period() const noexcept {
  const auto length = std::max(rate_.seconds, rate_.count == 0 ? kIdlePeriod : 1U);
  return static_cast<std::uint64_t>(clock_.steady().ms) / (std::uint64_t{length} * 1000) + 1;
}

std::optional<ClientDesk::Place> ClientDesk::enter(const base::IpAddress& client) {
  const auto now = period();
  if (connections_ != 0) {
    const auto key = counted(client);
    std::uint64_t open = own().look(key, now).connections;
    for (const auto& [number, memory] : siblings_)
      open += base::Tally(memory.data()).look(key, now).connections;
    if (open >= connections_) return std::nullopt;
  }
  return enter_unlimited(client);
}

ClientDesk::Place ClientDesk::enter_unlimited(const base::IpAddress& client) {
  const auto key = counted(client);
  own().enter(key, period());
  return Place(*this, key);
}

// In the time that one period takes, wherever it begins: what was sent in this period, and of the
// last one as much as that time still reaches into.
bool ClientDesk::may_send(const base::IpAddress& client) {
  if (rate_.count == 0) return true;
  const auto now = period();
  const auto key = counted(client);
  auto counts = own().look(key, now);
  std::uint64_t messages = counts.messages, before = counts.before;
  for (const auto& [number, memory] : siblings_) {
    counts = base::Tally(memory.data()).look(key, now);
    messages += counts.messages;
    before += counts.before;
  }
  const auto length = std::uint64_t{rate_.seconds} * 1000;
  const auto gone = static_cast<std::uint64_t>(clock_.steady().ms) % length;
  if (messages + before * (length - gone) / length >= rate_.count) return false;
  own().count_message(key, now);
  return true;
}

}  // namespace postern::smtpd
