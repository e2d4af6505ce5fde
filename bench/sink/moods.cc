#include "bench/sink/moods.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "bench/ledger/mix.h"
#include "common/base/text.h"
#include "common/config/units.h"

namespace postern::bench {
namespace {

constexpr auto kStages =
    std::to_array<std::pair<std::string_view, Stage>>({{"connect", Stage::kConnect},
                                                       {"mail", Stage::kMail},
                                                       {"rcpt", Stage::kRcpt},
                                                       {"data", Stage::kData},
                                                       {"dot", Stage::kDot}});
constexpr auto kTreatments =
    std::to_array<std::pair<std::string_view, Treatment>>({{"accept", Treatment::kAccept},
                                                           {"defer", Treatment::kDefer},
                                                           {"refuse", Treatment::kRefuse},
                                                           {"cut", Treatment::kCut},
                                                           {"drop", Treatment::kDrop},
                                                           {"stall", Treatment::kStall}});

std::string usual_reply(Stage stage, Treatment treatment) {
  const bool defers = treatment == Treatment::kDefer;
  switch (stage) {
    case Stage::kConnect:
      return defers ? "421 4.3.2 not now" : "554 5.3.2 no mail here";
    case Stage::kMail:
      return defers ? "451 4.7.1 not this sender now" : "550 5.7.1 not this sender";
    case Stage::kRcpt:
      return defers ? "450 4.2.1 not this mailbox now" : "550 5.1.1 no such mailbox";
    case Stage::kData:
      return defers ? "451 4.3.0 not now" : "554 5.7.0 no";
    case Stage::kDot:
      return defers ? "451 4.3.0 not this message now" : "554 5.6.0 not this message";
  }
  return {};
}

// The part of `rest` before the next comma, removed with it.
std::string_view next_part(std::string_view& rest) {
  const auto comma = rest.find(',');
  const auto part = rest.substr(0, comma);
  rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
  return part;
}

}  // namespace

bool fits(std::string_view pattern, std::string_view text) noexcept {
  // Where the last star stood, and how much it has taken so far.
  std::size_t p = 0, t = 0, star = std::string_view::npos, taken = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = t;
    } else if (p < pattern.size() && base::ascii_lower(pattern[p]) == base::ascii_lower(text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

// What is wrong with it, or empty.
std::string Moods::set_treatment(Mood& mood, std::string_view word, std::string_view value) {
  if (word == "delay") {
    const auto delay = config::parse_duration(value);
    if (!delay) return "a delay is a time like 500ms or 5s";
    mood.delays = true;
    mood.delay = *delay;
    return {};
  }
  const auto* const known =
      std::ranges::find_if(kTreatments, [&](const auto& entry) { return entry.first == word; });
  if (known == kTreatments.end()) return "it is accept, defer, refuse, delay, cut, drop or stall";
  mood.treatment = known->second;
  const bool replies = mood.treatment == Treatment::kDefer || mood.treatment == Treatment::kRefuse;
  if (mood.treatment == Treatment::kDrop && mood.stage != Stage::kDot) return "drop is for the dot";
  if (!value.empty() && !replies) return "only defer, refuse and delay take a value";
  const char first = mood.treatment == Treatment::kDefer ? '4' : '5';
  if (!value.empty() && (value.size() < 4 || value[0] != first || value[3] != ' '))
    return "the reply of defer begins with 4yz, that of refuse with 5yz";
  if (replies)
    mood.reply = value.empty() ? usual_reply(mood.stage, mood.treatment) : std::string(value);
  return {};
}

std::expected<Moods::Mood, std::string> Moods::parse_one(std::string_view text) {
  const auto mistake = [&](std::string_view what) {
    return std::unexpected(fmt::format("\"{}\": {}", base::printable(text), what));
  };
  Mood mood;
  const auto colon = text.find(':');
  const auto* const stage = std::ranges::find_if(
      kStages, [&](const auto& entry) { return entry.first == text.substr(0, colon); });
  if (colon == std::string_view::npos || stage == kStages.end())
    return mistake("begin with connect:, mail:, rcpt:, data: or dot:");
  mood.stage = stage->second;
  auto rest = text.substr(colon + 1);
  const auto what = next_part(rest);
  const auto equals = what.find('=');
  const auto value =
      equals == std::string_view::npos ? std::string_view() : what.substr(equals + 1);
  if (const auto wrong = set_treatment(mood, what.substr(0, equals), value); !wrong.empty())
    return mistake(wrong);
  while (!rest.empty()) {
    const auto part = next_part(rest);
    if (part.starts_with("for=")) {
      mood.pattern = part.substr(4);
    } else if (part.starts_with("p=")) {
      const std::string number(part.substr(2));
      char* end = nullptr;
      mood.probability = std::strtod(number.c_str(), &end);
      if (number.empty() || *end != '\0' || !(mood.probability >= 0 && mood.probability <= 1))
        return mistake("a probability is a number from 0 to 1");
    } else {
      return mistake("behind the comma stands for=PATTERN or p=PROBABILITY");
    }
  }
  return mood;
}

std::expected<Moods, std::string> Moods::parse(const std::vector<std::string>& texts,
                                               std::uint64_t seed) {
  if (texts.size() > kMost) return std::unexpected(fmt::format("more than {} moods", kMost));
  Moods moods;
  moods.seed_ = seed;
  for (const auto& text : texts) {
    auto mood = parse_one(text);
    if (!mood) return std::unexpected(std::move(mood.error()));
    moods.moods_.push_back(*std::move(mood));
  }
  return moods;
}

bool Moods::strikes(const Mood& mood) noexcept {
  return mood.probability >= 1 || fraction(mix(seed_, ++asked_, 0)) < mood.probability;
}

Decision Moods::decide(Stage stage, std::string_view subject) noexcept {
  Decision decision;
  bool decided = false;
  for (const auto& mood : moods_) {
    if (mood.stage != stage || (decided && !mood.delays) || !fits(mood.pattern, subject)) continue;
    if (!strikes(mood)) continue;
    if (mood.delays) {
      decision.delay = std::max(decision.delay, mood.delay);
    } else {
      decision.treatment = mood.treatment;
      decision.reply = mood.reply;
      decided = true;
    }
  }
  return decision;
}

}  // namespace postern::bench
