#include "common/mail/command.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/base/utf8.h"

namespace postern::mail {
namespace {

constexpr std::string_view kBlank = " \t";

struct Name {
  std::string_view text;
  Verb verb;
};
// Four letters each, but for the last ones.
constexpr std::array kShortNames{
    Name{"MAIL", Verb::kMail},    Name{"RCPT", Verb::kRcpt},    Name{"DATA", Verb::kData},
    Name{"EHLO", Verb::kEhlo},    Name{"QUIT", Verb::kQuit},    Name{"RSET", Verb::kRset},
    Name{"HELO", Verb::kHelo},    Name{"NOOP", Verb::kNoop},    Name{"VRFY", Verb::kVrfy},
    Name{"EXPN", Verb::kExpn},    Name{"HELP", Verb::kHelp},    Name{"AUTH", Verb::kAuth},
    Name{"BDAT", Verb::kBdat},    Name{"POST", Verb::kForeign}, Name{"HEAD", Verb::kForeign},
    Name{"ETRN", Verb::kEtrn},    Name{"ATRN", Verb::kAtrn},
};
constexpr std::array kLongNames{
    Name{"STARTTLS", Verb::kStartTls}, Name{"XCLIENT", Verb::kXclient},
    Name{"XFORWARD", Verb::kXforward}, Name{"GET", Verb::kForeign},
    Name{"PUT", Verb::kForeign},       Name{"CONNECT", Verb::kForeign},
    Name{"OPTIONS", Verb::kForeign},   Name{"DELETE", Verb::kForeign},
    Name{"TRACE", Verb::kForeign},     Name{"PATCH", Verb::kForeign},
    Name{"PRI", Verb::kForeign},
};

Verb find_verb(std::string_view word) noexcept {
  const auto find = [word](const auto& names) {
    for (const auto& entry : names)
      if (base::equals_ignoring_case(word, entry.text)) return entry.verb;
    return Verb::kUnknown;
  };
  return word.size() == 4 ? find(kShortNames) : find(kLongNames);
}

Reply refusal(std::uint16_t code, EnhancedCode enhanced, std::string text) {
  Reply reply{.code = code, .enhanced = enhanced, .lines = {}};
  reply.lines.push_back(std::move(text));
  return reply;
}

Reply syntax(std::string text) {
  return refusal(501, {5, 5, 4}, std::move(text));
}

bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t';
}

void skip_blanks(std::string_view& text) noexcept {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
}

// Takes the first word off `text`, and the blanks behind it.
std::string_view take_word(std::string_view& text) noexcept {
  const auto end = std::find_if(text.begin(), text.end(), is_blank);
  const auto word = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(word.size());
  skip_blanks(text);
  return word;
}

// The length of the path at the start of `text` up to its first `stop` outside quotes; npos: no
// such.
std::size_t find_outside_quotes(std::string_view text, std::string_view stop) noexcept {
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && std::find(stop.begin(), stop.end(), text[i]) != stop.end()) {
      return i;
    }
  }
  return std::string_view::npos;
}

// Without "@a,@b:" in front (RFC 5321 4.1.2 A-d-l: accepted and ignored); nullopt where it is
// malformed.
std::optional<std::string_view> without_source_route(std::string_view path) {
  if (path.empty() || path.front() != '@') return path;
  // The first colon may stand in a literal: [IPv6:...]
  std::size_t colon = 0;
  for (bool literal = false; colon < path.size() && (literal || path[colon] != ':'); ++colon)
    literal = path[colon] == '[' || (literal && path[colon] != ']');
  if (colon == path.size()) return std::nullopt;
  auto route = path.substr(0, colon);
  while (!route.empty()) {  // bounded by the line
    const auto hop = route.substr(0, route.find(','));
    if (hop.empty() || hop.front() != '@' || !Domain::parse(hop.substr(1))) return std::nullopt;
    route.remove_prefix(std::min(hop.size() + 1, route.size()));
  }
  return path.substr(colon + 1);
}

// Reads the text between the brackets into `command.path`, or sets its error.
void read_path(std::string_view text, Command& command) {
  const bool mail = command.verb == Verb::kMail;
  const EnhancedCode bad_address{5, 1, static_cast<std::uint16_t>(mail ? 7 : 3)};
  command.utf8_said = !base::is_ascii(text);
  const auto inner = without_source_route(text);
  if (!inner) {
    command.error = refusal(501, bad_address, "Bad source route");
    return;
  }
  if (inner->empty()) {
    if (!mail) command.error = refusal(501, bad_address, "Recipient needs an address");
    return;  // the null path is the default
  }
  auto address = Address::parse(*inner);
  // As a sender postmaster is nobody's in particular, so there it needs a domain as all others do.
  if (address && !(mail && address->domain().empty())) {
    command.path.kind = Path::Kind::kAddress;
    command.path.address = *std::move(address);
    return;
  }
  if (find_outside_quotes(*inner, "@") == std::string_view::npos) {
    command.path.kind = Path::Kind::kBare;
    command.path.local_part = *inner;
    static const Domain kShortest = Domain::parse("x").value();
    address = command.path.stamped(kShortest);
    if (address) return;
  }
  command.error = refusal(501, bad_address, "Bad address: " + address.error().text);
}

