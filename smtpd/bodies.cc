// The part of the protocol machine that is about bodies: what follows DATA, and what is said of a message that
// is whole.
#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/base/utf8.h"
#include "common/mail/trace.h"
#include "smtpd/protocol.h"

namespace postern::smtpd {

using mail::Verb;

void Protocol::on_data() {
  if (envelope_.any_bytes) return fail("503 5.5.1 A binary message must come by BDAT");
  begin_body(false);
  state_ = State::kBody;
  say("354 End data with <CR><LF>.<CR><LF>");
}

void Protocol::begin_body(bool by_chunks) {
  envelope_.hello = hello_;
  envelope_.client_name = client_name_;
  if (forwarded_) {
    envelope_.forwarded = text_of(*forwarded_).substr(0, mail::kMaxForwarded);
    envelope_.first = first_client(*forwarded_, origin_->connected().is_loopback());
  }
  envelope_.account = account_;
  if (tls_) {
    envelope_.tls = tls_->text;
    envelope_.tls_peer = tls_->peer;
  }
  envelope_.with = envelope_.smtputf8 ? mail::WithProtocol::kUtf8Smtp
                   : esmtp_           ? mail::WithProtocol::kEsmtp
                                      : mail::WithProtocol::kSmtp;
  by_chunks_ = by_chunks;
  reader_ = {};
  chunks_ = {};
  storing_ = true;
  sink_.begin(envelope_);
}

const mail::BodyScanner& Protocol::scanned() const noexcept {
  if (by_chunks_) return chunks_;
  return reader_;
}

std::uint64_t Protocol::size_limit() const noexcept {
  const auto message = service_->limits.message_size;
  const auto session = service_->limits.session_size;
  if (message == 0 || session == 0) return std::max(message, session);
  return std::min(message, session);
}

bool Protocol::too_large() const noexcept {
  return size_limit() != 0 && reader_.size() > size_limit();
}

// So far beyond the limit that waiting for the end would only help the sender.
bool Protocol::flooded() const noexcept {
  return size_limit() != 0 && reader_.size() / kFloodFactor > size_limit();
}

bool Protocol::over_session() const noexcept {
  const auto limit = service_->limits.session_size;
  return limit != 0 && session_bytes_ + reader_.wire_size() > limit;
}

void Protocol::give_up_body() {
  if (std::exchange(storing_, false)) sink_.abort();
}

std::size_t Protocol::read_body(std::string_view bytes) {
  const auto step = reader_.scan(bytes);
  if (reader_.bare() || too_large() || over_session() || reader_.received() > kMaxReceived)
    give_up_body();
  if (flooded()) {
    close_with("552 5.3.4 Message is much larger than the limit");
    return step.consumed;
  }
  if (storing_ && !step.body.empty()) paused_ = sink_.body(step.body) == Flow::kPause;
  if (step.end && paused_)
    body_complete_ = true;
  else if (step.end)
    finish_body();
  return step.consumed;
}

void Protocol::finish_body() {
  const bool full = over_session();
  session_bytes_ += reader_.wire_size();
  if (goes_round()) give_up_body();
  if (storing_) return hand_over();
  if (reader_.bare()) {
    refuse(Verb::kData, {}, "550 5.6.11 Message has a CR or LF that stands alone");
    state_ = State::kClosed;
    return;
  }
  if (too_large()) {
    refuse(Verb::kData, {}, "552 5.3.4 Message is larger than the limit");
  } else if (full) {
    refuse(Verb::kData, {}, "421 4.7.0 Too much mail in this session");
    state_ = State::kClosed;
    return;
  } else {
    refuse(Verb::kData, {}, "554 5.4.6 Too many hops; this looks like a loop");
  }
  after_message();
}

// It was one of our aliases before, and what that stands for sent it back.
bool Protocol::goes_round() const {
  const auto& before = scanned().delivered_to();
  return !before.empty() &&
         std::any_of(envelope_.recipients.begin(), envelope_.recipients.end(), [&](const Recipient& recipient) {
           if (!recipient.decision.alias) return false;
           const auto& address = recipient.decision.alias->address;
           // As others name it, or we (mail::delivered_to).
           const auto alias = base::folded(address.text());
           const auto ours = base::folded(mail::delivered_to(address));
           return std::any_of(before.begin(), before.end(), [&](const std::string& name) {
             const auto folded = base::folded(name);
             return folded == alias || folded == ours;
           });
         });
}

// The body is whole, and there is nothing against it. What is left of the envelope goes when its reply is said.
void Protocol::hand_over() {
  const auto& body = scanned();
  const bool binary = by_chunks_ && envelope_.any_bytes && chunks_.binary();
  storing_ = false;
  state_ = State::kResult;
  sink_.end(std::move(envelope_), {.wire_size = body.wire_size(),
                                   .size = body.size(),
                                   .stuffed = body.stuffed(),
                                   .binary = binary,
                                   .has_date = body.has_date(),
                                   .has_message_id = body.has_message_id()});
}

void Protocol::resume() {
  if (!std::exchange(paused_, false) || !std::exchange(body_complete_, false)) return;
  if (state_ == State::kBody) finish_body();
  if (state_ == State::kChunk) finish_chunk();
}

void Protocol::accepted(base::MessageId id) {
  CHECK(state_ == State::kResult);
  ++messages_;
  fruitless_ = 0;
  output_ += "250 2.0.0 Ok: queued as ";
  output_ += base::to_string(id);
  output_ += "\r\n";
  after_message();
}

void Protocol::refused(const mail::Reply& reply) {
  CHECK(state_ == State::kResult);
  reply.append_to(output_);
  after_message();
  if (reply.code == 421) state_ = State::kClosed;
}

// Its reply was said: back to commands.
void Protocol::after_message() {
  state_ = State::kRcpt;
  end_transaction();
  if (std::exchange(ending_, false)) return end_login();
  if (stopping_) shutdown();
}

}  // namespace postern::smtpd
