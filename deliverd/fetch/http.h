// The little of HTTP/1.1 (RFC 9112) that a policy needs: the request for one, and the reading of what is
// answered. Pure: bytes in, a body or a trouble out. The answer is a stranger's text: everything in it has a
// limit, and what is not plainly a policy is none: another status than 200, a redirect, another type than
// text/plain (RFC 8461 3.3), a coding that was not asked for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postern::fetch {

// For "https://HOST/.well-known/mta-sts.txt"; the connection is closed behind the answer.
[[nodiscard]] std::string policy_request(std::string_view host, std::uint16_t port);

class HttpReader {
 public:
  static constexpr std::size_t kMaxHead = 16 * 1024;  // bytes up to the body
  static constexpr std::size_t kMaxInterim = 8;       // answers of 1xx in front
  static constexpr std::size_t kMaxChunkLine = 1024;  // a size with its extensions
  static constexpr std::size_t kMaxTrailer = 4 * 1024;
  static constexpr std::size_t kMaxAnswer = 512 * 1024;  // with all that stands around the body

  enum class State : std::uint8_t { kReading, kDone, kFailed };

  // `max_body`: bytes.
  explicit HttpReader(std::size_t max_body) : max_body_(max_body) {}

  // What has come. Behind the body nothing is read.
  State feed(std::string_view bytes);
  // Nothing more comes. `whole`: the server said so, and nobody cut it off.
  State ended(bool whole);

  [[nodiscard]] const std::string& body() const noexcept { return body_; }      // kDone
  [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }  // kFailed

 private:
  enum class Step : std::uint8_t { kHead, kLength, kToTheEnd, kChunkSize, kChunk, kChunkEnd, kTrailer };
  struct Head;

  [[nodiscard]] std::string_view rest() const noexcept { return std::string_view(kept_).substr(used_); }
  // Each takes what it can off rest(); false: it needs more, or all is over.
  bool advance();
  bool read_head();
  bool take_line(std::string_view line, Head& head);
  bool use(const Head& head);
  bool read_body();
  bool read_chunk_size();
  bool read_trailer();
  bool fail(std::string why);

  const std::size_t max_body_;
  State state_ = State::kReading;
  Step step_ = Step::kHead;
  std::string kept_;
  std::size_t used_ = 0;  // of kept_, in this turn
  std::size_t received_ = 0;
  std::size_t left_ = 0;  // of the body, or of the chunk
  std::size_t interim_ = 0;
  std::size_t trailer_ = 0;  // bytes
  std::string body_;
  std::string trouble_;
};

}  // namespace postern::fetch
