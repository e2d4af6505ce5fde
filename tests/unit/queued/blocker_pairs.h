// Which blockers of a recipient are told together, in which order, and why others never are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <ostream>

#include "common/ipc/explain.h"

namespace postern::queued {

using ipc::Blocker;

// The order in which they bind. That its host has not called is told of queues alone to which nobody connects, in the place
// of all that is about connections (callers_test.cc).
inline constexpr Blocker kOrder[] = {
    Blocker::kDelivering, Blocker::kConcluding, Blocker::kDamaged,     Blocker::kHeld,
    Blocker::kFrozen,     Blocker::kHopFrozen,  Blocker::kOff,         Blocker::kHopDead,
    Blocker::kRetry,      Blocker::kLoading,    Blocker::kStarting,    Blocker::kNoDeliverer,
    Blocker::kLookup,     Blocker::kRate,       Blocker::kConnections, Blocker::kSlots,
    Blocker::kConnecting, Blocker::kTurn};

// Pairs that are not told, and why not.
enum class Why : std::uint8_t {
  kHidden,  // both may be: the first is told alone
  kUndone,  // the first is no more once the second is
  kNever,   // nothing leads there
};
struct Excluded {
  Blocker a, b;  // in the order of kOrder
  Why why;
  const char* reason;
};

inline constexpr const char* kAskedAgain = "what is under way ends first: explain asks for all else when it is over";
inline constexpr const char* kOneStage = "of one recipient: the schedule knows one Stage of it, and settle() ends that";
inline constexpr const char* kNoLine = "only what is ready stands in line";
inline constexpr const char* kGoesWithIt = "deliverer_down() ends its connections";
inline constexpr const char* kKnownOrNot = "a queue leads to one hop, of known hosts or not: unknown ones have none of that";

inline constexpr Excluded kExcluded[] = {
    {Blocker::kDelivering, Blocker::kHopDead, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kLoading, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kStarting, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kLookup, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kRate, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kConnections, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kSlots, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kConnecting, Why::kHidden, kAskedAgain},
    {Blocker::kDelivering, Blocker::kNoDeliverer, Why::kUndone, "deliverer_down() settles its leases"},
    {Blocker::kDelivering, Blocker::kConcluding, Why::kNever, kOneStage},
    {Blocker::kDelivering, Blocker::kRetry, Why::kNever, kOneStage},
    {Blocker::kDelivering, Blocker::kTurn, Why::kNever, kOneStage},
    {Blocker::kConcluding, Blocker::kHopDead, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kLoading, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kStarting, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kNoDeliverer, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kLookup, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kRate, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kConnections, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kSlots, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kConnecting, Why::kHidden, kAskedAgain},
    {Blocker::kConcluding, Blocker::kRetry, Why::kNever, kOneStage},
    {Blocker::kConcluding, Blocker::kTurn, Why::kNever, kOneStage},
    {Blocker::kDamaged, Blocker::kHeld, Why::kHidden, "a damaged message is held: it is told as one"},
    {Blocker::kHeld, Blocker::kTurn, Why::kHidden, kNoLine},
    {Blocker::kRetry, Blocker::kTurn, Why::kHidden, kNoLine},
    {Blocker::kHopFrozen, Blocker::kLookup, Why::kNever, "is_frozen(): nobody can freeze hosts that are not known"},
    {Blocker::kHopDead, Blocker::kLookup, Why::kNever, "a queue looks once at a time, and is dead when that look ended"},
    {Blocker::kHopDead, Blocker::kConnections, Why::kNever, "ask() ends deadness; hop_failed() is trouble() then"},
    {Blocker::kNoDeliverer, Blocker::kLookup, Why::kUndone, kGoesWithIt},
    {Blocker::kNoDeliverer, Blocker::kConnections, Why::kUndone, kGoesWithIt},
    {Blocker::kNoDeliverer, Blocker::kSlots, Why::kUndone, kGoesWithIt},
    {Blocker::kNoDeliverer, Blocker::kConnecting, Why::kUndone, kGoesWithIt},
    {Blocker::kLookup, Blocker::kRate, Why::kNever, kKnownOrNot},
    {Blocker::kLookup, Blocker::kConnections, Why::kNever, kKnownOrNot},
    {Blocker::kLookup, Blocker::kConnecting, Why::kNever, kKnownOrNot},
};

inline void PrintTo(const Excluded& pair, std::ostream* out) {
  *out << ipc::name(pair.a) << " and " << ipc::name(pair.b) << ": " << pair.reason;
}

// Are both told? `a` stands before `b` in kOrder.
inline bool can_be(Blocker a, Blocker b) {
  return std::ranges::none_of(kExcluded, [&](const Excluded& e) { return e.a == a && e.b == b; });
}

}  // namespace postern::queued
