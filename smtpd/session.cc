#include "smtpd/session.h"

#include <algorithm>
#include <utility>

#include "common/base/random.h"
#include "common/log/log.h"

namespace postern::smtpd {
namespace {

// A client that does not read its replies gets no more of them until it does.
constexpr std::size_t kMaxUnsent = 64 * 1024;
// Closing takes at most this long, whether or not the client reads the last reply.
constexpr base::Millis kCloseTimeout{10'000};

base::Millis duration(TimeoutKind kind, const config::Timeouts& t) {
  switch (kind) {
    case TimeoutKind::kNone: return base::Millis(0);
    case TimeoutKind::kIdle: return t.idle;
    case TimeoutKind::kCommand: return t.command;
    case TimeoutKind::kData: return t.data;
  }
  std::unreachable();
}

}  // namespace

Session::Session(SessionContext& context, const Service& service, base::UniqueFd fd,
                 base::IpAddress client, Ended ended)
    : context_(context),
      service_(&service),
      client_(client),
      listener_(service.listener),
      ended_(std::move(ended)),
      stream_(context.loop, std::move(fd), *this),
      protocol_(service, client, *this),
      body_(context.link, context.budget, [this]() noexcept { on_body_resumed(); }),
      timer_(context.loop, [this]() noexcept { on_timer(); }),
      opened_(context.clock.steady()) {
  (void)log::debug("session.open").field("client", client_);
  protocol_.start();
  after_step();
  stream_.flush();
}

Session::~Session() { *alive_ = false; }

void Session::reconfigure(const Service& service) {
  service_ = &service;
  protocol_.reconfigure(service);
}

void Session::shutdown() {
  protocol_.shutdown();
  after_step();
  stream_.flush();
}

// --- Bytes ----------------------------------------------------------------------------------------

std::size_t Session::on_input(std::string_view bytes) noexcept {
  std::size_t used = 0;
  while (used < bytes.size() && protocol_.want() == Want::kInput &&
         stream_.unsent() + protocol_.output().size() < kMaxUnsent) {
    const auto step = protocol_.input(bytes.substr(used));
    if (step == 0) break;
    used += step;
  }
  // Whoever sends on while we owe an answer, or does not read, waits in the kernel's buffer.
  if (used < bytes.size() && (protocol_.want() != Want::kInput || stream_.unsent() > 0)) stream_.pause();
  after_step();
  return protocol_.want() == Want::kClose ? bytes.size() : used;
}

void Session::on_drained() noexcept { stream_.resume(); }

void Session::after_step() {
  auto& replies = protocol_.output();
  if (!replies.empty()) {
    stream_.output() += replies;
    replies.clear();
  }
  if (protocol_.want() == Want::kClose) stream_.close_after_flush();
  set_deadline();
}

void Session::on_closed(event::CloseReason reason) noexcept {
  switch (reason) {
    case event::CloseReason::kEndOfStream: return finish("client closed");
    case event::CloseReason::kError: return finish("connection lost");
    case event::CloseReason::kFlushed: return finish("closed");
  }
}

void Session::finish(std::string_view reason) noexcept {
  if (std::exchange(finished_, true)) return;
  timer_.cancel();
  stream_.close();
  body_.clear();
  const auto lasted = context_.clock.steady() - opened_;
  (void)log::info("session.close")
      .field("client", client_)
      .field("hello", protocol_.hello())
      .field("messages", protocol_.messages())
      .field("ms", lasted.count())
      .field("reason", reason);
  context_.loop.defer([this, alive = alive_]() noexcept {
    if (*alive) ended_(this);
  });
}

// --- Time -----------------------------------------------------------------------------------------

// The timer is only moved when it fires: most deadlines are passed by long before.
void Session::set_deadline() {
  if (finished_) return;
  auto wait = duration(protocol_.timeout(), service_->limits.timeout);
  if (protocol_.want() == Want::kClose) wait = kCloseTimeout;
  deadline_ = wait.count() == 0 ? base::SteadyTime{} : context_.clock.steady() + wait;
  if (deadline_.ms != 0 && !timer_.running()) timer_.start(wait);
}

void Session::on_timer() noexcept {
  if (deadline_.ms == 0) return;  // we are waited for, or no limit is set
  const auto left = deadline_ - context_.clock.steady();
  if (left.count() > 0) return timer_.start(left);
  if (protocol_.want() == Want::kClose) return finish("did not read the last reply");
  protocol_.timed_out();
  after_step();
  stream_.flush();
}

// --- Messages -------------------------------------------------------------------------------------

void Session::begin(const Envelope&) { body_.clear(); }

void Session::end(Envelope&& envelope, const BodyFacts&) {
  auto submission = std::make_unique<Submission>();
  submission->token = base::random_token();
  submission->listener = listener_;
  submission->client = client_;
  submission->envelope = std::move(envelope);
  submission->began = context_.clock.steady();
  submission->done = [this, alive = std::weak_ptr(alive_)](SubmissionResult result) noexcept {
    if (!alive.expired()) on_result(std::move(result));
  };
  const bool failed = body_.failed();
  body_.move_to(*submission);
  if (!failed) return context_.link.submit(std::move(submission));
  context_.loop.defer([s = std::move(submission)]() noexcept {
    s->done(Refused{{452, {4, 3, 1}, {"Insufficient system storage"}}});
  });
}

void Session::on_result(SubmissionResult result) noexcept {
  if (finished_) return;
  if (std::holds_alternative<Unknown>(result)) return finish("queue did not answer");
  if (const auto* accepted = std::get_if<Accepted>(&result))
    protocol_.accepted(accepted->id);
  else
    protocol_.refused(std::get<Refused>(result).reply);
  after_step();
  stream_.flush();
  stream_.resume();
}

void Session::on_body_resumed() noexcept {
  if (finished_) return;
  protocol_.resume();
  after_step();
  stream_.flush();
  stream_.resume();
}

void Session::refused(const Refusal& refusal) {
  (void)log::info("message.refused")
      .field("client", client_)
      .field("hello", protocol_.hello())
      .field("address", refusal.address)
      .field("reply", refusal.reply);
}

}  // namespace postern::smtpd
