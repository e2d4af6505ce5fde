// Intake: the channels of the smtpds. Puts submissions together, decides about rights a second time,
// and answers only with what is true for good: accepted means flushed, refused means never.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/ipc/channel.h"
#include "queued/callers.h"
#include "queued/engine.h"
#include "queued/tickets.h"
#include "queued/usage.h"

namespace postern::queued {

class Intake;
using SubmitterId = base::Strong<struct SubmitterTag, std::uint32_t>;

// A transaction that is being put together, or whose record is under way.
struct Submission {
  SubmitterId from;
  ipc::Submit head;
  std::vector<ipc::SubmitRecipient> recipients;  // as the client named them
  std::vector<RecipientRecord> replaced;         // those that it is kept with, once aliases are replaced
  std::size_t count = 0;                         // of them
  std::shared_ptr<const config::Alias> alias;    // where that is all that was named
  std::shared_ptr<std::string> body;  // null for a large one
  std::string account;  // by its ticket; empty: the client has not logged in
  std::optional<QueueTime> counted;  // when it was, for its account
};

// One smtpd's channel.
class Submitter {
 public:
  Submitter(Intake& owner, SubmitterId id, event::Loop& loop, base::UniqueFd fd);

  void on(ipc::Submit&& submit);
  void on(ipc::SubmitRecipients&& part);
  void on(const ipc::SubmitBody& part);
  void on(const ipc::AskToken& ask);
  void on(const ipc::OpenLarge& open);
  void on(const ipc::AbandonLarge& abandon);
  void on(const ipc::AskRecipient& ask);
  void on(const ipc::AskName& ask);
  void on(const ipc::StartQueue& start);
  void on(const ipc::TurnSession& turn);
  void closed() noexcept;

  template <class M>
  void send(const M& message, ipc::Descriptors descriptors = {}) {
    connection_.send(message, std::move(descriptors));
  }
  [[nodiscard]] SubmitterId id() const { return id_; }
  [[nodiscard]] const ipc::Channel& channel() { return connection_.channel(); }
  void stop_hearing() {  // nothing that follows counts
    failed_ = true;
    assembling_.reset();
  }
  [[nodiscard]] bool serves(base::ListenerIndex listener) const;
  [[nodiscard]] bool assembles(const base::Token& token) const {
    return assembling_ && assembling_->head.token == token;
  }

  std::uint32_t index = 0;                            // of the smtpd
  std::unordered_set<base::ListenerIndex> listeners;  // as the parent says
  std::unordered_set<base::MessageId> large;          // files that it has and has not submitted
  std::map<base::RequestId, base::Token> unheard;     // accepted, but it may not know yet

 private:
  void fail(std::string_view why);
  void check_complete();

  Intake& owner_;
  SubmitterId id_;
  std::optional<Submission> assembling_;
  bool failed_ = false;
  ipc::Connection<Submitter, ipc::Role::kQueued, ipc::Role::kSmtpd> connection_;
};

class Intake {
 public:
  Intake(event::Loop& loop, Engine& engine);

  void connect(std::uint32_t index, const std::vector<base::ListenerIndex>& listeners,
               base::UniqueFd fd);
  // Once a second: closes and reopens by the room on the disk.
  void check_room();
  // Is there room? The operator's switch is another matter.
  [[nodiscard]] bool open() const { return closed_why_.empty(); }
  [[nodiscard]] const std::string& closed_why() const { return closed_why_; }
  [[nodiscard]] bool idle() const { return pending_.empty(); }
  // Hands a question for a client's name on; false: nobody can take it.
  using AskName = std::move_only_function<bool(const ipc::AskName&) noexcept>;
  void set_ask_name(AskName ask) { ask_name_ = std::move(ask); }
  // The answer to one.
  void named(const ipc::NameKnown& known);
  // Who has called for mail.
  [[nodiscard]] Callers& callers() { return callers_; }
  // Is there an smtpd that could serve a connection which was turned round?
  [[nodiscard]] bool can_serve() const { return !submitters_.empty() && !refusal(); }
  // Has one do so; false: there is none.
  bool serve(const ipc::ServeTurned& turned, base::UniqueFd fd);
  // Such sessions may be going on.
  [[nodiscard]] bool has_turned() const { return collects_ || !engine_.config().collects.empty(); }
  // Who is logged in.
  [[nodiscard]] Tickets& tickets() { return tickets_; }
  // What they have sent.
  [[nodiscard]] Usage& usage() { return usage_; }

