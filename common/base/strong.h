// Strong<Tag, Rep>: an integer that does not mix with other integers. Made and read explicitly.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace postern::base {

template <class Tag, class Rep = std::uint64_t>
struct Strong {
  using rep = Rep;
  Rep value{};

  constexpr Strong() noexcept = default;
  constexpr explicit Strong(Rep v) noexcept : value(v) {}
  friend constexpr auto operator<=>(const Strong&, const Strong&) noexcept = default;
  // The next number of a counter.
  [[nodiscard]] constexpr Strong next() const noexcept { return Strong(static_cast<Rep>(value + 1)); }
};

}  // namespace postern::base

template <class Tag, class Rep>
struct std::hash<postern::base::Strong<Tag, Rep>> {
  std::size_t operator()(const postern::base::Strong<Tag, Rep>& id) const noexcept {
    return std::hash<Rep>{}(id.value);
  }
};
