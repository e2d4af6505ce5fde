#include "queued/exporter.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "common/base/crc32c.h"
#include "common/base/random.h"
#include "common/base/text.h"

namespace postern::queued {
namespace {

constexpr std::size_t kBatch = 256;  // messages
constexpr std::size_t kNotes = 8;      // of one part, as its field allows
constexpr std::size_t kNoteLength = 300;
constexpr std::string_view kExported = "exported ";       // and the file's token
constexpr std::string_view kBefore = ", held before: ";  // and why

transfer::Header header_of(const base::Token& file, TransferHost& host) {
  transfer::Header header;
  header.file = file;
  header.host = host.hostname().substr(0, 255);
  header.program = POSTERN_VERSION;
  header.made = host.store().clock().wall();
  return header;
}

std::string token_text(const base::Token& token) {
  std::string text;
  for (const auto byte : token.bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

base::Token token_of(const Message& message, const base::Token& file) {
  if (message.token != base::Token{}) return message.token;
  auto token = file;
  for (std::size_t i = 0; i < sizeof message.id.value; ++i)
    token.bytes[i] = static_cast<std::uint8_t>(message.id.value >> (8 * i));
  return token;
}

std::string exported_reason(const base::Token& file, std::string_view former) {
  auto reason = fmt::format("{}{}", kExported, token_text(file));
  if (!former.empty()) reason.append(kBefore).append(former);
  if (reason.size() > ipc::kMaxReason) reason.resize(ipc::kMaxReason);
  return reason;
}

bool is_exported(std::string_view held, const base::Token& file) {
  const auto reason = exported_reason(file, {});
  return held.starts_with(reason) &&
         (held.size() == reason.size() || held.substr(reason.size()).starts_with(kBefore));
}

std::string_view held_by_people(std::string_view held) {
  if (held == kImported) return {};
  if (!held.starts_with(kExported)) return held;
  const auto at = held.find(kBefore);
  return at == std::string_view::npos ? std::string_view() : held.substr(at + kBefore.size());
}

std::string importing_reason(const base::Token& file) {
  return fmt::format("being imported {}", token_text(file));
}

Exporter::Exporter(event::Loop& loop, TransferHost& host, bool keep)
    : host_(host),
      keep_(keep),
      file_(base::random_token()),
      writer_(header_of(file_, host)),
      upto_(host.store().new_id()),
      look_(loop, [this]() noexcept { step(); }) {}

Exporter::~Exporter() { *alive_ = false; }

void Exporter::next(Answer answer) {
  answer_ = std::move(answer);
  asked_ = host_.store().clock().steady();
  host_.when_loaded([this, alive = alive_]() noexcept {
    if (*alive) step();
  });
}

// Goes on until there is a part to give; what has to be waited for calls it again.
void Exporter::step() {
  if (!answer_) return;
  if (writer_.waiting() >= ipc::kSpoolSlice || ended_ || notes_.size() >= kNotes) return this->answer();
  if (current_) return write_piece();
  if (!held_.empty()) return begin_message();
  if (!scanned_) return fill();
  writer_.end();
  ended_ = true;
  this->answer();
}

void Exporter::answer() {
  ipc::ExportPart part;
  const auto count = std::min(notes_.size(), kNotes);
  const auto end = notes_.begin() + static_cast<std::ptrdiff_t>(count);
  part.notes.assign(notes_.begin(), end);
  notes_.erase(notes_.begin(), end);
  part.bytes = {writer_.take(ipc::kSpoolSlice)};
  part.more = !ended_ || writer_.waiting() > 0 || !notes_.empty();
  std::exchange(answer_, {})(part);
}

void Exporter::fill() {
  host_.store().scan(after_, kBatch, [this, alive = alive_](const Batch& batch) noexcept {
    if (*alive) take(batch);
  });
}

void Exporter::take(const Batch& batch) {
  std::map<std::string, std::vector<base::MessageId>> by_reason;
  for (const Message* message : batch.messages) {
    if (message->id > upto_) continue;
    held_.push_back(message->id);
    by_reason[exported_reason(file_, held_by_people(message->held))].push_back(message->id);
  }
  after_ = batch.last;
  scanned_ = !batch.more || batch.last >= upto_;
  if (keep_ || by_reason.empty()) return step();
  holds_ = by_reason.size();
  for (auto& [reason, ids] : by_reason)
    host_.hold(std::move(ids), reason, [this, alive = alive_]() noexcept {
      if (*alive && --holds_ == 0) step();
    });
}

void Exporter::begin_message() {
  const auto id = held_.front();
  host_.store().fetch({id}, [this, id, alive = alive_]() noexcept {
    if (!*alive) return;
    const Message* message = host_.store().find(id);
    if (message != nullptr && !keep_ && host_.in_delivery(*message)) {
      if (host_.store().clock().steady() - asked_ > kPatience) return this->answer();
      return look_.start(kLook);
    }
    held_.pop_front();
    if (message == nullptr) return step();  // it ended
    if (message->damaged) {
      leave_out(id, "its body is damaged");
      return step();
    }
    host_.store().load(id, [this, id, guard = alive_](os::Result<LoadedBody> body) noexcept {
      if (*guard) write_message(id, std::move(body));
    });
  });
}

void Exporter::leave_out(base::MessageId id, std::string_view why) {
  auto note = fmt::format("message {} is left out: {}", base::to_string(id), why);
  if (note.size() > kNoteLength) note.resize(kNoteLength);
  notes_.push_back(std::move(note));
}

void Exporter::write_message(base::MessageId id, os::Result<LoadedBody>&& body) {
  const Message* message = host_.store().find(id);
  if (message == nullptr || message->open == 0) return step();
  if (!body) {
    leave_out(id, body.error().text());
    return step();
  }
  auto current = std::make_unique<Current>();
  current->id = id;
  current->envelope = envelope_of(*message);
  current->bytes = std::move(body->bytes);
  current->file = std::move(body->file);
  if (current->bytes) current->envelope.body_crc = base::crc32c(*current->bytes);
  writer_.message(current->envelope, recipients_of(*message));
  if (current->envelope.body_size > 0) current_ = std::move(current);
  step();
}

transfer::Envelope Exporter::envelope_of(const Message& message) const {
  transfer::Envelope envelope;
  envelope.id = message.id;
  envelope.token = token_of(message, file_);
  envelope.arrived = message.arrived;
  envelope.age = host_.age(message);
  envelope.client = message.client;
  envelope.hello = message.hello;
  envelope.from = message.from;
  envelope.form = message.form;
  envelope.eight_bit = message.eight_bit;
  envelope.smtputf8 = message.smtputf8;
  envelope.tls_wish = message.tls_wish;
  if (message.first) envelope.first = *message.first;
  envelope.ret = message.ret;
  envelope.envid = message.envid;
  envelope.notice = message.notice;
  envelope.held = held_by_people(message.held);
  envelope.prefix = message.prefix;
  envelope.body_size = message.body_size;
  envelope.body_crc = message.body_crc;
  return envelope;
}

std::vector<transfer::Recipient> Exporter::recipients_of(const Message& message) const {
  const auto now = host_.store().clock().now();
  std::vector<transfer::Recipient> recipients;
  for (const auto& recipient : message.recipients) {
    if (!recipient.open()) continue;
    transfer::Recipient written;
    written.number = recipient.number;
    written.address = recipient.address;
    written.tries = recipient.tries;
    written.last_try = recipient.last_try;
    written.due = recipient.next_try - now;
    if (recipient.trouble) {
      written.failure = recipient.trouble->failure;
      written.reply = recipient.trouble->reply;
      written.remote = recipient.trouble->remote;
      written.tls = recipient.trouble->tls;
    }
    written.notify = recipient.notify;
    written.delay_told = recipient.delay_told;
    written.orcpt = recipient.orcpt;
    written.alias = recipient.alias;
    written.sender = recipient.sender;
    written.expanded = static_cast<std::uint8_t>(recipient.expanded);
    recipients.push_back(std::move(written));
  }
  return recipients;
}

void Exporter::write_piece() {
  if (current_->bytes)
    return write_bytes(
        std::string_view(*current_->bytes).substr(current_->at, transfer::kPiece));
  host_.store().load_part(current_->id, current_->at, transfer::kPiece,
                          [this, alive = alive_](const std::string& bytes) noexcept {
                            if (*alive) write_bytes(bytes);
                          });
}

// A body that is not what its checksum says is withdrawn before its last byte.
void Exporter::write_bytes(std::string_view bytes) {
  const auto left = current_->envelope.body_size - current_->at;
  bytes = bytes.substr(0, left);
  current_->crc = base::crc32c(bytes, current_->crc);
  const bool last = bytes.size() == left;
  if (bytes.empty() || (last && current_->crc != current_->envelope.body_crc)) {
    writer_.withdraw();
    leave_out(current_->id, "its body could not be read");
    current_.reset();
    return step();
  }
  writer_.body(bytes);
  current_->at += bytes.size();
  if (last) current_.reset();
  step();
}

}  // namespace postern::queued
