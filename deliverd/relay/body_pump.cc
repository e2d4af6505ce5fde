// The part of the connection that sends a body: what lies in memory at once, a large one piece by piece from its file.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/log/log.h"
#include "deliverd/relay/body_file.h"
#include "deliverd/relay/connection.h"

namespace postern::relay {
namespace {

constexpr std::size_t kChunk = 64 * 1024;       // of a large body, read at once
constexpr std::size_t kChunksInTurn = 4;        // then other connections have their turn
constexpr std::size_t kMostEnd = 5;             // of what ends a body
constexpr base::Millis kBodyBlock{3 * 60'000};  // RFC 5321 4.5.3.2.5
constexpr mail::EnhancedCode kUnfit{5, 6, 0};
constexpr std::string_view kUnfitText =
    "the stored message cannot be sent: a bare CR or LF, or an end before its end";
constexpr std::string_view kChangedText = "the stored message is not as long as it was";

}  // namespace

void Connection::send_body() {
  auto& out = stream_->output();
  const auto begin = out.size();
  out.reserve(begin + delivery_->lease.prefix.size() + delivery_->body.size() + kMostEnd);
  append_prefix(delivery_->lease.prefix, out);
  check_ = {};
  if (delivery_->lease.large) {
    if (!check_.passes(std::string_view(out).substr(begin))) {
      out.resize(begin);
      return give_up_body(kUnfit, kUnfitText);
    }
    return start_pump();
  }
  out += delivery_->body;
  out += terminator(std::string_view(out).substr(begin));
  if (!check_.passes_end(std::string_view(out).substr(begin))) {
    out.resize(begin);
    return give_up_body(kUnfit, kUnfitText);
  }
  client_->body_sent();
  arm();
}

void Connection::send_chunk() {
  const auto& [lease, body, file, probe] = *delivery_;
  const bool text = lease.form == ipc::BodyForm::kStuffed;
  check_ = {};
  if (!check_.passes(lease.prefix) ||
      (text && (!check_.passes(body) || !check_.passes_end(terminator(body.empty() ? lease.prefix : body)))))
    return give_up_body(kUnfit, kUnfitText);
  auto& out = stream_->output();
  if (lease.large) {
    chunk_left_ = plain_size_of_file(file.get(), lease.body_size);
    unstuffer_ = mail::Unstuffer(mail::LineEnd::kCrLf);
    client_->chunk(lease.prefix.size() + chunk_left_, out);
    out += lease.prefix;
    return start_pump();
  }
  const auto plain = plain_message(lease.prefix, body, lease.form);
  client_->chunk(plain.size(), out);
  out += plain;
  client_->body_sent();
  arm();
}

void Connection::start_pump() {
  body_offset_ = 0;
  body_tail_.clear();
  timer_.start(kBodyBlock);
  pump_timer_.start(base::Millis(0));
}

// The message ends unsent, and with it the session.
void Connection::give_up_body(mail::EnhancedCode code, std::string_view why) {
  log::error("relay.body").field("id", delivery_->lease.message).field("error", why);
  client_->body_failed(code, why);
  session_over();
}

// Sends the next pieces of a large body, as long as the peer takes them.
void Connection::pump() noexcept {
  if (over_ || !client_ || client_->state() != ClientState::kBody) return;
  for (std::size_t i = 0; i < kChunksInTurn; ++i) {
    if (stream_->unsent() > kChunk) return timer_.start(kBodyBlock);  // on_drained() goes on
    if (body_offset_ == delivery_->lease.body_size) return end_pump();
    if (!read_piece()) return;
    stream_->flush();
    if (over_) return;
  }
  timer_.start(kBodyBlock);
  pump_timer_.start(base::Millis(0));
}

void Connection::end_pump() {
  if (delivery_->lease.form == ipc::BodyForm::kBinary) {
    if (chunk_left_ != 0) return give_up_body({4, 3, 0}, kChangedText);
  } else {
    const auto end = terminator(body_tail_);
    if (!check_.passes_end(end)) return give_up_body(kUnfit, kUnfitText);
    stream_->output() += end;
  }
  client_->body_sent();
  stream_->flush();
  if (!over_) arm();
}

// false: the session is over.
bool Connection::read_piece() {
  auto& out = stream_->output();
  const auto before = out.size();
  out.resize(before + std::min<std::size_t>(delivery_->lease.body_size - body_offset_, kChunk));
  ssize_t got;
  do {
    got = ::pread(delivery_->file.get(), out.data() + before, out.size() - before,
                  static_cast<off_t>(body_offset_));
  } while (got < 0 && errno == EINTR);
  out.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  const auto piece = std::string_view(out).substr(before);
  if (got <= 0) {
    give_up_body({4, 3, 0}, got < 0 ? ::strerrordesc_np(errno) : "the stored message is too short");
  } else if (delivery_->lease.form == ipc::BodyForm::kBinary) {
    body_offset_ += piece.size();
    put_plain(std::string(piece), before);
  } else if (!check_.passes(piece)) {
    out.resize(before);
    give_up_body(kUnfit, kUnfitText);
  } else {
    body_offset_ += piece.size();
    body_tail_ += piece.substr(piece.size() - std::min<std::size_t>(2, piece.size()));
    if (body_tail_.size() > 2) body_tail_.erase(0, body_tail_.size() - 2);
  }
  return !over_;
}

// In place of the stuffed piece, which stands in the output from `before` on. Never more than was said in front of
// the chunk: the next hop would take the rest for commands.
void Connection::put_plain(const std::string& piece, std::size_t before) {
  auto& out = stream_->output();
  out.resize(before);
  unstuffer_.feed(piece, out);
  const auto size = out.size() - before;
  if (size <= chunk_left_) {
    chunk_left_ -= size;
    return;
  }
  out.resize(before);
  give_up_body({4, 3, 0}, kChangedText);
}

// Or its end has left just now: only from here on the next hop can reply to it.
void Connection::on_drained() noexcept {
  if (!over_ && client_ && client_->state() == ClientState::kDot) arm();
  pump();
}

}  // namespace postern::relay
