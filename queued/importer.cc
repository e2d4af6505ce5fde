#include "queued/importer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "queued/exits.h"

namespace postern::queued {
namespace {

constexpr std::size_t kLookedThrough = 512;                     // messages
constexpr std::size_t kReleasedAtOnce = 500;

}  // namespace

Importer::Importer(TransferHost& host, ImportWish wish) : host_(host), wish_(wish) {
  owns_turn_ = !std::exchange(host_.importing, true);
}

Importer::~Importer() {
  *alive_ = false;
  drop_large();
  if (owns_turn_) host_.importing = false;
}

void Importer::next(std::string_view bytes, bool end, Answer answer) {
  answer_ = std::move(answer);
  if (!owns_turn_) fail(kTemporary, "another import is under way; try again when it is done");
  if (over_) return give_answer();
  reader_.feed(bytes);
  last_part_ = end;
  step();
}

// Goes through what was read until something has to be waited for.
void Importer::step() {
  if (std::exchange(stepping_, true)) return;
  while (!paused_ && !over_) {  // ends: each item takes bytes
    auto item = reader_.next();
    if (!item) {
      fail(kDataError, "the file " + item.error());
      break;
    }
    if (!*item) {
      if (!last_part_) break;
      if (auto done = reader_.finish(); !done) fail(kDataError, "the file " + done.error());
      break;
    }
    std::visit([this](const auto& found) { on(found); }, **item);
  }
  stepping_ = false;
  consider_answer();
}

void Importer::pause() { paused_ = true; }

void Importer::resume() {
  paused_ = false;
  step();
}

// Nothing more is taken; what was taken stays.
void Importer::fail(std::uint8_t exit, std::string why) {
  if (over_) return;
  over_ = true;
  result_.exit = exit;
  result_.text = std::move(why);
}

void Importer::consider_answer() {
  if (stepping_ || pending_ > 0 || paused_ || !answer_) return;
  give_answer();
}

void Importer::give_answer() {
  if (over_) drop_large();
  result_.over = over_;
  result_.done = taken_;
  result_.left = left_;
  if (result_.text.size() > ipc::kMaxText) result_.text.resize(ipc::kMaxText);
  std::exchange(answer_, {})(result_);
}

// --- The beginning ----------------------------------------------------------------------------------

void Importer::on(const transfer::Header& header) {
  file_ = header.file;
  pause();
  host_.when_loaded([this, alive = alive_]() noexcept {
    if (!*alive) return;
    read_known({});
  });
}

// Everything that is queued, so that nothing is taken twice; and of an earlier attempt what waits to be
// released.
void Importer::read_known(base::MessageId after) {
  host_.store().scan(after, kLookedThrough, [this, alive = alive_](const Batch& batch) noexcept {
    if (!*alive) return;
    for (const Message* message : batch.messages) {
      known_.insert(token_of(*message, file_));
      if (message->held == importing_reason(file_)) to_release_.push_back(message->id);
    }
    if (batch.more) return read_known(batch.last);
    host_.store().find_import(file_, [this, guard = alive_](os::Result<bool> known) noexcept {
      if (!*guard) return;
      if (!known) {
        fail(kTemporary, known.error().text());
      } else if (*known && !wish_.again) {
        result_.text = "this file was imported whole before, so nothing of it is taken";
        if (wish_.release && !to_release_.empty())
          result_.text += fmt::format("; {} messages of it that were still held go out now",
                                      to_release_.size());
        return release_some();
      }
      resume();
    });
  });
}

// --- Messages ---------------------------------------------------------------------------------------

MessageRecord Importer::record_of(const transfer::Message& message) {
  const auto& envelope = message.envelope;
  const auto now = host_.store().clock().now();
  MessageRecord record;
  record.token = envelope.token;
  record.arrived = envelope.arrived;
  record.born = now - std::max(envelope.age, base::Millis(0));
  record.client = envelope.client;
  record.hello = envelope.hello;
  record.from = envelope.from;
  record.form = envelope.form;
  record.eight_bit = envelope.eight_bit;
  record.smtputf8 = envelope.smtputf8;
  record.tls_wish = envelope.tls_wish;
  record.first = envelope.first;
  record.ret = envelope.ret;
  record.envid = envelope.envid;
  record.notice = envelope.notice;
  record.origin = envelope.id;
  record.body_size = envelope.body_size;
  record.prefix = envelope.prefix;
  record.held = envelope.held.empty() ? importing_reason(file_) : envelope.held;
  record.held_since = now;
  for (const auto& from : message.recipients) {
    auto& to = record.recipients.emplace_back();
    to.number = from.number;
    to.address = from.address;
    to.tries = from.tries;
    to.last_try = from.last_try;
    to.next_try = std::max(now + from.due, QueueTime(0));
    to.failure = from.failure;
    to.reply = from.reply;
    to.remote = from.remote;
    to.tls = from.tls;
    to.notify = from.notify;
    to.delay_told = from.delay_told;
    to.orcpt = from.orcpt;
    to.alias = from.alias;
    to.sender = from.sender;
    if (from.expanded <= static_cast<std::uint8_t>(Expanded::kList))
      to.expanded = static_cast<Expanded>(from.expanded);
  }
  return record;
}

// Why a body of this size cannot be taken now; empty: it can.
std::string Importer::find_lack(std::uint64_t body) const {
  const auto health = host_.store().health();
  if (!health.lack.empty()) return health.lack;
  if (health.free < host_.least_free() + body)
    return fmt::format("{} MiB free are too few", health.free >> 20);
  return {};
}

void Importer::on(const transfer::Message& message) {
  const auto& envelope = message.envelope;
  current_ = std::make_unique<Current>();
  current_->known = known_.contains(envelope.token);
  if (current_->known) return;
  const bool large = envelope.body_size > ipc::kMaxInlineBody;
  if (!host_.store().fits(message.recipients.size(), large ? 0 : envelope.body_size))
    return fail(kDataError, fmt::format("message {} of the file does not fit into this spool",
                                        base::to_string(envelope.id)));
  if (const auto lack = find_lack(envelope.body_size); !lack.empty())
    return fail(kTemporary, fmt::format("there is no room: {}; run it again when there is", lack));
  current_->record = record_of(message);
  current_->record.large = large;
  current_->record.body_crc = large ? envelope.body_crc : 0;
  if (large) open_large(envelope.body_size);
}

void Importer::open_large(std::uint64_t size) {
  pause();
  host_.store().open_large(host_.least_free() + size,
                           [this, alive = alive_, &host = host_](os::Result<LargeFile> file) noexcept {
                             if (!*alive) {
                               if (file) host.store().drop_large(file->id);
                               return;
                             }
                             if (file)
                               current_->large = file->id;
                             else
                               fail(kTemporary, file.error().text());
                             resume();
                           });
}

void Importer::on(const transfer::Piece& piece) {
  if (current_->known) return;
  if (!current_->record.large) {
    current_->body += piece.bytes;
    return;
  }
  pause();
  host_.store().write_large(current_->large, current_->written, std::string(piece.bytes),
                            [this, alive = alive_](os::Result<void> written) noexcept {
                              if (!*alive) return;
                              if (!written) fail(kTemporary, written.error().text());
                              resume();
                            });
  current_->written += piece.bytes.size();
}

void Importer::on(const transfer::Whole&) {
  if (current_->known) {
    ++left_;
    current_.reset();
    return;
  }
  if (current_->record.large) return seal_large();
  auto current = std::move(current_);
  current->record.id = host_.store().new_id();
  accept(std::move(current->record),
         std::make_shared<const std::string>(std::move(current->body)));
}

void Importer::seal_large() {
  pause();
  host_.store().seal_large(
      current_->large, current_->record.body_size,
      [this, alive = alive_](os::Result<std::uint32_t> crc) noexcept {
        if (!*alive) return;
        if (crc && *crc == current_->record.body_crc) {
          auto record = std::move(current_->record);
          record.id = std::exchange(current_->large, {});
          current_.reset();
          accept(std::move(record), nullptr);
        } else {
          fail(kTemporary, crc ? "a body was written wrongly" : crc.error().text());
        }
        resume();
      });
}

// Once appended, a large file is the record's.
void Importer::accept(MessageRecord record, Bytes body) {
  ++pending_;
  const auto id = record.id;
  const auto large = record.large ? id : base::MessageId();
  const auto token = record.token;
  const bool waits = record.held == importing_reason(file_);
  known_.insert(token);
  host_.store().accept(std::move(record), std::move(body),
                       [this, id, large, token, waits, alive = alive_,
                        &host = host_](bool stored) noexcept {
                         if (stored)
                           host.admit(id);
                         else if (large.value != 0)
                           host.store().drop_large(large);
                         if (!*alive) return;
                         if (stored && waits) to_release_.push_back(id);
                         accepted(stored, token);
                       });
}

void Importer::accepted(bool stored, const base::Token& token) {
  --pending_;
  if (stored) {
    ++taken_;
  } else {
    known_.erase(token);
    fail(kTemporary, "there is no room; run it again when there is");
  }
  consider_answer();
}

void Importer::on(const transfer::Withdrawn&) {
  drop_large();
  current_.reset();
}

void Importer::drop_large() {
  if (current_ && current_->large.value != 0)
    host_.store().drop_large(std::exchange(current_->large, {}));
}

// --- The end ----------------------------------------------------------------------------------------

// What was appended before is flushed before what is appended now; so it is enough to wait for that.
void Importer::on(const transfer::End&) {
  pause();
  host_.store().settle([this, alive = alive_]() noexcept {
    if (!*alive) return;
    if (over_) return resume();  // there was no room for something
    finish();
  });
}

void Importer::finish() {
  host_.store().note_import(file_, [this, alive = alive_](os::Result<void> saved) noexcept {
    if (!*alive) return;
    if (!saved) {
      fail(kTemporary, saved.error().text());
      return resume();
    }
    release_some();
  });
}

// Those that are not released are held in words that say more to people.
void Importer::release_some() {
  if (to_release_.empty()) {
    over_ = true;
    return resume();
  }
  const auto count = std::min(to_release_.size(), kReleasedAtOnce);
  std::vector<base::MessageId> some(to_release_.end() - static_cast<std::ptrdiff_t>(count),
                                    to_release_.end());
  to_release_.resize(to_release_.size() - count);
  const auto more = [this, alive = alive_]() noexcept {
    if (*alive) release_some();
  };
  if (wish_.release)
    host_.release(std::move(some), more);
  else
    host_.hold(std::move(some), std::string(kImported), more);
}

}  // namespace postern::queued
