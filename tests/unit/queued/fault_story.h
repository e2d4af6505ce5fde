// FaultStory: a run of 200 messages over two lives of a store that something fails in: what was
// acknowledged, refused, ended, and whether the next life agrees.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/queued/store_rig.h"

namespace postern::queued {

class FaultStory {
 public:
  static constexpr int kMessages = 200;
  static constexpr int kStarts = 40;  // one fault may spoil one start, a full disk many

  explicit FaultStory(StoreRig& rig) : rig_(rig) {
    rig_.segment_size = 32 * 1024;
    rig_.cache = 0;
  }

  // Two lives of a hundred messages each; a life that a fault ends is followed by another.
  void live() {
    if (!start()) return;
    for (int step = 0; step < kMessages; ++step) {
      if (step == kMessages / 2) rig_.kill();
      if ((!rig_.store || !rig_.fatal.empty()) && !start()) return;
      turn(step);
    }
    drain();
  }

  // A life begins.
  bool start() {
    if (!rig_.fatal.empty()) why_ended.push_back(rig_.fatal);
    if (rig_.store) rig_.kill();
    for (int attempt = 0; attempt < kStarts; ++attempt) {
      if (rig_.open()) {
        if (rig_.fatal.empty()) return check();
        rig_.kill();
      }
      why_ended.push_back(rig_.fatal);
    }
    ADD_FAILURE() << "no start succeeds: " << rig_.fatal;
    return false;
  }

  // What is there is what should be.
  bool check() {
    const auto& damage = rig_.store->health().damage;
    EXPECT_TRUE(damage.empty() || damage.front().starts_with(may_be_damaged)) << damage.front();
    const auto calls = rig_.disk.calls;  // looking is no part of the run
    const auto fault = std::exchange(rig_.disk.fail_call, ~0ULL);
    const auto there = rig_.survey();
    rig_.disk.calls = calls;
    rig_.disk.fail_call = fault;
    for (const auto& [id, text] : acknowledged) {
      if (there.contains(id) || concluded.contains(id)) continue;
      ADD_FAILURE() << "lost: message " << id.value;
    }
    for (const auto id : ended) EXPECT_FALSE(there.contains(id)) << "ended, and there again";
    for (const auto id : refused) EXPECT_FALSE(there.contains(id)) << "refused, and there";
    for (const auto& [message, notice] : notices)
      if (ended.contains(message) && !concluded.contains(notice)) {
        EXPECT_TRUE(there.contains(notice)) << "lost: a notice";
      }
    for (const auto& [id, text] : there) {
      if (!submitted.contains(id)) {
        ADD_FAILURE() << "nobody sent message " << id.value;
      } else if (text != submitted[id]) {
        ADD_FAILURE() << "changed: message " << id.value;
      }
      // Whoever asks by its token hears 250 from now on.
      acknowledged[id] = submitted[id];
    }
    const auto blocks = rig_.store->blocks_text().value_or("");
    EXPECT_TRUE(blocks == saved_blocks || (!pending_blocks.empty() && blocks == pending_blocks))
        << "blocks are '" << blocks << "', saved were '" << saved_blocks << "'";
    saved_blocks = blocks;
    pending_blocks.clear();
    open_.clear();
    for (const auto& [id, text] : there) open_.push_back(id);
    return true;
  }

  // All that waits is done.
  void drain() {
    if (!rig_.store) return;
    rig_.store->tick();
    rig_.store->pump();
  }

  std::map<base::MessageId, std::string> submitted;
  std::map<base::MessageId, std::string> acknowledged;
  std::set<base::MessageId> refused;
  std::set<base::MessageId> concluded;  // an outcome that ends it was given to the store
  std::set<base::MessageId> ended;      // and flushed
  std::map<base::MessageId, base::MessageId> notices;
  std::string saved_blocks, pending_blocks;
  std::vector<std::string> why_ended;
  std::string may_be_damaged = "nothing";  // how what a start may say of it begins
  std::uint64_t blocks_refused = 0;
  std::uint64_t unread = 0;  // bodies

 private:
  void turn(int step) {
    submit(step);
    if (step % 2 == 1 && open_.size() > 6) conclude(step);
    if (step % 13 == 5) note_wait(step);
    if (step % 9 == 4 && !open_.empty()) load(open_[open_.size() / 2]);
    if (step % 17 == 3 && !open_.empty()) hold_and_release();
    if (step % 23 == 7) save_blocks(step);
    if (step % 3 == 0) rig_.store->pump();
    if (step % 10 == 0) drain();
  }

