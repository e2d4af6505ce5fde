// QueueLink: smtpd's side of the conversation with queued, over as many channels as it takes: a
// channel that breaks is replaced by the parent, and the link goes on where it was.
//
// A submission that was sent when its channel broke is asked for by its token at the next queued:
// it is in the journal (accepted), or it is not and never will be (then it is sent once more: its
// body is still here). What has no answer 60 s after its final dot ends as Unknown if it was ever
// sent, as a 451 if it was not. A large file is lost with the channel that it came from, and with
// it every submission whose body it is.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
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

  // Of a recipient that queued was asked for: the reply that its RCPT gets, or nothing: it is there.
  using Answered = std::move_only_function<void(const std::optional<mail::Reply>&) noexcept>;

  // Which host is at an address.
  using Named = std::move_only_function<void(const ipc::NameKnown&) noexcept>;

  // The reply that ETRN gets.
  using Started = std::move_only_function<void(const mail::Reply&) noexcept>;

  // The reply that ATRN gets, and, where it is positive, the end of the session that is turned round.
  using Turned = std::move_only_function<void(const mail::Reply&, base::UniqueFd) noexcept>;

  static constexpr base::Millis kDeadline{60'000};  // from the final dot to queued's word
  static constexpr base::Millis kAskDeadline{20'000};  // for its word on a recipient

  // `lost` is called when the channel has broken: somebody should see to a new one.
  QueueLink(event::Loop& loop, const base::Clock& clock, event::Callback lost);

  // The sessions of an account end when queued says so.
  using AccountEnded = std::move_only_function<void(const std::string&) noexcept>;
  void on_account_ended(AccountEnded ended) { account_ended_ = std::move(ended); }
  // A connection that was turned round, to be served.
  using Serve = std::move_only_function<void(const ipc::ServeTurned&, base::UniqueFd) noexcept>;
  void on_serve(Serve serve) { serve_ = std::move(serve); }
  // A fresh channel, in place of the former.
  void connect(base::UniqueFd fd);
  // Takes the submission; its `done` is called exactly once, never from within submit().
  void submit(std::unique_ptr<Submission> submission);
  // Answers later, at the latest after kDeadline; with an empty file where there is no channel.
  void open_large(LargeOpened opened);
  void abandon_large(const LargeFile& file);
  // Answers later, at the latest after kAskDeadline, with a 451 where nobody can say.
  void ask_recipient(const mail::Address& recipient, Answered answered);
  // Answers later, at the latest after kAskDeadline, with a 458 where nobody can say.
  void start_queue(ipc::StartQueue start, Started started);
  // Answers later, at the latest after kAskDeadline, with a 451 where nobody can say.
  void turn_session(ipc::TurnSession turn, Turned turned);
  // Answers later, at the latest after kAskDeadline.
  void ask_name(const base::IpAddress& client, Named named);
  // Does the channel that gave this file still stand?
  [[nodiscard]] bool holds(const LargeFile& file) const noexcept {
    return connection_ != nullptr && file.channel == channel_;
  }
  // Null while MAIL may be accepted.
  [[nodiscard]] const mail::Reply* intake_refusal() const noexcept {
    return intake_open_ ? nullptr : &intake_refusal_;
  }
  // Ends what has waited for kDeadline. Comes once a second by itself.
  void check_deadlines() noexcept;

  // From queued.
  void on(const ipc::Submitted& message);
  void on(const ipc::TokenResult& message);
  void on(const ipc::LargeOpened& message, ipc::Descriptors descriptors);
  void on(const ipc::Intake& message);
  void on(const ipc::RecipientKnown& message);
  void on(const ipc::NameKnown& message);
  void on(const ipc::QueueStarted& message);
  void on(const ipc::SessionTurned& message, ipc::Descriptors descriptors);
  void on(const ipc::EndAccount& message);
  void on(const ipc::ServeTurned& message, ipc::Descriptors descriptors);
  void closed() noexcept;

 private:
  using Owned = std::unique_ptr<Submission>;
  using Ended = std::vector<std::pair<Owned, SubmissionResult>>;
  struct LargeRequest {
    LargeOpened opened;
    base::SteadyTime began;
  };

  struct Question {
    Answered answered;
    base::SteadyTime began;
  };
  struct Starting {
    Started started;
    base::SteadyTime began;
  };
  struct Turning {
    Turned turned;
    base::SteadyTime began;
  };
  struct NameQuestion {
    Named named;
    base::SteadyTime began;
  };

  void drop_channel() noexcept;
  void pump();
  void send(Owned submission);
  void send_parts(const Submission& submission, base::RequestId request);
  void ask_for(Owned submission);
  Owned take(base::RequestId request);
  void end(Ended ended) noexcept;
  void send_large();
  void end_large_requests(base::SteadyTime older_than) noexcept;
  void end_questions(base::SteadyTime older_than) noexcept;
  void end_names(base::SteadyTime older_than) noexcept;
  void end_starting(base::SteadyTime older_than) noexcept;
  void end_turning(base::SteadyTime older_than) noexcept;
  void watch_deadlines();
  [[nodiscard]] bool idle() const noexcept;
  base::RequestId next_request() noexcept { return last_request_ = last_request_.next(); }

  event::Loop& loop_;
  const base::Clock& clock_;
  event::Callback lost_;
  AccountEnded account_ended_ = [](const std::string&) noexcept {};
  Serve serve_ = [](const ipc::ServeTurned&, base::UniqueFd) noexcept {};
  std::unique_ptr<Connection> connection_;
  std::uint64_t channel_ = 0;  // counts channels; names the present one
  base::RequestId last_request_;
  std::deque<Owned> waiting_;  // not in the hands of any queued
  std::map<std::uint64_t, Owned> sent_;  // by request: waiting for Submitted or TokenResult
  std::deque<Owned> orphans_;  // sent on a channel that broke, not yet asked for
  std::unordered_map<std::uint64_t, LargeRequest> large_requests_;
  std::deque<LargeRequest> large_waiting_;  // for room among these
  std::unordered_map<std::uint64_t, Question> questions_;  // by request
  std::unordered_map<std::uint64_t, NameQuestion> names_;
  std::unordered_map<std::uint64_t, Starting> starting_;
  std::unordered_map<std::uint64_t, Turning> turning_;
  bool intake_open_ = true;
  mail::Reply intake_refusal_;
  event::Timer deadlines_;
};

}  // namespace postern::smtpd
