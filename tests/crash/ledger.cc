#include "tests/crash/ledger.h"

#include <fmt/format.h>

#include <algorithm>

namespace postern::crash {
namespace {

// What was given or promised later has not happened yet.
void cut_position(Position& position, Position at) {
  if (position > at) position = kNever;
}

}  // namespace

// --- Registers
// --------------------------------------------------------------------------------------

std::size_t Register::give(std::string text, Position at) {
  values.push_back({std::move(text), at});
  return values.size() - 1;
}

bool Register::allows(const std::string& text, Position at) const {
  for (std::size_t n = values.size(); n-- > 0;) {
    const auto& value = values[n];
    if (value.given > at || value.lost <= at) continue;
    if (value.text == text) return true;
    if (value.promised <= at) return false;
  }
  return text == initial;
}

void Register::settle(const std::string& text, Position at) {
  for (std::size_t n = values.size(); n-- > 0;) {
    auto& value = values[n];
    if (value.lost <= at) continue;
    if (value.text == text) {
      value.promised = std::min(value.promised, at);
      return;
    }
    if (value.promised == kNever) value.lost = at;
  }
}

void Register::cut(Position at) {
  std::erase_if(values, [at](const Value& value) { return value.given > at; });
  for (auto& value : values) {
    cut_position(value.promised, at);
    cut_position(value.lost, at);
  }
}

// --- Keeping it
// -------------------------------------------------------------------------------------

std::uint32_t Ledger::submit(Letter letter) {
  const auto number = static_cast<std::uint32_t>(letters_.size());
  letter.outcomes.resize(letter.recipients.size());
  if (letter.token != base::Token()) by_token_[letter.token] = number;
  if (letter.id.value != 0) by_id_[letter.id] = number;
  letters_.push_back(std::move(letter));
  return number;
}

void Ledger::knows_id(std::uint32_t letter, base::MessageId id) {
  letters_.at(letter).id = id;
  by_id_[id] = letter;
}

std::uint32_t Ledger::outcome(std::uint32_t letter, std::uint32_t recipient, End end, Position at) {
  const auto number = static_cast<std::uint32_t>(outcomes_.size());
  auto& outcome = outcomes_.emplace_back();
  outcome.message = letter;
  outcome.recipient = recipient;
  outcome.end = end;
  outcome.given = at;
  letters_.at(letter).outcomes.at(recipient).push_back(number);
  return number;
}

std::uint32_t Ledger::notice(base::MessageId id, std::string to, std::vector<std::uint32_t> causes,
                             std::shared_ptr<const std::string> body) {
  Letter letter;
  letter.id = id;
  letter.recipients = {std::move(to)};
  letter.body = std::move(body);
  letter.given = outcomes_.at(causes.front()).given;
  letter.causes = std::move(causes);
  return submit(std::move(letter));
}

std::optional<std::uint32_t> Ledger::find(const SeenMessage& seen) const {
  if (seen.notice) return find(seen.id);
  const auto at = by_token_.find(seen.token);
  if (at == by_token_.end()) return std::nullopt;
  return at->second;
}

std::optional<std::uint32_t> Ledger::find(base::MessageId id) const {
  const auto at = by_id_.find(id);
  if (at == by_id_.end()) return std::nullopt;
  return at->second;
}

bool Ledger::may_be_open(std::uint32_t letter, std::uint32_t recipient) const {
  for (const auto number : letters_.at(letter).outcomes.at(recipient)) {
    const auto& outcome = outcomes_[number];
    if (outcome.end != End::kOpen && outcome.lost == kNever && outcome.written != kNever)
      return false;
  }
  return true;
}

void Ledger::all_flushed(Position at) {
  for (auto& outcome : outcomes_)
    if (outcome.written != kNever) outcome.flushed = std::min(outcome.flushed, at);
  for (auto& [queue, wait] : waits_)
    for (auto& value : wait.values) value.promised = std::min(value.promised, at);
}

// --- A restart
// --------------------------------------------------------------------------------------

void Ledger::settle(const View& view, Position at) {
  std::vector<const SeenMessage*> there(letters_.size());
  for (const auto& seen : view.messages)
    if (const auto number = find(seen)) there[*number] = &seen;
  for (std::uint32_t n = 0; n < letters_.size(); ++n) {
    auto& letter = letters_[n];
    const SeenMessage* seen = there[n];
    if (seen != nullptr) {
      letter.told = std::min(letter.told, at);
      if (letter.id.value == 0) knows_id(n, seen->id);
      letter.held.settle(seen->held, at);
    }
    if (seen == nullptr && letter.told == kNever && letter.causes.empty()) {
      letter.lost = std::min(letter.lost, at);
      continue;
    }
    for (std::uint32_t r = 0; r < letter.recipients.size(); ++r) {
      const auto open =
          seen == nullptr ? decltype(seen->open)::const_iterator() : seen->open.find(r);
      settle_recipient(letter.outcomes[r],
                       seen != nullptr && open != seen->open.end() ? &open->second : nullptr, at);
    }
  }
  for (auto& [queue, wait] : waits_) {
    const auto seen = view.waits.find(queue);
    wait.settle(seen == view.waits.end() ? "" : std::to_string(seen->second), at);
  }
  blocks_.settle(view.blocks.value_or(""), at);
}

// Written outcomes survive a process in their order.
void Ledger::settle_recipient(std::vector<std::uint32_t>& outcomes, const SeenRecipient* seen,
                              Position at) {
  std::uint32_t applied = 0;
  bool over = false;
  for (const auto number : outcomes) {
    auto& outcome = outcomes_[number];
    if (outcome.lost != kNever) continue;
    const bool applies =
        seen != nullptr ? applied < seen->tries && outcome.end == End::kOpen : !over;
    if (applies) {
      ++applied;
      over = outcome.end != End::kOpen;
      outcome.flushed = std::min(outcome.flushed, at);
    } else if (outcome.flushed == kNever) {
      outcome.lost = at;
    }
  }
}

Ledger Ledger::cut(Position at) const {
  Ledger past = *this;
  for (auto& letter : past.letters_) {
    for (auto* position : {&letter.given, &letter.told, &letter.refused, &letter.lost})
      cut_position(*position, at);
    letter.held.cut(at);
  }
  for (auto& outcome : past.outcomes_)
    for (auto* position : {&outcome.given, &outcome.written, &outcome.flushed, &outcome.lost})
      cut_position(*position, at);
  // A later life's positions must not be taken for this one's.
  for (auto& letter : past.letters_)
    for (auto& outcomes : letter.outcomes)
      std::erase_if(outcomes,
                    [&](std::uint32_t number) { return past.outcomes_[number].given == kNever; });
  for (auto& [queue, wait] : past.waits_) wait.cut(at);
  past.blocks_.cut(at);
  for (auto& [file, known] : past.imports_) known.cut(at);
  for (auto& copy : past.copies_) {
    cut_position(copy.begun, at);
    cut_position(copy.reported, at);
  }
  return past;
}

}  // namespace postern::crash
