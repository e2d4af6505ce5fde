// QueueLink: smtpd's side of the conversation with queued, over as many channels as it takes: a channel
// that breaks is replaced by the parent, and the link goes on where it was.
//
// A submission that was sent when its channel broke is asked for by its token at the next queued: it is
// in the journal (accepted), or it is not and never will be (then it is sent once more: its body is
// still here). What has no answer 60 s after its final dot ends as Unknown if it was ever sent, as a
// 451 if it was not.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/clock.h"
#include "common/event/loop.h"
#include "common/ipc/channel.h"
#include "smtpd/submission.h"

namespace postern::smtpd {

class QueueLink {
 public:
  using Connection = ipc::Connection<QueueLink, ipc::Role::kSmtpd, ipc::Role::kQueued>;
  // A file for a large body, write-only; nothing in it where there is none to be had.
  struct LargeFile {
    base::UniqueFd fd;
    base::MessageId name;
    std::uint64_t channel = 0;  // the channel that it came from; the file is lost with it
  };
  using LargeOpened = std::move_only_function<void(LargeFile) noexcept>;

  QueueLink(event::Loop& loop, const base::Clock& clock);

  // A fresh channel, in place of the former.
  void connect(base::UniqueFd fd);
  // Takes the submission; its `done` is called exactly once, never from within submit().
  void submit(std::unique_ptr<Submission> submission);
  // Answers later, or (no channel) with an empty file.
  void open_large(LargeOpened opened);
  void abandon_large(const LargeFile& file);
  // Does the channel that gave this file still stand?
  [[nodiscard]] bool holds(const LargeFile& file) const noexcept { return file.channel == channel_; }
  // Null while MAIL may be accepted.
  [[nodiscard]] const mail::Reply* intake_refusal() const noexcept {
    return intake_open_ ? nullptr : &intake_refusal_;
  }
  [[nodiscard]] bool idle() const noexcept { return waiting_.empty() && sent_.empty(); }

  // From queued.
  void on(const ipc::Submitted& message);
  void on(const ipc::TokenResult& message);
  void on(const ipc::LargeOpened& message, ipc::Descriptors descriptors);
  void on(const ipc::Intake& message);
  void closed() noexcept;

 private:
  using Sent = std::unordered_map<std::uint64_t, std::unique_ptr<Submission>>;  // by request

  void pump();
  void send(std::unique_ptr<Submission> submission);
  void send_parts(const Submission& submission, base::RequestId request);
  void ask_for(std::unique_ptr<Submission> submission);
  std::unique_ptr<Submission> take(base::RequestId request);
  void finish(std::unique_ptr<Submission> submission, SubmissionResult result);
  void fail_large_requests() noexcept;
  void check_deadlines() noexcept;
  base::RequestId next_request() noexcept { return last_request_ = last_request_.next(); }

  event::Loop& loop_;
  const base::Clock& clock_;
  std::unique_ptr<Connection> connection_;
  std::uint64_t channel_ = 0;  // counts channels; names the present one
  base::RequestId last_request_;
  std::deque<std::unique_ptr<Submission>> waiting_;  // not sent yet, oldest first
  Sent sent_;                                        // waiting for Submitted or TokenResult
  std::vector<std::unique_ptr<Submission>> orphans_;  // sent on a channel that broke
  std::unordered_map<std::uint64_t, LargeOpened> large_requests_;
  bool intake_open_ = true;
  mail::Reply intake_refusal_;
  event::Timer deadlines_;
};

}  // namespace postern::smtpd
