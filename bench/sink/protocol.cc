#include "bench/sink/protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/text.h"

namespace postern::bench {
namespace {

constexpr std::string_view kLhlo = "LHLO";

std::string path_text(const mail::Path& path) {
  switch (path.kind) {
    case mail::Path::Kind::kNull:
      return {};
    case mail::Path::Kind::kAddress:
      return path.address.text();
    case mail::Path::Kind::kBare:
      return path.local_part;
  }
  return {};
}

}  // namespace

Server::Event Server::greet(std::string_view client, std::string& out) {
  const auto decision = moods_.none() ? Decision() : moods_.decide(Stage::kConnect, client);
  const auto event =
      reply(decision, options_.lmtp ? "220 sink.test LMTP" : "220 sink.test ESMTP", out);
  if (decision.treatment != Treatment::kDefer && decision.treatment != Treatment::kRefuse)
    return event;
  return Event::kClose;
}

Server::Event Server::reply(const Decision& decision, std::string_view accepted, std::string& out) {
  switch (decision.treatment) {
    case Treatment::kAccept:
      out += accepted;
      break;
    case Treatment::kDefer:
    case Treatment::kRefuse:
      out += decision.reply;
      break;
    case Treatment::kCut:
    case Treatment::kDrop:
      return Event::kCut;
    case Treatment::kStall:
      return Event::kStall;
  }
  out += "\r\n";
  delay_ = decision.delay;
  return delay_.count() > 0 ? Event::kDelay : Event::kNone;
}

Server::Step Server::on_input(std::string_view bytes, std::string& out) {
  std::size_t used = 0;
  auto event = Event::kNone;
  while (used < bytes.size() && event == Event::kNone) {
    const auto rest = bytes.substr(used);
    if (state_ == State::kBody) {
      const auto step = reader_->scan(rest);
      used += step.consumed;
      plain_.clear();
      unstuffer_.feed(step.body, plain_);
      content_.feed(plain_);
      if (step.end) event = on_dot(out);
      continue;
    }
    const auto lf = rest.find('\n');
    if (lf == std::string_view::npos && rest.size() < kMaxCommand) break;
    if (lf == std::string_view::npos || lf > kMaxCommand) {
      out += "500 5.5.2 line too long\r\n";
      return {bytes.size(), Event::kClose};
    }
    auto line = rest.substr(0, lf);
    if (line.ends_with('\r')) line.remove_suffix(1);
    used += lf + 1;
    event = on_line(line, out);
  }
  return {used, event};
}

Server::Event Server::on_line(std::string_view line, std::string& out) {
  if (options_.lmtp && base::starts_with_ignoring_case(line, kLhlo)) return on_hello(kLhlo, out);
  const auto command = mail::parse_command(line);
  if (command.error) {
    command.error->append_to(out);
    return Event::kNone;
  }
  switch (command.verb) {
    case mail::Verb::kHelo:
      return on_hello("HELO", out);
    case mail::Verb::kEhlo:
      return on_hello("EHLO", out);
    case mail::Verb::kMail:
      return on_mail(command, out);
    case mail::Verb::kRcpt:
      return on_rcpt(command, out);
    case mail::Verb::kData:
      return on_data(out);
    case mail::Verb::kRset:
      reset();
      out += "250 2.0.0 ok\r\n";
      return Event::kNone;
    case mail::Verb::kNoop:
      out += "250 2.0.0 ok\r\n";
      return Event::kNone;
    case mail::Verb::kVrfy:
      out += "252 2.0.0 send it and see\r\n";
      return Event::kNone;
    case mail::Verb::kQuit:
      out += "221 2.0.0 bye\r\n";
      return Event::kClose;
    case mail::Verb::kBdat:  // not offered, and its chunk comes behind it whatever is said
      out += "502 5.5.1 not here\r\n";
      return Event::kClose;
    case mail::Verb::kStartTls:
      return on_starttls(out);
    case mail::Verb::kExpn:
    case mail::Verb::kHelp:
    case mail::Verb::kEtrn:
    case mail::Verb::kAtrn:
    case mail::Verb::kAuth:
    case mail::Verb::kXclient:
    case mail::Verb::kXforward:
    case mail::Verb::kForeign:
    case mail::Verb::kUnknown:
      out += "502 5.5.1 not here\r\n";
      return Event::kNone;
  }
  return Event::kNone;
}

Server::Event Server::on_hello(std::string_view keyword, std::string& out) {
  if (options_.lmtp != (keyword == kLhlo)) {
    out += "500 5.5.1 the other protocol is spoken here\r\n";
    return Event::kNone;
  }
  reset();
  state_ = State::kReady;
  if (keyword == "HELO") {
    out += "250 sink.test\r\n";
    return Event::kNone;
  }
  out += "250-sink.test\r\n";
  if (options_.pipelining) out += "250-PIPELINING\r\n";
  if (options_.eight_bit) out += "250-8BITMIME\r\n";
  if (options_.size) out += "250-SIZE\r\n";
  if (options_.starttls && !secure_) out += "250-STARTTLS\r\n";
  out += "250 ENHANCEDSTATUSCODES\r\n";
  return Event::kNone;
}

Server::Event Server::on_starttls(std::string& out) {
  if (!options_.starttls || secure_) {
    out += "502 5.5.1 not here\r\n";
    return Event::kNone;
  }
  if (state_ != State::kReady) {
    out += "503 5.5.1 not now\r\n";
    return Event::kNone;
  }
  out += "220 2.0.0 go on with TLS\r\n";
  return Event::kTls;
}

void Server::secured() noexcept {
  secure_ = true;
  state_ = State::kStart;
}

Server::Event Server::on_mail(const mail::Command& command, std::string& out) {
  if (state_ != State::kReady) {
    out += "503 5.5.1 not now\r\n";
    return Event::kNone;
  }
  if (options_.limit != 0 && messages_ >= options_.limit) {
    out += "421 4.7.0 enough for one connection\r\n";
    return Event::kClose;
  }
  sender_ = path_text(command.path);
  const auto decision = moods_.none() ? Decision() : moods_.decide(Stage::kMail, sender_);
  if (decision.treatment == Treatment::kAccept) state_ = State::kMail;
  return reply(decision, "250 2.1.0 ok", out);
}

Server::Event Server::on_rcpt(const mail::Command& command, std::string& out) {
  if (state_ != State::kMail && state_ != State::kRcpt) {
    out += "503 5.5.1 not now\r\n";
    return Event::kNone;
  }
  if (recipients_.size() == kMaxRecipients) {
    out += "452 4.5.3 too many recipients\r\n";
    return Event::kNone;
  }
  auto recipient = path_text(command.path);
  const auto decision = moods_.none() ? Decision() : moods_.decide(Stage::kRcpt, recipient);
  if (decision.treatment == Treatment::kAccept) {
    state_ = State::kRcpt;
    recipients_.push_back(std::move(recipient));
  }
  return reply(decision, "250 2.1.5 ok", out);
}

Server::Event Server::on_data(std::string& out) {
  if (state_ != State::kRcpt) {
    out += "503 5.5.1 no recipient\r\n";
    return Event::kNone;
  }
  const auto decision = moods_.none() ? Decision() : moods_.decide(Stage::kData, sender_);
  if (decision.treatment == Treatment::kAccept) {
    state_ = State::kBody;
    reader_.emplace();
    unstuffer_ = mail::Unstuffer(mail::LineEnd::kCrLf);
  }
  return reply(decision, "354 go on", out);
}

Server::Event Server::on_dot(std::string& out) {
  plain_.clear();
  unstuffer_.finish(plain_);
  content_.feed(plain_);
  evidence_ = content_.finish();
  ++messages_;
  taken_by_.clear();
  after_taken_ = answer_dot(out);
  reset();
  return taken_by_.empty() ? std::exchange(after_taken_, Event::kNone) : Event::kTaken;
}

// SMTP: one reply, the first that is not "accept" for any recipient. LMTP: one for each recipient.
Server::Event Server::answer_dot(std::string& out) {
  constexpr std::string_view kAccepted = "250 2.0.0 taken";
  Decision all;
  auto event = Event::kNone;
  auto longest = base::Millis(0);
  for (auto& recipient : recipients_) {
    const auto decision = moods_.none() ? Decision() : moods_.decide(Stage::kDot, recipient);
    longest = std::max(longest, decision.delay);
    if (all.treatment == Treatment::kAccept) all = decision;
    if (!options_.lmtp) continue;
    const auto answered = reply(decision, kAccepted, out);
    if (decision.treatment == Treatment::kAccept || decision.treatment == Treatment::kCut)
      taken_by_.push_back(recipient);
    if (answered == Event::kCut || answered == Event::kStall) return answered;
    if (answered == Event::kDelay) event = answered;
  }
  delay_ = all.delay = longest;
  if (options_.lmtp) return event;
  if (all.treatment == Treatment::kAccept || all.treatment == Treatment::kCut)
    taken_by_ = std::move(recipients_);
  return reply(all, kAccepted, out);
}

Server::Event Server::after_taken() noexcept {
  return std::exchange(after_taken_, Event::kNone);
}

void Server::reset() noexcept {
  if (state_ != State::kStart) state_ = State::kReady;
  sender_.clear();
  recipients_.clear();
}

}  // namespace postern::bench
