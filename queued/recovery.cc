#include "queued/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "queued/journal_files.h"

namespace postern::queued {
namespace {

constexpr std::size_t kTokenSegments = 2;  // of each life, its last ones
constexpr std::size_t kMostLives = 16;     // whose tokens are read

class Recovery {
 public:
  Recovery(os::Disk& disk, const RecoveryOptions& options, Messages& messages,
           RecoveryAttempt& attempt)
      : disk_(disk),
        options_(options),
        messages_(messages),
        attempt_(attempt),
        files_(disk, attempt, options.mark ? options.mark->epoch : base::Epoch()) {
    result_.start.epoch = options.epoch;
    if (options.mark) {
      covered_ = options.mark->sequence;
      result_.last_id = options.mark->last_id;
      note_clock(options.mark->clock.queue, options.mark->clock.wall);
    }
  }

  os::Result<Recovered> run() {
    if (auto done = files_.find(); !done) return std::unexpected(done.error());
    result_.used = files_.used();
    if (!chain().empty()) {
      result_.index_too_old =
          options_.mark && chain().begin()->second.header.first.value > covered_.value + 1;
      if (result_.index_too_old) return std::move(result_);
      if (auto done = replay(); !done) return std::unexpected(done.error());
      if (auto done = read_tokens(); !done) return std::unexpected(done.error());
    }
    begin_above_index();
    take_rest();
    return std::move(result_);
  }

 private:
  using Chain = std::map<std::uint64_t, FoundSegment>;
  [[nodiscard]] const Chain& chain() const { return files_.chain(); }

  os::Result<void> replay() {
    const auto from = replay_start();
    for (auto at = chain().begin(); at != chain().end(); ++at) {
      if (at->first >= from)
        if (auto done = replay(at); !done) return done;
      result_.chain.push_back({at->first, at->second.file, false});
    }
    result_.start.segment = chain().rbegin()->first + 1;
    result_.start.first = result_.start.predecessor.last.next();
    result_.start.oldest_needed = chain().begin()->first;
    collect_unsure();
    return {};
  }

  // What the index covers is not read again.
  [[nodiscard]] std::uint64_t replay_start() const {
    auto from = chain().begin()->first;
    for (const auto& [number, segment] : chain())
      if (segment.header.first <= covered_) from = number;
    return from;
  }

  os::Result<void> replay(Chain::const_iterator at) {
    const auto number = at->first;
    const auto next = std::next(at);
    if (const auto claim = claim_of(at)) note_flushed(claim->flushed);
    os::Result<void> paused;
    const auto replayed = read(at, [&](const Frame& frame) {
      if (paused && options_.pause)
        paused = options_.pause(std::min(flushed_, frame.name.sequence));
    });
    if (!replayed) return std::unexpected(replayed.error());
    report(number, at->second.file.name, *replayed);
    // What is not surely flushed is written again, in several records. Should the power fail meanwhile, a
    // part of those must not be all that is left. If this flush lies or fails, they are what counts.
    if (next == chain().end()) rewrite_header(*at->second.file.file);
    if (replayed->end.last > flushed_ || next == chain().end())
      (void)at->second.file.file->flush_data();
    result_.start.predecessor = replayed->end;
    begun_at_ = std::min(begun_at_, number);
    return paused;
  }

  // The newest header may be in the cache alone, and after a flush that failed it stays there: but the next
  // segment's will speak of it.
  static void rewrite_header(os::File& file) {
    const auto block = file.read_at(0, kBlock);
    if (block && decode_header(*block)) (void)file.write_at(0, *block);
  }

  // What the next header says of this segment.
  [[nodiscard]] std::optional<SegmentEnd> claim_of(Chain::const_iterator at) const {
    const auto next = std::next(at);
    if (next == chain().end() || next->second.header.predecessor.number != at->first)
      return std::nullopt;
    return next->second.header.predecessor;
  }

  // Applies its records, and tells of each.
  os::Result<Replayed> read(Chain::const_iterator at, auto&& applied) {
    const auto& [number, found] = *at;
    const auto claim = claim_of(at);
    const auto path = journal_path(found.file.name);
    attempt_.stage(path);
    const auto bytes = files_.read(found, claim ? claim->length : found.file.capacity);
    if (!bytes) return std::unexpected(bytes.error());
    return replay_segment(
        *bytes, found.header, claim, [&](const Frame& frame, const Place& place) {
          const auto record = frame.name.sequence.value;
          attempt_.stage(path, record);
          if (attempt_.skips(path, record)) {
            files_.add_damage(fmt::format("record {} of the journal (file {}) is left out: starts of "
                                          "queued failed over it",
                                          record, found.file.name),
                              number);
            return true;
          }
          const bool good = apply(frame, place);
          applied(frame);
          return good;
        });
  }

