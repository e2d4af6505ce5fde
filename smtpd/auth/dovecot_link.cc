#include "smtpd/auth/dovecot_link.h"

#include <unistd.h>

#include <utility>
#include <vector>

#include "common/base/secret.h"
#include "common/log/log.h"

namespace postern::smtpd::auth {

DovecotLink::DovecotLink(event::Loop& loop, event::Callback ask)
    : loop_(loop),
      ask_(std::move(ask)),
      again_(loop, [this]() noexcept { ask_(); }),
      deadlines_(loop, [this]() noexcept { check_deadlines(); }) {
  ask_();
}

DovecotLink::~DovecotLink() { *alive_ = false; }

void DovecotLink::connected(base::UniqueFd fd) {
  if (!fd.valid()) return again_.start(kAgain);
  dovecot_ = std::make_unique<Dovecot>(static_cast<std::uint32_t>(::getpid()));
  stream_ = std::make_unique<event::Stream>(loop_, std::move(fd), *this);
  stream_->output() += dovecot_->take_output();
  stream_->flush();
}

void DovecotLink::check(const std::string& account, std::string password,
                        const base::IpAddress& client, Checked checked) {
  if (!dovecot_ || !dovecot_->ready() || !dovecot_->has_room()) {
    base::wipe(password);
    return loop_.defer([checked = std::move(checked)]() mutable noexcept {
      checked({Verdict::Result::kUnavailable, {}});
    });
  }
  const auto id = dovecot_->ask(account, password, client);
  base::wipe(password);
  questions_.emplace(id, Question{std::move(checked), base::system_clock().steady()});
  stream_->output() += dovecot_->take_output();
  stream_->flush();
  if (!deadlines_.running()) deadlines_.start(kDeadline);
}

std::size_t DovecotLink::on_input(std::string_view bytes) noexcept {
  const bool was_ready = dovecot_->ready();
  const bool good = dovecot_->input(bytes);
  if (!was_ready && dovecot_->ready()) (void)log::info("auth.dovecot").field("state", "connected");
  for (auto& answer : dovecot_->take_answers()) {
    const auto at = questions_.find(answer.id);
    if (at == questions_.end()) continue;  // its deadline has passed
    auto checked = std::move(at->second.checked);
    questions_.erase(at);
    checked(std::move(answer.verdict));
  }
  if (!good)
    loop_.defer([this, alive = alive_]() noexcept {
      if (*alive && dovecot_) lose(std::string(dovecot_->trouble()));
    });
  return bytes.size();
}

void DovecotLink::on_closed(event::CloseReason) noexcept {
  loop_.defer([this, alive = alive_]() noexcept {
    if (*alive) lose("the connection ended");
  });
}

void DovecotLink::lose(std::string_view why) noexcept {
  (void)log::warning("auth.no_dovecot").field("reason", why);
  stream_.reset();
  dovecot_.reset();
  for (auto& [id, question] : std::exchange(questions_, {}))
    question.checked({Verdict::Result::kUnavailable, {}});
  again_.start(kAgain);
}

void DovecotLink::check_deadlines() noexcept {
  const auto limit = base::system_clock().steady() - kDeadline;
  std::vector<Checked> over;
  for (auto at = questions_.begin(); at != questions_.end();) {
    if (at->second.since > limit) {
      ++at;
      continue;
    }
    over.push_back(std::move(at->second.checked));
    at = questions_.erase(at);
  }
  for (auto& checked : over) checked({Verdict::Result::kUnavailable, {}});
  if (!questions_.empty()) deadlines_.start(kDeadline / 4);
}

}  // namespace postern::smtpd::auth
