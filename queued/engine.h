// Engine: what happens to mail between its acceptance and its end. It joins store, routing, schedule,
// blocks and retry table; channels are other files' business (intake, delivery, control). Owned by the
// daemon; all on the loop.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "queued/asking.h"
#include "queued/blocks.h"
#include "queued/counters.h"
#include "queued/notices.h"
#include "queued/retry.h"
#include "queued/routing.h"
#include "queued/slices.h"
#include "queued/throttle.h"
#include "queued/store.h"
#include "queued/waiting_reports.h"

namespace postern::queued {

struct RecipientAttempt {
  std::uint32_t number = 0;
  Attempt attempt;
};

class History;

class Engine {
 public:
  // How long a failure, or the report of a delay or a success, waits at most for others of its message.
  static constexpr base::Millis kGatherTime{30'000};
  // Attempts whose failures wait. Their deliverers keep them meanwhile, so they have less patience.
  static constexpr std::size_t kGatheredAttempts = 512;

  using Perform = std::move_only_function<void(Action) noexcept>;
  using Done = event::Callback;

  Engine(event::Loop& loop, Store& store, config::QueuedConfig config);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Carries out what the schedule decides.
  void set_perform(Perform perform) { perform_ = std::move(perform); }
  // Where it is noted what became of mail; null: nowhere.
  void set_history(History* history) { history_ = history; }
  [[nodiscard]] History* history() { return history_; }
  // Takes up the store's mail, a batch at a time; blocks are read, or outbound starts disabled where they
  // are damaged.
  void start();
  // Runs once all mail from earlier lives is in the schedule: at once, or seconds after a start.
  void when_loaded(Done loaded);
  [[nodiscard]] bool loaded() const { return loaded_; }
  // New routes, rights and retry times, for mail that is queued already too.
  void configure(config::QueuedConfig config);

  [[nodiscard]] Store& store() { return store_; }
  [[nodiscard]] const Store& store() const { return store_; }
  [[nodiscard]] Schedule& schedule() { return schedule_; }
  [[nodiscard]] const Schedule& schedule() const { return schedule_; }
  [[nodiscard]] const Blocks& blocks() const { return blocks_; }
  [[nodiscard]] const Router& router() const { return *router_; }
  [[nodiscard]] const config::QueuedConfig& config() const { return config_; }
  // Why new mail like this is held; empty: no standing hold is of its kind.
  [[nodiscard]] std::string standing_hold(const MessageRecord& record) const;
  [[nodiscard]] const RetryTables& retry_tables() const { return retry_tables_; }
  [[nodiscard]] Counters& counters() { return counters_; }
  [[nodiscard]] Slices& slices() { return slices_; }
  [[nodiscard]] Throttle& throttle() { return throttle_; }
  [[nodiscard]] Asking& asking() { return asking_; }
  [[nodiscard]] QueueTime now() const { return store_.clock().now(); }

  // The second decision of rights. For a while after a reload what the rules before it allow stands
  // too, for a session may have begun by them.
  [[nodiscard]] config::Decision decide(base::ListenerIndex listener,
                                        const config::Origin& origin,
                                        const mail::Address& recipient, bool logged_in) const;

  // A message that has just become durable.
  void admit(base::MessageId id);
  // One occasion's results for recipients that are not in the schedule now: one record, with the notice
  // that follows from it. What nobody can be told of goes into badmail first. `written` runs when the
  // record is in the journal. `by`: how a next hop came to say so; none: no host was asked. Whom its policy refuses may
  // have a second path: then that was no result.
  void conclude(base::MessageId id, std::vector<RecipientAttempt> attempts, std::string remote,
                Done written, ipc::TlsNote tls = {}, std::optional<Passage> by = {});
  // Recipients come back as they were, due at `due`, to the path that they went by.
  void put_back(base::MessageId id, const std::vector<std::uint32_t>& numbers, QueueTime due, const Passage& by = {});
  // Nothing of it is handed out from now on; what is in delivery stays so. Its clock stands still.
  void hold(base::MessageId id, std::string why);
  // Who has it in hand gives back what is not begun of it.
  void recall(base::MessageId id);
  // Nothing holds it any more; when it is due does not change. Not for one whose body is lost.
  void end_hold(base::MessageId id);
  // A message that can be found now: a recipient of it is in delivery, or its outcome is under way.
  [[nodiscard]] bool in_delivery(const Message& message) const;
  // The recipient's outcome is on its way into a record.
  [[nodiscard]] bool concludes(base::MessageId id, std::uint32_t number) const {
    return concluding_.contains({id, number});
  }
  // How old the message is for this queue, the time that its clock stood still taken off. `hop`: where the queue leads,
  // if nobody has found that; empty: it may be anywhere.
  [[nodiscard]] base::Millis least_age(const Message& message) const;  // of its open recipients
  [[nodiscard]] base::Millis age(const Message& message, std::string_view queue,
                                 const Destination& destination, std::string_view hop = {}) const;
  // Does the clock of the queue's mail stand now?
  [[nodiscard]] bool clock_stands(std::string_view queue, const Destination& destination,
                                  std::string_view hop = {}) const;
  // Ends all open recipients of one that can be found and is not in delivery. Nobody is told but the log
  // and the history, which get `why`.
  void remove(base::MessageId id, const std::string& why);
  // The operator wants these tried now; what is held stays held. At most kMaxRetried.
  void retry(const std::vector<base::MessageId>& messages);
  // Likewise all that wait in this queue, a few in each turn, unless they are at it already.
  void retry_queue(std::string queue);

  // How long until it is given up, if nothing stops its clock; nullopt: it never is.
  [[nodiscard]] std::optional<base::Millis> left(const Message& message,
                                                 const Recipient& recipient) const;
  // Whether it is too young to be given up within `more`, whichever way its recipients go.
  [[nodiscard]] bool young_after(const Message& message, base::Millis more) const {
    return now() - message.born + more < retry_tables_.shortest_life();
  }
  // Whether all that came after it is younger.
  [[nodiscard]] bool in_order_of_age(base::MessageId after) const { return after > last_import_; }

  // Where the queue of a grant leads by the DNS.
  void hop_found(DelivererId deliverer, const ipc::HopFound& found);
  // A message of this lease went through, at this host.
  void hop_works(const LeaseInfo& lease, std::string_view remote);
  // The connection of a grant could not be made: now, or ever.
  void hop_failed(const EndedGrant& grant, ipc::FailureClass failure, const ipc::ReplyText& reply,
                  const std::string& remote);
  void way_failed(const EndedGrant& grant, ipc::FailureClass failure, const ipc::ReplyText& reply,
                  const std::string& remote);

  // A change of the blocks: made durable, then in force, then reported.
  using Change = std::move_only_function<Blocks::Said(Blocks&) noexcept>;
  using Changed = std::move_only_function<void(Blocks::Said) noexcept>;
  void change_blocks(Change change, Changed changed);
  // Runs whenever other blocks are in force.
  void on_blocks(Done changed) { blocks_changed_ = std::move(changed); }
  // Once a second: freezes end whose time is over by the wall clock, however it got there.
  void end_due_freezes();
  // Likewise: mail behind frozen MX hosts goes elsewhere when the DNS says so.
  void follow_dns();
  // Likewise: mail that is too old ends although no failure ends it, where nobody calls for it.
  void end_uncalled();

  // Leases that were broken off.
  struct BrokenOff {
    std::set<LeaseKey> open;               // their outcomes have not come
    std::set<base::MessageId> may_repeat;  // these may have arrived, and are tried again
  };
  using Stopped =
      std::move_only_function<bool(const LeaseInfo&, const Schedule::Queue&) const noexcept>;
  // Breaks off what is in delivery of these queues: a message whose final dot may have been sent is
  // `unknown`, any other comes back untried.
  std::shared_ptr<const BrokenOff> break_off(const Stopped& stopped);
  // Recipients of these queues whose outcome is known, and on its way into a record.
  [[nodiscard]] std::uint64_t concluding(const Stopped& stopped) const;
  [[nodiscard]] std::uint64_t concluding(base::MessageId id) const;
  // A lease ended; `unknown`: a recipient of it may have got the message.
  void lease_over(const LeaseInfo& lease, bool unknown);
  // Tells a deliverer to break off a lease.
  using Break = std::move_only_function<void(const LeaseInfo&) noexcept>;
  void set_break(Break breaks) { break_ = std::move(breaks); }

  // When a recipient in `queue` is due, its queue's own wait left out: the tables may have changed since
  // its last attempt.
  [[nodiscard]] QueueTime due(const Message& message, const Recipient& recipient,
                              std::string_view queue) const;

  // Failures that wait for further ones of their message are told of now.
  void tell_gathered();
  // From now on none waits.
  void stop_gathering();
  // No outcome waits for what its notice needs, or for badmail, and no delay that is being told of.
  [[nodiscard]] bool idle() const { return concluding_.empty() && telling_late_ == 0; }
  // Decides at the end of this turn what goes out next.
  void poke();

 private:
  struct OldMail {  // of a queue whose connections failed
    std::string queue;
    ipc::FailureClass failure = ipc::FailureClass::kConnect;
    ipc::ReplyText reply;
    std::string remote;
    base::MessageId after;
    bool gap = false;  // a message up to there was held, or imported: its age is not by its order
    std::uint64_t run = 0;  // placings_ when they failed
  };
  struct Occasion {  // what became of recipients of one message, on its way into a record
    struct Part {      // of one attempt
      std::string remote;
      std::vector<RecipientFate> fates;
      ipc::TlsNote tls;
    };
    base::MessageId id;
    std::vector<Report> reports;
    std::vector<Part> parts;
    Done written;
    bool anew = false;  // a notice that goes once more, with less
  };
  struct Gathered {
    Occasion occasion;
    QueueTime since{0};
    std::size_t attempts = 0;
    std::map<std::uint32_t, std::string> elsewhere;  // recipients of other queues than that of the key
  };
  struct PendingChange {
    Change change;
    Changed changed;
  };
  void place_batch(const Batch& batch);
  void place_again(base::MessageId after);
  void place(const Message& message);
  void add(const Route& route, const Message& message, std::uint32_t number, QueueTime due, std::uint8_t refused = 0);
  [[nodiscard]] HopWait remembered(const std::string& name) const;
  bool tell_others(base::MessageId id, std::uint32_t number, const Schedule::Visit& visit) const;
  void read_blocks();
  void next_change();
  void judge_all(base::MessageId id, const std::vector<RecipientAttempt>& attempts,
                 std::string remote, Done written, ipc::TlsNote tls, const std::optional<Passage>& by);
  // Tries that go on by a second path (second_tries.cc).
  struct SecondTry {
    std::uint32_t number = 0;  // of the recipient
    Attempt attempt;           // that was refused
    std::uint8_t refused = 0;  // as in Schedule::Mail; 0: nobody knows any more, so it begins anew
  };
  [[nodiscard]] std::optional<SecondTry> second_try(const Recipient& recipient, const Attempt& attempt,
                                                    const std::optional<Passage>& by) const;
  void try_again(const Message& message, const std::vector<SecondTry>& tries, std::string remote, Done written);
  void end_closed_paths();
  void end_some(const std::string& queue, std::uint8_t refused, const Attempt& attempt, const std::string& remote);
  void fail_path(const EndedGrant& grant, ipc::FailureClass failure, const ipc::ReplyText& reply,
                 const std::string& remote);
  void gather(Occasion occasion, const Message& message);
  static void join(Occasion& all, Occasion more);
  void keep_back(const MessageInQueue& key, Occasion occasion, const Message& message, QueueTime since);
  void tell_gathered_of(const MessageInQueue& key);
  void tell_gathered_in(base::MessageId message, const std::string& queue);
  void tell_gathered_before(QueueTime time);
  void tell_alone();
  void tell_alone_of(base::MessageId message);
  [[nodiscard]] Occasion take_gathered(const MessageInQueue& key);
  [[nodiscard]] static std::string remotes_of(const Occasion& occasion);
  [[nodiscard]] std::vector<MessageInQueue> keys_of(const Occasion& occasion, const Message& message) const;
  void settle(Occasion occasion);
  void tell(Occasion occasion);
  void set_concluding(const Occasion& occasion, bool concluding);
  void put_into_badmail(Occasion occasion);
  void send_anew(Occasion occasion);
  Done add_anew(OutcomeRecord& record, Bytes& body, const Message& message, Occasion& occasion,
                std::string_view text);
  Done when_flushed(OutcomeRecord& record, Bytes& to, std::string body);
  void go_on(Occasion occasion, std::string head);
  void finish(Occasion occasion, std::string_view head);
  void forget_known(std::vector<Report>& reports, const Message& message) const;
  void replace_aliases(MessageRecord& notice) const;
  void hold_if_told_to(MessageRecord& notice) const;
  Done add_notice(OutcomeRecord& record, Bytes& body, const Message& message,
                  const std::vector<Report>& reports, std::string_view head);
  void note_sent(const MessageToSender& to, base::MessageId notice,
                 const std::vector<Report>& reports);
  // One notice of what comes in several parts (one_notice.cc).
  [[nodiscard]] bool comes_soon(const Message& message, const std::string& queue,
                                QueueTime since) const;
  [[nodiscard]] bool comes_soon(const Message& message, const Recipient& recipient,
                                QueueTime since) const;
  [[nodiscard]] bool concludes_any(base::MessageId id) const;
  [[nodiscard]] bool more_comes(const MessageInQueue& key) const;
  [[nodiscard]] bool more_comes(const MessageToSender& key);
  void end_waits_of(base::MessageId message);
  void end_waits_before(QueueTime time);
  void keep_late(const Message& message, std::vector<Report>& reports);
  void tell_late_of(const MessageToSender& key);
  Done add_notice_of_go(OutcomeRecord& record, Bytes& body, const Message& message,
                        Occasion& occasion, std::string_view head);
  [[nodiscard]] bool take_in(const EarlyNotices::Notice& earlier);
  void early_flushed(const MessageInQueue& key, base::MessageId notice);
  void send_early(const MessageInQueue& key);
  void hurry(base::MessageId notice);
  [[nodiscard]] std::optional<Report> report_of(const Message& message, const Recipient& recipient,
                                                const RecipientFate& fate,
                                                const std::string& remote, const Attempt& attempt,
                                                base::Millis age) const;
  [[nodiscard]] bool wait_together(const std::string& queue, const std::string& other) const;
  void tell_delay(const Message& message, const OldMail& work);
  void skip_told(OldMail& work, base::MessageId last);
  [[nodiscard]] std::vector<Span> standstills(std::string_view queue, const Destination& destination,
                                              QueueTime until, std::string_view hop) const;
  // On the queue clock, without the time that it was held or blocked.
  [[nodiscard]] base::Millis age(const Message& message, const mail::Address& recipient) const;
  [[nodiscard]] RetryTerms terms(const Recipient& recipient, const Attempt& attempt) const;
  void shorten_waits();
  void report(const Message& message, const RecipientFate& fate, const Occasion::Part& part);
  void retry_found(const std::vector<base::MessageId>& messages);
  void apply_hold(base::MessageId id, std::string why);
  void forget_wait(const std::string& name);
  void expire_queues(std::string hop, OldMail work);
  void expire_uncalled();
  void expire_slice(OldMail work);
  void fail_queue(const std::string& name, ipc::FailureClass failure, const ipc::ReplyText& reply,
                  const std::string& remote);
  void run();

  event::Loop& loop_;
  Store& store_;
  config::QueuedConfig config_;
  RetryTables retry_tables_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<Router> previous_router_;  // of the generation before
  base::SteadyTime previous_until_;
  Blocks blocks_;
  Counters counters_;
  Asking asking_;
  Schedule schedule_;
  Perform perform_;
  History* history_ = nullptr;
  Slices slices_;
  std::set<std::string> retrying_;  // queues whose messages are walked over
  Throttle throttle_;
  event::Timer wake_;
  // Failures that wait for further ones of their message.
  std::map<MessageInQueue, Gathered> gathered_;
  std::size_t attempts_gathered_ = 0;
  // Reports of delays and notices of successes that wait likewise; delays that are being told of.
  LateReports late_;
  EarlyNotices early_;
  std::size_t telling_late_ = 0;
  bool gathering_ = true;
  // Recipients whose outcome waits for further ones, for the original, or for badmail.
  std::set<std::pair<base::MessageId, std::uint32_t>> concluding_;
  // By queue: no message up to this one needs a notice of its delay; an aid to expire_slice() alone.
  std::map<std::string, base::MessageId, std::less<>> told_upto_;
  base::MessageId last_import_;  // of what was imported; all that follows is in the order of its age
  QueueTime hops_forgotten_{0};  // no next hop is known from before
  std::deque<PendingChange> changes_;
  bool changing_ = false;
  Done blocks_changed_;
  base::SteadyTime end_due_again_;  // after a change that could not be saved
  bool ending_due_ = false;
  base::SteadyTime follow_again_;
  base::SteadyTime uncalled_again_;
  Break break_;
  std::vector<std::weak_ptr<BrokenOff>> broken_off_;
  bool poked_ = false;
  bool loaded_ = false;
  std::vector<Done> when_loaded_;
  std::uint64_t placings_ = 0;  // the newest run over all mail; as many as there were other rules
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::queued
