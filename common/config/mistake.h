// A mistake in the configuration: where it stands, which key it is about, and what was expected.
// All mistakes of a file are collected and reported together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace postern::config {

// The largest number that is kept; the rest is counted in one closing line.
inline constexpr std::size_t kMaxMistakes = 1'000;

struct Mistake {
  std::string file;          // as it was named on the command line or found by `include`
  std::uint32_t line = 0;    // from 1; 0: the file as a whole
  std::uint32_t column = 0;  // from 1, in characters
  std::string key;           // "listen.address"; empty where no key is concerned
  std::string value;  // what stands there, shortened, in TOML; empty where it does not matter
  std::string text;   // what was expected

  friend bool operator==(const Mistake&, const Mistake&) noexcept = default;
};

// "postern.toml:12:1: route.tls = \"optional\": TLS to other hosts comes with a later ..."; one line,
// always.
[[nodiscard]] std::string to_string(const Mistake& mistake);

}  // namespace postern::config
