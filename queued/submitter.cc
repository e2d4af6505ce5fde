// The part of intake that puts a submission together from its frames. Counts and sizes must be exactly
// as announced: an smtpd that gets them wrong loses its channel.
#include <algorithm>
#include <iterator>
#include <utility>

#include "queued/intake.h"

namespace postern::queued {

Submitter::Submitter(Intake& owner, SubmitterId id, event::Loop& loop, base::UniqueFd fd)
    : owner_(owner), id_(id), connection_(loop, std::move(fd), *this) {}

void Submitter::fail(std::string_view why) {
  owner_.drop(*this, why);
}

void Submitter::on(ipc::Submit&& submit) {
  if (failed_) return;
  if (assembling_) return fail("a submission within another");
  owner_.heard(*this, submit.heard);
  if (submit.recipient_count == 0 || submit.recipient_count > kMaxRecipients)
    return fail("a wrong number of recipients");
  const bool is_large = submit.large.value != 0;
  if (!is_large && submit.body_size > ipc::kMaxInlineBody) return fail("too large a body");
  assembling_ = Submission{.from = id_, .head = std::move(submit)};
  if (is_large) return;
  assembling_->body = std::make_shared<std::string>();
  assembling_->body->reserve(assembling_->head.body_size);
}

void Submitter::on(ipc::SubmitRecipients&& part) {
  if (failed_) return;
  if (!assembling_ || part.request != assembling_->head.request)
    return fail("recipients of no submission");
  auto& recipients = assembling_->recipients;
  if (part.recipients.empty() ||
      recipients.size() + part.recipients.size() > assembling_->head.recipient_count)
    return fail("a wrong number of recipients");
  std::ranges::move(part.recipients, std::back_inserter(recipients));
  check_complete();
}

void Submitter::on(const ipc::SubmitBody& part) {
  if (failed_) return;
  if (!assembling_ || part.request != assembling_->head.request || !assembling_->body ||
      assembling_->recipients.size() != assembling_->head.recipient_count)
    return fail("a body of no submission");
  auto& body = *assembling_->body;
  if (part.bytes.bytes.empty() || body.size() + part.bytes.bytes.size() > assembling_->head.body_size)
    return fail("a body of another size than announced");
  body += part.bytes.bytes;
  check_complete();
}

void Submitter::check_complete() {
  const auto& head = assembling_->head;
  if (assembling_->recipients.size() != head.recipient_count) return;
  if (assembling_->body && assembling_->body->size() != head.body_size) return;
  auto whole = std::move(*assembling_);
  assembling_.reset();
  owner_.submit(std::move(whole));
}

void Submitter::on(const ipc::AskToken& ask) {
  if (!failed_) owner_.ask(*this, ask);
}
void Submitter::on(const ipc::OpenLarge& open) {
  if (!failed_) owner_.open_large(*this, open);
}
void Submitter::on(const ipc::AbandonLarge& abandon) {
  if (!failed_) owner_.abandon_large(*this, abandon.large);
}
void Submitter::on(const ipc::AskRecipient& ask) {
  if (!failed_) owner_.ask_recipient(*this, ask);
}
void Submitter::on(const ipc::AskName& ask) {
  if (!failed_) owner_.ask_name(*this, ask);
}
void Submitter::on(const ipc::StartQueue& start) {
  if (!failed_) owner_.start_queue(*this, start);
}
void Submitter::on(const ipc::TurnSession& turn) {
  if (!failed_) owner_.turn_session(*this, turn);
}
void Submitter::closed() noexcept { owner_.closed(*this); }

}  // namespace postern::queued
