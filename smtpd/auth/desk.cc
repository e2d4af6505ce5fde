#include "smtpd/auth/desk.h"

#include <utility>
#include <vector>

#include "common/base/secret.h"
#include "common/base/text.h"
#include "common/config/rights.h"
#include "common/log/log.h"
#include "common/sasl/nonce.h"

namespace postern::smtpd::auth {
namespace {

constexpr std::string_view kByKernel = "peer credentials";
constexpr std::string_view kChanged = "the account has changed meanwhile";

std::string account_of(const Step& step) {
  if (const auto* const check = std::get_if<CheckPassword>(&step)) return check->account;
  if (const auto* const convinced = std::get_if<Convinced>(&step)) return convinced->account;
  if (const auto* const proven = std::get_if<Proven>(&step)) return proven->account;
  if (const auto* const rejected = std::get_if<Rejected>(&step)) return rejected->account;
  return {};
}

}  // namespace

struct Desk::Session {
  enum class State : std::uint8_t { kAsked, kJudged, kTicket, kLoggedIn };

  base::Token token;
  std::uint32_t smtpd = 0;
  base::IpAddress client;
  std::string_view mechanism;
  bool by_password = true;  // or whatever proves that one knows it
  State state = State::kAsked;
  std::unique_ptr<Exchange> exchange;
  base::RequestId request;  // of smtpd
  bool owed = true;         // it is unanswered
  std::uint64_t turn = 0;   // what comes later for another turn is too late
  unsigned rounds = 0;
  bool judged = false;  // the throttle has let it go on
  std::optional<base::SteadyTime> asked;  // for how long it is to wait, for the first time
  bool waits = false;                     // and is under way for the throttle
  std::string account;
  std::shared_ptr<const Accounts> table;  // in which it was looked up, until it has its ticket
  std::unique_ptr<event::Timer> pause;
};

Desk::Desk(event::Loop& loop, const base::Clock& clock, Wire& wire)
    : loop_(loop), clock_(clock), wire_(wire) {}
Desk::~Desk() { *alive_ = false; }

void Desk::use(std::shared_ptr<const Accounts> accounts, Checker& checker) {
  const auto former = std::exchange(accounts_, std::move(accounts));
  if (checker_ != &checker) change_checker(checker);
  if (!former && !accounts_) return;
  std::vector<base::Token> out;
  for (const auto& [token, session] : sessions_) {
    const bool counts = session->state == Session::State::kLoggedIn || session->state == Session::State::kTicket;
    const bool same = former && accounts_ && accounts_->same(*former, session->account);
    if (counts && session->by_password && !same) out.push_back(token);
  }
  for (const auto& token : out) {
    auto& session = *sessions_.at(token);
    if (session.state == Session::State::kTicket) {
      refuse(session, kChanged);
      continue;
    }
    wire_.end_account(session.account);
    forget(token);
  }
}

// What the former one was asked it will not answer.
void Desk::change_checker(Checker& checker) {
  checker_ = &checker;
  for (const auto& [turn, attempt] : std::exchange(checks_, {})) {
    throttle_.ended(attempt.client, attempt.account);
    const auto at = sessions_.find(attempt.token);
    if (at != sessions_.end() && at->second->turn == turn) give_up(*at->second, "another checks passwords now");
  }
}

// What it was looked up in is of before a change of its account.
bool Desk::outdated(const Session& session) const {
  return session.by_password && session.table != accounts_ &&
         !(session.table && accounts_ && accounts_->same(*session.table, session.account));
}

Desk::Session* Desk::find(std::uint32_t smtpd, const base::Token& token) {
  const auto at = sessions_.find(token);
  return at == sessions_.end() || at->second->smtpd != smtpd ? nullptr : at->second.get();
}

// --- An exchange --------------------------------------------------------------------------------

// Null: it is answered already, for there is no room, or no use.
Desk::Session* Desk::open(std::uint32_t smtpd, const base::Token& token, base::RequestId request) {
  const bool twice = sessions_.contains(token);
  if (twice || sessions_.size() >= kMostSessions) {
    (void)log::warning("login.unavailable")
        .field("reason", twice ? "the session logs in already" : "too many sessions");
    wire_.answer(smtpd, {request, ipc::LoginResult::kUnavailable, {}, {}});
    return nullptr;
  }
  auto made = std::make_unique<Session>();
  made->token = token;
  made->smtpd = smtpd;
  made->request = request;
  made->turn = ++last_turn_;
  return sessions_.emplace(token, std::move(made)).first->second.get();
}

void Desk::admit(std::uint32_t smtpd, const ipc::UserLogin& login, std::string account) {
  auto* const session = open(smtpd, login.session, login.request);
  if (session == nullptr) return;
  session->client = config::kThisHost;
  session->mechanism = kByKernel;
  session->by_password = false;
  accept(*session, std::move(account));
}

void Desk::begin(std::uint32_t smtpd, const ipc::Login& login) {
  auto* const opened = open(smtpd, login.session, login.request);
  if (opened == nullptr) return;
  auto& session = *opened;
  session.client = login.client;
  session.mechanism = sasl::name(login.mechanism);
  session.table = accounts_;
  ExchangeContext context;
  context.binding = {login.tls_exporter, login.tls_unique};
  context.plus_offered = login.plus_offered;
  context.nonce = sasl::fresh_nonce();
  context.look_up = [accounts = accounts_](const std::string& account) {
    return accounts ? accounts->look_up(account) : Looked{};
  };
  session.exchange = make_exchange(login.mechanism, std::move(context));
  const bool scram = login.mechanism == sasl::Mechanism::kScramSha256 ||
                     login.mechanism == sasl::Mechanism::kScramSha256Plus;
  if (scram && !accounts_) return give_up(session, "no verifiers are known here");
  std::optional<std::string_view> initial;
  if (login.initial) initial = *login.initial;
  advance(session, session.exchange->begin(initial));
}

void Desk::respond(std::uint32_t smtpd, const ipc::LoginResponse& response) {
  auto* const session = find(smtpd, response.session);
  if (session == nullptr || session->state != Session::State::kAsked)
    return wire_.answer(smtpd, {response.request, ipc::LoginResult::kUnavailable, {}, {}});
  session->request = response.request;
  session->owed = true;
  advance(*session, session->exchange->respond(response.response));
}

void Desk::advance(Session& session, Step step) {
  if (auto* const challenge = std::get_if<Challenge>(&step)) {
    if (++session.rounds > kMostRounds) return judge(session, Rejected{{}, "too many rounds"});
    return answer(session, ipc::LoginResult::kChallenge, std::move(challenge->bytes));
  }
  if (session.judged) return decide(session.token, session.turn, std::move(step));
  judge(session, std::move(step));
}

// Before anything is found out: how long may it take?
void Desk::judge(Session& session, Step step) {
  session.state = Session::State::kJudged;
  session.judged = true;
  if (!std::holds_alternative<Convinced>(step)) session.exchange.reset();
  session.account = account_of(step);
  const auto now = clock_.steady();
  if (!session.asked) session.asked = now;
  const auto wait = throttle_.admit(session.client, session.account, now);
  if (!wait || (wait->again && now - *session.asked > Throttle::kMostWait))
    return give_up(session, wait ? "too many attempts at once" : "too many failures before");
  session.waits = !wait->again;
  if (wait->time.count() == 0) return decide(session.token, session.turn, std::move(step));
  judge_later(session, std::move(step), *wait);
}

void Desk::judge_later(Session& session, Step step, Throttle::Wait wait) {
  const auto go_on = [this, token = session.token, turn = session.turn, again = wait.again](Step what) {
    if (!again) return decide(token, turn, std::move(what));
    const auto at = sessions_.find(token);
    if (at != sessions_.end() && at->second->turn == turn) judge(*at->second, std::move(what));
  };
  session.pause = std::make_unique<event::Timer>(loop_, [this, go_on, step = std::move(step)]() mutable noexcept {
    loop_.defer([go_on, step = std::move(step), alive = alive_]() mutable noexcept {
      if (*alive) go_on(std::move(step));
    });
  });
  session.pause->start(wait.time);
}

void Desk::decide(const base::Token& token, std::uint64_t turn, Step step) {
  const auto at = sessions_.find(token);
  if (at == sessions_.end() || at->second->turn != turn) return;
  auto& session = *at->second;
  session.pause.reset();
  if (std::exchange(session.waits, false) && !std::holds_alternative<CheckPassword>(step))
    throttle_.ended(session.client, session.account);
  if (const auto* const rejected = std::get_if<Rejected>(&step)) return refuse(session, rejected->reason);
  if (auto* const convinced = std::get_if<Convinced>(&step)) {
    session.state = Session::State::kAsked;
    return answer(session, ipc::LoginResult::kChallenge, std::move(convinced->bytes));
  }
  if (auto* const proven = std::get_if<Proven>(&step)) return accept(session, std::move(proven->account));
  session.table = accounts_;
  checks_.emplace(turn, Attempt{token, session.client, session.account});
  auto& check = std::get<CheckPassword>(step);
  checker_->check(check.account, std::move(check.password), session.client,
                  [this, turn, alive = alive_](Verdict verdict) noexcept {
                    if (*alive) checked(turn, std::move(verdict));
                  });
}

void Desk::checked(std::uint64_t turn, Verdict verdict) {
  const auto check = checks_.find(turn);
  if (check == checks_.end()) return;  // of a former checker
  const auto attempt = std::move(check->second);
  checks_.erase(check);
  throttle_.ended(attempt.client, attempt.account);
  const auto at = sessions_.find(attempt.token);
  if (at == sessions_.end() || at->second->turn != turn) return;  // the client did not wait
  switch (verdict.result) {
    case Verdict::Result::kRight:
      return accept(*at->second, std::move(verdict.account));
    case Verdict::Result::kWrong:
      return refuse(*at->second, "wrong name or password");
    case Verdict::Result::kUnavailable:
      return give_up(*at->second, "nobody can check the password now");
  }
}

// --- Its end ------------------------------------------------------------------------------------

void Desk::accept(Session& session, std::string account) {
  session.account = std::move(account);
  if (outdated(session)) return refuse(session, kChanged);
  session.table.reset();
  session.state = Session::State::kTicket;
  last_request_ = last_request_.next();
  if (!wire_.give({last_request_, session.token, session.smtpd, session.account}))
    return give_up(session, "the queue is not there");
  asked_.emplace(last_request_.value, session.token);
}

void Desk::taken(const ipc::TicketTaken& taken) {
  const auto asked = asked_.find(taken.request.value);
  if (asked == asked_.end()) return;
  const auto at = sessions_.find(asked->second);
  asked_.erase(asked);
  if (at == sessions_.end()) return;
  auto& session = *at->second;
  if (session.state == Session::State::kLoggedIn) {  // the ticket is for another queued
    if (taken.taken) return;
    wire_.end_account(session.account);
    return forget(base::Token(session.token));
  }
  if (session.state != Session::State::kTicket) return;
  if (!taken.taken) return refuse(session, "the account is locked");
  if (session.by_password) throttle_.succeeded(session.client, session.account, clock_.steady());
  session.state = Session::State::kLoggedIn;
  ++logged_in_;
  (void)log::info("login.ok")
      .field("account", session.account)
      .field("client", session.client)
      .field("mechanism", session.mechanism);
  answer(session, ipc::LoginResult::kAccepted, {});
}

void Desk::refuse(Session& session, std::string_view reason) {
  if (session.by_password) throttle_.failed(session.client, session.account, clock_.steady());
  (void)log::warning("login.failed")
      .field("account", base::printable(session.account, sasl::kMaxAccount))
      .field("client", session.client)
      .field("mechanism", session.mechanism)
      .field("reason", reason);
  answer(session, ipc::LoginResult::kRefused, {});
  forget(base::Token(session.token));
}

void Desk::give_up(Session& session, std::string_view reason) {
  (void)log::warning("login.unavailable")
      .field("account", base::printable(session.account, sasl::kMaxAccount))
      .field("client", session.client)
      .field("reason", reason);
  answer(session, ipc::LoginResult::kUnavailable, {});
  forget(base::Token(session.token));
}

void Desk::answer(Session& session, ipc::LoginResult result, std::string text) {
  session.owed = false;
  const bool accepted = result == ipc::LoginResult::kAccepted;
  wire_.answer(session.smtpd,
               {session.request, result, std::move(text), accepted ? session.account : std::string()});
}

void Desk::forget(const base::Token& token) {
  const auto at = sessions_.find(token);
  if (at == sessions_.end()) return;
  const auto state = at->second->state;
  if (at->second->waits) throttle_.ended(at->second->client, at->second->account);
  if (state == Session::State::kLoggedIn) --logged_in_;
  sessions_.erase(at);
  if (state == Session::State::kLoggedIn || state == Session::State::kTicket) wire_.drop(token);
}

// One that is not known here may be from before our own start: queued may have its ticket. A request is
// answered even if nobody waits any more, or its smtpd could soon ask nothing.
void Desk::end(std::uint32_t smtpd, const base::Token& token) {
  if (!sessions_.contains(token)) return wire_.drop(token);
  auto* const session = find(smtpd, token);
  if (session == nullptr) return;
  if (session->owed) answer(*session, ipc::LoginResult::kUnavailable, {});
  forget(token);
}

void Desk::smtpd_gone(std::uint32_t smtpd) {
  std::vector<base::Token> gone;
  for (const auto& [token, session] : sessions_)
    if (session->smtpd == smtpd) gone.push_back(token);
  for (const auto& token : gone) forget(token);
}

void Desk::queued_came() {
  for (const auto& [token, session] : sessions_) {
    if (session->state != Session::State::kLoggedIn) continue;
    last_request_ = last_request_.next();
    if (!wire_.give({last_request_, token, session->smtpd, session->account})) return;
    asked_.emplace(last_request_.value, token);
  }
}

void Desk::queued_gone() {
  asked_.clear();
  std::vector<Session*> waiting;
  for (const auto& [token, session] : sessions_)
    if (session->state == Session::State::kTicket) waiting.push_back(session.get());
  for (auto* const session : waiting) give_up(*session, "the queue is not there");
}

}  // namespace postern::smtpd::auth
