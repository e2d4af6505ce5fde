#include "deliverd/fetch/http.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "common/base/text.h"

namespace postern::fetch {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::uint16_t kHttpsPort = 443;
constexpr std::size_t kMaxSizeDigits = 8;  // of a chunk

// RFC 9110 5.6.2.
bool is_token(std::string_view text) {
  static constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    const char low = base::ascii_lower(c);
    return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || kMarks.find(c) != kMarks.npos;
  });
}

// Of "HTTP/1.1 200 OK"; the reason may be missing.
std::optional<unsigned> status_of(std::string_view line) {
  constexpr std::string_view kVersion = "HTTP/1.";
  if (!line.starts_with(kVersion)) return std::nullopt;
  line.remove_prefix(kVersion.size());
  if (line.size() < 5 || line[0] < '0' || line[0] > '9' || line[1] != ' ') return std::nullopt;
  if (line.size() > 5 && line[5] != ' ') return std::nullopt;
  const auto status = base::parse_number(line.substr(2, 3));
  if (!status || *status < 100 || *status > 599) return std::nullopt;
  return static_cast<unsigned>(*status);
}

std::optional<std::size_t> hexadecimal(std::string_view text) {
  if (text.empty() || text.size() > kMaxSizeDigits) return std::nullopt;
  std::size_t value = 0;
  for (const char c : text) {
    const char low = base::ascii_lower(c);
    const bool digit = c >= '0' && c <= '9';
    if (!digit && (low < 'a' || low > 'f')) return std::nullopt;
    value = value * 16 + static_cast<std::size_t>(digit ? c - '0' : low - 'a' + 10);
  }
  return value;
}

}  // namespace

std::string policy_request(std::string_view host, std::uint16_t port) {
  const auto at = port == kHttpsPort ? std::string() : fmt::format(":{}", port);
  return fmt::format(
      "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {}{}\r\nUser-Agent: Postern\r\nAccept: text/plain\r\n"
      "Accept-Encoding: identity\r\nConnection: close\r\n\r\n",
      host, at);
}

struct HttpReader::Head {
  unsigned status = 0;
  std::optional<std::string> type, length, transfer, coding;
};

HttpReader::State HttpReader::feed(std::string_view bytes) {
  if (state_ != State::kReading) return state_;
  kept_ += bytes;
  received_ += bytes.size();
  if (received_ > kMaxAnswer) fail("the answer is too long");
  while (state_ == State::kReading && advance()) {
  }
  kept_.erase(0, std::exchange(used_, 0));
  return state_;
}

HttpReader::State HttpReader::ended(bool whole) {
  if (state_ != State::kReading) return state_;
  if (step_ == Step::kToTheEnd && whole)
    state_ = State::kDone;
  else
    fail("the connection ended before the answer did");
  return state_;
}

bool HttpReader::advance() {
  switch (step_) {
    case Step::kHead:
      return read_head();
    case Step::kLength:
    case Step::kToTheEnd:
    case Step::kChunk:
      return read_body();
    case Step::kChunkSize:
      return read_chunk_size();
    case Step::kChunkEnd:
      if (rest().size() < kLineEnd.size()) return false;
      if (!rest().starts_with(kLineEnd)) return fail("malformed chunk");
      used_ += kLineEnd.size();
      step_ = Step::kChunkSize;
      return true;
    case Step::kTrailer:
      return read_trailer();
  }
  return false;
}

bool HttpReader::read_head() {
  constexpr std::string_view kEnd = "\r\n\r\n";
  const auto end = rest().find(kEnd);
  if (std::min(end, rest().size()) > kMaxHead) return fail("the head of the answer is too long");
  if (end == std::string_view::npos) return false;
  Head head;
  std::string_view lines = rest().substr(0, end);
  const auto first = lines.substr(0, lines.find(kLineEnd));
  const auto status = status_of(first);
  if (!status) return fail("no answer of HTTP: " + base::printable(first, 60));
  head.status = *status;
  lines.remove_prefix(std::min(lines.size(), first.size() + kLineEnd.size()));
  while (!lines.empty()) {
    const auto line = lines.substr(0, lines.find(kLineEnd));
    if (!take_line(line, head)) return false;
    lines.remove_prefix(std::min(lines.size(), line.size() + kLineEnd.size()));
  }
  used_ += end + kEnd.size();
  return use(head);
}

