#include "common/mail/utf8_scan.h"

#include <algorithm>
#include <utility>

#include "common/base/text.h"
#include "common/base/utf8.h"

namespace postern::mail {
namespace {

constexpr std::size_t kMaxHeaderLine = 1'000;
constexpr std::size_t kMaxBoundary = 70;                  // RFC 2046 5.1.1
constexpr std::size_t kMaxDelimiter = kMaxBoundary + 40;  // with its hyphens, and blanks behind it
constexpr std::string_view kContentType = "content-type:";
constexpr std::string_view kBoundary = "boundary=";

std::string_view without_line_end(std::string_view line) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// Takes a parameter with its semicolon off the front; quotes hide semicolons.
std::string_view take_parameter(std::string_view& text) {
  bool quoted = false;
  std::size_t end = 0;
  for (; end < text.size() && (quoted || text[end] != ';'); ++end) {
    if (quoted && text[end] == '\\') ++end;
    else if (text[end] == '"') quoted = !quoted;
  }
  const auto parameter = base::trim(text.substr(0, end));
  text.remove_prefix(std::min(end + 1, text.size()));
  return parameter;
}

// What "token" or "\"quoted\"" means.
std::string value_of(std::string_view text) {
  if (!text.starts_with('"')) return std::string(text.substr(0, text.find_first_of(" \t(")));
  std::string value;
  for (std::size_t i = 1; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    value += text[i];
  }
  return value;
}

}  // namespace

void Utf8Scan::feed(std::string_view bytes) {
  while (!bytes.empty() && !over_) {
    const auto end = bytes.find('\n');
    const auto piece = bytes.substr(0, end == std::string_view::npos ? end : end + 1);
    if (place_ != Place::kBody && !base::is_ascii(piece)) {
      found_ = over_ = true;
      return;
    }
    const auto most = place_ == Place::kHeader ? kMaxHeaderLine : kMaxDelimiter;
    if (line_.size() < most) line_ += piece.substr(0, most - line_.size());
    bytes.remove_prefix(piece.size());
    if (end != std::string_view::npos) end_line();
  }
}

void Utf8Scan::end_line() {
  const auto line = std::exchange(line_, {});
  const auto text = without_line_end(line);
  if (text.starts_with("--") && delimits(text)) return;
  if (place_ == Place::kHeader) header_line(text);
}

// At a delimiter a part ends, and what is in it.
bool Utf8Scan::delimits(std::string_view text) {
  text.remove_prefix(2);
  text = text.substr(0, text.find_last_not_of(" \t") + 1);
  for (auto open = open_.size(); open-- > 0;) {
    const std::string_view boundary = open_[open].boundary;
    const bool closes = text.size() == boundary.size() + 2 && text.ends_with("--");
    if (!text.starts_with(boundary) || (text.size() != boundary.size() && !closes)) continue;
    open_.resize(closes ? open : open + 1);
    place_ = closes ? Place::kBody : Place::kHeader;
    over_ = open_.empty();
    field_.clear();
    in_content_type_ = false;
    boundary_.clear();
    content_ = !closes && open_.back().digest ? Place::kHeader : Place::kBody;
    return true;
  }
  return false;
}

void Utf8Scan::header_line(std::string_view text) {
  if (text.starts_with(' ') || text.starts_with('\t')) {
    if (in_content_type_) field_ += text.substr(0, kMaxField - std::min(kMaxField, field_.size()));
    return;
  }
  if (std::exchange(in_content_type_, false)) end_field();
  if (text.empty()) return end_header();
  in_content_type_ = base::starts_with_ignoring_case(text, kContentType);
  if (in_content_type_) field_ = text.substr(kContentType.size());
}

void Utf8Scan::end_field() {
  std::string_view rest = field_;
  const auto type = take_parameter(rest);
  content_ = Place::kBody;
  if (base::equals_ignoring_case(type, "message/rfc822") ||
      base::equals_ignoring_case(type, "message/global"))
    content_ = Place::kHeader;
  else if (base::starts_with_ignoring_case(type, "message/global-"))
    content_ = Place::kFields;
  const bool multipart = base::starts_with_ignoring_case(type, "multipart/");
  digest_ = base::equals_ignoring_case(type, "multipart/digest");
  while (multipart && !rest.empty()) {  // bounded by kMaxField
    const auto parameter = take_parameter(rest);
    if (base::starts_with_ignoring_case(parameter, kBoundary))
      boundary_ = value_of(parameter.substr(kBoundary.size()));
  }
  if (boundary_.size() > kMaxBoundary) boundary_.clear();
}

void Utf8Scan::end_header() {
  place_ = std::exchange(content_, Place::kBody);
  if (!boundary_.empty() && open_.size() < kMaxDepth)
    open_.push_back({std::exchange(boundary_, {}), digest_});
  boundary_.clear();
  over_ = place_ == Place::kBody && open_.empty();
}

}  // namespace postern::mail