  // For a minute smtpds ask for the tokens of what nobody answered, whoever dies meanwhile. Those stand in
  // the last segments of a life. So earlier lives are looked at, the newest first, up to one that lasted
  // longer than that: nobody asks for what came before it.
  os::Result<void> read_tokens() {
    base::Epoch life;
    std::size_t lives = 0, segments = 0;
    for (auto at = chain().end(); at != chain().begin();) {
      --at;
      const auto epoch = at->second.header.epoch;
      if (lives == 0 || epoch != life) {
        if (lives > 0 && spans_[life].length() >= kAskedFor) break;
        if (++lives > kMostLives) break;
        life = epoch;
        segments = 0;
      }
      if (++segments > kTokenSegments) continue;
      result_.asked_from = at->first;
      if (at->first >= begun_at_) continue;  // it was read
      const auto replayed = read(at, [](const Frame&) {});
      if (!replayed) return std::unexpected(replayed.error());
      report(at->first, at->second.file.name, *replayed);
    }
    return {};
  }

  // Numbers are never used twice, even if the journal lost what the index knows.
  void begin_above_index() {
    if (!options_.mark) return;
    result_.start.segment = std::max(result_.start.segment, options_.mark->segment + 1);
    if (result_.start.first > covered_) return;
    result_.used = true;
    if (chain().empty()) result_.start.oldest_needed = result_.start.segment;
    files_.add_damage(fmt::format("the journal ends at record {}, the index knows of {}",
                                  result_.start.first.value - 1, covered_.value));
    result_.start.first = covered_.next();
  }

  // --- What may not be on disk ---

  void note_flushed(base::SequenceNumber flushed) {
    flushed_ = std::max(flushed_, flushed);
    while (!unsure_.empty() && unsure_.front().first <= flushed_) unsure_.pop_front();
  }

  void collect_unsure() {
    result_.start.predecessor.flushed = std::min(flushed_, result_.start.predecessor.last);
    for (auto& [sequence, record] : unsure_) {
      // Where a message lives on, its copy says it all; where it ended, its outcomes are repeated.
      if (record.message.value != 0 && messages_.bring_in(record.message) != nullptr)
        result_.unsure.messages.insert(record.message);
      else if (!record.fields.empty())
        result_.unsure.records.emplace_back(record.type, std::move(record.fields));
    }
  }

  void report(std::uint64_t number, const std::string& name, const Replayed& replayed) {
    if (replayed.damaged)
      files_.add_damage(
          fmt::format("segment {} of the journal (file {}) lost {} records from number {} on", number,
                      name, replayed.end.missing, replayed.first_lost),
          number);
    if (replayed.unreadable > 0)
      files_.add_damage(fmt::format("segment {} of the journal (file {}) has {} records that make no "
                                    "sense",
                                    number, name, replayed.unreadable),
                        number);
  }

  bool apply(const Frame& frame, const Place& place) {
    note_flushed(frame.name.flushed);
    life_ = frame.name.epoch;
    const auto sequence = frame.name.sequence;
    const bool is_new = sequence > covered_;
    switch (frame.type) {
      case RecordType::kAccepted:
      case RecordType::kState:
        return with<MessageRecord>(frame, [&](MessageRecord& record) {
          note_message(record);
          if (is_new) put(std::move(record), place, sequence);
        });
      case RecordType::kOutcome:
        return with<OutcomeRecord>(frame, [&](OutcomeRecord& record) {
          if (is_new) apply(record, place, sequence);
          note_clock(record.clock, record.when);
          spans_[life_].note(record.clock);
        });
      case RecordType::kQueue:
        return with<QueueRecord>(frame, [&](const QueueRecord& record) {
          if (!is_new) return;
          messages_.apply(record);
          messages_.wait_stands(record.queue, place.segment);
          note_unsure(sequence, {frame.type, {}, ipc::encode(record)});
        });
      case RecordType::kRetry:
        return with<RetryRecord>(frame, [&](const RetryRecord& record) {
          if (!is_new) return;
          messages_.apply(record, sequence);
          for (const auto id : record.messages) note_unsure(sequence, {frame.type, id, {}});
          if (!record.queues.empty())
            note_unsure(sequence,
                        {frame.type, {}, ipc::encode(RetryRecord{record.clock, {}, record.queues})});
        });
      case RecordType::kHold:
        return with<HoldRecord>(frame, [&](const HoldRecord& record) {
          if (!is_new) return;
          messages_.apply(record, sequence);
          note_unsure(sequence, {frame.type, record.message, {}});
        });
      case RecordType::kClock:
        return with<ClockRecord>(frame, [&](const ClockRecord& record) {
          note_clock(record.queue, record.wall);
          spans_[life_].note(record.queue);
        });
    }
    return false;
  }

