// Client: one conversation with queued over the control socket, question by question. It blocks: a
// tool has nothing else to do than to wait for its answer.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "common/event/loop.h"
#include "common/ipc/channel.h"
#include "ctl/command.h"

namespace postern::ctl {

class Client {
 public:
  // The error says which socket, and how to start a server.
  [[nodiscard]] static std::expected<std::unique_ptr<Client>, Ending> connect(
      const std::string& path);
  Client(base::UniqueFd fd, std::string path);

  // For answers that take long: an hour instead of a minute.
  void be_patient();

  // Sends `question` and waits for its answer, at most a minute. Bytes in it stay valid until the
  // next question.
  template <class Answer, class Question>
  [[nodiscard]] std::expected<Answer, Ending> ask(Question question);
  // The two halves of it, with something to do in between.
  template <class Question>
  void put(Question question);
  template <class Answer>
  [[nodiscard]] std::expected<Answer, Ending> take();

  // The handler side of the connection.
  void on(ipc::Status&& m) { answer_ = std::move(m); }
  void on(ipc::QueueRows&& m) { answer_ = std::move(m); }
  void on(ipc::MessageRows&& m) { answer_ = std::move(m); }
  void on(ipc::Shown&& m) { answer_ = std::move(m); }
  void on(const ipc::BodyPart& m);
  void on(ipc::BlockRows&& m) { answer_ = std::move(m); }
  void on(ipc::HistoryRows&& m) { answer_ = std::move(m); }
  void on(ipc::Explained&& m) { answer_ = std::move(m); }
  void on(ipc::QueueExplained&& m) { answer_ = std::move(m); }
  void on(ipc::SpoolFindings&& m) { answer_ = std::move(m); }
  void on(const ipc::ExportPart& m);
  void on(ipc::SpoolDone&& m) { answer_ = std::move(m); }
  void on(ipc::Quiet&& m) { answer_ = std::move(m); }
  void on(ipc::Done&& m) { answer_ = std::move(m); }
  void closed() noexcept { closed_ = true; }

 private:
  using Answers =
      std::variant<std::monostate, ipc::Status, ipc::QueueRows, ipc::MessageRows, ipc::Shown,
                   ipc::BodyPart, ipc::BlockRows, ipc::HistoryRows, ipc::Explained,
                   ipc::QueueExplained, ipc::SpoolFindings,
                   ipc::ExportPart, ipc::SpoolDone, ipc::Quiet, ipc::Done>;

  [[nodiscard]] std::expected<void, Ending> wait();
  [[nodiscard]] Ending why_closed();

  event::Loop loop_;
  std::string path_;
  base::RequestId last_request_;
  Answers answer_;
  std::string bytes_;  // of a BodyPart, of an ExportPart
  base::Millis patience_;
  bool closed_ = false;
  bool answered_ = false;  // at least once
  ipc::Connection<Client, ipc::Role::kControl, ipc::Role::kQueued> connection_;
};

template <class Question>
void Client::put(Question question) {
  last_request_ = last_request_.next();
  question.request = last_request_;
  answer_ = std::monostate();
  connection_.send(question);
  connection_.channel().flush();
}

template <class Answer>
std::expected<Answer, Ending> Client::take() {
  if (auto waited = wait(); !waited) return std::unexpected(std::move(waited.error()));
  // The channel has matched the answer to the question already.
  return std::get<Answer>(std::move(answer_));
}

template <class Answer, class Question>
std::expected<Answer, Ending> Client::ask(Question question) {
  put(std::move(question));
  return take<Answer>();
}

}  // namespace postern::ctl
