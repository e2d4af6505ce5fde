// LocalStore: the store on one host's disk: journal segments, the index, large files, control.json below
// the spool. The journal is the truth; the index is what memory need not hold, brought up to date by
// checkpoints and rebuilt from the journal where it is damaged. After open() the loop waits for no file;
// a flusher, a store thread and a reader do that.
#pragma once

#include <array>
#include <deque>
#include <unordered_set>

#include "common/base/random.h"
#include "queued/badmail.h"
#include "queued/checkpoint.h"
#include "queued/cold.h"
#include "queued/large_files.h"
#include "queued/messages.h"
#include "queued/segments.h"
#include "queued/store.h"
#include "queued/token_memory.h"

namespace postern::queued {

// Opens the index below the spool. `fresh`: what was there is set aside, and an empty one is to be made.
using IndexOpener = std::function<os::Result<std::unique_ptr<Index>>(bool fresh)>;

struct LocalStoreOptions {
  std::uint64_t segment_size = 64ULL << 20;
  std::uint64_t reserve = 0;  // bytes kept for outcomes and the operator's changes
  base::Millis max_gap{24LL * 3600 * 1000};
  os::Disk* badmail = nullptr;  // where badmail lies; null: in badmail/ of the spool
  std::uint64_t cache = 32ULL << 20;    // bytes of fresh bodies kept in memory
  std::size_t most_residents = 16'384;  // messages kept in memory that have rows
  Checkpoint::Pace pace;
  bool threaded = true;  // false: work waits for pump()
  base::Epoch epoch;     // 0: a random one
};

inline constexpr std::string_view kIndexFile = "index";  // in the spool

class LocalStore final : public Store {
 public:
  using Fatal = std::move_only_function<void(const std::string&) noexcept>;

  // Recovers the spool on `disk` and opens a new epoch. Reads files here and now.
  [[nodiscard]] static os::Result<std::unique_ptr<LocalStore>> open(
      event::Loop& loop, os::Disk& disk, const IndexOpener& index, const base::Clock& clock,
      LocalStoreOptions options, Fatal fatal);
  ~LocalStore() override;

  const QueueClock& clock() const override { return *clock_; }
  base::Epoch epoch() const override { return lease_epoch_; }
  base::MessageId new_id() override;
  bool fits(std::size_t recipients, std::size_t body) const override;
  void accept(MessageRecord record, Bytes body, Accepted accepted) override;
  void outcome(OutcomeRecord record, Bytes notice_body, Done written, Done flushed) override;
  void note(QueueRecord record) override;
  void note(HoldRecord record) override;
  void note(RetryRecord record, Done written) override;
  void settle(Done flushed) override;
  void when_sure(Done sure) override;
  const Message* find(base::MessageId id) const override { return messages_.find(id); }
  void fetch(std::vector<base::MessageId> ids, Done resident) override;
  void read_ahead(std::vector<base::MessageId> ids) override;
  void scan(base::MessageId after, std::size_t limit, Scanned scanned) override;
  void tell_all(Scanned each) override;
  std::uint64_t count() const override { return messages_.count(); }
  std::uint64_t bytes() const override { return messages_.bytes(); }
  const std::map<std::string, QueueRecord, std::less<>>& waits() const override {
    return messages_.waits();
  }
  std::optional<base::MessageId> find_token(const base::Token& token) const override {
    return tokens_.find(token);
  }
  void forget_token(const base::Token& token) override { tokens_.forget(token); }
  void load(base::MessageId id, Loaded loaded) override;
  void load_head(base::MessageId id, std::size_t limit, Head head) override;
  void load_part(base::MessageId id, std::uint64_t offset, std::size_t limit, Head part) override {
    large_.load_part(id, offset, limit, std::move(part));
  }
  void open_large(std::uint64_t room, LargeOpened opened) override;
  void seal_large(base::MessageId id, std::uint64_t size, LargeSealed sealed) override;
  void drop_large(base::MessageId id) override;
  void put_into_badmail(base::MessageId id, BadmailReason reason, Saved saved) override;
  void write_large(base::MessageId id, std::uint64_t offset, std::string bytes,
                   Saved written) override {
    large_.write(id, offset, std::move(bytes), std::move(written));
  }
  void check(CheckPlace from, Checked checked) override;
  void note_import(const base::Token& file, Saved saved) override;
  void find_import(const base::Token& file, Known known) override;
  const std::optional<std::string>& blocks_text() const override { return blocks_text_; }
  bool used_before() const override { return used_before_; }
  void save_blocks(std::string text, Saved saved) override;
  void set_blocks_aside() override;
  StoreHealth health() const override;
  void tick() override;

  // It ends in an orderly way, so a start that is not complete yet has not failed.
  void withdraw();
  // The store's thread.
  [[nodiscard]] Worker& worker() { return files_; }
  // Not threaded: does all work that waits, until there is none; what is not urgent may stay unflushed.
  void pump(bool flush = true);
  // Not threaded: brings in what is asked for.
  void pump_reads();
  [[nodiscard]] std::size_t segments_held() const { return segments_.bytes() / options_.segment_size; }

