#include "deliverd/relay/logins.h"

#include <fmt/format.h>

#include <utility>

namespace postern::relay {

Logins::Logins(const std::vector<config::RelayLogin>& logins) {
  for (const auto& login : logins)
    accounts_.emplace(std::tuple(login.host, login.port, login.user),
                      std::make_shared<HopAccount>(login.user, login.password));
}

std::expected<std::shared_ptr<HopAccount>, Trouble> Logins::find(const config::HopSpec& hop) const {
  if (hop.login.empty()) return nullptr;
  const auto at = accounts_.find(std::tuple(hop.host, hop.port, hop.login));
  const bool fit = hop.kind == config::HopKind::kHost && hop.tls == config::HopTls::kVerified && !hop.lmtp;
  if (fit && at != accounts_.end()) return at->second;
  Trouble trouble{ipc::GrantEnd::kTemporary, ipc::FailureClass::kLogin, {}, {}};
  trouble.reply.enhanced = {4, 7, 0};
  trouble.reply.lines.push_back(
      fmt::format("no password of {} at {}:{} is known here", hop.login, hop.host, hop.port));
  return std::unexpected(std::move(trouble));
}

}  // namespace postern::relay
