// The part of EngineStory in which mail goes out.
#include <fmt/format.h>

#include <algorithm>

#include "common/base/check.h"
#include "tests/crash/engine_story.h"

namespace postern::crash {
namespace {

std::string with_unix_lines(std::string text) {
  std::erase(text, '\r');
  return text;
}

End end_of(ipc::Result result) {
  if (result == ipc::Result::kDelivered) return End::kDelivered;
  return result == ipc::Result::kFailed ? End::kFailed : End::kOpen;
}

}  // namespace

void EngineStory::connect(Courier& courier) {
  auto pair = ipc::make_channel_pair();
  courier.connect(std::move(pair.a));
  delivery_->connect(courier.role(), 0, std::move(pair.b));
  // Outcomes that were not confirmed are said once more. One that is in the journal already finds
  // its recipient ended, or counts as another try.
  for (auto& [request, report] : courier.reports()) {
    const auto old = std::exchange(report.entries, {});
    for (const auto entry : old) {
      const auto& outcome = ledger_.at(entry);
      const bool was_lost = outcome.lost != kNever;
      if (!was_lost && outcome.end != End::kOpen) continue;
      const auto address = ledger_.letter(outcome.message).recipients[outcome.recipient];
      const auto fresh =
          ledger_.outcome(outcome.message, outcome.recipient, outcome.end, recorder_.position());
      if (was_lost) report.entries.push_back(fresh);
      if (ledger_.at(fresh).end == End::kFailed) failed_[address] = fresh;
    }
    courier.again(request);
  }
}

// The deliverer's process ends with what it has in hand, which may have arrived or not.
void EngineStory::kill(Courier& courier) {
  turn(6);
  if (!courier.reports().empty()) return;
  for (const auto& delivery : courier.in_hand())
    if (const auto letter = letter_of(delivery))
      for (const auto& recipient : delivery.lease.recipients)
        ledger_.outcome(*letter, recipient.number, End::kOpen, recorder_.position());
  courier.die();
  turn(3);
  connect(courier);
  turn(2);
}

std::optional<std::uint32_t> EngineStory::letter_of(const deliverd::Delivery& delivery) {
  const auto letter = ledger_.find(delivery.lease.message);
  if (!letter) broken_ = "a deliverer got a message that nobody sent";
  return letter;
}

void EngineStory::serve(Courier& courier) {
  auto work = std::exchange(courier.in_hand(), {});
  for (auto& delivery : work) {
    if (draw(4) == 0)
      courier.in_hand().push_back(std::move(delivery));
    else
      deliver(courier, std::move(delivery));
  }
}

void EngineStory::deliver(Courier& courier, deliverd::Delivery delivery) {
  const auto letter = letter_of(delivery);
  if (!letter) return;
  ipc::Outcome outcome;
  outcome.lease = delivery.lease.lease;
  outcome.epoch = delivery.lease.epoch;
  outcome.message = delivery.lease.message;
  outcome.remote = "mx.far.example[192.0.2.9]:25";
  std::vector<std::uint32_t> entries;
  for (const auto& recipient : delivery.lease.recipients) {
    if (!ledger_.may_be_open(*letter, recipient.number))
      broken_ = fmt::format("I3: {} was handed out again", recipient.address.text());
    auto result =
        courier.role() == ipc::Role::kLocal ? file(delivery, recipient) : send_out(recipient);
    note(*letter, result, entries);
    outcome.results.push_back(std::move(result));
  }
  courier.report(std::move(outcome), std::move(entries));
}

void EngineStory::note(std::uint32_t letter, const ipc::RecipientResult& result,
                       std::vector<std::uint32_t>& entries) {
  if (result.result == ipc::Result::kReturned) return;  // nothing is written of it
  const auto entry =
      ledger_.outcome(letter, result.number, end_of(result.result), recorder_.position());
  entries.push_back(entry);
  if (result.result == ipc::Result::kFailed && !ledger_.letter(letter).from.empty())
    failed_[ledger_.letter(letter).recipients[result.number]] = entry;
}

void EngineStory::saved(const Courier::Report& report) {
  for (const auto entry : report.entries) ledger_.at(entry).written = recorder_.position();
}

ipc::RecipientResult EngineStory::send_out(const ipc::LeaseRecipient& recipient) {
  ipc::RecipientResult result;
  result.number = recipient.number;
  switch (draw(8)) {
    case 0:
    case 1:
      result.result = ipc::Result::kFailed;
      result.reply = {550, 5, 1, 1, "no such user"};
      break;
    case 2:
      result.result = ipc::Result::kDeferred;
      result.reply = {450, 4, 2, 0, "busy"};
      break;
    case 3:
      result.result = ipc::Result::kUnknown;
      result.reply = {0, 4, 4, 2, "the connection broke"};
      break;
    case 4:
      result.result = ipc::Result::kReturned;
      break;
    default:
      result.result = ipc::Result::kDelivered;
      result.reply = {250, 2, 0, 0, "taken"};
      break;
  }
  return result;
}

// One mailbox is a Maildir, the other a drop; what must be in the file is worked out here.
ipc::RecipientResult EngineStory::file(const deliverd::Delivery& delivery,
                                       const ipc::LeaseRecipient& recipient) {
  const auto& lease = delivery.lease;
  const auto letter = letter_of(delivery);
  const bool maildir = recipient.user == "ann";
  const auto from = lease.from.text();
  Copy copy;
  copy.id = lease.message;
  copy.recipient = recipient.number;
  copy.modified = lease.arrived.ms;
  copy.begun = recorder_.position();
  if (maildir)
    copy.text = with_unix_lines(
        fmt::format("Return-Path: <{}>\r\nDelivered-To: {}\r\n", from, recipient.address.text()) +
        lease.prefix + originals_.at(*letter));
  else
    copy.text = fmt::format("X-Sender: {}\r\nX-Receiver: {}\r\n", from.empty() ? "<>" : from,
                            recipient.address.text()) +
                lease.prefix + originals_.at(*letter);
  const auto number = ledger_.copies().size();
  ledger_.copies().push_back(std::move(copy));
  auto filed = (maildir ? maildir_ : drop_)->file(delivery, recipient);
  if (filed.result.result == ipc::Result::kDelivered)
    ledger_.copies()[number].reported = recorder_.position();
  else
    CHECK(!filed.trouble.empty());  // what the story wanted to fail
  return std::move(filed.result);
}

}  // namespace postern::crash
