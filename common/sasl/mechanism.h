// The SASL mechanisms that Postern has (RFC 4616, RFC 7677, and LOGIN, which no RFC wanted).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "common/base/text.h"
#include "common/ipc/codec.h"

namespace postern::sasl {

enum class Mechanism : std::uint8_t { kPlain, kLogin, kScramSha256, kScramSha256Plus };
inline constexpr std::size_t kMechanisms = 4;

[[nodiscard]] constexpr std::string_view name(Mechanism mechanism) {
  constexpr std::string_view kNames[] = {"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"};
  return kNames[static_cast<std::size_t>(mechanism)];
}

// In any case.
[[nodiscard]] inline std::optional<Mechanism> find_mechanism(std::string_view text) {
  for (std::uint8_t i = 0; i < kMechanisms; ++i)
    if (base::equals_ignoring_case(text, name(static_cast<Mechanism>(i))))
      return static_cast<Mechanism>(i);
  return std::nullopt;
}

}  // namespace postern::sasl

template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::sasl::Mechanism> =
    postern::sasl::Mechanism::kScramSha256Plus;
