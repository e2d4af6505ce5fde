#include "bench/ledger/content.h"

#include <optional>

#include "common/base/crc32c.h"
#include "common/base/text.h"

namespace postern::bench {
namespace {

// The next line of `text` from `at` on without its CR LF; nullopt where no line is complete.
std::optional<std::string_view> line_at(std::string_view text, std::size_t at) {
  const auto end = text.find("\r\n", at);
  if (end == std::string_view::npos) return std::nullopt;
  return text.substr(at, end - at);
}

}  // namespace

void Content::feed(std::string_view bytes) {
  if (!named_) {
    const auto before = held_.size();
    if (before < kMaxNotice) held_ += bytes.substr(0, kMaxNotice - before);
    if (in_header_) read_header();
    if (!named_) return;
    bytes.remove_prefix(searched_ - before);
    held_.clear();
  }
  crc_ = base::crc32c(bytes, crc_);
  size_ += bytes.size();
}

// Goes on line by line; searched_ stands behind the field when it was found.
void Content::read_header() {
  while (const auto line = line_at(held_, searched_)) {
    if (line->empty() || searched_ > kMaxHeader) {
      in_header_ = false;
      return;
    }
    searched_ += line->size() + 2;
    const auto field = parse_load_field(*line);
    if (!field) continue;
    named_ = true;
    run_ = field->name.run;
    number_ = field->name.number;
    expected_crc_ = field->crc;
    expected_size_ = field->size;
    return;
  }
}

// Groups of lines in the part message/delivery-status, "Final-Recipient" before "Action" (RFC 3464
// 2.3), and then the original's header.
Evidence Content::read_notice() const {
  constexpr std::string_view kRecipient = "Final-Recipient:";
  constexpr std::string_view kAction = "Action:";
  Evidence evidence;
  std::string recipient;
  for (std::size_t at = 0;;) {
    const auto line = line_at(held_, at);
    if (!line) break;
    at += line->size() + 2;
    if (base::starts_with_ignoring_case(*line, kRecipient)) {
      recipient = base::trim(line->substr(line->find(';') + 1));
    } else if (base::starts_with_ignoring_case(*line, kAction)) {
      if (base::equals_ignoring_case(base::trim(line->substr(kAction.size())), "failed"))
        evidence.recipients.push_back(recipient);
    } else if (line->starts_with(kLoadField)) {
      const auto field = parse_load_field(*line);
      if (!field || evidence.recipients.empty()) continue;
      evidence.kind = Evidence::Kind::kNotice;
      evidence.run = field->name.run;
      evidence.number = field->name.number;
      return evidence;
    }
  }
  return {};
}

Evidence Content::finish() {
  Evidence evidence;
  if (named_) {
    const bool whole = crc_ == expected_crc_ && size_ == expected_size_;
    evidence.kind = whole ? Evidence::Kind::kWhole : Evidence::Kind::kChanged;
    evidence.run = run_;
    evidence.number = number_;
  } else {
    evidence = read_notice();
  }
  *this = {};
  return evidence;
}

}  // namespace postern::bench
