// Unstuffer: a stored body from wire form (dots stuffed, lines ended by CR LF) to plain lines, in
// pieces of any size: for a mailbox, for LMTP's like, for a person to read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postern::mail {

enum class LineEnd : std::uint8_t { kCrLf, kLf };

class Unstuffer {
 public:
  explicit Unstuffer(LineEnd line_end) noexcept : line_end_(line_end) {}

  // Appends what `stuffed` becomes to `out`; at most one byte is kept back until the next call.
  void feed(std::string_view stuffed, std::string& out);
  // After the last piece: appends what was kept back.
  void finish(std::string& out);

 private:
  LineEnd line_end_;
  bool line_start_ = true;
  bool pending_cr_ = false;  // kLf: a CR that its LF would swallow
};

}  // namespace postern::mail