// A parameter that was given before is an error (RFC 5321 4.1.1.11 leaves no other reading).
bool refuse_second(std::string_view key, bool seen, Command& command) {
  if (seen) command.error = syntax(base::printable(key, 80) + " given twice");
  return seen;
}

// RFC 1870 3: of 20 digits at most. What is no number of ours is larger than any message may be.
std::optional<std::uint64_t> parse_size(std::string_view value) noexcept {
  static constexpr std::size_t kMostDigits = 20;
  if (value.empty() || value.size() > kMostDigits || value.find_first_not_of("0123456789") != std::string_view::npos)
    return std::nullopt;
  return base::parse_number(value).value_or(std::numeric_limits<std::uint64_t>::max());
}

// One "KEY" or "KEY=VALUE" of MAIL.
void read_mail_parameter(std::string_view word, std::string_view key, std::string_view value,
                         bool& body_seen, Command& command) {
  if (base::equals_ignoring_case(key, "SIZE")) {
    if (refuse_second(key, command.size.has_value(), command)) return;
    command.size = parse_size(value);
    if (!command.size) command.error = syntax("Bad SIZE");
  } else if (base::equals_ignoring_case(key, "BODY")) {
    if (refuse_second(key, std::exchange(body_seen, true), command)) return;
    if (base::equals_ignoring_case(value, "8BITMIME"))
      command.body = BodyType::k8BitMime;
    else if (base::equals_ignoring_case(value, "BINARYMIME"))
      command.body = BodyType::kBinaryMime;
    else if (!base::equals_ignoring_case(value, "7BIT"))
      command.error = syntax("BODY must be 7BIT, 8BITMIME or BINARYMIME");
  } else if (base::equals_ignoring_case(word, "SMTPUTF8")) {
    if (refuse_second(key, std::exchange(command.smtputf8, true), command)) return;
  } else if (base::equals_ignoring_case(word, "REQUIRETLS")) {
    if (refuse_second(key, std::exchange(command.require_tls, true), command)) return;
  } else if (base::equals_ignoring_case(key, "RET")) {
    if (refuse_second(key, command.ret != Return::kUnsaid, command)) return;
    const auto ret = parse_return(value);
    if (!ret) command.error = syntax("RET must be FULL or HDRS");
    command.ret = ret.value_or(Return::kUnsaid);
  } else if (base::equals_ignoring_case(key, "ENVID")) {
    if (refuse_second(key, !command.envid.empty(), command)) return;
    auto envid = EnvelopeId::parse(value);
    if (!envid) command.error = syntax("ENVID must be xtext of 1 to 100 characters");
    else command.envid = *std::move(envid);
  } else if (base::equals_ignoring_case(key, "AUTH")) {  // RFC 4954 5
    if (refuse_second(key, std::exchange(command.auth_said, true), command)) return;
    const auto named = from_xtext_bytes(value);
    if (value != "<>" && (!named || !Address::parse(*named)))
      command.error = syntax("AUTH must be an address in xtext, or <>");
  } else {
    command.error =
        refusal(555, {5, 5, 4}, "Parameter not recognized: " + base::printable(key, 80));
  }
}

// The same of RCPT.
void read_rcpt_parameter(std::string_view key, std::string_view value, Command& command) {
  if (base::equals_ignoring_case(key, "NOTIFY")) {
    if (refuse_second(key, command.notify.said(), command)) return;
    const auto notify = Notify::parse(value);
    if (!notify) command.error = syntax("NOTIFY must be NEVER or of SUCCESS, FAILURE, DELAY");
    command.notify = notify.value_or(Notify());
  } else if (base::equals_ignoring_case(key, "ORCPT")) {
    if (refuse_second(key, !command.orcpt.empty(), command)) return;
    auto orcpt = OriginalRecipient::parse(value);
    if (!orcpt)
      command.error = syntax("ORCPT must be a type, \";\" and xtext, of at most 500 characters");
    else
      command.orcpt = *std::move(orcpt);
  } else {
    command.error =
        refusal(555, {5, 5, 4}, "Parameter not recognized: " + base::printable(key, 80));
  }
}

