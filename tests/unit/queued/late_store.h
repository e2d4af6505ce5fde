// LateStore: a store whose reader may be slow. Then whoever asks for messages that are not in memory, or for bodies, gets
// them when the test lets them come, in the order of the questions, while everything else goes on, flushes too.
#pragma once

#include <deque>
#include <utility>

#include "queued/store.h"

namespace postern::queued {

class LateStore final : public Store {
 public:
  explicit LateStore(Store& store) : store_(store) {}

  [[nodiscard]] bool slow() const { return slow_; }
  // Not slow: what waits comes.
  void set_slow(bool slow) {
    slow_ = slow;
    if (!slow)
      while (!waiting_.empty()) let_come();
  }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
  // The oldest question is answered, if there is one.
  void let_come() {
    if (waiting_.empty()) return;
    auto asked = std::move(waiting_.front());
    waiting_.pop_front();
    store_.fetch(std::move(asked.first), [this, resident = std::move(asked.second)]() mutable noexcept {
      const bool was = std::exchange(answering_, true);
      resident();
      answering_ = was;
    });
  }

  // Likewise bodies, all at once.
  void set_bodies_slow(bool slow) {
    bodies_slow_ = slow;
    if (!slow)
      for (auto& [id, loaded] : std::exchange(unread_, {})) store_.load(id, std::move(loaded));
  }
  [[nodiscard]] std::size_t unread() const { return unread_.size(); }

  // Likewise what is looked at in the order of acceptance; one look at a time.
  void set_scans_slow(bool slow) {
    scans_slow_ = slow;
    if (!slow) let_scan();
  }
  void let_scan() {
    for (auto& scan : std::exchange(unscanned_, {})) store_.scan(scan.after, scan.limit, std::move(scan.scanned));
  }
  [[nodiscard]] std::size_t unscanned() const { return unscanned_.size(); }

  // What is asked for while an answer is taken in came with it, or has ended.
  void fetch(std::vector<base::MessageId> ids, Done resident) override {
    bool here = true;
    for (const auto id : ids) here = here && store_.find(id) != nullptr;
    if (!slow_ || here || answering_) return store_.fetch(std::move(ids), std::move(resident));
    waiting_.emplace_back(std::move(ids), std::move(resident));
  }

  void read_ahead(std::vector<base::MessageId> ids) override {
    if (!slow_) store_.read_ahead(std::move(ids));
  }

  const QueueClock& clock() const override { return store_.clock(); }
  base::Epoch epoch() const override { return store_.epoch(); }
  base::MessageId new_id() override { return store_.new_id(); }
  bool fits(std::size_t recipients, std::size_t body) const override {
    return store_.fits(recipients, body);
  }
  void accept(MessageRecord record, Bytes body, Accepted accepted) override {
    store_.accept(std::move(record), std::move(body), std::move(accepted));
  }
  void outcome(OutcomeRecord record, Bytes notice_body, Done written, Done flushed) override {
    store_.outcome(std::move(record), std::move(notice_body), std::move(written), std::move(flushed));
  }
  void note(QueueRecord record) override { store_.note(std::move(record)); }
  void note(HoldRecord record) override { store_.note(std::move(record)); }
  void note(RetryRecord record, Done written) override {
    store_.note(std::move(record), std::move(written));
  }
  void settle(Done flushed) override { store_.settle(std::move(flushed)); }
  void when_sure(Done sure) override { store_.when_sure(std::move(sure)); }
  const Message* find(base::MessageId id) const override { return store_.find(id); }
  void scan(base::MessageId after, std::size_t limit, Scanned scanned) override {
    if (scans_slow_)
      unscanned_.push_back({after, limit, std::move(scanned)});
    else
      store_.scan(after, limit, std::move(scanned));
  }
  void tell_all(Scanned each) override { store_.tell_all(std::move(each)); }
  std::uint64_t count() const override { return store_.count(); }
  std::uint64_t bytes() const override { return store_.bytes(); }
  const std::map<std::string, QueueRecord, std::less<>>& waits() const override {
    return store_.waits();
  }
  std::optional<base::MessageId> find_token(const base::Token& token) const override {
    return store_.find_token(token);
  }
  void forget_token(const base::Token& token) override { store_.forget_token(token); }
  void load(base::MessageId id, Loaded loaded) override {
    if (!bodies_slow_) return store_.load(id, std::move(loaded));
    unread_.emplace_back(id, std::move(loaded));
  }
  void load_head(base::MessageId id, std::size_t limit, Head head) override {
    store_.load_head(id, limit, std::move(head));
  }
  void load_part(base::MessageId id, std::uint64_t offset, std::size_t limit, Head part) override {
    store_.load_part(id, offset, limit, std::move(part));
  }
  void open_large(std::uint64_t room, LargeOpened opened) override {
    store_.open_large(room, std::move(opened));
  }
  void seal_large(base::MessageId id, std::uint64_t size, LargeSealed sealed) override {
    store_.seal_large(id, size, std::move(sealed));
  }
  void drop_large(base::MessageId id) override { store_.drop_large(id); }
  void write_large(base::MessageId id, std::uint64_t offset, std::string bytes, Saved written) override {
    store_.write_large(id, offset, std::move(bytes), std::move(written));
  }
  void check(CheckPlace from, Checked checked) override {
    store_.check(std::move(from), std::move(checked));
  }
  void note_import(const base::Token& file, Saved saved) override {
    store_.note_import(file, std::move(saved));
  }
  void find_import(const base::Token& file, Known known) override {
    store_.find_import(file, std::move(known));
  }
  void put_into_badmail(base::MessageId id, BadmailReason reason, Saved saved) override {
    store_.put_into_badmail(id, std::move(reason), std::move(saved));
  }
  const std::optional<std::string>& blocks_text() const override { return store_.blocks_text(); }
  bool used_before() const override { return store_.used_before(); }
  void save_blocks(std::string text, Saved saved) override {
    store_.save_blocks(std::move(text), std::move(saved));
  }
  void set_blocks_aside() override { store_.set_blocks_aside(); }
  StoreHealth health() const override { return store_.health(); }
  void tick() override { store_.tick(); }

 private:
  Store& store_;
  bool answering_ = false;
  bool slow_ = false;
  std::deque<std::pair<std::vector<base::MessageId>, Done>> waiting_;
  bool bodies_slow_ = false;
  std::deque<std::pair<base::MessageId, Loaded>> unread_;
  struct Scan {
    base::MessageId after;
    std::size_t limit = 0;
    Scanned scanned;
  };
  bool scans_slow_ = false;
  std::vector<Scan> unscanned_;
};

}  // namespace postern::queued
