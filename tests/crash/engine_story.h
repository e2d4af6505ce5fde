// EngineStory: queued without its sockets' far ends: mail comes in through smtpd's own link and
// Intake, goes out through Delivery to couriers, one of which files it into a Maildir or a drop by
// the code of local delivery. Couriers die, queued dies, queues are frozen, hosts do not answer.
// What anybody was told goes into the ledger.
#pragma once

#include <random>
#include <set>

#include "deliverd/local/mailbox.h"
#include "queued/delivery.h"
#include "queued/history.h"
#include "queued/intake.h"
#include "smtpd/queue_link.h"
#include "tests/crash/courier.h"
#include "tests/crash/ledger.h"
#include "tests/crash/machine.h"
#include "tests/crash/recorder.h"

namespace postern::crash {

class EngineStory {
 public:
  EngineStory(Machine& machine, Ledger& ledger, Recorder& recorder, std::uint64_t seed);
  ~EngineStory();

  // The store is open: the rest of queued begins.
  void begin();
  void run(std::size_t rounds);
  // queued dies and starts again; an error is why it did not.
  [[nodiscard]] std::optional<std::string> restart();
  // From here on a full disk stops local delivery, at each of its steps once.
  void run_short();
  // What an outsider saw and should not have seen.
  [[nodiscard]] const std::string& broken() const { return broken_; }

 private:
  std::uint64_t draw(std::uint64_t below) { return random_() % below; }
  void turn(int times, bool flush = true);
  void observe();
  void see_notice(base::MessageId id, const std::string& to);

  // Mail comes in.
  void submit();
  void submit_large();
  std::unique_ptr<smtpd::Submission> compose(std::size_t size, bool refused);
  void ended(std::uint32_t letter, const smtpd::SubmissionResult& result) noexcept;

  // Mail goes out.
  void serve(Courier& courier);
  void deliver(Courier& courier, deliverd::Delivery delivery);
  ipc::RecipientResult file(const deliverd::Delivery& delivery,
                            const ipc::LeaseRecipient& recipient);
  ipc::RecipientResult send_out(const ipc::LeaseRecipient& recipient);
  std::optional<std::uint32_t> letter_of(const deliverd::Delivery& delivery);
  void note(std::uint32_t letter, const ipc::RecipientResult& result,
            std::vector<std::uint32_t>& entries);
  void saved(const Courier::Report& report);
  void connect(Courier& courier);
  void kill(Courier& courier);

  // The operator.
  void change_blocks();
  void release();

  void leave_history();

  Machine& machine_;
  Ledger& ledger_;
  Recorder& recorder_;
  std::mt19937_64 random_;
  event::Loop outside_;
  smtpd::QueueLink link_;
  std::vector<std::unique_ptr<Courier>> couriers_;
  std::unique_ptr<local::Mailbox> maildir_;
  std::unique_ptr<local::Mailbox> drop_;
  std::unique_ptr<queued::History> history_;
  std::unique_ptr<queued::Engine> engine_;
  std::unique_ptr<queued::Delivery> delivery_;
  std::unique_ptr<queued::Intake> intake_;
  std::map<std::string, std::uint32_t>
      failed_;  // outcome by address, whose notice was not seen yet
  std::map<std::uint32_t, std::string> originals_;  // texts by letter, with plain lines
  Position turn_began_ = 0;
  std::uint64_t counter_ = 0;
  std::string broken_;
};

}  // namespace postern::crash
