// The messages that are sent: reproducible from run, seed and number. A body is a run of lines of a
// text that was made once from the seed, so making one costs a copy. That text has what tests a
// mail server: lines that begin with dots or are nothing but dots, empty ones, "From " in front,
// blanks at the end, lines of exactly 998 characters and, for servers that offer 8BITMIME, bytes
// above 127.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern::bench {

// The text that bodies are cut from, in two forms: as it is, and with dots stuffed.
class Text {
 public:
  static constexpr std::size_t kSize = 256 * 1024;  // about
  static constexpr std::size_t kLongest = 998;      // of a line, RFC 5322 2.1.1

  Text(std::uint64_t seed, bool eight_bit);

  // Where a body goes on, and how many bytes of it are left.
  struct Cursor {
    std::size_t line = 0;
    std::uint64_t left = 0;
  };
  struct Piece {
    std::string_view raw, stuffed;  // of this text or of `scratch`; the same lines in both forms
  };
  // The next lines of a body, about `most` bytes; empty at its end. The last line is cut to fit.
  [[nodiscard]] Piece next(Cursor& cursor, std::size_t most, std::string& scratch) const;
  // For message `number`. A body of one byte would not end in CR LF: it has two instead.
  [[nodiscard]] Cursor begin(std::uint64_t seed, std::uint64_t number,
                             std::uint64_t size) const noexcept;

 private:
  void add_line(std::string_view line);
  [[nodiscard]] Piece last(Cursor& cursor, std::string& scratch) const;
  std::string raw_, stuffed_;
  std::vector<std::size_t> raw_at_, stuffed_at_;  // of each line, and of the end
};

// One message on its way out.
class Message {
 public:
  static constexpr std::size_t kPiece = 256 * 1024;

  // `size`: of the body, as it is. `text` outlives the message.
  Message(const Text& text, std::string_view run, std::uint64_t seed, std::uint64_t number,
          std::uint64_t size, bool eight_bit, std::string_view from, std::string_view to);

  // Appends about kPiece more bytes as they go over the wire, at last the final dot; false: that
  // was all.
  bool append(std::string& wire);
  // Header and body, as they are.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

 private:
  const Text* text_;
  Text::Cursor cursor_;
  std::string header_;  // until it is appended
  std::uint64_t size_ = 0;
};

}  // namespace postern::bench
