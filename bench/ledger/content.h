// Content: reads a message as it arrived, in pieces of any size with lines ended by CR LF and
// without stuffed dots, and says which message of the load generator it is and whether it is whole.
// A notice of failure (RFC 3464) says instead whose end it tells: the name stands in the header
// that it returns.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/ledger/name.h"

namespace postern::bench {

struct Evidence {
  enum class Kind : std::uint8_t {
    kWhole,    // as it was sent
    kChanged,  // its name is there, and checksum or size differ
    kNotice,   // says that `recipients` of this message failed
    kStrange,  // no name in it: not of a load generator
  };
  Kind kind = Kind::kStrange;
  std::string run;
  std::uint64_t number = 0;
  std::vector<std::string> recipients;  // kNotice
};

class Content {
 public:
  static constexpr std::size_t kMaxHeader = 64 * 1024;   // what comes later has no name
  static constexpr std::size_t kMaxNotice = 256 * 1024;  // read of what may be a notice

  void feed(std::string_view bytes);
  // After the last piece; afterwards it is as new.
  [[nodiscard]] Evidence finish();

 private:
  void read_header();
  [[nodiscard]] Evidence read_notice() const;

  std::string held_;  // while the name is looked for; after the header, of what may be a notice
  std::size_t searched_ = 0;  // of held_: whole lines without the field
  bool in_header_ = true;
  bool named_ = false;
  std::string run_;
  std::uint64_t number_ = 0;
  std::uint64_t size_ = 0, expected_size_ = 0;
  std::uint32_t crc_ = 0, expected_crc_ = 0;
};

}  // namespace postern::bench
