// The part of LocalStore that gives segments back: the oldest one goes when nothing lives in it; while
// the journal is much larger than what lives, the oldest one's survivors are copied forward first.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/fault.h"
#include "queued/local_store.h"

namespace postern::queued {
namespace {
constexpr std::size_t kMaxCopies = 64;  // under way at once
constexpr base::Millis kWaitKept{24LL * 3600 * 1000};
}

void LocalStore::tidy() {
  if (!messages_.all_counted()) return;
  while (const auto oldest = segments_.oldest()) {  // ends: each turn releases one
    if (messages_.in_segment(oldest) > 0) break;
    tell_again(oldest);
    // What ended the messages in it may not be flushed yet, so the segment waits for that.
    segments_.release(oldest, journal_->appended());
  }
  // Nor may it go before the index has what it says.
  const auto covered = checkpoint_->covered();
  segments_.advance(covered < first_sequence_
                        ? 0
                        : std::min(flushed_, covered.value - first_sequence_.value + 1));
  if (segments_.wants_compaction(messages_.live_bytes())) move_some();
}

// What is said nowhere but in a segment that goes: where the clock stands, and which queues wait. A wait
// that has been over for long belongs to a queue without mail, and goes with it.
void LocalStore::tell_again(std::uint64_t segment) {
  const ClockRecord clock{clock_->wall(), clock_->now()};
  append(RecordType::kClock, ipc::encode(clock), false, {});
  for (auto& wait : messages_.take_waits(segment))
    if (wait.until + kWaitKept > clock_->now()) note(std::move(wait));
}

void LocalStore::move_some() {
  const auto oldest = segments_.oldest();
  if (oldest != std::exchange(moving_segment_, oldest)) moving_cursor_ = 0;
  if (copies_ >= kMaxCopies) return;
  auto ids = messages_.ids_in_segment(oldest, moving_cursor_, kMaxCopies - copies_);
  if (ids.empty()) return;
  copies_ += ids.size();
  fetch(ids, [this, ids, oldest]() noexcept { move_these(ids, oldest); });
}

void LocalStore::move_these(const std::vector<base::MessageId>& ids, std::uint64_t segment) {
  for (const auto id : ids) {
    Message* message = messages_.find(id);
    if (message == nullptr || message->moving || message->place.segment != segment)
      --copies_;  // it ended, or went already
    else
      move(*message);
  }
}

void LocalStore::move(Message& message) {
  message.moving = true;
  if (message.body && message.prefix.size() == message.prefix_size)
    return append_copy(message, message.body);
  read_body(message, [this, id = message.id](os::Result<LoadedBody> body) noexcept {
    Message* found = messages_.find(id);
    if (found == nullptr) {  // it ended meanwhile
      --copies_;
      return;
    }
    if (!body && !found->damaged) return give_up_body(*found);
    const bool here = body && !found->large && !found->damaged;
    append_copy(*found, here ? std::move(body->bytes) : nullptr);
  });
}

// Says what the message is at this moment, so outcomes before it are in it and those after it follow.
void LocalStore::append_copy(Message& message, Bytes body) {
  if (fault::planted(fault::Fault::kCopyChanged) && body)
    body = std::make_shared<const std::string>(body->size(), 'x');
  append(RecordType::kState, ipc::encode(to_record(message)), false,
         {.body = std::move(body), .moves = message.id});
}

// The body cannot be read: what is there is set aside for people, and the message stays, held.
void LocalStore::give_up_body(Message& message) {
  files_.post([this, id = message.id, place = message.place,
               file = segments_.file(message.place.segment)]() noexcept -> event::Callback {
    auto raw = file ? file->read_at(place.offset, place.size) : os::failure("read", ENOENT);
    (void)disk_.make_directory("damaged");
    auto kept = disk_.open("damaged/" + base::to_string(id), os::OpenMode::kCreateExclusive);
    if (raw && kept && (*kept)->write_at(0, *raw)) (void)(*kept)->flush();
    return {};
  });
  segments_.keep(message.place.segment);  // that may not be all there is to see
  message.prefix_size = static_cast<std::uint32_t>(message.prefix.size());
  message.damaged = true;
  message.held = "its body is damaged";
  append_copy(message, nullptr);
}

}  // namespace postern::queued
