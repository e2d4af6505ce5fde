#include "bench/ledger/lines.h"

#include <fmt/format.h>

#include <iterator>
#include <limits>

#include "common/base/text.h"

namespace postern::bench {
namespace {

constexpr std::string_view kTitle = "postern-ledger 1 ";

std::string_view word_of(Fate fate) noexcept {
  switch (fate) {
    case Fate::kAcknowledged:
      return "acknowledged";
    case Fate::kRefused:
      return "refused";
    case Fate::kUnknown:
      return "unknown";
    case Fate::kUnsent:
      return "unsent";
  }
  return "";
}

std::string_view word_of(Evidence::Kind kind) noexcept {
  switch (kind) {
    case Evidence::Kind::kWhole:
      return "delivered";
    case Evidence::Kind::kChanged:
      return "changed";
    case Evidence::Kind::kNotice:
      return "notice";
    case Evidence::Kind::kStrange:
      return "strange";
  }
  return "";
}

// The fields of one line, from the front.
class Fields {
 public:
  explicit Fields(std::string_view line) noexcept : rest_(line) {}
  std::string_view next() noexcept {
    const auto space = rest_.find(' ');
    const auto field = rest_.substr(0, space);
    rest_ = space == std::string_view::npos ? std::string_view() : rest_.substr(space + 1);
    return field;
  }
  // A number up to `limit`; anything else makes the line bad.
  std::uint64_t number(std::uint64_t limit) noexcept {
    const auto value = base::parse_number(next());
    good_ = good_ && value && *value <= limit;
    return value.value_or(0);
  }
  std::uint32_t small() noexcept {
    return static_cast<std::uint32_t>(number(std::numeric_limits<std::uint32_t>::max()));
  }
  void skip_time() noexcept { number(std::numeric_limits<std::uint64_t>::max()); }
  [[nodiscard]] std::string_view rest() const noexcept { return rest_; }
  [[nodiscard]] bool good() const noexcept { return good_; }

 private:
  std::string_view rest_;
  bool good_ = true;
};

std::optional<LedgerLine> parse_title(std::string_view line) noexcept {
  Fields fields(line.substr(kTitle.size()));
  const auto kind = fields.next();
  if (kind == "sink") return SinkRun{};
  if (kind != "load") return std::nullopt;
  LoadRun run;
  run.run = fields.next();
  run.sender = fields.next();
  run.recipient = fields.next();
  if (!is_run(run.run) || run.recipient.empty()) return std::nullopt;
  return run;
}

std::optional<LedgerLine> parse_ended(Fate fate, Fields& fields) noexcept {
  Ended ended{fate, fields.number(kMaxNumber), {}};
  fields.skip_time();
  ended.text = fields.rest();
  if (!fields.good()) return std::nullopt;
  return ended;
}

std::optional<LedgerLine> parse_taken(Evidence::Kind kind, Fields& fields) noexcept {
  Taken taken;
  taken.kind = kind;
  if (kind != Evidence::Kind::kStrange) {
    const auto name = parse_name(fields.next());
    if (!name) return std::nullopt;
    taken.name = *name;
  }
  fields.skip_time();
  taken.recipients = fields.rest();
  if (!fields.good()) return std::nullopt;
  return taken;
}

}  // namespace

std::optional<LedgerLine> parse_line(std::string_view line) noexcept {
  if (line.starts_with(kTitle)) return parse_title(line);
  Fields fields(line);
  const auto word = fields.next();
  if (word == "begun") {
    Begun begun;
    begun.number = fields.number(kMaxNumber);
    fields.skip_time();
    begun.recipients = fields.small();
    if (!fields.good()) return std::nullopt;
    return begun;
  }
  if (word == "refused-recipient") {
    RefusedRecipient refused;
    refused.number = fields.number(kMaxNumber);
    fields.skip_time();
    refused.index = fields.small();
    if (!fields.good()) return std::nullopt;
    return refused;
  }
  for (const auto fate : {Fate::kAcknowledged, Fate::kRefused, Fate::kUnknown, Fate::kUnsent})
    if (word == word_of(fate)) return parse_ended(fate, fields);
  for (const auto kind : {Evidence::Kind::kWhole, Evidence::Kind::kChanged, Evidence::Kind::kNotice,
                          Evidence::Kind::kStrange})
    if (word == word_of(kind)) return parse_taken(kind, fields);
  return std::nullopt;
}

void append_load_run(std::string& out, std::string_view run, std::string_view sender,
                     std::string_view recipient) {
  fmt::format_to(std::back_inserter(out), "{}load {} {} {}\n", kTitle, run, sender, recipient);
}

void append_sink_run(std::string& out) {
  fmt::format_to(std::back_inserter(out), "{}sink\n", kTitle);
}

void append_begun(std::string& out, std::uint64_t number, base::WallTime when,
                  std::size_t recipients) {
  fmt::format_to(std::back_inserter(out), "begun {} {} {}\n", number, when.ms, recipients);
}

void append_ended(std::string& out, Fate fate, std::uint64_t number, base::WallTime when,
                  std::string_view text) {
  fmt::format_to(std::back_inserter(out), "{} {} {} {}\n", word_of(fate), number, when.ms,
                 base::printable(text, kMaxLedgerText));
}

void append_refused_recipient(std::string& out, std::uint64_t number, base::WallTime when,
                              std::size_t index, std::string_view reply) {
  fmt::format_to(std::back_inserter(out), "refused-recipient {} {} {} {}\n", number, when.ms, index,
                 base::printable(reply, kMaxLedgerText));
}

void append_taken(std::string& out, const Evidence& evidence, base::WallTime when,
                  const std::vector<std::string>& recipients) {
  auto to = std::back_inserter(out);
  if (evidence.kind == Evidence::Kind::kStrange)
    fmt::format_to(to, "{} {}", word_of(evidence.kind), when.ms);
  else
    fmt::format_to(to, "{} {}-{} {}", word_of(evidence.kind), evidence.run, evidence.number,
                   when.ms);
  for (const auto& address :
       evidence.kind == Evidence::Kind::kNotice ? evidence.recipients : recipients) {
    out += ' ';
    out += ledger_address(address);
  }
  out += '\n';
}

std::string ledger_address(std::string_view address) {
  auto text = base::printable(address, kMaxLedgerText);
  for (std::size_t at = text.find(' '); at != std::string::npos; at = text.find(' ', at))
    text.replace(at, 1, "\\x20");
  return text;
}

}  // namespace postern::bench