 private:
  // What waits for the journal, in its order.
  struct InFlight {
    std::unique_ptr<MessageRecord> begins = {};
    Bytes body = {};
    std::string waits = {};           // a queue, by the record of its wait
    base::MessageId moves = {};       // a copy of this message into a newer segment
    base::MessageId ends_large = {};  // its file may go
    Place place = {};                 // in segment 0: refused
    Accepted accepted = {};
    Done written = {};
    Done flushed = {};
  };

  LocalStore(event::Loop& loop, os::Disk& disk, const base::Clock& clock, LocalStoreOptions options,
             Fatal fatal);

  // --- start (store_start.cc)
  os::Result<void> start(const IndexOpener& open_index);
  os::Result<void> open_index(const IndexOpener& open_index, bool fresh);
  os::Result<Recovered> replay(const IndexOpener& open_index);
  os::Result<Recovered> replay_once();
  os::Result<void> sweep_large();
  os::Result<void> read_blocks();
  os::Result<void> write_blocks(const std::string& text);
  os::Result<void> write_again(Recovered::Unsure unsure);

  // --- the journal
  [[nodiscard]] base::SequenceNumber sequence_of(std::uint64_t entry) const {
    return base::SequenceNumber(first_sequence_.value + entry);
  }
  base::SequenceNumber append(RecordType type, std::string fields, bool urgent, InFlight in_flight);
  void schedule_kick();
  void collect();
  void finish(InFlight& entry, base::SequenceNumber sequence);
  [[nodiscard]] Checkpoint::Position position() const;

  // --- reading (store_reads.cc)
  template <class Read>
  void read(Read read, std::move_only_function<void(std::vector<Message>) noexcept> then);
  void tell_next(base::MessageId after);
  [[nodiscard]] Batch merge(base::MessageId after, const std::vector<Message>& rows,
                            bool more) const;
  void load_resident(Message& message, Loaded loaded);
  void load_large(Message& message, Loaded loaded);
  void read_body(Message& message, Loaded loaded);
  void take_body(Message& message, ReadRecord record, Loaded loaded);
  void body_failed(base::MessageId id, const os::Error& error);

  // --- looking at all of it (store_check.cc)
  struct Checking;
  void check_rows(CheckPlace from, Checked checked);
  void check_bodies(std::shared_ptr<Checking> checking);
  void check_again(std::shared_ptr<Checking> checking);

  // --- giving space back (compaction.cc)
  void tidy();
  void tell_again(std::uint64_t segment);
  void move_some();
  void move_these(const std::vector<base::MessageId>& ids, std::uint64_t segment);
  void move(Message& message);
  void append_copy(Message& message, Bytes body);
  void give_up_body(Message& message);
  void survey();
  void report_damage(std::string sentence);
  void fail(const std::string& why);

  event::Loop& loop_;
  os::Disk& disk_;
  const base::Clock& system_clock_;
  LocalStoreOptions options_;
  Fatal fatal_;
  // Deliverers see it in their leases. Not the journal's, or who wrote to them could forge its records.
  base::Epoch lease_epoch_{base::random_u64()};
  RecoveryAttempt attempt_;
  Messages messages_;
  std::unique_ptr<QueueClock> clock_;
  base::MessageId last_id_;
  bool used_before_ = false;
  std::optional<std::string> blocks_text_;
  std::vector<std::string> damage_;
  Scanned telling_;  // while all messages are told
  std::unordered_set<base::MessageId> coming_;  // whose rows are read ahead

  std::deque<InFlight> in_flight_;  // from entry number flushed_ on
  base::SequenceNumber first_sequence_;
  base::SequenceNumber flushed_before_;    // by earlier lives, for sure
  base::SequenceNumber covered_at_start_;  // by the index
  std::optional<os::Error> index_error_;   // during the start
  std::uint64_t newest_segment_ = 0;
  std::uint64_t placed_ = 0, written_ = 0, flushed_ = 0;
  base::SequenceNumber last_flushed_;  // the number of the last record that is; a refused one has none
  bool sure_ = false;  // what earlier lives left is on disk
  std::vector<Done> when_sure_;
  bool kick_scheduled_ = false;
  bool failed_ = false;

  TokenMemory tokens_{system_clock_.steady()};

  std::uint64_t moving_segment_ = 0;
  std::size_t moving_cursor_ = 0;
  std::size_t copies_ = 0;  // under way

  std::uint64_t free_ = 0;
  std::uint64_t flushes_ = 0;
  std::array<std::uint32_t, 512> flush_times_{};  // microseconds, a ring
  base::SteadyTime clock_noted_;
  base::SteadyTime begun_;

  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Reserve reserve_;
  std::unique_ptr<Index> index_;  // used by the workers
  Segments segments_;
  LargeFiles large_;
  Badmail badmail_;
  Worker files_;  // what it still does at the end needs those above
  Worker reader_;
  event::Waker progressed_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

}  // namespace postern::queued
