#include "smtpd/queue_link.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/fault.h"
#include "common/log/log.h"

namespace postern::smtpd {
namespace {

constexpr base::Millis kDeadlineCheck{1'000};
constexpr base::SteadyTime kEndOfTime{std::numeric_limits<std::int64_t>::max()};

mail::Reply try_later() {
  return {451, {4, 3, 2}, {"The queue is not available now; please try again later"}};
}

mail::Reply cannot_ask() {
  return {451, {4, 4, 3}, {"Nobody can say now whether this recipient exists; try again later"}};
}

mail::Reply cannot_start() {  // RFC 1985 5.3
  return {458, {4, 3, 2}, {"Nobody can start a queue now; try again later"}};
}

mail::Reply cannot_turn() {  // RFC 2645 5.2
  return {451, {4, 3, 2}, {"Unable to process the ATRN request now"}};
}

// Moves out of `from` what `over` picks, each with `result`, in its order.
template <class Over>
void move_out(std::deque<std::unique_ptr<Submission>>& from, Over over,
              const SubmissionResult& result,
              std::vector<std::pair<std::unique_ptr<Submission>, SubmissionResult>>& to) {
  std::erase_if(from, [&](auto& submission) {
    if (!over(*submission)) return false;
    to.emplace_back(std::move(submission), result);
    return true;
  });
}

}  // namespace

QueueLink::QueueLink(event::Loop& loop, const base::Clock& clock, event::Callback lost)
    : loop_(loop),
      clock_(clock),
      lost_(std::move(lost)),
      deadlines_(loop, [this]() noexcept { check_deadlines(); }) {}

void QueueLink::connect(base::UniqueFd fd) {
  if (connection_) drop_channel();
  ++channel_;
  connection_ = std::make_unique<Connection>(loop_, std::move(fd), *this);
  connection_->channel().on_credit([this]() noexcept { pump(); });
  pump();
}

void QueueLink::closed() noexcept {
  drop_channel();
  lost_();
}

void QueueLink::drop_channel() noexcept {
  connection_.reset();
  for (auto& [request, submission] : std::exchange(sent_, {}))
    orphans_.push_back(std::move(submission));
  Ended ended;
  if (fault::planted(fault::Fault::kRefusedUnasked))
    move_out(
        orphans_, [](const auto&) { return true; }, Refused{try_later()}, ended);
  // Never sent, and its body is gone.
  move_out(
      waiting_, [](const auto& s) { return s.large.value != 0; }, Refused{try_later()}, ended);
  end(std::move(ended));
  end_large_requests(kEndOfTime);
  end_questions(kEndOfTime);
  end_names(kEndOfTime);
  end_starting(kEndOfTime);
  end_turning(kEndOfTime);
}

// --- Submissions --------------------------------------------------------------------------------

void QueueLink::submit(Owned submission) {
  waiting_.push_back(std::move(submission));
  watch_deadlines();
  pump();
}

// Sends what the channel has credit for; old questions first.
void QueueLink::pump() {
  while (connection_ && !orphans_.empty() && connection_->channel().has_credit<ipc::AskToken>()) {
    auto orphan = std::move(orphans_.front());
    orphans_.pop_front();
    ask_for(std::move(orphan));
  }
  while (connection_ && !waiting_.empty()) {
    const auto& next = *waiting_.front();
    const auto bytes = next.large.value == 0 ? next.body_size : 0;
    if (!connection_->channel().has_credit<ipc::Submit>(bytes)) return;
    auto submission = std::move(waiting_.front());
    waiting_.pop_front();
    send(std::move(submission));
  }
}

void QueueLink::send(Owned submission) {
  const auto& s = *submission;
  const auto request = next_request();
  ipc::Submit message;
  message.request = request;
  message.heard = sent_.empty() ? request : base::RequestId(sent_.begin()->first);
  message.token = s.token;
  message.listener = s.listener;
  message.origin = s.origin;
  message.client_name = s.envelope.client_name;
  message.forwarded = s.envelope.forwarded;
  message.first = s.envelope.first;
  message.hello = s.envelope.hello;
  message.esmtp = s.envelope.with != mail::WithProtocol::kSmtp;
  message.tls = s.envelope.tls;
  message.tls_peer = s.envelope.tls_peer;
  if (!s.envelope.account.empty()) message.session = s.session;
  message.from = s.envelope.reverse_path;
  message.recipient_count = static_cast<std::uint32_t>(s.envelope.recipients.size());
  message.form = s.form;
  message.eight_bit = s.envelope.eight_bit;
  message.has_date = s.has_date;
  message.has_message_id = s.has_message_id;
  message.smtputf8 = s.envelope.smtputf8;
  message.ret = s.envelope.ret;
  message.envid = s.envelope.envid;
  if (s.envelope.require_tls) message.tls_wish = mail::TlsWish::kRequired;
  message.body_size = s.body_size;
  message.large = s.large;
  connection_->send(message);
  send_parts(s, request);
  sent_.emplace(request.value, std::move(submission));
}

void QueueLink::send_parts(const Submission& submission, base::RequestId request) {
  ipc::SubmitRecipients part{request, {}};
  for (const auto& recipient : submission.envelope.recipients) {
    part.recipients.push_back({recipient.address, recipient.notify, recipient.orcpt});
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

void QueueLink::ask_for(Owned submission) {
  const auto request = next_request();
  connection_->send(ipc::AskToken{request, submission->token});
  sent_.emplace(request.value, std::move(submission));
}

QueueLink::Owned QueueLink::take(base::RequestId request) {
  const auto at = sent_.find(request.value);
  if (at == sent_.end()) return nullptr;  // its deadline has passed
  auto submission = std::move(at->second);
  sent_.erase(at);
  return submission;
}

void QueueLink::on(const ipc::Submitted& message) {
  const auto submission = take(message.request);
  if (!submission) return;
  if (message.id.value != 0)
    submission->done(Accepted{message.id});
  else
    submission->done(Refused{ipc::from_ipc(message.refusal)});
}

void QueueLink::on(const ipc::TokenResult& message) {
  auto submission = take(message.request);
  if (!submission) return;
  if (message.id.value != 0) return submission->done(Accepted{message.id});
  if (submission->large.value != 0) return submission->done(Refused{try_later()});
  waiting_.push_front(std::move(submission));
  pump();
}

void QueueLink::on(const ipc::EndAccount& message) { account_ended_(message.account); }

void QueueLink::on(const ipc::ServeTurned& message, ipc::Descriptors descriptors) {
  if (!descriptors.empty()) serve_(message, std::move(descriptors.front()));
}

void QueueLink::on(const ipc::Intake& message) {
  intake_open_ = message.open;
  intake_refusal_ = ipc::from_ipc(message.refusal);
}

// --- Deadlines ----------------------------------------------------------------------------------

bool QueueLink::idle() const noexcept {
  return waiting_.empty() && sent_.empty() && orphans_.empty() && large_requests_.empty() &&
         large_waiting_.empty() && questions_.empty() && names_.empty() && starting_.empty() && turning_.empty();
}

void QueueLink::watch_deadlines() {
  if (!deadlines_.running() && !idle()) deadlines_.start(kDeadlineCheck);
}

void QueueLink::check_deadlines() noexcept {
  const auto limit = clock_.steady() - kDeadline;
  const auto over = [limit](const Submission& s) { return s.began < limit; };
  Ended ended;
  move_out(waiting_, over, Refused{try_later()}, ended);
  move_out(orphans_, over, Unknown{}, ended);
  for (auto at = sent_.begin(); at != sent_.end();) {
    if (!over(*at->second)) {
      ++at;
      continue;
    }
    ended.emplace_back(std::move(at->second), Unknown{});
    at = sent_.erase(at);
  }
  end(std::move(ended));
  end_large_requests(limit);
  end_questions(clock_.steady() - kAskDeadline);
  end_names(clock_.steady() - kAskDeadline);
  end_starting(clock_.steady() - kAskDeadline);
  end_turning(clock_.steady() - kAskDeadline);
  watch_deadlines();
}

void QueueLink::end(Ended ended) noexcept {
  for (auto& [submission, result] : ended) submission->done(std::move(result));
}

// --- Large bodies -------------------------------------------------------------------------------

void QueueLink::open_large(LargeOpened opened) {
  if (!connection_) {
    loop_.defer([opened = std::move(opened)]() mutable noexcept { opened({}); });
    return;
  }
  large_waiting_.push_back({std::move(opened), clock_.steady()});
  send_large();
  watch_deadlines();
}

// As many as queued takes at a time; the others keep their clients waiting meanwhile.
void QueueLink::send_large() {
  while (!large_waiting_.empty() && connection_->channel().has_credit<ipc::OpenLarge>()) {
    const auto request = next_request();
    large_requests_.emplace(request.value, std::move(large_waiting_.front()));
    large_waiting_.pop_front();
    connection_->send(ipc::OpenLarge{request});
  }
}

void QueueLink::on(const ipc::LargeOpened& message, ipc::Descriptors descriptors) {
  LargeFile file;
  if (!descriptors.empty()) file = {std::move(descriptors.front()), message.large, channel_};
  const auto at = large_requests_.find(message.request.value);
  if (at == large_requests_.end()) return abandon_large(file);  // its deadline has passed
  auto opened = std::move(at->second.opened);
  large_requests_.erase(at);
  send_large();
  opened(std::move(file));
}

void QueueLink::end_large_requests(base::SteadyTime older_than) noexcept {
  std::vector<LargeOpened> over;
  for (; !large_waiting_.empty() && large_waiting_.front().began < older_than; large_waiting_.pop_front())
    over.push_back(std::move(large_waiting_.front().opened));
  for (auto at = large_requests_.begin(); at != large_requests_.end();) {
    if (at->second.began >= older_than) {
      ++at;
      continue;
    }
    over.push_back(std::move(at->second.opened));
    at = large_requests_.erase(at);
  }
  for (auto& opened : over) opened({});
}

void QueueLink::abandon_large(const LargeFile& file) {
  if (file.name.value != 0 && holds(file)) connection_->send(ipc::AbandonLarge{file.name});
}

// --- Recipients ---------------------------------------------------------------------------------

void QueueLink::ask_recipient(const mail::Address& recipient, Answered answered) {
  if (!connection_ || !connection_->channel().has_credit<ipc::AskRecipient>()) {
    loop_.defer([answered = std::move(answered)]() mutable noexcept { answered(cannot_ask()); });
    return;
  }
  const auto request = next_request();
  questions_.emplace(request.value, Question{std::move(answered), clock_.steady()});
  connection_->send(ipc::AskRecipient{request, recipient});
  watch_deadlines();
}

void QueueLink::on(const ipc::RecipientKnown& message) {
  const auto at = questions_.find(message.request.value);
  if (at == questions_.end()) return;  // its deadline has passed
  auto answered = std::move(at->second.answered);
  questions_.erase(at);
  if (message.refusal.code == 0) return answered(std::nullopt);
  answered(ipc::from_ipc(message.refusal));
}

void QueueLink::end_questions(base::SteadyTime older_than) noexcept {
  std::vector<Answered> over;
  for (auto at = questions_.begin(); at != questions_.end();) {
    if (at->second.began >= older_than) {
      ++at;
      continue;
    }
    over.push_back(std::move(at->second.answered));
    at = questions_.erase(at);
  }
  for (auto& answered : over) answered(cannot_ask());
}

// --- Names of clients ---------------------------------------------------------------------------

void QueueLink::ask_name(const base::IpAddress& client, Named named) {
  if (!connection_ || !connection_->channel().has_credit<ipc::AskName>()) {
    loop_.defer([named = std::move(named)]() mutable noexcept { named({}); });
    return;
  }
  const auto request = next_request();
  names_.emplace(request.value, NameQuestion{std::move(named), clock_.steady()});
  connection_->send(ipc::AskName{request, client});
  watch_deadlines();
}

void QueueLink::on(const ipc::NameKnown& message) {
  auto question = names_.extract(message.request.value);
  if (!question.empty()) question.mapped().named(message);
}

void QueueLink::end_names(base::SteadyTime older_than) noexcept {
  std::vector<Named> over;
  for (auto at = names_.begin(); at != names_.end();) {
    if (at->second.began >= older_than) {
      ++at;
      continue;
    }
    over.push_back(std::move(at->second.named));
    at = names_.erase(at);
  }
  for (auto& named : over) named({});
}

// --- Queues -------------------------------------------------------------------------------------

void QueueLink::start_queue(ipc::StartQueue start, Started started) {
  if (!connection_ || !connection_->channel().has_credit<ipc::StartQueue>()) {
    loop_.defer([started = std::move(started)]() mutable noexcept { started(cannot_start()); });
    return;
  }
  start.request = next_request();
  starting_.emplace(start.request.value, Starting{std::move(started), clock_.steady()});
  connection_->send(start);
  watch_deadlines();
}

void QueueLink::on(const ipc::QueueStarted& message) {
  auto one = starting_.extract(message.request.value);
  if (!one.empty()) one.mapped().started(ipc::from_ipc(message.reply));
}

void QueueLink::end_starting(base::SteadyTime older_than) noexcept {
  std::vector<Started> over;
  for (auto at = starting_.begin(); at != starting_.end();) {
    if (at->second.began >= older_than) {
      ++at;
      continue;
    }
    over.push_back(std::move(at->second.started));
    at = starting_.erase(at);
  }
  for (auto& started : over) started(cannot_start());
}

// --- Sessions that are turned round --------------------------------------------------------------

void QueueLink::turn_session(ipc::TurnSession turn, Turned turned) {
  if (!connection_ || !connection_->channel().has_credit<ipc::TurnSession>()) {
    loop_.defer([turned = std::move(turned)]() mutable noexcept { turned(cannot_turn(), {}); });
    return;
  }
  turn.request = next_request();
  turning_.emplace(turn.request.value, Turning{std::move(turned), clock_.steady()});
  connection_->send(turn);
  watch_deadlines();
}

// A descriptor that comes too late is closed here, and so the session ends at the relay.
void QueueLink::on(const ipc::SessionTurned& message, ipc::Descriptors descriptors) {
  auto one = turning_.extract(message.request.value);
  if (one.empty()) return;
  const auto reply = ipc::from_ipc(message.reply);
  if (!reply.positive()) return one.mapped().turned(reply, {});
  if (descriptors.empty()) return one.mapped().turned(cannot_turn(), {});
  one.mapped().turned(reply, std::move(descriptors.front()));
}

void QueueLink::end_turning(base::SteadyTime older_than) noexcept {
  std::vector<Turned> over;
  for (auto at = turning_.begin(); at != turning_.end();) {
    if (at->second.began >= older_than) {
      ++at;
      continue;
    }
    over.push_back(std::move(at->second.turned));
    at = turning_.erase(at);
  }
  for (auto& turned : over) turned(cannot_turn(), {});
}

}  // namespace postern::smtpd
