// The part of the protocol machine that is about BDAT (RFC 3030). Whether a chunk is taken is decided before its
// first byte, but for what stands in it; its reply comes behind its last one, for a client may have sent more
// already that must not be taken for anything else.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "smtpd/protocol.h"

namespace postern::smtpd {

using mail::Verb;

// What is against a chunk of this size; empty: nothing.
std::string_view Protocol::refusal_of_chunk(std::uint64_t size) const noexcept {
  if (turned_away_) return "503 5.7.1 No mail is taken from your address";
  switch (state_) {
    case State::kStart:
      return "503 5.5.1 Say HELO or EHLO first";
    case State::kReady:
      return "503 5.5.1 Say MAIL first";
    case State::kMail:
      return "554 5.5.1 No valid recipients";
    case State::kSpoiled:
      return "503 5.5.1 A chunk was refused; say RSET";
    case State::kRcpt:
    case State::kChunks:
    case State::kBody:
    case State::kChunk:
    case State::kResult:
    case State::kTls:
    case State::kTurn:
    case State::kLogin:
    case State::kClosed:
      break;
  }
  if (!esmtp_) return "503 5.5.1 BDAT needs EHLO";
  const auto whole = size + (state_ == State::kChunks ? chunks_.size() : 0);
  if (size_limit() != 0 && whole > size_limit())
    return "552 5.3.4 Message is larger than the limit";
  const auto session = service_->limits.session_size;
  if (session != 0 && session_bytes_ + size > session)
    return "421 4.7.0 Too much mail in this session";
  return {};
}

void Protocol::on_bdat(const mail::Command& command) {
  const auto size = command.chunk;
  // So far beyond the limit that reading it would only help the sender.
  const auto limit = size_limit();
  if (size > kMaxChunk || (limit != 0 && (chunked_ + size) / kFloodFactor > limit))
    return close_with("552 5.3.4 Message is much larger than the limit");
  chunked_ += size;
  chunk_ = {size, size, command.last_chunk, state_, refusal_of_chunk(size)};
  session_bytes_ += size;
  if (!chunk_.refusal.empty())
    give_up_body();
  else if (state_ == State::kRcpt)
    begin_body(true);
  state_ = State::kChunk;
  if (size == 0) finish_chunk();
}

std::size_t Protocol::read_chunk(std::string_view bytes) {
  const auto piece = bytes.substr(0, std::min<std::uint64_t>(kChunkPiece, chunk_.left));
  if (storing_) store_piece(piece);
  chunk_.left -= piece.size();
  if (chunk_.left == 0 && paused_)
    body_complete_ = true;
  else if (chunk_.left == 0)
    finish_chunk();
  return piece.size();
}

// The sink gets it as a whole, however many lines of it begin with a dot.
void Protocol::store_piece(std::string_view piece) {
  auto step = chunks_.scan(piece);
  std::string gathered;
  if (step.consumed < piece.size()) {
    for (auto rest = piece; !rest.empty();) {
      gathered += step.body;
      rest.remove_prefix(step.consumed);
      if (!rest.empty()) step = chunks_.scan(rest);
    }
    step.body = gathered;
  }
  if (chunks_.bare() && !envelope_.any_bytes)
    spoil("550 5.6.11 Message has a CR or LF that stands alone");
  else if (chunks_.received() > kMaxReceived)
    spoil("554 5.4.6 Too many hops; this looks like a loop");
  else
    paused_ = sink_.body(step.body) == Flow::kPause;
}

// What stands in this chunk is against the message.
void Protocol::spoil(std::string_view refusal) {
  chunk_.refusal = refusal;
  give_up_body();
}

void Protocol::finish_chunk() {
  if (chunk_.refusal.empty() && chunk_.last) {
    chunks_.end();
    if (chunks_.bare() && !envelope_.any_bytes)
      spoil("550 5.6.11 Message has a CR or LF that stands alone");
    else if (goes_round())
      spoil("554 5.4.6 Too many hops; this looks like a loop");
  }
  if (!chunk_.refusal.empty()) return refuse_chunk();
  if (chunk_.last) return hand_over();
  if (chunk_.size > 0) --fruitless_;
  state_ = State::kChunks;
  fmt::format_to(std::back_inserter(output_), "250 2.0.0 {} octets received\r\n", chunk_.size);
  if (stopping_) shutdown();
}

void Protocol::refuse_chunk() {
  const auto [size, left, last, before, text] = std::exchange(chunk_, {});
  state_ = before;
  if (before == State::kStart || before == State::kReady) {  // out of order
    fail(text);
  } else {
    refuse(Verb::kBdat, {}, text);
    const bool taken_before = before == State::kChunks || (before == State::kRcpt && esmtp_);
    if (text.starts_with("421"))
      state_ = State::kClosed;
    else if (taken_before && last)
      end_transaction();
    else if (taken_before)
      state_ = State::kSpoiled;
  }
  if (stopping_ && state_ != State::kClosed) shutdown();
}

}  // namespace postern::smtpd