  // From the channels.
  void submit(Submission submission);
  void ask(Submitter& from, const ipc::AskToken& ask);
  void open_large(Submitter& from, const ipc::OpenLarge& open);
  void abandon_large(Submitter& from, base::MessageId id);
  void ask_recipient(Submitter& from, const ipc::AskRecipient& ask);
  void ask_name(Submitter& from, const ipc::AskName& ask);
  void start_queue(Submitter& from, const ipc::StartQueue& start);
  void turn_session(Submitter& from, const ipc::TurnSession& turn);
  // It has the answers to all that it submitted before this request.
  void heard(Submitter& which, base::RequestId before);
  void closed(Submitter& which);
  // The channel broke a rule: it ends with this turn.
  void drop(Submitter& which, std::string_view why);

 private:
  struct Waiting {  // for a token that is under way
    SubmitterId from;
    base::RequestId request;
  };
  Submitter* find(SubmitterId id);
  void forget_large(Submitter& which);
  [[nodiscard]] std::uint64_t largest_body() const;
  // Bytes that large bodies under way may still take.
  [[nodiscard]] std::uint64_t in_flight() const;
  [[nodiscard]] std::string find_lack() const;
  // Why its account may not send the submission; null: it may, or there is none.
  [[nodiscard]] std::optional<mail::Reply> stopped(const Submission& submission) const;
  [[nodiscard]] std::optional<mail::Reply> check_account(const Submission& submission) const;
  [[nodiscard]] std::optional<mail::Reply> check(Submission& submission, const Submitter& from) const;
  void store(Submission submission, std::uint32_t crc);
  void count(Submission& submission);
  [[nodiscard]] bool may_start(const Submitter& from, const ipc::StartQueue& start) const;
  // False: there are too many already.
  bool start(const std::string& queue);
  void accepted(const Submission& submission, base::MessageId id);
  static void log_accepted(const Submission& submission, base::MessageId id);
  void refuse(const Submission& submission, const mail::Reply& reply);
  void answer_waiting(const base::Token& token, base::MessageId id);
  // Why no mail is taken now; nullopt: it is.
  [[nodiscard]] std::optional<mail::Reply> refusal() const;
  [[nodiscard]] ipc::Intake state() const;
  void tell_state();
  void end_locked();

  event::Loop& loop_;
  Engine& engine_;
  std::map<std::uint32_t, std::unique_ptr<Submitter>> submitters_;  // by index
  std::unordered_map<base::Token, std::vector<Waiting>> pending_;
  Tickets tickets_;
  Usage usage_;
  AskName ask_name_ = [](const ipc::AskName&) noexcept { return false; };
  static constexpr base::Millis kStartRest{10'000};
  static constexpr std::size_t kMostStarted = 1'000;
  std::unordered_map<std::string, base::SteadyTime> started_;  // queues, by ETRN or ATRN, in the last kStartRest
  Callers callers_;
  std::map<base::RequestId, Waiting> naming_;  // by the number that it was handed on with
  base::RequestId last_naming_;
  std::uint32_t last_id_ = 0;
  bool collects_ = false;     // there was such a session
  std::size_t turn_ = 0;      // whose it is to serve the next one
  std::size_t opening_ = 0;  // large files asked of the store
  std::string closed_why_;
  std::uint16_t told_code_ =
      0;  // what smtpds answer by what they were told last; 0: they take mail
};

}  // namespace postern::queued
