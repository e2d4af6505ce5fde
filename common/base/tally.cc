#include "common/base/tally.h"

#include <atomic>
#include <cstddef>
#include <cstring>

namespace postern::base {
namespace {

using U32 = std::atomic<std::uint32_t>;
using U64 = std::atomic<std::uint64_t>;
static_assert(U32::is_always_lock_free && U64::is_always_lock_free, "siblings share no lock");

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr int kTries = 4;  // of a reader whom the owner disturbs

std::uint64_t mix(std::uint64_t x) noexcept {  // splitmix64
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
  return x ^ x >> 31;
}

template <class Slot>
Slot* place(Slot* bucket, std::size_t number) noexcept {
  return reinterpret_cast<Slot*>(reinterpret_cast<std::byte*>(bucket) + number * Tally::kSlotSize);
}

}  // namespace

// A client as two words, never both zero: IPv4 stands as it is mapped into IPv6, :: as 0.0.0.0.
struct Tally::Key {
  explicit Key(const IpAddress& client) noexcept {
    if (client.family == IpFamily::kV4 || client.is_unspecified()) {
      std::uint32_t v4 = 0;
      std::memcpy(&v4, client.bytes.data(), sizeof v4);
      high = 0;
      low = std::uint64_t{v4} << 32 | 0xFFFF;
      return;
    }
    std::memcpy(&high, client.bytes.data(), 8);
    std::memcpy(&low, client.bytes.data() + 8, 8);
  }
  std::uint64_t high = 0, low = 0;
};

struct Tally::Head {
  U64 secret;
  U32 sessions;
};

// A writer makes `version` odd while it changes the rest.
struct Tally::Slot {
  U32 version;
  U32 connections;
  U64 high, low;  // the client; both 0: free
  U64 period;     // of the last message
  U32 messages;   // of that period
  U32 before;     // of the one before

  [[nodiscard]] bool is(const Key& key) const noexcept {
    return high.load(kRelaxed) == key.high && low.load(kRelaxed) == key.low;
  }
  template <class Change>
  void write(Change change) noexcept {
    const auto now = version.load(kRelaxed);
    version.store(now + 1, kRelaxed);
    std::atomic_thread_fence(std::memory_order_release);
    change();
    version.store(now + 2, std::memory_order_release);
  }
  void become(std::uint64_t new_high, std::uint64_t new_low) noexcept {
    high.store(new_high, kRelaxed);
    low.store(new_low, kRelaxed);
    for (auto* count : {&connections, &messages, &before}) count->store(0, kRelaxed);
    period.store(0, kRelaxed);
  }
};

void Tally::own(std::uint64_t secret) noexcept {
  static_assert(sizeof(Slot) <= kSlotSize && kSlotSize % alignof(Slot) == 0 && kHead >= sizeof(Head));
  if (head().secret.load(kRelaxed) == 0) head().secret.store(secret | 1, kRelaxed);
  set_sessions(0);
  for (std::size_t i = 0; i < kBuckets * kPlaces; ++i) {
    auto& slot = *reinterpret_cast<Slot*>(static_cast<std::byte*>(memory_) + kHead + i * kSlotSize);
    const auto version = slot.version.load(kRelaxed);
    if (version == 0) continue;  // never used: its page need not come into being
    const bool torn = version % 2 != 0;  // its writer died over it
    if (torn) slot.version.store(version + 1, kRelaxed);
    slot.write([&] {
      slot.connections.store(0, kRelaxed);
      if (torn) slot.become(0, 0);
    });
  }
}

Tally::Slot* Tally::bucket(const Key& key) const noexcept {
  const auto secret = head().secret.load(kRelaxed);
  const auto number = mix(mix(key.high ^ secret) ^ key.low) % kBuckets;
  return reinterpret_cast<Slot*>(static_cast<std::byte*>(memory_) + kHead +
                                 number * kPlaces * kSlotSize);
}

Tally::Slot* Tally::find(const Key& key) const noexcept {
  Slot* const first = bucket(key);
  for (std::size_t i = 0; i < kPlaces; ++i)
    if (Slot* slot = place(first, i); slot->is(key)) return slot;
  return nullptr;
}

// The client's place, made where it has none; null: there is no room.
Tally::Slot* Tally::make(const Key& key) noexcept {
  if (Slot* slot = find(key)) return slot;
  Slot* const first = bucket(key);
  Slot* best = nullptr;
  for (std::size_t i = 0; i < kPlaces; ++i) {
    Slot* slot = place(first, i);
    if (slot->connections.load(kRelaxed) != 0) continue;
    const auto silent = [](const Slot* s) { return s->period.load(kRelaxed); };
    if (best == nullptr || silent(slot) < silent(best)) best = slot;
  }
  if (best != nullptr) best->write([&] { best->become(key.high, key.low); });
  return best;
}

void Tally::set_sessions(std::uint32_t sessions) noexcept { head().sessions.store(sessions, kRelaxed); }

std::uint32_t Tally::sessions() const noexcept { return head().sessions.load(kRelaxed); }

void Tally::enter(const IpAddress& client, std::uint64_t period) noexcept {
  Slot* const slot = make(Key(client));
  if (slot == nullptr) return;
  slot->write([&] {
    slot->connections.fetch_add(1, kRelaxed);
    if (slot->messages.load(kRelaxed) == 0) slot->period.store(period, kRelaxed);
  });
}

void Tally::leave(const IpAddress& client) noexcept {
  Slot* const slot = find(Key(client));
  if (slot == nullptr || slot->connections.load(kRelaxed) == 0) return;
  slot->write([&] { slot->connections.fetch_sub(1, kRelaxed); });
}

void Tally::count_message(const IpAddress& client, std::uint64_t period) noexcept {
  Slot* const slot = make(Key(client));
  if (slot == nullptr) return;
  slot->write([&] {
    const auto last = slot->period.load(kRelaxed);
    if (last != period) {
      slot->before.store(last + 1 == period ? slot->messages.load(kRelaxed) : 0, kRelaxed);
      slot->messages.store(0, kRelaxed);
      slot->period.store(period, kRelaxed);
    }
    slot->messages.fetch_add(1, kRelaxed);
  });
}

Tally::Counts Tally::look(const IpAddress& client, std::uint64_t period) const noexcept {
  const Key key(client);
  Slot* const first = bucket(key);
  for (int tries = 0; tries < kTries; ++tries) {
    bool disturbed = false;
    for (std::size_t i = 0; i < kPlaces; ++i) {
      const Slot* slot = place(first, i);
      const auto version = slot->version.load(std::memory_order_acquire);
      const bool its = slot->is(key);
      const auto last = slot->period.load(kRelaxed);
      const Counts seen{slot->connections.load(kRelaxed), slot->messages.load(kRelaxed),
                        slot->before.load(kRelaxed)};
      std::atomic_thread_fence(std::memory_order_acquire);
      if (version % 2 != 0 || slot->version.load(kRelaxed) != version) {
        disturbed = true;
        continue;
      }
      if (!its) continue;
      if (last == period) return seen;
      return {seen.connections, 0, last + 1 == period ? seen.messages : 0};
    }
    if (!disturbed) break;
  }
  return {};
}

}  // namespace postern::base
