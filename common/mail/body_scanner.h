// BodyScanner: what the readers of DATA and of BDAT have in common: where the lines of a body end, and what is
// counted on the way. Most of a body is passed over in blocks that are looked at as a whole; what stands out in them
// is read line by line, with memchr. Keeps nothing but a few counters, and the header's Delivered-To fields.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern::mail {

class BodyScanner {
 public:
  // All of what was given back so far: the body as it is stored.
  [[nodiscard]] std::uint64_t wire_size() const noexcept { return wire_size_; }
  // The same without the stuffed dots: the size of RFC 1870.
  [[nodiscard]] std::uint64_t size() const noexcept { return wire_size_ - stuffed_dots_; }
  // Some line begins with a stuffed dot; otherwise wire form and plain lines are the same bytes.
  [[nodiscard]] bool stuffed() const noexcept { return stuffed_dots_ != 0; }
  // A CR without LF or an LF without CR was seen.
  [[nodiscard]] bool bare() const noexcept { return bare_; }
  // Received fields in the header so far, for the loop limit of RFC 5321 6.3.
  [[nodiscard]] std::uint32_t received() const noexcept { return received_; }
  // What the first Delivered-To fields of the header say, without the spaces around: at most kMostDelivered.
  [[nodiscard]] const std::vector<std::string>& delivered_to() const noexcept { return delivered_to_; }

  // The header has such a field.
  [[nodiscard]] bool has_date() const noexcept { return has_date_; }
  [[nodiscard]] bool has_message_id() const noexcept { return has_message_id_; }

  static constexpr std::size_t kMostDelivered = 32;
  static constexpr std::size_t kLongestDelivered = 320;  // bytes; longer ones are passed over

 protected:
  // What stands in front of the next byte. The beginning counts as kCrLf.
  enum class Behind : std::uint8_t { kText, kLf, kCrLf };

  // Behind the last of the whole lines that begin at `begin`, where a line does, and need no closer look:
  // in the body, no CR or LF alone, no dot at a line's start.
  [[nodiscard]] const char* skip_plain_lines(const char* begin, const char* end) const noexcept;
  // Reads on in the current line; returns where it ended, behind CR LF or a bare LF, or `end`.
  const char* read_line(const char* begin, const char* end) noexcept;
  [[nodiscard]] std::string_view give(const char* begin, const char* end) noexcept;

  std::uint64_t stuffed_dots_ = 0;
  Behind behind_ = Behind::kCrLf;
  bool after_cr_ = false;  // the last byte was a CR, and its LF may still come
  bool bare_ = false;

 private:
  const char* find_line_end(const char* begin, const char* end) noexcept;
  void read_header(const char* begin, const char* end) noexcept;
  void match_field(const char* begin, const char* end) noexcept;
  void found_field(std::size_t which, std::string_view rest) noexcept;
  void end_value() noexcept;

  std::uint64_t wire_size_ = 0;
  std::uint64_t line_size_ = 0;  // of the current line, while in the header
  std::uint32_t received_ = 0;
  std::vector<std::string> delivered_to_;
  static constexpr std::uint8_t kAllFields = 0x0F;
  std::uint8_t fields_ = kAllFields;  // those whose names the current line may begin with, a bit for each
  std::uint8_t name_size_ = 0;        // how much of their names it has
  bool has_date_ = false;
  bool has_message_id_ = false;
  bool in_value_ = false;         // the current line goes on with the last of delivered_to_
  bool in_header_ = true;
};

}  // namespace postern::mail
