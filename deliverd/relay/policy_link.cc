#include "deliverd/relay/policy_link.h"

#include <algorithm>
#include <utility>

namespace postern::relay {

PolicyLink::PolicyLink(event::Loop& loop, const base::Clock& clock, event::Callback lost)
    : loop_(loop),
      clock_(clock),
      lost_(std::move(lost)),
      timer_(loop, [this]() noexcept { give_up_late(); }) {}

void PolicyLink::connect(base::UniqueFd fd) {
  for (auto& [request, question] : questions_) question.sent = false;
  connection_ = std::make_unique<Connection>(loop_, std::move(fd), *this);
  send_waiting();
}

void PolicyLink::closed() noexcept {
  connection_.reset();
  lost_();
}

dns::Query PolicyLink::ask(const std::string& domain, std::vector<std::string> hosts, Done done) {
  auto interest = std::make_shared<char>();
  last_request_ = last_request_.next();
  questions_.emplace(last_request_.value,
                     Question{{last_request_, domain, std::move(hosts)}, interest, std::move(done),
                              clock_.steady() + kPatience});
  if (!timer_.running()) timer_.start(kPatience);
  send_waiting();
  return dns::Query(std::move(interest));
}

// Without credit the rest waits for an answer.
void PolicyLink::send_waiting() {
  if (!connection_) return;
  for (auto& [request, question] : questions_) {
    if (question.sent) continue;
    if (!connection_->channel().has_credit<ipc::AskPolicy>()) return;
    connection_->send(question.message);
    question.sent = true;
  }
}

void PolicyLink::on(const ipc::PolicySaid& said) {
  auto question = questions_.extract(said.request.value);
  if (question.empty()) return send_waiting();  // it came too late
  auto& [message, interest, done, until, sent] = question.mapped();
  if (!interest.expired()) done(said.known ? std::optional(said) : std::nullopt);
  send_waiting();
}

void PolicyLink::give_up_late() {
  const auto now = clock_.steady();
  std::vector<Question> over;
  while (!questions_.empty() && questions_.begin()->second.until <= now)
    over.push_back(std::move(questions_.extract(questions_.begin()).mapped()));
  if (!questions_.empty())
    timer_.start(std::max(questions_.begin()->second.until - now, base::Millis(1)));
  for (auto& question : over)
    if (!question.interest.expired()) question.done(std::nullopt);
}

}  // namespace postern::relay
