#include "smtpd/auth/plain.h"

#include "common/base/text.h"

namespace postern::smtpd::auth {
namespace {

// Name and password as said; `acting` is whom the client wants to be, if not itself.
Step check(std::string_view acting, std::string_view name, std::string_view password) {
  auto account = account_name(name);
  if (name.empty() || password.empty()) return Rejected{account, "name or password is empty"};
  if (name.size() > Exchange::kMaxField || password.size() > Exchange::kMaxField)
    return Rejected{{}, "name or password is too long"};
  if (!acting.empty() && account_name(acting) != account)
    return Rejected{account, "wants to act for another account"};
  return CheckPassword{std::move(account), std::string(password)};
}

}  // namespace

std::string account_name(std::string_view said) {
  return base::to_lower(said.substr(0, Exchange::kMaxField));
}

Step Plain::begin(std::optional<std::string_view> initial) {
  if (initial) return respond(*initial);
  return Challenge{};
}

// [authzid] NUL authcid NUL passwd
Step Plain::respond(std::string_view response) {
  const auto first = response.find('\0');
  if (first == std::string_view::npos) return Rejected{{}, "no PLAIN response"};
  const auto second = response.find('\0', first + 1);
  if (second == std::string_view::npos) return Rejected{{}, "no PLAIN response"};
  const auto password = response.substr(second + 1);
  if (password.find('\0') != std::string_view::npos) return Rejected{{}, "no PLAIN response"};
  return check(response.substr(0, first), response.substr(first + 1, second - first - 1), password);
}

Step Login::begin(std::optional<std::string_view> initial) {
  if (initial) return respond(*initial);
  return Challenge{"Username:"};
}

Step Login::respond(std::string_view response) {
  if (response.find('\0') != std::string_view::npos) return Rejected{{}, "NUL in a LOGIN response"};
  if (name_) return check({}, *name_, response);
  name_ = response;
  return Challenge{"Password:"};
}

}  // namespace postern::smtpd::auth
