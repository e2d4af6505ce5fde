#include "smtpd/queue_link.h"

#include <algorithm>
#include <utility>

#include "common/log/log.h"

namespace postern::smtpd {
namespace {

constexpr base::Millis kDeadline{60'000};  // from the final dot to queued's word
constexpr base::Millis kDeadlineCheck{1'000};

mail::Reply try_later() {
  return {451, {4, 3, 2}, {"The queue is not available now; please try again later"}};
}

}  // namespace

QueueLink::QueueLink(event::Loop& loop, const base::Clock& clock)
    : loop_(loop), clock_(clock), deadlines_(loop, [this]() noexcept { check_deadlines(); }) {}

void QueueLink::connect(base::UniqueFd fd) {
  if (connection_) closed();
  ++channel_;
  connection_ = std::make_unique<Connection>(loop_, std::move(fd), *this);
  connection_->channel().on_credit([this]() noexcept { pump(); });
  for (auto& orphan : std::exchange(orphans_, {})) ask_for(std::move(orphan));
  pump();
}

void QueueLink::closed() noexcept {
  connection_.reset();
  for (auto& [request, submission] : std::exchange(sent_, {})) orphans_.push_back(std::move(submission));
  fail_large_requests();
}

// --- Submissions ----------------------------------------------------------------------------------

void QueueLink::submit(std::unique_ptr<Submission> submission) {
  waiting_.push_back(std::move(submission));
  if (!deadlines_.running()) deadlines_.start(kDeadlineCheck);
  pump();
}

void QueueLink::pump() {
  while (connection_ && !waiting_.empty()) {
    const auto& next = *waiting_.front();
    const auto bytes = next.large.value == 0 ? next.body_size : 0;
    if (!connection_->channel().has_credit<ipc::Submit>(bytes)) return;
    auto submission = std::move(waiting_.front());
    waiting_.pop_front();
    send(std::move(submission));
  }
}

void QueueLink::send(std::unique_ptr<Submission> submission) {
  const auto& s = *submission;
  const auto request = next_request();
  ipc::Submit message;
  message.request = request;
  message.token = s.token;
  message.listener = s.listener;
  message.client = s.client;
  message.hello = s.envelope.hello;
  message.esmtp = s.envelope.with == mail::WithProtocol::kEsmtp;
  message.from = s.envelope.reverse_path;
  message.recipient_count = static_cast<std::uint32_t>(s.envelope.recipients.size());
  message.eight_bit = s.envelope.eight_bit;
  message.body_size = s.body_size;
  message.large = s.large;
  connection_->send(message);
  send_parts(s, request);
  sent_.emplace(request.value, std::move(submission));
}

void QueueLink::send_parts(const Submission& submission, base::RequestId request) {
  ipc::SubmitRecipients part{request, {}};
  for (const auto& recipient : submission.envelope.recipients) {
    part.recipients.push_back(recipient.address);
    if (part.recipients.size() == ipc::kRecipientsInFrame) {
      connection_->send(part);
      part.recipients.clear();
    }
  }
  if (!part.recipients.empty()) connection_->send(part);
  for (std::string_view rest = submission.body; !rest.empty();) {
    const auto slice = rest.substr(0, ipc::kBodySlice);
    connection_->send(ipc::SubmitBody{request, {slice}});
    rest.remove_prefix(slice.size());
  }
}

void QueueLink::ask_for(std::unique_ptr<Submission> submission) {
  const auto request = next_request();
  connection_->send(ipc::AskToken{request, submission->token});
  sent_.emplace(request.value, std::move(submission));
}

std::unique_ptr<Submission> QueueLink::take(base::RequestId request) {
  const auto at = sent_.find(request.value);
  if (at == sent_.end()) return nullptr;  // its deadline has passed
  auto submission = std::move(at->second);
  sent_.erase(at);
  return submission;
}

void QueueLink::on(const ipc::Submitted& message) {
  auto submission = take(message.request);
  if (!submission) return;
  if (message.id.value != 0)
    finish(std::move(submission), Accepted{message.id});
  else
    finish(std::move(submission), Refused{ipc::from_ipc(message.refusal)});
}

void QueueLink::on(const ipc::TokenResult& message) {
  auto submission = take(message.request);
  if (!submission) return;
  if (message.id.value != 0) return finish(std::move(submission), Accepted{message.id});
  // A large file died with the queued that made it.
  if (submission->large.value != 0) return finish(std::move(submission), Refused{try_later()});
  waiting_.push_front(std::move(submission));
  pump();
}

void QueueLink::on(const ipc::Intake& message) {
  intake_open_ = message.open;
  intake_refusal_ = ipc::from_ipc(message.refusal);
}

void QueueLink::finish(std::unique_ptr<Submission> submission, SubmissionResult result) {
  submission->done(std::move(result));
}

void QueueLink::check_deadlines() noexcept {
  const auto limit = clock_.steady() - kDeadline;
  std::vector<std::pair<std::unique_ptr<Submission>, SubmissionResult>> over;
  while (!waiting_.empty() && waiting_.front()->began < limit) {
    over.emplace_back(std::move(waiting_.front()), Refused{try_later()});
    waiting_.pop_front();
  }
  std::erase_if(orphans_, [&](auto& s) {
    if (s->began >= limit) return false;
    over.emplace_back(std::move(s), Unknown{});
    return true;
  });
  for (auto at = sent_.begin(); at != sent_.end();) {
    if (at->second->began < limit) {
      over.emplace_back(std::move(at->second), Unknown{});
      at = sent_.erase(at);
    } else {
      ++at;
    }
  }
  for (auto& [submission, result] : over) finish(std::move(submission), std::move(result));
  if (!idle() || !orphans_.empty()) deadlines_.start(kDeadlineCheck);
}

// --- Large bodies ---------------------------------------------------------------------------------

void QueueLink::open_large(LargeOpened opened) {
  if (!connection_ || !connection_->channel().has_credit<ipc::OpenLarge>()) {
    loop_.defer([opened = std::move(opened)]() mutable noexcept { opened({}); });
    return;
  }
  const auto request = next_request();
  large_requests_.emplace(request.value, std::move(opened));
  connection_->send(ipc::OpenLarge{request});
}

void QueueLink::on(const ipc::LargeOpened& message, ipc::Descriptors descriptors) {
  const auto at = large_requests_.find(message.request.value);
  if (at == large_requests_.end()) return;
  auto opened = std::move(at->second);
  large_requests_.erase(at);
  LargeFile file;
  if (!descriptors.empty()) file = {std::move(descriptors.front()), message.large, channel_};
  opened(std::move(file));
}

void QueueLink::fail_large_requests() noexcept {
  for (auto& [request, opened] : std::exchange(large_requests_, {})) opened({});
}

void QueueLink::abandon_large(const LargeFile& file) {
  if (connection_ && file.name.value != 0 && holds(file)) connection_->send(ipc::AbandonLarge{file.name});
}

}  // namespace postern::smtpd
