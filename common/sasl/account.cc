#include "common/sasl/account.h"

#include <fmt/format.h>

#include <algorithm>

namespace postern::sasl {

std::string wrong_with_account(std::string_view name) {
  if (name.empty()) return "expected the name of an account";
  if (name.size() > kMaxAccount)
    return fmt::format("expected a name of at most {} characters", kMaxAccount);
  const auto fits = [](char c) { return c > ' ' && c <= '~' && c != ':'; };
  if (!std::all_of(name.begin(), name.end(), fits) || name.front() == '#')
    return "expected a name of printable ASCII without blanks and colons, and no # in front";
  return {};
}

std::string wrong_with_password(std::string_view password) {
  if (password.empty()) return "expected a password that is not empty";
  if (password.size() > kMaxPassword)
    return fmt::format("expected a password of at most {} characters", kMaxPassword);
  if (!std::all_of(password.begin(), password.end(), [](char c) { return c >= ' ' && c <= '~'; }))
    return "expected a password of printable ASCII: clients do not agree on how to send others";
  return {};
}

}  // namespace postern::sasl