// "FROM:" or "TO:", the path and its parameters.
void read_transaction(std::string_view rest, Command& command) {
  const bool mail = command.verb == Verb::kMail;
  const std::string_view keyword = mail ? "FROM:" : "TO:";
  const char* usage = mail ? "Syntax: MAIL FROM:<address>" : "Syntax: RCPT TO:<address>";
  if (!base::starts_with_ignoring_case(rest, keyword)) {
    command.error = syntax(usage);
    return;
  }
  rest.remove_prefix(keyword.size());
  skip_blanks(rest);
  const bool bracketed = !rest.empty() && rest.front() == '<';
  if (bracketed) rest.remove_prefix(1);
  auto length = find_outside_quotes(rest, bracketed ? ">" : kBlank);
  if (length == std::string_view::npos && !bracketed) length = rest.size();
  const bool closed = length != std::string_view::npos;
  const auto behind = closed ? rest.substr(length + (bracketed ? 1 : 0)) : std::string_view();
  if (!closed || (length == 0 && !bracketed) ||
      (!behind.empty() && !is_blank(behind.front()))) {
    command.error = syntax(usage);
    return;
  }
  read_path(rest.substr(0, length), command);
  if (command.error) return;

  auto parameters = base::trim(behind);
  bool body_seen = false;
  while (!parameters.empty()) {  // bounded by the line
    const auto word = take_word(parameters);
    const auto equals = word.find('=');
    const auto key = word.substr(0, equals);
    const auto value =
        equals == std::string_view::npos ? std::string_view() : word.substr(equals + 1);
    if (mail)
      read_mail_parameter(word, key, value, body_seen, command);
    else
      read_rcpt_parameter(key, value, command);
    if (command.error) return;
  }
}

void read_hello(std::string_view rest, Command& command) {
  if (!is_hello_name(rest)) {
    command.error =
        syntax(command.verb == Verb::kHelo ? "Syntax: HELO hostname" : "Syntax: EHLO hostname");
    return;
  }
  command.argument = rest;
}

// The mechanism, and behind blanks what it begins with.
void read_auth(std::string_view rest, Command& command) {
  command.argument = take_word(rest);
  if (command.argument.empty() || rest.find_first_of(kBlank) != std::string_view::npos)
    command.error = syntax("Syntax: AUTH mechanism [initial-response]");
  else if (!rest.empty())
    command.argument.append(1, ' ').append(rest);
}

// RFC 3030 2: a size, and LAST.
void read_bdat(std::string_view rest, Command& command) {
  const auto size = base::parse_number(take_word(rest));
  command.chunk = size.value_or(0);
  command.last_chunk = base::equals_ignoring_case(rest, "LAST");
  if (!size || (!rest.empty() && !command.last_chunk))
    command.error = syntax("Syntax: BDAT size [LAST]");
}

bool is_control(char c) noexcept {
  return (c >= 0 && c < ' ' && c != '\t') || c == 0x7F;
}

}  // namespace

std::string_view name(Verb verb) noexcept {
  switch (verb) {
    case Verb::kHelo:
      return "HELO";
    case Verb::kEhlo:
      return "EHLO";
    case Verb::kMail:
      return "MAIL";
    case Verb::kRcpt:
      return "RCPT";
    case Verb::kData:
      return "DATA";
    case Verb::kBdat:
      return "BDAT";
    case Verb::kRset:
      return "RSET";
    case Verb::kNoop:
      return "NOOP";
    case Verb::kQuit:
      return "QUIT";
    case Verb::kVrfy:
      return "VRFY";
    case Verb::kExpn:
      return "EXPN";
    case Verb::kHelp:
      return "HELP";
    case Verb::kStartTls:
      return "STARTTLS";
    case Verb::kAuth:
      return "AUTH";
    case Verb::kXclient:
      return "XCLIENT";
    case Verb::kXforward:
      return "XFORWARD";
    case Verb::kEtrn:
      return "ETRN";
    case Verb::kAtrn:
      return "ATRN";
    case Verb::kForeign:
      return "foreign";
    case Verb::kUnknown:
      return "unknown";
  }
  CHECK(false);
}

std::expected<Address, AddressError> Path::stamped(const Domain& domain) const {
  return Address::parse(local_part + '@' + domain.text());
}

Command parse_command(std::string_view line) {
  Command command;
  std::string_view rest = line;
  while (!rest.empty() && is_blank(rest.back())) rest.remove_suffix(1);
  command.verb = find_verb(take_word(rest));
  if (std::any_of(line.begin(), line.end(), is_control)) {
    command.error = refusal(500, {5, 5, 2}, "Control character in command");
    return command;
  }
  switch (command.verb) {
    case Verb::kHelo:
    case Verb::kEhlo:
      read_hello(rest, command);
      break;
    case Verb::kMail:
    case Verb::kRcpt:
      read_transaction(rest, command);
      break;
    case Verb::kData:
    case Verb::kRset:
    case Verb::kQuit:
    case Verb::kStartTls:
      if (!rest.empty())
        command.error = syntax(std::string(name(command.verb)) + " takes no argument");
      break;
    case Verb::kBdat:
      read_bdat(rest, command);
      break;
    case Verb::kEtrn:
      command.argument = rest;
      [[fallthrough]];
    case Verb::kVrfy:
    case Verb::kExpn:
      if (rest.empty())
        command.error = syntax(std::string(name(command.verb)) + " needs an argument");
      break;
    case Verb::kAuth:
      read_auth(rest, command);
      break;
    case Verb::kXclient:
    case Verb::kXforward:
    case Verb::kAtrn:
      command.argument = rest;
      break;
    case Verb::kNoop:
    case Verb::kHelp:
    case Verb::kForeign:
    case Verb::kUnknown:
      break;
  }
  return command;
}

}  // namespace postern::mail
