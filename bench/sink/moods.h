// Moods: how a sink treats those who bring mail: where, to whom, how often. One mood is
//
//   WHERE:WHAT[=VALUE][,for=PATTERN][,p=PROBABILITY]
//
//   WHERE   connect, mail, rcpt, data, dot
//   WHAT    defer[=REPLY], refuse[=REPLY]  4yz, 5yz; REPLY replaces the usual one: "451 4.7.1
//   later"
//           accept                         whatever stands behind it
//           delay=TIME                     the reply comes that much later
//           cut                            closes instead of replying; at the dot what came was
//           taken drop                           at the dot: closes, and nothing was taken stall
//           never replies
//   PATTERN of the recipient (rcpt, dot), the sender (mail, data) or the client's address
//   (connect),
//           with * for any characters
//
// The first mood that fits and, by its probability, strikes, decides; delays are looked at by
// themselves. Without any, all is accepted.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"

namespace postern::bench {

enum class Stage : std::uint8_t { kConnect, kMail, kRcpt, kData, kDot };
enum class Treatment : std::uint8_t { kAccept, kDefer, kRefuse, kCut, kDrop, kStall };

struct Decision {
  Treatment treatment = Treatment::kAccept;
  std::string reply;  // of kDefer and kRefuse, without its line end
  base::Millis delay{0};
};

class Moods {
 public:
  static constexpr std::size_t kMost = 1000;

  Moods() = default;
  // One mood in each text; an error is a sentence.
  [[nodiscard]] static std::expected<Moods, std::string> parse(
      const std::vector<std::string>& texts, std::uint64_t seed);

  // What happens now at `stage` to `subject`. The n-th question under a seed always has the same
  // luck.
  [[nodiscard]] Decision decide(Stage stage, std::string_view subject) noexcept;
  [[nodiscard]] bool none() const noexcept { return moods_.empty(); }

 private:
  struct Mood {
    Stage stage = Stage::kDot;
    Treatment treatment = Treatment::kAccept;
    bool delays = false;
    std::string reply;
    base::Millis delay{0};
    std::string pattern = "*";
    double probability = 1;
  };
  static std::expected<Mood, std::string> parse_one(std::string_view text);
  static std::string set_treatment(Mood& mood, std::string_view word, std::string_view value);
  bool strikes(const Mood& mood) noexcept;

  std::vector<Mood> moods_;
  std::uint64_t seed_ = 0, asked_ = 0;
};

// "*" stands for any characters, none included; letters in any case.
[[nodiscard]] bool fits(std::string_view pattern, std::string_view text) noexcept;

}  // namespace postern::bench
