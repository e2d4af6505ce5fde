// LocalStore: the store on one host's disk: journal segments, large files, control.json below the
// spool. The state in memory is rebuilt by replay at the start. No file is touched on the loop after
// open(); a flusher, a store thread and a reader do that.
#pragma once

#include <array>
#include <deque>
#include <unordered_map>

#include "queued/large_files.h"
#include "queued/messages.h"
#include "queued/segments.h"
#include "queued/store.h"

namespace postern::queued {

struct LocalStoreOptions {
  std::uint64_t segment_size = 64ULL << 20;
  std::uint64_t reserve = 0;  // bytes kept for outcomes and the operator's changes
  base::Millis max_gap{24LL * 3600 * 1000};
  std::uint64_t cache = 64ULL << 20;  // bytes of fresh bodies kept in memory
  bool threaded = true;               // false: work waits for pump()
  base::Epoch epoch;                  // 0: a random one
};

class LocalStore final : public Store {
 public:
  using Fatal = std::move_only_function<void(const std::string&) noexcept>;

  // Recovers the spool on `disk` and opens a new epoch. Reads files here and now.
  [[nodiscard]] static os::Result<std::unique_ptr<LocalStore>> open(event::Loop& loop,
                                                                    os::Disk& disk,
                                                                    const base::Clock& clock,
                                                                    LocalStoreOptions options,
                                                                    Fatal fatal);
  ~LocalStore() override;

  const QueueClock& clock() const override { return *clock_; }
  base::Epoch epoch() const override { return options_.epoch; }
  base::MessageId new_id() override;
  bool fits(std::size_t recipients, std::size_t body) const override;
  void accept(MessageRecord record, Bytes body, Accepted accepted) override;
  void outcome(OutcomeRecord record, Bytes notice_body, Done written, Done flushed) override;
  void note(QueueRecord record) override;
  void note(HoldRecord record) override;
  void note(ReleaseRecord record, Done written) override;
  void settle(Done flushed) override;
  const Message* find(base::MessageId id) const override { return messages_.find(id); }
  const Message* next(base::MessageId after) const override { return messages_.next(after); }
  std::uint64_t count() const override { return messages_.count(); }
  std::uint64_t bytes() const override { return messages_.bytes(); }
  const std::map<std::string, QueueRecord, std::less<>>& waits() const override {
    return messages_.waits();
  }
  std::optional<base::MessageId> find_token(const base::Token& token) const override;
  void load(base::MessageId id, Loaded loaded) override;
  void load_head(base::MessageId id, std::size_t limit, Head head) override;
  void load_part(base::MessageId id, std::uint64_t offset, std::size_t limit, Head part) override {
    large_.load_part(id, offset, limit, std::move(part));
  }
  void open_large(std::uint64_t room, LargeOpened opened) override;
  void seal_large(base::MessageId id, std::uint64_t size, LargeSealed sealed) override;
  void drop_large(base::MessageId id) override;
  const std::optional<std::string>& blocks_text() const override { return blocks_text_; }
  bool used_before() const override { return used_before_; }
  void save_blocks(std::string text, Saved saved) override;
  StoreHealth health() const override;
  void tick() override;

  // Not threaded: does all work that waits, until there is none.
  void pump();
  [[nodiscard]] std::size_t segments_held() const { return segments_.bytes() / options_.segment_size; }

 private:
  // What waits for the journal, in its order.
  struct InFlight {
    std::optional<MessageRecord> begins;
    Bytes body;
    std::string waits;           // a queue, by the record of its wait
    base::MessageId moves;       // a copy of this message into a newer segment
    base::MessageId ends_large;  // its file may go
    Place place;            // in segment 0: refused
    Accepted accepted;
    Done written;
    Done flushed;
  };

  LocalStore(event::Loop& loop, os::Disk& disk, const base::Clock& clock, LocalStoreOptions options,
             Fatal fatal);
  os::Result<void> start();
  os::Result<void> read_blocks();
  os::Result<void> write_blocks(const std::string& text);
  void append(RecordType type, std::string fields, bool urgent, InFlight in_flight);
  void schedule_kick();
  void collect();
  void finish(InFlight entry);
  void remember(const base::Token& token, base::MessageId id);
  void keep_body(Message& message, Bytes body);
  void read_body(const Message& message, Loaded loaded);
  void tidy();
  void tell_again(std::uint64_t segment);
  void move_some();
  void move(Message& message);
  void append_copy(Message& message, Bytes body);
  void give_up_body(Message& message);
  void survey();
  void report_damage(std::string sentence);

  event::Loop& loop_;
  os::Disk& disk_;
  const base::Clock& system_clock_;
  LocalStoreOptions options_;
  Fatal fatal_;
  RecoveryAttempt attempt_;
  Messages messages_;
  std::unique_ptr<QueueClock> clock_;
  base::MessageId last_id_;
  bool used_before_ = false;
  std::optional<std::string> blocks_text_;
  std::vector<std::string> damage_;

  std::deque<InFlight> in_flight_;  // from entry number flushed_ on
  std::uint64_t placed_ = 0, written_ = 0, flushed_ = 0;
  bool kick_scheduled_ = false;
  bool failed_ = false;

  std::unordered_map<base::Token, base::MessageId> tokens_;
  std::deque<std::pair<base::SteadyTime, base::Token>> token_ages_;

  std::deque<base::MessageId> cached_;  // in the order they came
  std::uint64_t cached_bytes_ = 0;

  std::uint64_t moving_segment_ = 0;
  std::size_t moving_cursor_ = 0;
  std::size_t copies_ = 0;  // under way

  std::uint64_t free_ = 0;
  std::uint64_t flushes_ = 0;
  std::array<std::uint32_t, 512> flush_times_{};  // microseconds, a ring
  base::SteadyTime clock_noted_;

  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Reserve reserve_;
  Segments segments_;
  LargeFiles large_;
  Worker files_;  // what it still does at the end needs those above
  Worker reader_;
  event::Waker progressed_;
  std::unique_ptr<Journal> journal_;
};

}  // namespace postern::queued
