#include "bench/load/client.h"

#include <fmt/format.h>

#include <utility>

#include "common/base/text.h"

namespace postern::bench {
namespace {

constexpr int kClosing = 421;

bool intermediate(const mail::Reply& reply) {
  return reply.code >= 300 && reply.code < 400;
}
bool taken(const mail::Reply& reply) {
  return reply.code >= 200 && reply.code < 300;
}
bool refusal(const mail::Reply& reply) {
  return reply.transient() || reply.permanent();
}

}  // namespace

Client::Step Client::on_input(std::string_view bytes, std::string& out) {
  const auto all = bytes.size();
  auto event = Event::kNone;
  while (!bytes.empty() && event == Event::kNone) {
    switch (reader_.feed(bytes)) {
      case mail::ReplyReader::Status::kMore:
        break;
      case mail::ReplyReader::Status::kReply:
        event = on_reply(reader_.take(), out);
        break;
      case mail::ReplyReader::Status::kMalformed:
        bytes = {};
        event = over(reader_.trouble());
        break;
    }
  }
  return {all - bytes.size(), event};
}

Client::Event Client::on_reply(const mail::Reply& reply, std::string& out) {
  switch (state_) {
    case State::kGreeting:
      if (!taken(reply)) return over(reply.text());
      state_ = State::kEhlo;
      out += fmt::format("EHLO {}\r\n", options_.hello);
      return Event::kNone;
    case State::kEhlo:
    case State::kHelo:
      return on_hello(reply, out);
    case State::kReset:
      if (!taken(reply)) return over(reply.text());
      dirty_ = false;
      state_ = State::kMail;
      if (!pipelining_) send_mail(out);
      return Event::kNone;
    case State::kMail:
      return on_mail(reply, out);
    case State::kRcpt:
      return on_rcpt(reply, out);
    case State::kData:
      return on_data(reply, out);
    case State::kDot:
      return on_dot(reply);
    case State::kEmptyDot:
      return finish(reply.code == kClosing ? State::kOver : State::kReady);
    case State::kReady:  // nothing was asked: a server that says good-bye, or nonsense
    case State::kBody:
    case State::kQuit:
      return over(reply.text());
    case State::kOver:
      break;
  }
  return Event::kOver;
}

Client::Event Client::on_hello(const mail::Reply& reply, std::string& out) {
  if (state_ == State::kEhlo && reply.permanent()) {
    state_ = State::kHelo;
    out += fmt::format("HELO {}\r\n", options_.hello);
    return Event::kNone;
  }
  if (!taken(reply)) return over(reply.text());
  if (state_ == State::kEhlo)
    for (const auto& line : reply.lines) {
      const auto keyword = std::string_view(line).substr(0, line.find(' '));
      pipelining_ |= options_.pipelining && base::equals_ignoring_case(keyword, "PIPELINING");
      eight_bit_ |= options_.eight_bit && base::equals_ignoring_case(keyword, "8BITMIME");
      size_ |= base::equals_ignoring_case(keyword, "SIZE");
    }
  state_ = State::kReady;
  return Event::kReady;
}

void Client::send_mail(std::string& out) const {
  fmt::format_to(std::back_inserter(out), "MAIL FROM:<{}>", envelope_.from);
  if (size_) fmt::format_to(std::back_inserter(out), " SIZE={}", envelope_.size);
  if (envelope_.eight_bit) out += " BODY=8BITMIME";
  out += "\r\n";
}

void Client::send_rcpt(std::size_t index, std::string& out) const {
  fmt::format_to(std::back_inserter(out), "RCPT TO:<{}>\r\n", envelope_.recipients[index]);
}

void Client::begin(Envelope envelope, std::string& out) {
  envelope_ = std::move(envelope);
  outcome_ = {};
  in_transaction_ = true;
  refused_ = false;
  next_recipient_ = 0;
  state_ = dirty_ ? State::kReset : State::kMail;
  if (dirty_) out += "RSET\r\n";
  if (dirty_ && !pipelining_) return;
  send_mail(out);
  if (!pipelining_) return;
  for (std::size_t i = 0; i < envelope_.recipients.size(); ++i) send_rcpt(i, out);
  out += "DATA\r\n";
}

void Client::refuse(const mail::Reply& reply) {
  if (std::exchange(refused_, true)) return;
  outcome_.fate = Fate::kRefused;
  outcome_.text = reply.text();
  outcome_.refused.clear();
}

Client::Event Client::on_mail(const mail::Reply& reply, std::string& out) {
  if (!taken(reply) && !refusal(reply)) return over(reply.text());
  if (refusal(reply)) {
    refuse(reply);
    if (reply.code == kClosing) return finish(State::kOver);
    if (!pipelining_) return finish(State::kReady);
  } else {
    dirty_ = true;
  }
  state_ = State::kRcpt;
  if (!pipelining_) send_rcpt(0, out);
  return Event::kNone;
}

Client::Event Client::on_rcpt(const mail::Reply& reply, std::string& out) {
  if (!taken(reply) && !refusal(reply)) return over(reply.text());
  if (refusal(reply) && !refused_) outcome_.refused.push_back({next_recipient_, reply.text()});
  ++next_recipient_;
  if (outcome_.refused.size() == envelope_.recipients.size()) refuse(reply);
  if (reply.code == kClosing) {
    refuse(reply);
    return finish(State::kOver);
  }
  if (next_recipient_ < envelope_.recipients.size()) {
    if (!pipelining_) send_rcpt(next_recipient_, out);
    return Event::kNone;
  }
  if (refused_ && !pipelining_) return finish(State::kReady);
  state_ = State::kData;
  if (!pipelining_) out += "DATA\r\n";
  return Event::kNone;
}

Client::Event Client::on_data(const mail::Reply& reply, std::string& out) {
  if (refusal(reply)) {
    refuse(reply);
    return finish(reply.code == kClosing ? State::kOver : State::kReady);
  }
  if (!intermediate(reply)) return over(reply.text());
  if (!refused_) {
    state_ = State::kBody;
    return Event::kBody;
  }
  out += ".\r\n";
  state_ = State::kEmptyDot;
  return Event::kNone;
}

Client::Event Client::on_dot(const mail::Reply& reply) {
  if (!taken(reply) && !refusal(reply)) return over(reply.text());
  dirty_ = false;
  if (refusal(reply)) {
    refuse(reply);
    return finish(reply.code == kClosing ? State::kOver : State::kReady);
  }
  outcome_.fate = Fate::kAcknowledged;
  outcome_.text = reply.text();
  return finish(State::kReady);
}

void Client::body_sent() noexcept {
  if (state_ == State::kBody) state_ = State::kDot;
}

void Client::quit(std::string& out) {
  out += "QUIT\r\n";
  state_ = State::kQuit;
}

Client::Event Client::finish(State next) {
  state_ = next;
  in_transaction_ = false;
  return Event::kFinished;
}

// A reply in the wrong place after the dot leaves the message's fate open.
Client::Event Client::over(std::string_view why) {
  lost(why, true);
  return Event::kOver;
}

void Client::lost(std::string_view why, bool dot_left) {
  if (in_transaction_ && !refused_) {
    outcome_.fate = state_ == State::kDot && dot_left ? Fate::kUnknown : Fate::kUnsent;
    outcome_.text = why;
    outcome_.refused.clear();
  }
  state_ = State::kOver;
}

}  // namespace postern::bench
