// Template: an address with numbers in it, "r{n}@d{n%1000}.test". {n} is the message's number from
// 1 on, {i} the recipient's from 0 on within its message; each may be followed by %K (remainder)
// and /K (quotient), in any order and as often as wanted: {n/50%1000}.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace postern::bench {

class Template {
 public:
  static constexpr std::size_t kMaxLength = 256;

  // An error is a sentence for the one who typed it. A template is printable ASCII without spaces.
  [[nodiscard]] static std::expected<Template, std::string> parse(std::string_view text);

  // The address for message `number` and recipient `index`.
  [[nodiscard]] std::string fill(std::uint64_t number, std::uint64_t index) const;
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  // {i} stands in it: the recipients of one message differ.
  [[nodiscard]] bool uses_index() const noexcept;

 private:
  struct Step {
    char operation;  // '%' or '/'
    std::uint64_t by;
  };
  struct Part {
    std::string before;  // literal text in front
    char variable;       // 'n' or 'i'
    std::vector<Step> steps;
  };
  std::string text_;
  std::vector<Part> parts_;
  std::string rest_;  // literal text behind the last part
};

}  // namespace postern::bench
