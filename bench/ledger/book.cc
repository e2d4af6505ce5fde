#include "bench/ledger/book.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <type_traits>

#include "common/base/text.h"

namespace postern::bench {
namespace {

// A slot: how often the message came for this recipient, up to a most, and two marks.
constexpr std::uint8_t kArrivals = 0x3F;
constexpr std::uint8_t kNoticed = 0x40;
constexpr std::uint8_t kRefusedRecipient = 0x80;

void add_example(Verdict::Kind& kind, std::string_view run, std::uint64_t number,
                 std::string_view what, std::uint64_t times = 1) {
  kind.count += times;
  if (kind.examples.size() < Verdict::kExamples)
    kind.examples.push_back(fmt::format("{}-{} {}", run, number, what));
}

// What stands behind "queued as ", in the reply of Postern and of Postfix.
std::string queue_id(std::string_view reply) {
  constexpr std::string_view kBefore = "queued as ";
  const auto at = reply.find(kBefore);
  if (at == std::string_view::npos) return {};
  const auto rest = reply.substr(at + kBefore.size());
  return std::string(rest.substr(0, rest.find_first_of(" ;>")));
}

}  // namespace

bool Verdict::good() const noexcept {
  return lost.count == 0 && phantom.count == 0 && changed.count == 0 && bad_lines == 0;
}

void Book::add(std::string_view line) {
  const auto parsed = parse_line(line);
  if (!parsed) {
    ++so_far_.bad_lines;
    return;
  }
  std::visit(
      [this](const auto& event) {
        using Event = std::decay_t<decltype(event)>;
        if constexpr (std::is_same_v<Event, LoadRun>) add_run(event);
        if constexpr (std::is_same_v<Event, Begun>) add_begun(event);
        if constexpr (std::is_same_v<Event, Ended>) add_ended(event);
        if constexpr (std::is_same_v<Event, RefusedRecipient>) add_refused(event);
        if constexpr (std::is_same_v<Event, Taken>) add_taken(event);
      },
      *parsed);
}

void Book::add_run(const LoadRun& title) {
  auto recipient = Template::parse(title.recipient);
  in_run_ = recipient && !find(title.run);  // two runs of one name cannot be told apart
  if (!in_run_) {
    ++so_far_.bad_lines;
    return;
  }
  Run run;
  run.name = title.run;
  run.recipient = *std::move(recipient);
  runs_.push_back(std::move(run));
}

void Book::add_begun(const Begun& begun) {
  constexpr std::size_t kMostSlots = std::numeric_limits<std::uint32_t>::max();
  const bool fits =
      begun.recipients > 0 && begun.recipients <= std::numeric_limits<std::uint16_t>::max();
  if (!in_run_ || !fits || current(begun.number) ||
      runs_.back().slots.size() + begun.recipients > kMostSlots) {
    ++so_far_.bad_lines;
    return;
  }
  auto& run = runs_.back();
  if (run.state.size() <= begun.number) {
    run.state.resize(begun.number + 1);
    run.first.resize(begun.number + 1);
    run.count.resize(begun.number + 1);
  }
  run.state[begun.number] = State::kOpen;
  run.first[begun.number] = static_cast<std::uint32_t>(run.slots.size());
  run.count[begun.number] = static_cast<std::uint16_t>(begun.recipients);
  run.slots.resize(run.slots.size() + begun.recipients);
}

void Book::add_ended(const Ended& ended) {
  auto* const run = current(ended.number);
  if (!run || run->state[ended.number] != State::kOpen) {
    ++so_far_.bad_lines;
    return;
  }
  auto& state = run->state[ended.number];
  switch (ended.fate) {
    case Fate::kAcknowledged:
      state = !options_.queued.empty() && options_.queued.contains(queue_id(ended.text))
                  ? State::kQueued
                  : State::kAcknowledged;
      return;
    case Fate::kRefused:
      state = State::kRefused;
      return;
    case Fate::kUnsent:
      state = State::kUnsent;
      return;
    case Fate::kUnknown:
      return;
  }
}

void Book::add_refused(const RefusedRecipient& refused) {
  auto* const run = current(refused.number);
  if (!run || refused.index >= run->count[refused.number]) {
    ++so_far_.bad_lines;
    return;
  }
  run->slots[run->first[refused.number] + refused.index] |= kRefusedRecipient;
}

Book::Run* Book::current(std::uint64_t number) noexcept {
  if (!in_run_ || number >= runs_.back().state.size() ||
      runs_.back().state[number] == State::kNeverBegun)
    return nullptr;
  return &runs_.back();
}

void Book::add_taken(const Taken& taken) {
  if (taken.kind == Evidence::Kind::kStrange) {
    ++so_far_.strange;
    return;
  }
  for (auto rest = taken.recipients; !rest.empty();) {
    const auto space = rest.find(' ');
    arrived(taken.name, taken.kind, rest.substr(0, space));
    rest.remove_prefix(space == std::string_view::npos ? rest.size() : space + 1);
  }
}

void Book::add_found(const Evidence& evidence, std::optional<std::string_view> recipient) {
  if (evidence.kind == Evidence::Kind::kStrange) {
    ++so_far_.strange;
    return;
  }
  const MessageName name{evidence.run, evidence.number};
  if (evidence.kind != Evidence::Kind::kNotice) return arrived(name, evidence.kind, recipient);
  for (const auto& failed : evidence.recipients) arrived(name, evidence.kind, failed);
}

Book::Run* Book::find(std::string_view name) noexcept {
  if (last_found_ < runs_.size() && runs_[last_found_].name == name) return &runs_[last_found_];
  const auto found = std::ranges::find(runs_, name, &Run::name);
  if (found == runs_.end()) return nullptr;
  last_found_ = static_cast<std::size_t>(found - runs_.begin());
  return &*found;
}

std::optional<std::size_t> Book::slot_of(const Run& run, std::uint64_t number,
                                         std::optional<std::string_view> recipient) const {
  const auto first = run.first[number];
  const std::size_t count = run.count[number];
  if (recipient && !options_.any_recipient) {
    for (std::size_t i = 0; i < count; ++i)
      if (base::equals_ignoring_case(run.recipient.fill(number, i), *recipient)) return first + i;
    return std::nullopt;
  }
  for (std::size_t i = 0; i < count; ++i)
    if ((run.slots[first + i] & ~kRefusedRecipient) == 0) return first + i;
  return first;
}

void Book::arrived(const MessageName& name, Evidence::Kind kind,
                   std::optional<std::string_view> recipient) {
  auto* const run = find(name.run);
  if (!run) {
    ++so_far_.strange;
    return;
  }
  const auto whom = recipient.value_or("somebody");
  if (kind == Evidence::Kind::kChanged) add_example(so_far_.changed, name.run, name.number, whom);
  if (name.number >= run->state.size() || run->state[name.number] == State::kNeverBegun)
    return add_example(so_far_.phantom, name.run, name.number, "was never begun");
  const auto slot = slot_of(*run, name.number, recipient);
  if (!slot)
    return add_example(so_far_.phantom, name.run, name.number, fmt::format("was not for {}", whom));
  auto& bits = run->slots[*slot];
  if (kind == Evidence::Kind::kNotice)
    bits |= kNoticed;
  else if ((bits & kArrivals) != kArrivals)
    ++bits;
}

void Book::judge(const Run& run, std::uint64_t number, Verdict& verdict) const {
  const auto state = run.state[number];
  for (std::size_t i = 0; i < run.count[number]; ++i) {
    const auto bits = run.slots[run.first[number] + i];
    const auto times = static_cast<std::uint64_t>(bits & kArrivals);
    const auto example = [&](Verdict::Kind& kind, std::uint64_t how_many = 1) {
      add_example(kind, run.name, number, run.recipient.fill(number, i), how_many);
    };
    const bool refused = state == State::kRefused || (bits & kRefusedRecipient) != 0;
    if (refused || state == State::kUnsent) {
      ++(refused ? verdict.refused : verdict.unsent);
      if ((bits & ~kRefusedRecipient) != 0) example(verdict.phantom);
      continue;
    }
    if (times > 1) example(verdict.duplicate, times - 1);
    if (state == State::kOpen) {
      ++verdict.unknown;
      verdict.unknown_delivered += times > 0;
      continue;
    }
    ++verdict.acknowledged;
    if (times > 0)
      ++verdict.delivered;
    else if ((bits & kNoticed) != 0)
      ++verdict.noticed;
    else
      example(state == State::kQueued ? verdict.queued : verdict.lost);
  }
}

Verdict Book::decide() const {
  auto verdict = so_far_;
  for (const auto& run : runs_)
    for (std::uint64_t number = 0; number < run.state.size(); ++number)
      if (run.state[number] != State::kNeverBegun) judge(run, number, verdict);
  return verdict;
}

}  // namespace postern::bench
