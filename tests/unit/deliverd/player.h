// Player: drives a relay::Client as its connection would, from what a receiver says, on a clock of
// its own, and keeps what was said and what became of every message.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "deliverd/relay/protocol.h"

namespace postern::relay {

inline std::string_view word(ipc::Result result) {
  switch (result) {
    case ipc::Result::kDelivered:
      return "delivered";
    case ipc::Result::kDeferred:
      return "deferred";
    case ipc::Result::kFailed:
      return "failed";
    case ipc::Result::kUnknown:
      return "unknown";
    case ipc::Result::kReturned:
      return "returned";
  }
  return "?";
}

// "delivered", "failed mailbox 550", "deferred connect" (our own words).
inline std::string text(const Verdict& verdict) {
  std::string t(word(verdict.result));
  if (verdict.result == ipc::Result::kDelivered || verdict.result == ipc::Result::kReturned)
    return t;
  t += fmt::format(" {}", ipc::name(verdict.failure));
  if (verdict.reply.code != 0) t += fmt::format(" {}", verdict.reply.code);
  return t;
}

class Player {
 public:
  static constexpr std::string_view kBody = "Subject: x\r\n\r\n..hello\r\n";
  static constexpr std::string_view kPlain = "Subject: x\r\n\r\n.hello\r\n";

  static constexpr std::string_view kNonce = "rOprNGfwEbeRWgbNEkqO";  // RFC 7677 3

  // `pass`: how the next hop is told of the clients that are named in the messages' introductions.
  explicit Player(std::vector<Envelope> messages, TlsUse tls = TlsUse::kNever,
                  Dialect dialect = Dialect::kSmtp, std::shared_ptr<HopAccount> account = nullptr,
                  config::PassClient pass = config::PassClient::kXforward)
      : messages_(std::move(messages)),
        pass_(pass),
        client_("us.example", tls, dialect, login(std::move(account))) {
    if (client_.state() == ClientState::kTls) out_ += "<tls>\r\n";
    arm();
  }

  // Replies, in whatever pieces.
  void feed(std::string_view bytes) {
    while (!bytes.empty() && !over_) {
      const auto replies = client_.replies();
      const auto step = client_.on_input(bytes, out_);
      bytes.remove_prefix(step.used);
      handle(step.event);
      if (step.event != Client::Event::kNone || client_.replies() != replies) arm();
    }
  }
  void lost(bool dot_left = true) {
    if (over_) return;
    client_.lost("connection lost", dot_left);
    handle(Client::Event::kOver);
  }
  // Nothing is heard for this long.
  void wait(base::Millis time) {
    if (over_) return;
    now_ += time;
    if (now_ < deadline_) return;
    now_ = deadline_;
    client_.timed_out(true);
    handle(Client::Event::kOver);
  }
  // The handshake that is under way succeeds, or does not.
  void agree(bool good) {
    if (over_) return;
    if (good)
      client_.secured(out_);
    else
      client_.tls_failed("handshake: no");
    if (!good) handle(Client::Event::kOver);
    arm();
  }
  void silence() { wait(std::max(base::Millis(0), deadline_ - now_)); }
  // One line of what the client said; "<body>" for a body with its dot, "<chunk>" for one behind
  // BDAT, "<tls>" for the beginning of a handshake; "" for nothing.
  std::string next_line() {
    static const std::string wire = std::string(kBody) + ".\r\n";
    if (out_.starts_with(wire)) {
      out_.erase(0, wire.size());
      return "<body>";
    }
    if (out_.starts_with(kPlain)) {
      out_.erase(0, kPlain.size());
      return "<chunk>";
    }
    const auto end = out_.find("\r\n");
    if (end == std::string::npos) return std::exchange(out_, {});
    auto line = out_.substr(0, end);
    out_.erase(0, end + 2);
    return line;
  }

  [[nodiscard]] bool over() const { return over_; }
  [[nodiscard]] Client& client() { return client_; }
  [[nodiscard]] const std::string& unread() const { return out_; }
  [[nodiscard]] base::Millis now() const { return now_; }
  // Of each message that was begun and ended.
  [[nodiscard]] const std::vector<std::vector<Verdict>>& ended() const { return ended_; }
  [[nodiscard]] std::size_t begun() const { return begun_; }
  [[nodiscard]] std::vector<std::string> outcomes() const {
    std::vector<std::string> all;
    for (const auto& verdicts : ended_) {
      auto& line = all.emplace_back();
      for (std::size_t i = 0; i < verdicts.size(); ++i)
        line += (i == 0 ? "" : ", ") + text(verdicts[i]);
    }
    return all;
  }

 private:
  static std::optional<Login> login(std::shared_ptr<HopAccount> account) {
    if (!account) return std::nullopt;
    return Login(std::move(account), std::string(kNonce));
  }
  void handle(Client::Event event) {
    switch (event) {
      case Client::Event::kNone:
      case Client::Event::kAlive:  // nobody asks for these here
      case Client::Event::kTurn:
        return;
      case Client::Event::kTls:
        out_ += "<tls>\r\n";
        return;
      case Client::Event::kFinished:
        ended_.push_back(client_.verdicts());
        return next();
      case Client::Event::kReady:
        return client_.introduced() ? begin() : next();
      case Client::Event::kBody:
        out_ += kBody;
        out_ += ".\r\n";
        return client_.body_sent();
      case Client::Event::kChunk:
        client_.chunk(kPlain.size(), out_);
        out_ += kPlain;
        return client_.body_sent();
      case Client::Event::kOver:
        over_ = true;
        if (client_.in_transaction()) ended_.push_back(client_.verdicts());
        return;
    }
  }
  void next() {
    const bool of_one_client = pass_ == config::PassClient::kXclient && begun_ > 0;
    if (begun_ == messages_.size() || client_.spent() || of_one_client) return client_.quit(out_);
    const auto& told = messages_[begun_].introduction;
    if (pass_ == config::PassClient::kXclient && told && told->client)
      return handle(client_.introduce(*told->client, out_));
    begin();
  }
  void begin() {
    auto message = messages_[begun_++];
    if (pass_ != config::PassClient::kXforward) message.introduction.reset();
    handle(client_.begin(std::move(message), out_));
  }
  void arm() { deadline_ = now_ + client_.timeout(); }

  std::vector<Envelope> messages_;
  const config::PassClient pass_;
  Client client_;
  std::string out_;
  base::Millis now_{0};
  base::Millis deadline_{0};
  std::size_t begun_ = 0;
  std::vector<std::vector<Verdict>> ended_;
  bool over_ = false;
};

}  // namespace postern::relay
