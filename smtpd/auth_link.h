// AuthLink: smtpd's side of the conversation with auth: the steps of logins, and the end of sessions
// whose account does not count any more. Where there is no auth process now, a login is answered with
// "later" at once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/clock.h"
#include "common/event/loop.h"
#include "common/ipc/channel.h"
#include "smtpd/protocol.h"

namespace postern::smtpd {

class AuthLink {
 public:
  using Connection = ipc::Connection<AuthLink, ipc::Role::kSmtpd, ipc::Role::kAuth>;
  using Answered = std::move_only_function<void(LoginStep) noexcept>;
  using AccountEnded = std::move_only_function<void(const std::string&) noexcept>;
  static constexpr base::Millis kDeadline{60'000};  // for a step; auth makes guessers wait
  static constexpr std::size_t kMostUnsaid = 10'000;

  // `lost` is called when the channel has broken: somebody should see to a new one.
  AuthLink(event::Loop& loop, const base::Clock& clock, event::Callback lost);

  void on_account_ended(AccountEnded ended) { account_ended_ = std::move(ended); }
  // A fresh channel, in place of the former.
  void connect(base::UniqueFd fd);

  // All answer later. `login` without its request.
  void log_in(ipc::Login login, Answered answered);
  void log_in_user(const base::Token& session, base::UniqueFd connection, Answered answered);
  void respond(const base::Token& session, std::string_view response, Answered answered);
  // The session has no exchange and no login any more.
  void end(const base::Token& session);

  // From auth.
  void on(const ipc::LoginAnswer& message);
  void on(const ipc::EndAccount& message) { account_ended_(message.account); }
  void closed() noexcept;

 private:
  struct Question {
    Answered answered;
    base::SteadyTime since;
  };

  template <class M>
  void ask(M message, Answered answered, ipc::Descriptors descriptors = {});
  void drop_channel() noexcept;
  void check_deadlines() noexcept;

  event::Loop& loop_;
  const base::Clock& clock_;
  event::Callback lost_;
  AccountEnded account_ended_ = [](const std::string&) noexcept {};
  std::unique_ptr<Connection> connection_;
  base::RequestId last_request_;
  std::unordered_map<std::uint64_t, Question> asked_;  // by request
  std::vector<base::Token> unsaid_;  // sessions that ended while there was no auth
  event::Timer deadlines_;
};

}  // namespace postern::smtpd
