// Utf8Scan: does a message need SMTPUTF8 by its headers (RFC 6532 3.7)? By its own and by those of its parts,
// at any depth, as its stored body comes in pieces; what is encoded is ASCII and needs nothing. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern::mail {

class Utf8Scan {
 public:
  static constexpr std::size_t kMaxDepth = 50;     // parts within parts; those below are not looked at
  static constexpr std::size_t kMaxField = 4'000;  // of a Content-Type; what follows is not looked at

  void feed(std::string_view bytes);
  // A header is beyond ASCII.
  [[nodiscard]] bool found() const noexcept { return found_; }
  // What follows changes nothing.
  [[nodiscard]] bool over() const noexcept { return over_; }

 private:
  enum class Place : std::uint8_t {
    kHeader,
    kFields,  // a body that is a header's fields: message/global-delivery-status, message/global-headers
    kBody,
  };
  void end_line();
  void header_line(std::string_view text);
  void end_field();
  void end_header();
  [[nodiscard]] bool delimits(std::string_view text);

  Place place_ = Place::kHeader;
  std::string line_;   // the beginning of the line that is coming
  std::string field_;  // the Content-Type that is coming, without its name
  struct Multipart {
    std::string boundary;
    bool digest;  // parts that do not say what they are are messages (RFC 2046 5.1.5)
  };
  std::vector<Multipart> open_;  // the outermost first
  // Of the header that is being read.
  bool in_content_type_ = false;
  std::string boundary_;
  bool digest_ = false;
  Place content_ = Place::kBody;
  bool found_ = false;
  bool over_ = false;
};

}  // namespace postern::mail
