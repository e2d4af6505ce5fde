// Desk: every session that logs in or is logged in: drives its exchange, slows down who guesses, has
// passwords checked, and gets its ticket to queued before the client hears that it counts.
//
//   asked -> (challenge -> response)* -> judged, after the pause that the throttle wants
//         -> password checked -> ticket asked -> logged in, until smtpd says that the session is over
//   SCRAM's last word is a challenge behind the judgement: heard before, it would tell a guesser what was right.
//   A user of this host is asked for nothing: it begins at the ticket.
//   In each of these it may end: the client gave up, its smtpd died, queued or the checker cannot say.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "common/event/loop.h"
#include "common/ipc/messages.h"
#include "smtpd/auth/accounts.h"
#include "smtpd/auth/checker.h"
#include "smtpd/auth/throttle.h"

namespace postern::smtpd::auth {

class Desk {
 public:
  static constexpr std::size_t kMostSessions = 200'000;
  static constexpr unsigned kMostRounds = 5;  // challenges of one exchange

  // Where words go to; none may call back into the desk.
  class Wire {
   public:
    virtual ~Wire() = default;
    virtual void answer(std::uint32_t smtpd, const ipc::LoginAnswer& answer) = 0;
    virtual void end_account(const std::string& account) = 0;  // to every smtpd
    // false: nobody is there to take it.
    [[nodiscard]] virtual bool give(const ipc::Ticket& ticket) = 0;
    virtual void drop(const base::Token& session) = 0;
  };

  Desk(event::Loop& loop, const base::Clock& clock, Wire& wire);
  ~Desk();

  // Who knows the passwords; `accounts` is null where it is not us. Whoever is logged in with what does
  // not count any more is logged out; of another checker's accounts nothing is known to count.
  void use(std::shared_ptr<const Accounts> accounts, Checker& checker);

  void begin(std::uint32_t smtpd, const ipc::Login& login);
  // The kernel says that this is who has connected.
  void admit(std::uint32_t smtpd, const ipc::UserLogin& login, std::string account);
  void respond(std::uint32_t smtpd, const ipc::LoginResponse& response);
  void end(std::uint32_t smtpd, const base::Token& session);
  void smtpd_gone(std::uint32_t smtpd);

  void taken(const ipc::TicketTaken& answer);
  // queued is another, and knows no ticket; or it is gone.
  void queued_came();
  void queued_gone();

  [[nodiscard]] std::size_t logged_in() const noexcept { return logged_in_; }

 private:
  struct Session;
  struct Attempt {
    base::Token token;
    base::IpAddress client;
    std::string account;
  };
  using Sessions = std::unordered_map<base::Token, std::unique_ptr<Session>>;

  [[nodiscard]] Session* find(std::uint32_t smtpd, const base::Token& token);
  [[nodiscard]] Session* open(std::uint32_t smtpd, const base::Token& token, base::RequestId request);
  [[nodiscard]] bool outdated(const Session& session) const;
  void change_checker(Checker& checker);
  void advance(Session& session, Step step);
  void judge(Session& session, Step step);
  void judge_later(Session& session, Step step, Throttle::Wait wait);
  void decide(const base::Token& token, std::uint64_t turn, Step step);
  void checked(std::uint64_t turn, Verdict verdict);
  void accept(Session& session, std::string account);
  void refuse(Session& session, std::string_view reason);
  void give_up(Session& session, std::string_view reason);
  void answer(Session& session, ipc::LoginResult result, std::string text);
  void forget(const base::Token& token);

  event::Loop& loop_;
  const base::Clock& clock_;
  Wire& wire_;
  std::shared_ptr<const Accounts> accounts_;
  Checker* checker_ = nullptr;
  Throttle throttle_;
  Sessions sessions_;
  std::unordered_map<std::uint64_t, Attempt> checks_;  // that the checker has not answered, by turn
  std::unordered_map<std::uint64_t, base::Token> asked_;  // tickets that queued has not taken, by request
  base::RequestId last_request_;
  std::uint64_t last_turn_ = 0;
  std::size_t logged_in_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::smtpd::auth
