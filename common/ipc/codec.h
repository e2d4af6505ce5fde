// The codec: from a struct's one list of fields come its encoder, its decoder, its size bound and its
// shape (for the hash that both ends compare). A struct lists its fields once:
//
//   struct Point {
//     std::uint32_t x = 0;
//     std::string label;
//     static constexpr auto fields() {
//       return ipc::fields_of(ipc::field("x", &Point::x), ipc::field("label", &Point::label, 40));
//     }
//   };
//
// The limit of a string is in bytes, of a vector in elements (its elements' own limit follows).
// Decoding is strict: a length over its limit, an enumerator out of range, a boolean that is not 0 or
// 1, an address that its parser refuses, a missing or a spare byte: all fail, none throws.
//
// What is kept on disk outlives the program that wrote it, so a struct may gain fields, each with the
// version of the format that it came with:
//
//   ipc::field("colour", &Point::colour).since(5)
//
// Bytes of an earlier version have no such field, and it keeps its default; what is written always is of
// the newest version. Versions are counted by each format for itself, so a struct that two of them use
// (ReplyText) gains nothing. On channels both ends are of one build, and there are no versions.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/ip.h"
#include "common/base/strong.h"
#include "common/mail/address.h"
#include "common/mail/dsn.h"

namespace postern::ipc {

struct Limits {
  std::size_t own = 0;      // bytes of a string, elements of a vector
  std::size_t element = 0;  // the limit of a vector's elements
};

template <class Struct, class T>
struct Field {
  const char* name;
  T Struct::*member;
  Limits limits;
  std::uint32_t version = 0;  // of the format, that it came with
  [[nodiscard]] constexpr Field since(std::uint32_t v) const { return {name, member, limits, v}; }
};

template <class Struct, class T>
constexpr Field<Struct, T> field(const char* name, T Struct::*member, std::size_t limit = 0,
                                 std::size_t element_limit = 0) {
  return {name, member, {limit, element_limit}, 0};
}

// The one list of a struct's fields: something that calls a visitor with all of them.
constexpr auto fields_of(auto... field) {
  return [=](auto&& visit) { return visit(field...); };
}

// The last enumerator of an enum that travels; enumerators run from 0 without gaps. Specialise beside
// the enum: template <> inline constexpr Colour ipc::kLastEnumerator<Colour> = Colour::kBlue;
template <class Enum>
inline constexpr Enum kLastEnumerator = Enum::missing_kLastEnumerator;

template <class T>
concept Described = requires { T::fields(); };

// --- One Codec for each kind of value -----------------------------------------------------------

template <class T>
struct Codec;

template <std::integral T>
  requires(!std::same_as<T, bool>)
struct Codec<T> {
  static void encode(base::Writer& w, T value, Limits) { w.integer(value); }
  static void decode(base::Reader& r, T& value, Limits) { value = r.integer<T>(); }
  static constexpr std::size_t max_size(Limits) { return sizeof(T); }
  static void shape(std::string& out) {
    out += std::is_signed_v<T> ? 'i' : 'u';
    out += std::to_string(sizeof(T));
  }
};

template <>
struct Codec<bool> {
  static void encode(base::Writer& w, bool value, Limits) { w.integer<std::uint8_t>(value); }
  static void decode(base::Reader& r, bool& value, Limits) {
    const auto raw = r.integer<std::uint8_t>();
    if (raw > 1) r.fail();
    value = raw == 1;
  }
  static constexpr std::size_t max_size(Limits) { return 1; }
  static void shape(std::string& out) { out += 'b'; }
};

template <class T>
  requires std::is_enum_v<T>
struct Codec<T> {
  using Raw = std::underlying_type_t<T>;
  static void encode(base::Writer& w, T value, Limits) { w.integer(static_cast<Raw>(value)); }
  static void decode(base::Reader& r, T& value, Limits) {
    const auto raw = r.integer<Raw>();
    if (raw > static_cast<Raw>(kLastEnumerator<T>)) return r.fail();
    value = static_cast<T>(raw);
  }
  static constexpr std::size_t max_size(Limits) { return sizeof(Raw); }
  static void shape(std::string& out) {
    out += 'e';
    out += std::to_string(static_cast<std::size_t>(kLastEnumerator<T>));
  }
};

template <>
struct Codec<std::string> {
  static void encode(base::Writer& w, const std::string& value, Limits limits) {
    CHECK(value.size() <= limits.own);
    w.blob(value);
  }
  static void decode(base::Reader& r, std::string& value, Limits limits) {
    value = r.blob(limits.own);
  }
  static constexpr std::size_t max_size(Limits limits) { return 4 + limits.own; }
  static void shape(std::string& out) { out += 's'; }
};

template <class Tag, class Rep>
struct Codec<base::Strong<Tag, Rep>> {
  using T = base::Strong<Tag, Rep>;
  static void encode(base::Writer& w, T value, Limits) { w.integer(value.value); }
  static void decode(base::Reader& r, T& value, Limits) { value = T(r.integer<Rep>()); }
  static constexpr std::size_t max_size(Limits) { return sizeof(Rep); }
  static void shape(std::string& out) { Codec<Rep>::shape(out); }
};

template <>
struct Codec<base::Token> {
  static void encode(base::Writer& w, const base::Token& value, Limits) { w.bytes(value.bytes); }
  static void decode(base::Reader& r, base::Token& value, Limits) { r.bytes(value.bytes); }
  static constexpr std::size_t max_size(Limits) { return 16; }
  static void shape(std::string& out) { out += "token"; }
};

template <>
struct Codec<base::WallTime> {
  static void encode(base::Writer& w, base::WallTime value, Limits) { w.integer(value.ms); }
  static void decode(base::Reader& r, base::WallTime& value, Limits) {
    value.ms = r.integer<std::int64_t>();
  }
  static constexpr std::size_t max_size(Limits) { return 8; }
  static void shape(std::string& out) { out += "wall"; }
};

template <>
struct Codec<base::Millis> {
  static void encode(base::Writer& w, base::Millis value, Limits) {
    w.integer<std::int64_t>(value.count());
  }
  static void decode(base::Reader& r, base::Millis& value, Limits) {
    value = base::Millis(r.integer<std::int64_t>());
  }
  static constexpr std::size_t max_size(Limits) { return 8; }
  static void shape(std::string& out) { out += "ms"; }
};

template <>
struct Codec<base::IpAddress> {
  static void encode(base::Writer& w, const base::IpAddress& value, Limits);
  static void decode(base::Reader& r, base::IpAddress& value, Limits);
  static constexpr std::size_t max_size(Limits) { return 17; }
  static void shape(std::string& out) { out += "ip"; }
};

template <>
struct Codec<base::Network> {
  static void encode(base::Writer& w, const base::Network& value, Limits);
  static void decode(base::Reader& r, base::Network& value, Limits);
  static constexpr std::size_t max_size(Limits) { return 18; }
  static void shape(std::string& out) { out += "net"; }
};

template <>
struct Codec<base::Endpoint> {
  static void encode(base::Writer& w, const base::Endpoint& value, Limits);
  static void decode(base::Reader& r, base::Endpoint& value, Limits);
  static constexpr std::size_t max_size(Limits) { return 19; }
  static void shape(std::string& out) { out += "endpoint"; }
};

template <>
struct Codec<mail::Domain> {  // the empty domain is a value here
  static void encode(base::Writer& w, const mail::Domain& value, Limits);
  static void decode(base::Reader& r, mail::Domain& value, Limits);
  static constexpr std::size_t max_size(Limits) { return 4 + mail::Domain::kMaxLength; }
  static void shape(std::string& out) { out += "domain"; }
};

template <>
struct Codec<mail::Address> {
  static constexpr std::size_t kMaxText = 2 * mail::Address::kMaxLength;  // every byte quoted
  static void encode(base::Writer& w, const mail::Address& value, Limits);
  static void decode(base::Reader& r, mail::Address& value, Limits);
  static constexpr std::size_t max_size(Limits) { return 4 + kMaxText; }
  static void shape(std::string& out) { out += "address"; }
};

template <>
struct Codec<mail::ReversePath> {
  static void encode(base::Writer& w, const mail::ReversePath& value, Limits);
  static void decode(base::Reader& r, mail::ReversePath& value, Limits);
  static constexpr std::size_t max_size(Limits) { return Codec<mail::Address>::max_size({}); }
  static void shape(std::string& out) { out += "path"; }
};

template <>
struct Codec<mail::Notify> {
  static void encode(base::Writer& w, const mail::Notify& value, Limits) { w.integer(value.bits()); }
  static void decode(base::Reader& r, mail::Notify& value, Limits);
  static constexpr std::size_t max_size(Limits) { return 1; }
  static void shape(std::string& out) { out += "notify"; }
};

template <>
struct Codec<mail::EnvelopeId> {
  static void encode(base::Writer& w, const mail::EnvelopeId& value, Limits) { w.blob(value.text()); }
  static void decode(base::Reader& r, mail::EnvelopeId& value, Limits);
  static constexpr std::size_t max_size(Limits) { return 4 + mail::EnvelopeId::kMaxLength; }
  static void shape(std::string& out) { out += "envid"; }
};

template <>
struct Codec<mail::OriginalRecipient> {
  static void encode(base::Writer& w, const mail::OriginalRecipient& value, Limits) {
    w.blob(value.text());
  }
  static void decode(base::Reader& r, mail::OriginalRecipient& value, Limits);
  static constexpr std::size_t max_size(Limits) { return 4 + mail::OriginalRecipient::kMaxLength; }
  static void shape(std::string& out) { out += "orcpt"; }
};

template <class T>
struct Codec<std::optional<T>> {
  static void encode(base::Writer& w, const std::optional<T>& value, Limits limits) {
    w.integer<std::uint8_t>(value.has_value());
    if (value) Codec<T>::encode(w, *value, limits);
  }
  static void decode(base::Reader& r, std::optional<T>& value, Limits limits) {
    bool present = false;
    Codec<bool>::decode(r, present, {});
    value.reset();
    if (present && !r.failed()) Codec<T>::decode(r, value.emplace(), limits);
  }
  static constexpr std::size_t max_size(Limits limits) { return 1 + Codec<T>::max_size(limits); }
  static void shape(std::string& out) {
    out += '?';
    Codec<T>::shape(out);
  }
};

template <class T>
struct Codec<std::vector<T>> {
  static void encode(base::Writer& w, const std::vector<T>& value, Limits limits) {
    CHECK(value.size() <= limits.own);
    w.integer(static_cast<std::uint32_t>(value.size()));
    for (const auto& element : value) Codec<T>::encode(w, element, {limits.element, 0});
  }
  static void decode(base::Reader& r, std::vector<T>& value, Limits limits) {
    const auto count = r.integer<std::uint32_t>();
    value.clear();
    if (count > limits.own) return r.fail();
    for (std::uint32_t i = 0; i < count && !r.failed(); ++i)
      Codec<T>::decode(r, value.emplace_back(), {limits.element, 0});
  }
  static constexpr std::size_t max_size(Limits limits) {
    return 4 + limits.own * Codec<T>::max_size({limits.element, 0});
  }
  static void shape(std::string& out) {
    out += '*';
    Codec<T>::shape(out);
  }
};

template <Described T>
struct Codec<T> {
  static void encode(base::Writer& w, const T& value, Limits) {
    each([&]<class M>(const Field<T, M>& f) { Codec<M>::encode(w, value.*f.member, f.limits); });
  }
  static void decode(base::Reader& r, T& value, Limits) {
    each([&]<class M>(const Field<T, M>& f) {
      if (!r.failed() && f.version <= r.version()) Codec<M>::decode(r, value.*f.member, f.limits);
    });
  }
  static constexpr std::size_t max_size(Limits) {
    return T::fields()([]<class... M>(const Field<T, M>&... f) {
      return (std::size_t{0} + ... + Codec<M>::max_size(f.limits));
    });
  }
  static void shape(std::string& out) {
    out += '{';
    each([&]<class M>(const Field<T, M>& f) {
      out += f.name;
      out += ':';
      Codec<M>::shape(out);
      out += '[' + std::to_string(f.limits.own) + ',' + std::to_string(f.limits.element) + "] ";
    });
    out += '}';
  }

 private:
  static void each(auto&& visit) {
    T::fields()([&](const auto&... f) { (visit(f), ...); });
  }
};

// --- Whole values ---------------------------------------------------------------------------------

inline constexpr std::size_t kUsualSize = 512;  // of most values at most: they grow but once

template <class T>
[[nodiscard]] std::string encode(const T& value) {
  std::string bytes;
  bytes.reserve(std::min(kUsualSize, Codec<T>::max_size({})));
  base::Writer writer(bytes);
  Codec<T>::encode(writer, value, {});
  return bytes;
}

// nullopt unless `bytes` is exactly one value, as that version of its format has it.
template <class T>
[[nodiscard]] std::optional<T> decode(std::string_view bytes,
                                      std::uint32_t version = base::Reader::kNewest) {
  base::Reader reader(bytes, version);
  std::optional<T> value(std::in_place);
  Codec<T>::decode(reader, *value, {});
  if (!reader.complete()) value.reset();
  return value;
}

}  // namespace postern::ipc