bool HttpReader::take_line(std::string_view line, Head& head) {
  const auto colon = line.find(':');
  const auto name = line.substr(0, colon);
  if (colon == std::string_view::npos || !is_token(name)) return fail("malformed line in the answer's head");
  const std::pair<std::string_view, std::optional<std::string>*> wanted[] = {
      {"content-type", &head.type},
      {"content-length", &head.length},
      {"transfer-encoding", &head.transfer},
      {"content-encoding", &head.coding}};
  for (const auto& [key, value] : wanted) {
    if (!base::equals_ignoring_case(name, key)) continue;
    if (*value) return fail(fmt::format("{} stands twice in the answer", key));
    *value = base::to_lower(base::trim(line.substr(colon + 1)));
  }
  return true;
}

// What the head says of the body, or why none is wanted.
bool HttpReader::use(const Head& head) {
  if (head.status < 200) {
    if (++interim_ > kMaxInterim) return fail("too many interim answers");
    return true;
  }
  if (head.status >= 300 && head.status < 400)
    return fail(fmt::format("answered {}, and redirects are not followed", head.status));
  if (head.status != 200) return fail(fmt::format("answered {}", head.status));
  const auto type = head.type.value_or("");
  if (base::trim(std::string_view(type).substr(0, type.find(';'))) != "text/plain")
    return fail(type.empty() ? "no content type" : "not text/plain: " + base::printable(type, 60));
  if (head.coding && *head.coding != "identity")
    return fail("coded as " + base::printable(*head.coding, 60));
  if (head.transfer) {
    if (*head.transfer != "chunked" || head.length)
      return fail("transferred as " + base::printable(*head.transfer, 60) +
                  (head.length ? ", with a length" : ""));
    step_ = Step::kChunkSize;
    return true;
  }
  if (!head.length) {
    step_ = Step::kToTheEnd;
    return true;
  }
  const auto length = base::parse_number(*head.length);
  if (!length) return fail("no such length: " + base::printable(*head.length, 60));
  if (*length > max_body_) return fail(fmt::format("longer than {} KiB", max_body_ / 1024));
  left_ = *length;
  step_ = Step::kLength;
  if (left_ == 0) state_ = State::kDone;
  return left_ > 0;
}

bool HttpReader::read_body() {
  const auto size = step_ == Step::kToTheEnd ? rest().size() : std::min(left_, rest().size());
  if (size == 0) return false;
  if (body_.size() + size > max_body_) return fail(fmt::format("longer than {} KiB", max_body_ / 1024));
  body_ += rest().substr(0, size);
  used_ += size;
  if (step_ == Step::kToTheEnd) return false;
  left_ -= size;
  if (left_ > 0) return false;
  if (step_ == Step::kLength)
    state_ = State::kDone;
  else
    step_ = Step::kChunkEnd;
  return state_ == State::kReading;
}

bool HttpReader::read_chunk_size() {
  const auto end = rest().find(kLineEnd);
  if (std::min(end, rest().size()) > kMaxChunkLine) return fail("malformed chunk");
  if (end == std::string_view::npos) return false;
  const auto line = rest().substr(0, end);
  const auto size = hexadecimal(base::trim(line.substr(0, line.find(';'))));
  if (!size) return fail("malformed chunk");
  if (*size > max_body_ - body_.size()) return fail(fmt::format("longer than {} KiB", max_body_ / 1024));
  used_ += end + kLineEnd.size();
  left_ = *size;
  step_ = left_ == 0 ? Step::kTrailer : Step::kChunk;
  return true;
}

bool HttpReader::read_trailer() {
  const auto end = rest().find(kLineEnd);
  if (trailer_ + std::min(end, rest().size()) > kMaxTrailer) return fail("the answer's trailer is too long");
  if (end == std::string_view::npos) return false;
  used_ += end + kLineEnd.size();
  trailer_ += end + kLineEnd.size();
  if (end == 0) state_ = State::kDone;
  return end > 0;
}

bool HttpReader::fail(std::string why) {
  state_ = State::kFailed;
  trouble_ = std::move(why);
  return false;
}

}  // namespace postern::fetch
