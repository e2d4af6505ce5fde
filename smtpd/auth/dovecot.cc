#include "smtpd/auth/dovecot.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "common/base/base64.h"
#include "common/base/secret.h"
#include "common/base/text.h"
#include "common/sasl/account.h"

namespace postern::smtpd::auth {
namespace {

constexpr std::string_view kMajor = "1";

std::string_view take(std::string_view& text) {
  const auto field = text.substr(0, text.find('\t'));
  text.remove_prefix(std::min(field.size() + 1, text.size()));
  return field;
}

}  // namespace

Dovecot::Dovecot(std::uint32_t pid) : output_(fmt::format("VERSION\t1\t1\nCPID\t{}\n", pid)) {}

bool Dovecot::fail(std::string why) {
  trouble_ = std::move(why);
  return false;
}

bool Dovecot::input(std::string_view bytes) {
  kept_ += bytes;
  std::string_view rest = kept_;
  for (auto end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
    if (!line(rest.substr(0, end))) return false;
    rest.remove_prefix(end + 1);
  }
  if (rest.size() > kMaxLine) return fail("a line without end");
  kept_.erase(0, kept_.size() - rest.size());
  return true;
}

bool Dovecot::line(std::string_view text) {
  const auto verb = take(text);
  if (!version_) {
    if (verb != "VERSION" || take(text) != kMajor)
      return fail("it does not speak version 1 of the authentication protocol");
    return version_ = true;
  }
  if (verb == "OK" || verb == "FAIL" || verb == "CONT") return answer(verb, text);
  if (verb == "MECH") plain_ = plain_ || base::equals_ignoring_case(take(text), "PLAIN");
  if (verb == "DONE") {
    if (!plain_) return fail("it does not offer the mechanism PLAIN (auth_mechanisms)");
    ready_ = true;
  }
  return true;  // what else there may be is of later versions, or does not matter here
}

bool Dovecot::answer(std::string_view verb, std::string_view rest) {
  const auto id = base::parse_number(take(rest));
  if (!id || *id > std::numeric_limits<std::uint32_t>::max() ||
      asked_.erase(static_cast<std::uint32_t>(*id)) == 0)
    return fail("an answer to what was not asked");
  Answer made{static_cast<std::uint32_t>(*id), {}};
  std::string_view user;
  bool temporary = verb == "CONT";  // PLAIN has nothing to go on with
  while (!rest.empty()) {           // bounded by the line
    const auto field = take(rest);
    if (field.starts_with("user=")) user = field.substr(5);
    temporary = temporary || (verb == "FAIL" && (field == "temp" || field == "code=temp_fail"));
  }
  if (temporary) made.verdict.result = Verdict::Result::kUnavailable;
  if (verb == "OK") {
    made.verdict = {Verdict::Result::kRight, base::to_lower(user)};
    // Whoever has such a name is nobody whom we could name.
    if (!sasl::wrong_with_account(made.verdict.account).empty())
      made.verdict = {Verdict::Result::kWrong, {}};
  }
  answers_.push_back(std::move(made));
  return true;
}

std::uint32_t Dovecot::ask(std::string_view account, std::string_view password,
                           const base::IpAddress& client) {
  std::string response(1, '\0');
  response.append(account).append(1, '\0').append(password);
  auto encoded = base::to_base64(response);
  asked_.insert(++last_id_);
  output_ += fmt::format("AUTH\t{}\tPLAIN\tservice=smtp\tnologin\tsecured\trip={}\tresp={}\n", last_id_,
                         base::to_string(client), encoded);
  base::wipe(response);
  base::wipe(encoded);
  return last_id_;
}

}  // namespace postern::smtpd::auth
