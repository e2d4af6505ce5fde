#include "tests/crash/store_story.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/mail/address.h"

namespace postern::crash {
namespace {

constexpr std::size_t kMostOpen = 40;  // recipients

mail::Address address(const std::string& text) {
  return mail::Address::parse(text).value();
}

std::string text_of(std::uint64_t seed, std::size_t size) {
  std::string text;
  while (text.size() < size) text += fmt::format("line {:x} of a body\r\n", seed++ * 0x9e3779b9);
  text.resize(size);
  return text;
}

void write_all(int fd, const std::string& bytes) {
  CHECK(::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

}  // namespace

StoreStory::StoreStory(Machine& machine, Ledger& ledger, Recorder& recorder, std::uint64_t seed)
    : machine_(machine), ledger_(ledger), recorder_(recorder), random_(seed), seed_(seed) {
  take_up();
}

void StoreStory::take_up() {
  open_.clear();
  noticed_.clear();
  machine_.store().tell_all([](const queued::Batch&) noexcept {});
  machine_.store().pump();
  const auto view = machine_.look();
  for (const auto& seen : view.messages)
    if (const auto letter = ledger_.find(seen))
      for (const auto& [number, recipient] : seen.open) open_.push_back({*letter, number});
}

std::optional<std::string> StoreStory::restart() {
  machine_.kill();
  machine_.clock.advance(2'000);
  if (auto why = machine_.open()) return why;
  ledger_.settle(machine_.look(), recorder_.position());
  take_up();
  return std::nullopt;
}

void StoreStory::run(std::size_t steps) {
  for (std::size_t n = 0; n < steps; ++n) {
    step();
    machine_.clock.advance(static_cast<std::int64_t>(1 + draw(40)));
    recorder_.set_wall(machine_.clock.wall_ms);
    switch (draw(6)) {
      case 0:
        break;  // it stays in memory
      case 1:
        machine_.store().tick();
        machine_.store().pump();
        break;
      case 2:
      case 3:
        machine_.store().pump(false);
        break;
      default:
        machine_.store().pump();
        break;
    }
  }
}

void StoreStory::step() {
  const auto what = draw(20);
  if (what < 7 && open_.size() < kMostOpen) return accept();
  if (what == 7) return accept_large();
  if (what == 8) return hold_or_release();
  if (what == 9) return wait();
  if (what == 10) return save_blocks();
  conclude();
}

// --- Messages
// ---------------------------------------------------------------------------------------

StoreStory::Record StoreStory::envelope(std::uint32_t recipients) {
  Record record;
  const auto number = ++counter_;
  for (std::size_t n = 0; n < 8; ++n) {
    record.token.bytes[n] = static_cast<std::uint8_t>(number >> 8 * n);
    record.token.bytes[8 + n] = static_cast<std::uint8_t>((seed_ + 1) >> 8 * n);
  }
  record.arrived = machine_.clock.wall();
  record.born = machine_.store().clock().now();
  record.hello = "client.example";
  record.from = mail::ReversePath(address("ann@example.org"));
  record.prefix = "Received: by test\r\n";
  for (std::uint32_t n = 0; n < recipients; ++n)
    record.recipients.push_back(
        {.number = n, .address = address(fmt::format("r{}-{}-{}@example.com", seed_, number, n))});
  return record;
}

void StoreStory::accept() {
  const auto count = 1 + draw(3);
  for (std::uint64_t n = 0; n < count; ++n) {
    const auto recipients = static_cast<std::uint32_t>(1 + draw(4));
    accept(recipients, draw(8) == 0 ? draw(9'000) : draw(1'500));
  }
}

void StoreStory::accept(std::uint32_t recipients, std::size_t size) {
  auto record = envelope(recipients);
  record.id = machine_.store().new_id();
  auto body = std::make_shared<const std::string>(body_text(record.id.value, size));
  record.body_size = body->size();
  accept(std::move(record), std::move(body));
}

void StoreStory::accept(Record record, queued::Bytes body) {
  Letter letter{.token = record.token, .id = record.id, .from = record.from.text(), .body = body};
  for (const auto& recipient : record.recipients)
    letter.recipients.push_back(recipient.address.text());
  letter.given = recorder_.position();
  const auto number = ledger_.submit(std::move(letter));
  if (record.large) body = nullptr;
  machine_.store().accept(std::move(record), std::move(body),
                          [this, number](bool yes) noexcept { told(number, yes); });
}

// Some bodies hold what looks like a record of this very life, made for another place: a message
// that nobody sent.
std::string StoreStory::body_text(std::uint64_t number, std::size_t size) {
  auto text = text_of(number, size);
  if (draw(3) != 0) return text;
  auto forged = envelope(1);
  forged.id = base::MessageId(number ^ 0xffff);
  std::string frame;
  queued::append_frame(
      frame, 0, 0, queued::RecordType::kAccepted,
      {machine_.store().epoch(), base::SequenceNumber(1ULL << 40), base::SequenceNumber(0)},
      ipc::encode(forged), {});
  while (text.size() < 4'000) text += frame;
  return text;
}

// As smtpd and intake do it: the file is opened, written by another, sealed, and then named.
void StoreStory::accept_large() {
  auto& store = machine_.store();
  base::MessageId id;
  auto body = std::make_shared<const std::string>(text_of(counter_, 10'000 + draw(20'000)));
  store.open_large(0, [&](os::Result<queued::LargeFile> file) noexcept {
    CHECK(file.has_value());
    id = file->id;
    write_all(file->fd.get(), body->substr(0, 7'000));
    write_all(file->fd.get(), body->substr(7'000));
  });
  store.pump(false);
  if (draw(5) == 0) return store.drop_large(id);  // the client went away
  store.seal_large(id, body->size(), [this, id, body](os::Result<std::uint32_t> crc) noexcept {
    CHECK(crc.has_value());
    auto record = envelope(static_cast<std::uint32_t>(1 + draw(2)));
    record.id = id;
    record.large = true;
    record.body_size = body->size();
    record.body_crc = *crc;
    accept(std::move(record), body);
  });
  store.pump(false);
}

void StoreStory::told(std::uint32_t number, bool yes) noexcept {
  auto& letter = ledger_.letter(number);
  if (!yes) {
    letter.refused = recorder_.position();
    return;
  }
  letter.told = recorder_.position();
  for (std::uint32_t n = 0; n < letter.recipients.size(); ++n) open_.push_back({number, n});
}

// --- Outcomes
// ---------------------------------------------------------------------------------------

// One occasion for some recipients of one message.
void StoreStory::conclude() {
  if (open_.empty()) return;
  const auto letter = open_[draw(open_.size())].letter;
  std::vector<base::MessageId> ids{ledger_.letter(letter).id};
  if (const auto notice = noticed_.find(letter); notice != noticed_.end())
    ids.push_back(ledger_.letter(notice->second).id);
  machine_.store().fetch(std::move(ids), [this, letter]() noexcept { conclude(letter); });
  machine_.store().pump_reads();
}

void StoreStory::conclude(std::uint32_t letter) {
  if (machine_.store().find(ledger_.letter(letter).id) == nullptr) return;
  queued::OutcomeRecord record;
  record.message = ledger_.letter(letter).id;
  record.when = machine_.clock.wall();
  record.clock = machine_.store().clock().now();
  record.remote = "mx.example.com[192.0.2.1]:25";
  std::vector<std::uint32_t> given, causes;
  const auto at = recorder_.position();
  const bool notice = !ledger_.letter(letter).from.empty();
  const bool success = letter % 2 == 0;  // its sender wants to hear of that too
  std::erase_if(open_, [&](const Open& open) {
    if (open.letter != letter || draw(4) == 0) return false;
    const auto fate = static_cast<queued::Fate>(draw(3));
    const auto end = fate == queued::Fate::kDelivered ? End::kDelivered
                     : fate == queued::Fate::kFailed  ? End::kFailed
                                                      : End::kOpen;
    given.push_back(ledger_.outcome(letter, open.recipient, end, at));
    if (end == End::kFailed || (success && end == End::kDelivered)) causes.push_back(given.back());
    record.fates.push_back({.number = open.recipient,
                            .fate = fate,
                            .next_try = record.clock + base::Millis(60'000),
                            .failure = ipc::FailureClass::kConnect,
                            .reply = {450, 4, 2, 0, "as it was"}});
    return end != End::kOpen;
  });
  if (given.empty()) return;
  queued::Bytes body;
  std::optional<std::uint32_t> told;
  if (notice && !causes.empty()) {
    told = attach_notice(record, std::move(causes), body);
    take_in_earlier(record, letter, *told, given);
  }
  machine_.store().outcome(
      std::move(record), body,
      [this, given]() noexcept {
        for (const auto number : given) ledger_.at(number).written = recorder_.position();
      },
      [this, given, told]() noexcept {
        for (const auto number : given) ledger_.at(number).flushed = recorder_.position();
        // Unless another one has taken it in meanwhile.
        if (told && ledger_.letter(*told).outcomes.front().empty()) open_.push_back({*told, 0});
      });
}

std::uint32_t StoreStory::attach_notice(queued::OutcomeRecord& record,
                                        std::vector<std::uint32_t> causes, queued::Bytes& body) {
  auto notice = envelope(0);
  notice.id = machine_.store().new_id();
  notice.token = {};
  notice.notice = true;
  notice.from = {};
  notice.recipients.push_back({.number = 0, .address = address("ann@example.org")});
  body = std::make_shared<const std::string>(text_of(notice.id.value, 900 + draw(800)));
  notice.body_size = body->size();
  record.notice = std::move(notice);
  return ledger_.notice(record.notice->id, "ann@example.org", std::move(causes), body);
}

// The letter's notice before, if nothing has happened to it, ends with the record that this one begins with.
void StoreStory::take_in_earlier(queued::OutcomeRecord& record, std::uint32_t letter,
                                 std::uint32_t notice, std::vector<std::uint32_t>& given) {
  const auto [last, fresh] = noticed_.try_emplace(letter, notice);
  const auto earlier = std::exchange(last->second, notice);
  if (fresh) return;
  const auto& held = ledger_.letter(earlier).held.values;
  if (!ledger_.letter(earlier).outcomes.front().empty()) return;
  if (!held.empty() && !held.back().text.empty()) return;
  record.replaces.push_back(ledger_.letter(earlier).id);
  given.push_back(ledger_.outcome(earlier, 0, End::kDelivered, recorder_.position()));
  ledger_.letter(notice).replaces.push_back(given.back());
  std::erase_if(open_, [&](const Open& open) { return open.letter == earlier; });
}

// --- The rest
// ---------------------------------------------------------------------------------------

void StoreStory::hold_or_release() {
  if (open_.empty()) return;
  const auto letter = open_[draw(open_.size())].letter;
  const auto id = ledger_.letter(letter).id;
  machine_.store().fetch({id}, [this, letter]() noexcept { hold_or_release(letter); });
  machine_.store().pump_reads();
}

void StoreStory::hold_or_release(std::uint32_t number) {
  auto& letter = ledger_.letter(number);
  if (machine_.store().find(letter.id) == nullptr) return;
  const auto at = recorder_.position();
  const bool free = letter.held.values.empty() || letter.held.values.back().text.empty();
  const auto why = free ? fmt::format("held at {}", at) : std::string();
  const auto value = letter.held.give(why, at);
  machine_.store().note(free ? queued::HoldRecord{letter.id, why}
                             : queued::HoldRecord{letter.id, {}, machine_.store().clock().now()});
  // Everything before it is on disk when this runs.
  machine_.store().settle([this, number, value]() noexcept {
    ledger_.letter(number).held.values.at(value).promised = recorder_.position();
  });
}

void StoreStory::wait() {
  const auto name = fmt::format("q{}.example.com", draw(4));
  const auto failures = static_cast<std::uint32_t>(draw(4));
  queued::QueueRecord record;
  record.queue = name;
  record.when = machine_.clock.wall();
  record.clock = machine_.store().clock().now();
  record.failures = failures;
  record.until = record.clock + base::Millis(60'000);
  const auto value =
      ledger_.wait(name).give(failures == 0 ? "" : std::to_string(failures), recorder_.position());
  machine_.store().note(std::move(record));
  if (draw(3) == 0)
    machine_.store().settle([this, name, value]() noexcept {
      ledger_.wait(name).values.at(value).promised = recorder_.position();
    });
}

void StoreStory::save_blocks() {
  give_blocks(text_of(recorder_.position(), 200 + draw(6'000)));
}

void StoreStory::give_blocks(std::string text) {
  const auto value = ledger_.blocks().give(text, recorder_.position());
  machine_.store().save_blocks(std::move(text), [this, value](os::Result<void> saved) noexcept {
    CHECK(saved.has_value());
    ledger_.blocks().values.at(value).promised = recorder_.position();
  });
}

}  // namespace postern::crash
