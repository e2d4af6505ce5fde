// DovecotLink: the connection to Dovecot's authentication socket, which the parent makes for us. While
// there is none, nobody can say whether a password is right; one is asked for every second.
#pragma once

#include <memory>
#include <unordered_map>

#include "common/base/clock.h"
#include "common/event/stream.h"
#include "smtpd/auth/dovecot.h"

namespace postern::smtpd::auth {

class DovecotLink final : public Checker, public event::StreamOwner {
 public:
  static constexpr base::Millis kAgain{1'000};      // until the next try to connect
  static constexpr base::Millis kDeadline{20'000};  // Dovecot itself delays what fails

  // `ask` asks the parent for a connection; connected() brings it.
  DovecotLink(event::Loop& loop, event::Callback ask);
  ~DovecotLink() override;

  void connected(base::UniqueFd fd);
  void check(const std::string& account, std::string password, const base::IpAddress& client,
             Checked checked) override;

 private:
  struct Question {
    Checked checked;
    base::SteadyTime since;
  };

  std::size_t on_input(std::string_view bytes) noexcept override;
  void on_closed(event::CloseReason reason) noexcept override;
  void lose(std::string_view why) noexcept;
  void check_deadlines() noexcept;

  event::Loop& loop_;
  event::Callback ask_;
  std::unique_ptr<event::Stream> stream_;
  std::unique_ptr<Dovecot> dovecot_;
  std::unordered_map<std::uint32_t, Question> questions_;
  event::Timer again_;
  event::Timer deadlines_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::smtpd::auth