  void answer(base::MessageId id, bool accepted) {
    EXPECT_TRUE(rig_.fatal.empty()) << "answered after the end";
    if (!accepted) {
      refused.insert(id);
      return;
    }
    acknowledged[id] = submitted[id];
    open_.push_back(id);
  }

  void submit(int step) {
    auto text =
        "body " + std::to_string(step) + " " +
        std::string(300 + static_cast<std::size_t>(step) * 7, static_cast<char>('a' + step % 26));
    if (step % 20 == 9) return submit_large(std::move(text));
    auto record = rig_.envelope();
    record.body_size = text.size();
    submitted[record.id] = text;
    refused.erase(record.id);  // a later life may give away again what never was in the journal
    rig_.store->accept(record, std::make_shared<const std::string>(std::move(text)),
                       [this, id = record.id](bool yes) noexcept { answer(id, yes); });
  }

  void submit_large(std::string text) {
    rig_.store->open_large(0, [this, text](os::Result<LargeFile> file) noexcept {
      if (!file) return;
      const auto id = file->id;
      refused.insert(id);  // until it is sealed
      auto inode = rig_.disk.inode("large/" + base::to_string(id));
      inode->now = text;
      inode->unflushed.emplace_back(0, text);
      submitted[id] = text;
      rig_.store->seal_large(
          id, text.size(), [this, id, text](os::Result<std::uint32_t> crc) noexcept {
            if (!crc) return rig_.store->drop_large(id);
            refused.erase(id);
            auto record = rig_.envelope();
            record.id = id;
            record.large = true;
            record.body_size = text.size();
            record.body_crc = *crc;
            rig_.store->accept(record, nullptr, [this, id](bool yes) noexcept { answer(id, yes); });
          });
    });
  }

  void conclude(int step) {
    const auto id = open_[static_cast<std::size_t>(step) % open_.size()];
    if (rig_.look(id) == nullptr) return;
    if (step % 7 == 0) return rig_.conclude(id, Fate::kDeferred);
    std::erase(open_, id);
    concluded.insert(id);
    auto record = rig_.outcome(id, step % 11 == 0 ? Fate::kFailed : Fate::kDelivered);
    Bytes body;
    notices.erase(id);  // that of an outcome which a fault took
    if (step % 11 == 0) {
      record.notice = rig_.envelope();
      record.notice->notice = true;
      body = std::make_shared<const std::string>("a notice about " + std::to_string(id.value));
      record.notice->body_size = body->size();
      submitted[record.notice->id] = *body;
      notices[id] = record.notice->id;
    }
    rig_.store->outcome(std::move(record), std::move(body), {}, [this, id]() noexcept {
      EXPECT_TRUE(rig_.fatal.empty()) << "an outcome was flushed after the end";
      ended.insert(id);
    });
  }

  // A body that cannot be read is no other one.
  void load(base::MessageId id) {
    rig_.store->load(id, [this, id](os::Result<LoadedBody> loaded) noexcept {
      if (loaded && loaded->bytes) {
        EXPECT_EQ(*loaded->bytes, submitted[id]);
      }
      if (!loaded) ++unread;
    });
  }

  void note_wait(int step) {
    QueueRecord wait;
    wait.queue = "q" + std::to_string(step % 4) + ".example";
    wait.clock = rig_.store->clock().now();
    wait.until = wait.clock + base::Millis(60'000);
    wait.failures = step % 2 == 0 ? 2 : 0;
    rig_.store->note(std::move(wait));
  }

  void hold_and_release() {
    (void)rig_.look(open_.front());
    rig_.store->note(HoldRecord{open_.front(), "by a test"});
    rig_.store->note(HoldRecord{open_.front(), {}, rig_.store->clock().now()});
    RetryRecord retry;
    retry.clock = rig_.store->clock().now();
    retry.messages = {open_.front()};
    rig_.store->note(std::move(retry), {});
  }

  void save_blocks(int step) {
    pending_blocks = "blocks of step " + std::to_string(step);
    rig_.store->save_blocks(pending_blocks, [this](os::Result<void> saved) noexcept {
      EXPECT_TRUE(rig_.fatal.empty()) << "blocks were answered after the end";
      if (saved)
        saved_blocks = pending_blocks;
      else
        ++blocks_refused;
      pending_blocks.clear();
    });
  }

  StoreRig& rig_;
  std::deque<base::MessageId> open_;
};

}  // namespace postern::queued
