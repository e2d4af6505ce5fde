// Player: drives a relay::Client as its connection would, from a script of replies, and keeps what
// was said and what became of every message.
#pragma once

#include <fmt/format.h>

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
  if (verdict.result == ipc::Result::kDelivered) return "delivered";
  auto t = fmt::format("{} {}", word(verdict.result), ipc::name(verdict.failure));
  if (verdict.reply.code != 0) t += fmt::format(" {}", verdict.reply.code);
  return t;
}

class Player {
 public:
  static constexpr std::string_view kBody = "Subject: x\r\n\r\n..hello\r\n";

  explicit Player(std::vector<Envelope> messages)
      : messages_(std::move(messages)), client_("us.example") {}

  // Replies, in whatever pieces.
  void feed(std::string_view bytes) {
    while (!bytes.empty() && !over_) {
      const auto step = client_.on_input(bytes, out_);
      ASSERT_LE(step.used, bytes.size());
      bytes.remove_prefix(step.used);
      handle(step.event);
    }
  }
  void lost(bool dot_left = true) {
    if (over_) return;
    client_.lost("connection lost", dot_left);
    handle(Client::Event::kOver);
  }
  void silence() {
    if (over_) return;
    client_.timed_out(true);
    handle(Client::Event::kOver);
  }
  // One line of what the client said; "<body>" for a body with its dot; "" for nothing.
  std::string next_line() {
    static const std::string wire = std::string(kBody) + ".\r\n";
    if (out_.starts_with(wire)) {
      out_.erase(0, wire.size());
      return "<body>";
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
  // Of each message that was begun and ended.
  [[nodiscard]] const std::vector<std::vector<Verdict>>& ended() const { return ended_; }
  [[nodiscard]] std::size_t begun() const { return begun_; }
  [[nodiscard]] std::string outcome() const {
    std::string all;
    for (const auto& verdicts : ended_) {
      if (!all.empty()) all += " | ";
      for (std::size_t i = 0; i < verdicts.size(); ++i)
        all += (i == 0 ? "" : ", ") + text(verdicts[i]);
    }
    return all;
  }

 private:
  void handle(Client::Event event) {
    switch (event) {
      case Client::Event::kNone:
        return;
      case Client::Event::kFinished:
        ended_.push_back(client_.verdicts());
        [[fallthrough]];
      case Client::Event::kReady:
        if (begun_ == messages_.size()) return client_.quit(out_);
        return handle(client_.begin(messages_[begun_++], out_));
      case Client::Event::kBody:
        out_ += kBody;
        out_ += ".\r\n";
        return client_.body_sent();
      case Client::Event::kOver:
        over_ = true;
        if (client_.in_transaction()) ended_.push_back(client_.verdicts());
        return;
    }
  }

  std::vector<Envelope> messages_;
  Client client_;
  std::string out_;
  std::size_t begun_ = 0;
  std::vector<std::vector<Verdict>> ended_;
  bool over_ = false;
};

}  // namespace postern::relay
