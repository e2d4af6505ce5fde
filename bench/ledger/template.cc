#include "bench/ledger/template.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"

namespace postern::bench {
namespace {

std::unexpected<std::string> mistake(std::string_view text, std::string_view what) {
  return std::unexpected(fmt::format("\"{}\": {}", base::printable(text), what));
}

}  // namespace

std::expected<Template, std::string> Template::parse(std::string_view text) {
  const bool plain = std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7F; });
  if (text.empty() || text.size() > kMaxLength || !plain)
    return mistake(text, "an address has 1 to 256 printable characters and no spaces");
  Template made;
  made.text_ = text;
  auto rest = text;
  for (auto open = rest.find('{'); open != std::string_view::npos; open = rest.find('{')) {
    const auto close = rest.find('}', open);
    if (close == std::string_view::npos) return mistake(text, "a brace is not closed");
    auto inner = rest.substr(open + 1, close - open - 1);
    if (!inner.starts_with('n') && !inner.starts_with('i'))
      return mistake(text, "between braces stands n or i, and %K or /K behind it");
    Part part{std::string(rest.substr(0, open)), inner.front(), {}};
    inner.remove_prefix(1);
    while (!inner.empty()) {
      const char operation = inner.front();
      inner.remove_prefix(1);
      const auto digits = inner.substr(0, inner.find_first_of("%/"));
      const auto by = base::parse_number(digits);
      if ((operation != '%' && operation != '/') || !by || *by == 0)
        return mistake(text, "between braces stands n or i, and %K or /K behind it");
      part.steps.push_back({operation, *by});
      inner.remove_prefix(digits.size());
    }
    made.parts_.push_back(std::move(part));
    rest.remove_prefix(close + 1);
  }
  made.rest_ = rest;
  return made;
}

std::string Template::fill(std::uint64_t number, std::uint64_t index) const {
  std::string address;
  for (const auto& part : parts_) {
    auto value = part.variable == 'n' ? number : index;
    for (const auto& step : part.steps)
      value = step.operation == '%' ? value % step.by : value / step.by;
    address += part.before;
    address += std::to_string(value);
  }
  address += rest_;
  return address;
}

bool Template::uses_index() const noexcept {
  return std::ranges::any_of(parts_, [](const Part& part) { return part.variable == 'i'; });
}

}  // namespace postern::bench
