#include "smtpd/auth_link.h"

#include <utility>
#include <vector>

#include "common/log/log.h"

namespace postern::smtpd {
namespace {

constexpr base::Millis kVerdictCheck{1'000};

LoginStep unavailable() { return {LoginStep::Result::kUnavailable, {}}; }

LoginStep::Result result_of(ipc::LoginResult result) {
  switch (result) {
    case ipc::LoginResult::kChallenge:
      return LoginStep::Result::kChallenge;
    case ipc::LoginResult::kAccepted:
      return LoginStep::Result::kAccepted;
    case ipc::LoginResult::kRefused:
      return LoginStep::Result::kRefused;
    case ipc::LoginResult::kUnavailable:
      return LoginStep::Result::kUnavailable;
  }
  std::unreachable();
}

}  // namespace

AuthLink::AuthLink(event::Loop& loop, const base::Clock& clock, event::Callback lost)
    : loop_(loop),
      clock_(clock),
      lost_(std::move(lost)),
      deadlines_(loop, [this]() noexcept { check_deadlines(); }) {}

void AuthLink::connect(base::UniqueFd fd) {
  drop_channel();
  connection_ = std::make_unique<Connection>(loop_, std::move(fd), *this);
  for (const auto& session : std::exchange(unsaid_, {})) end(session);
}

void AuthLink::closed() noexcept {
  drop_channel();
  lost_();
}

void AuthLink::drop_channel() noexcept {
  connection_.reset();
  for (auto& [request, question] : std::exchange(asked_, {})) question.answered(unavailable());
}

template <class M>
void AuthLink::ask(M message, Answered answered, ipc::Descriptors descriptors) {
  if (!connection_ || !connection_->channel().has_credit<M>()) {
    (void)log::warning("login.no_answer")
        .field("reason", connection_ ? "too many log in at once" : "the auth process is not there");
    loop_.defer([answered = std::move(answered)]() mutable noexcept { answered(unavailable()); });
    return;
  }
  message.request = last_request_ = last_request_.next();
  asked_.emplace(last_request_.value, Question{std::move(answered), clock_.steady()});
  connection_->send(message, std::move(descriptors));
  if (!deadlines_.running()) deadlines_.start(kVerdictCheck);
}

void AuthLink::log_in(ipc::Login login, Answered answered) {
  ask(std::move(login), std::move(answered));
}

void AuthLink::log_in_user(const base::Token& session, base::UniqueFd connection, Answered answered) {
  ipc::Descriptors descriptors;
  descriptors.push_back(std::move(connection));
  ask(ipc::UserLogin{{}, session}, std::move(answered), std::move(descriptors));
}

void AuthLink::respond(const base::Token& session, std::string_view response, Answered answered) {
  ask(ipc::LoginResponse{{}, session, std::string(response)}, std::move(answered));
}

void AuthLink::end(const base::Token& session) {
  // queued may have its ticket from an auth process that is gone: the next one passes this on.
  if (connection_)
    connection_->send(ipc::EndLogin{session});
  else if (unsaid_.size() < kMostUnsaid)
    unsaid_.push_back(session);
}

void AuthLink::on(const ipc::LoginAnswer& message) {
  const auto at = asked_.find(message.request.value);
  if (at == asked_.end()) return;  // its deadline has passed
  auto answered = std::move(at->second.answered);
  asked_.erase(at);
  const bool accepted = message.result == ipc::LoginResult::kAccepted;
  // An account without a name would be nobody.
  if (accepted && message.account.empty()) return answered(unavailable());
  answered({result_of(message.result), accepted ? message.account : message.challenge});
}

void AuthLink::check_deadlines() noexcept {
  const auto limit = clock_.steady() - kDeadline;
  std::vector<Answered> over;
  for (auto at = asked_.begin(); at != asked_.end();) {
    if (at->second.since > limit) {
      ++at;
      continue;
    }
    over.push_back(std::move(at->second.answered));
    at = asked_.erase(at);
  }
  for (auto& answered : over) answered(unavailable());
  if (!asked_.empty()) deadlines_.start(kVerdictCheck);
}

}  // namespace postern::smtpd