  void apply(OutcomeRecord& record, const Place& place, base::SequenceNumber sequence) {
    messages_.apply(record, sequence);
    if (record.notice) {
      note_message(*record.notice);
      put(*std::move(record.notice), place, sequence);
      record.notice.reset();  // if it lives, it is copied by itself
    }
    note_replaced(record, sequence);
    note_unsure(sequence, {RecordType::kOutcome, record.message, ipc::encode(record)});
  }

  // Where the message lives on, its copy does not say that these ended.
  void note_replaced(OutcomeRecord& record, base::SequenceNumber sequence) {
    if (record.replaces.empty()) return;
    OutcomeRecord ends;
    ends.message = record.message;
    ends.when = record.when;
    ends.clock = record.clock;
    ends.replaces = std::exchange(record.replaces, {});
    note_unsure(sequence, {RecordType::kOutcome, {}, ipc::encode(ends)});
  }

  void put(MessageRecord&& record, const Place& place, base::SequenceNumber sequence) {
    note_unsure(sequence, {RecordType::kState, record.id, {}});
    messages_.put(std::move(record), place, sequence);
  }

  template <class Record>
  static bool with(const Frame& frame, auto&& use) {
    auto record = ipc::decode<Record>(frame.fields, frame.version);
    if (record) use(*record);
    return record.has_value();
  }

  void note_message(const MessageRecord& record) {
    if (!record.notice) result_.tokens.emplace_back(record.token, record.id);
    result_.last_id = std::max(result_.last_id, record.id);
    // An imported one was born and came by the clocks of another host.
    if (record.origin.value == 0) note_clock(record.born, record.arrived);
  }

  void note_clock(QueueTime queue, base::WallTime wall) {
    if (queue >= result_.clock.queue) result_.clock = {queue, wall};
  }

  void take_rest() {
    result_.spares = files_.take_spares();
    result_.set_aside = files_.take_set_aside();
    result_.damage = files_.damage();
    for (const auto number : files_.damaged())
      result_.damaged_below = std::max(result_.damaged_below, number + 1);
    for (auto& segment : result_.chain) segment.damaged = files_.damaged().contains(segment.number);
    std::erase_if(result_.spares, [&](const SegmentFile& spare) {
      if (spare.capacity == options_.segment_size) return false;
      // Not finished, or of another configured size. One left over does no harm.
      (void)disk_.unlink(journal_path(spare.name));
      return true;
    });
  }

  os::Disk& disk_;
  const RecoveryOptions& options_;
  Messages& messages_;
  RecoveryAttempt& attempt_;
  JournalFiles files_;
  Recovered result_;
  base::SequenceNumber covered_;  // by the index
  base::SequenceNumber flushed_;  // for sure
  std::uint64_t begun_at_ = ~std::uint64_t{0};  // the first segment that was read
  base::Epoch life_;                            // of the record that is applied
  // The times of the queue clock that its life's records tell, as far as they were read.
  struct Span {
    std::optional<QueueTime> first;
    QueueTime last{0};
    void note(QueueTime time) {
      if (!first) first = last = time;
      first = std::min(*first, time);
      last = std::max(last, time);
    }
    [[nodiscard]] base::Millis length() const { return first ? last - *first : base::Millis(0); }
  };
  std::map<base::Epoch, Span> spans_;
  struct UnsureRecord {
    RecordType type = RecordType::kClock;
    base::MessageId message;  // 0: none
    std::string fields;       // to be repeated; empty: nothing
  };
  void note_unsure(base::SequenceNumber sequence, UnsureRecord record) {
    if (sequence > flushed_) unsure_.emplace_back(sequence, std::move(record));
  }
  std::deque<std::pair<base::SequenceNumber, UnsureRecord>> unsure_;
};

}  // namespace

os::Result<Recovered> recover(os::Disk& disk, const RecoveryOptions& options, Messages& messages,
                              RecoveryAttempt& attempt) {
  return Recovery(disk, options, messages, attempt).run();
}

}  // namespace postern::queued
