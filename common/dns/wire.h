// The wire form of the DNS (RFC 1035 4.1): names, questions, and whether a response belongs to one.
// Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace postern::dns {

// RFC 1035 3.2.2, RFC 3596 2.1.
inline constexpr std::uint16_t kTypeA = 1;
inline constexpr std::uint16_t kTypeCname = 5;
inline constexpr std::uint16_t kTypeMx = 15;
inline constexpr std::uint16_t kTypeAaaa = 28;
inline constexpr std::uint16_t kClassIn = 1;

// What is asked for of a response's code (RFC 1035 4.1.1).
inline constexpr unsigned kNoError = 0;
inline constexpr unsigned kFormatError = 1;
inline constexpr unsigned kNoSuchDomain = 3;
inline constexpr unsigned kNotImplemented = 4;

inline constexpr std::uint16_t kUdpSize =
    1232;  // fits every path without fragments (DNS flag day 2020)

// The name at `at`, which then stands behind it: in lower case without its last dot, "" for the
// root, bytes that no host name has as \DDD. Pointers may only go back, so none leads in a circle.
[[nodiscard]] std::optional<std::string> read_name(std::string_view packet, std::size_t& at);

// A query with recursion desired; `edns`: up to kUdpSize bytes may come by UDP (RFC 6891). Nothing
// where the name is too long to be asked for.
[[nodiscard]] std::optional<std::string> make_query(std::string_view name, std::uint16_t type,
                                                    std::uint16_t id, bool edns);

struct Verdict {
  bool answers = false;  // it is a response to this very query; else it is somebody's lie, or late
  bool truncated = false;
  unsigned code = 0;
};
[[nodiscard]] Verdict judge(std::string_view query, std::string_view response);

}  // namespace postern::dns
