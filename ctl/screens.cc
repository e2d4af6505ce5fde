#include "ctl/screens.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/base/utf8.h"
#include "ctl/human.h"
#include "ctl/names.h"

namespace postern::ctl {
namespace {

using base::readable;

constexpr std::size_t kWholeAnswer = 16 * 1024;  // the longest one

std::string in_quotes(std::string_view text) {
  return '"' + readable(text) + '"';
}

std::string age(base::WallTime since, base::WallTime now) {
  return since.ms == 0 ? "-" : span_text(now - since);
}

// When it is tried next, as "now", a span to wait, or nothing that comes by itself.
std::string next_try(ipc::State state, base::WallTime at, base::WallTime now) {
  switch (state) {
    case ipc::State::kReady:
    case ipc::State::kRetry:
      return at <= now ? "now" : "in " + span_text(at - now);
    case ipc::State::kDelivering:
      return "now";
    case ipc::State::kFrozen:
    case ipc::State::kOff:
    case ipc::State::kHeld:
    case ipc::State::kUncalled:
      return "-";
  }
  CHECK(false);
}

// As it is typed.
std::string block_name(const ipc::BlockRow& row) {
  return (row.hop ? "--hop " : "") + readable(row.name);
}

std::string header(const ipc::Status& s) {
  const auto left = fmt::format("postern {}  {}  up {}", readable(s.version),
                                readable(s.hostname), span_text(s.uptime));
  return fmt::format("{:<54} {}\n", left, local_now(s.now));
}

std::string attention(const ipc::Status& s) {
  if (s.attention.empty()) return {};
  std::string out = "ATTENTION ";
  for (std::size_t i = 0; i < s.attention.size(); ++i)
    out += (i == 0 ? "" : "; ") + readable(s.attention[i]);
  return out + '\n';
}

std::string until_text(base::WallTime until, base::WallTime now) {
  return until.ms == 0 ? std::string() : " until " + local_time(until, now);
}

// "DISABLED 02:12:07 by anna: "spam run""
std::string disabled(base::WallTime since, std::string_view who, std::string_view reason,
                     base::WallTime now) {
  return fmt::format("DISABLED {} by {}: {}", local_time(since, now), readable(who),
                     in_quotes(reason));
}

std::string outbound(const ipc::Status& s) {
  if (s.outbound_enabled) return fmt::format("OUTBOUND  on, {} in flight\n", s.in_flight);
  std::string spared;
  for (const auto& name : s.outbound_spared)
    spared += (spared.empty() ? "" : ", ") + readable(name);
  if (s.outbound_all)
    spared = "none but local";
  else if (spared.empty())
    spared = "local";
  return fmt::format("OUTBOUND  {}   clocks stopped\n          {} in flight; spared: {}\n",
                     disabled(s.outbound_since, s.outbound_who, s.outbound_reason, s.now),
                     s.in_flight, spared);
}

std::string intake(const ipc::Status& s) {
  const auto rates = fmt::format("{}/min; refused {}/min", s.accepted_minute, s.refused_minute);
  if (s.intake_open) return fmt::format("INTAKE    on, {}\n", rates);
  if (s.intake_disabled)
    return fmt::format("INTAKE    {}\n          {}\n",
                       disabled(s.intake_since, s.intake_who, s.intake_reason, s.now), rates);
  return fmt::format("INTAKE    CLOSED: {}; {}\n", readable(s.intake_reason), rates);
}

// What is frozen, the first few in full.
std::string frozen(const ipc::Status& s) {
  std::string out;
  for (const auto& row : s.freezes)
    out += fmt::format("{}{}{} by {}: {}{}\n", out.empty() ? "FROZEN    " : "          ",
                       block_name(row), until_text(row.until, s.now), readable(row.who),
                       in_quotes(row.reason), row.keep_clock ? "   clocks go on" : "");
  if (s.freeze_count > s.freezes.size())
    out += fmt::format("          and {} more: posternctl blocks\n",
                       s.freeze_count - s.freezes.size());
  return out;
}

// A count that took long is of an earlier moment.
std::string expiring(const ipc::Status& s) {
  constexpr base::Millis kFresh{5'000};
  if (!s.expiring) return "; expire within 24h: not counted yet";
  const bool fresh = s.now - s.expiring_when < kFresh;
  return fmt::format("; expire within 24h: {}{}", *s.expiring,
                     fresh ? std::string() : fmt::format(" (counted {} ago)", age(s.expiring_when, s.now)));
}

std::string queue(const ipc::Status& s) {
  auto out = fmt::format("QUEUE     {} message{}", s.messages, s.messages == 1 ? "" : "s");
  if (s.messages > 0)
    out += fmt::format(" {}; oldest {}{}", size_text(s.bytes), age(s.oldest, s.now), expiring(s));
  out += fmt::format("\n          ready {}  ", s.ready);
  if (s.uncalled > 0) out += fmt::format("uncalled {}  ", s.uncalled);  // most servers know of no such mail
  return out + fmt::format("retry {}  off {}  frozen {}  held {}  delivering {}\n", s.retry, s.off, s.frozen, s.held,
                           s.delivering);
}

std::string collects(const ipc::Status& s) {
  std::string out;
  for (const auto& row : s.collects) {
    out += fmt::format("{}  {}  ", out.empty() ? "COLLECT " : "        ", readable(row.from));
    if (row.serving)
      out += "is sending";
    else if (row.calling)
      out += "calling";
    else if (row.next.ms == 0)
      out += "not called while no mail is taken";
    else
      out += fmt::format("next call {}", local_time(row.next, s.now));
    if (row.last.ms != 0) out += fmt::format("; last {}: {}", local_time(row.last, s.now), readable(row.result));
    out += '\n';
  }
  return out;
}

std::string processes(const ipc::Status& s) {
  std::string out = "PROCESS ";
  std::uint32_t deaths = 0;
  for (const auto& row : s.processes) {
    out += fmt::format("  {} {}/{}", name(row.role), row.running, row.wanted);
    deaths += row.deaths;
  }
  return out + fmt::format("; deaths: {}\n", deaths);
}

// Why something does not move, and until when, if that is known.
std::string why_text(std::string_view why, base::WallTime until, base::WallTime now) {
  const auto text = readable(why);
  return until.ms == 0 ? text : fmt::format("until {}: {}", local_time(until, now), text);
}

std::string recipient(const ipc::RecipientRow& row, base::WallTime now) {
  const bool open = row.end == ipc::RecipientEnd::kOpen;
  auto out = fmt::format("{}  {}", readable(row.address.text()),
                         upper(open ? name(row.state) : name(row.end)));
  if (open && row.state == ipc::State::kRetry)
    out += fmt::format(" {} ({})", next_try(row.state, row.next_try, now),
                       local_time(row.next_try, now));
  out += '\n';
  if (!row.alias.empty()) out += fmt::format("  Alias    {}\n", readable(row.alias));
  if (!row.sender.empty()) out += fmt::format("  Sender   {}, of the list\n", readable(row.sender));
  out += fmt::format("  Queue    {}\n", readable(row.queue));
  if (!row.why.empty()) out += fmt::format("  Because  {}\n", why_text(row.why, row.until, now));
  if (row.tries > 0)
    out += fmt::format("  Tries    {}, last {}\n", row.tries, local_time(row.last_try, now));
  if (!row.last_reply.empty())
    out += fmt::format("  Reply    {}{}{}\n", readable(row.last_reply),
                       row.remote.empty() ? "" : "  from ", readable(row.remote));
  if (!row.tls.empty()) out += fmt::format("  TLS      {}\n", readable(row.tls));
  return out;
}

}  // namespace

std::string upper(std::string_view text) {
  std::string out(text);
  for (auto& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}

std::string path_text(const mail::ReversePath& path) {
  return path.is_null() ? "<>" : readable(path.address().text());
}

std::string status_screen(const ipc::Status& s) {
  auto out = header(s) + attention(s) + outbound(s) + intake(s) + queue(s) + frozen(s);
  out += fmt::format("OUT       delivered {}/min  deferred {}/min  failed {}/min  bounces {}/min\n",
                     s.delivered_minute, s.deferred_minute, s.failed_minute, s.bounces_minute);
  out += fmt::format("DISK      {} free; intake stops at {}; journal {}  large {}\n",
                     size_text(s.disk_free), size_text(s.stop_intake), size_text(s.journal_bytes),
                     size_text(s.large_bytes));
  out += fmt::format("          flush p99 {}ms; {} records in {} flushes\n", s.flush_p99.count(),
                     s.records, s.flushes);
  return out + collects(s) + processes(s);
}

Table queue_table(std::size_t line_width) {
  return {{{"QUEUE"},
           {"STATE"},
           {"MESSAGES", Align::kRight},
           {"SIZE", Align::kRight},
           {"OLDEST", Align::kRight},
           {"NEXT TRY", Align::kRight},
           {"CONNECTIONS", Align::kRight},
           {"WHY"}},
          line_width};
}

Table hop_table(std::size_t line_width) {
  return {{{"NEXT HOP"},
           {"STATE"},
           {"QUEUES", Align::kRight},
           {"READY", Align::kRight},
           {"NEXT TRY", Align::kRight},
           {"CONNECTIONS", Align::kRight},
           {"WHY"}},
          line_width};
}

void add_row(Table& table, const ipc::QueueRow& row, base::WallTime now) {
  if (row.hop)
    return table.add({readable(row.queue), name(row.state),
                      std::to_string(row.queues), std::to_string(row.messages),
                      next_try(row.state, row.next_try, now), std::to_string(row.connections),
                      readable(row.why)});
  table.add({readable(row.queue), name(row.state), std::to_string(row.messages),
             size_text(row.bytes), age(row.oldest, now),
             row.messages == 0 ? "-" : next_try(row.state, row.next_try, now),
             std::to_string(row.connections),
             why_text(row.why.empty() ? row.last_reply : row.why, row.until, now)});
}

Table message_table(std::size_t line_width) {
  return {{{"ID"},
           {"STATE"},
           {"AGE", Align::kRight},
           {"SIZE", Align::kRight},
           {"NEXT TRY", Align::kRight},
           {"FROM"},
           {"TO"},
           {"WHY"}},
          line_width};
}

void add_row(Table& table, const ipc::MessageRow& row, base::WallTime now) {
  auto to = readable(row.to);
  if (!row.alias.empty()) to += fmt::format(" (alias {})", readable(row.alias));
  if (row.recipients > 1) to += fmt::format(" +{}", row.recipients - 1);
  table.add({base::to_string(row.id), name(row.state), age(row.arrived, now),
             size_text(row.size), next_try(row.state, row.next_try, now), path_text(row.from),
             to, why_text(row.why, row.until, now)});
}

Table block_table(std::size_t line_width) {
  return {{{"BLOCK"}, {"NAME"}, {"SINCE"}, {"UNTIL"}, {"CLOCKS"}, {"WHO"}, {"REASON"}}, line_width};
}

void add_row(Table& table, const ipc::BlockRow& row, base::WallTime now) {
  const bool stops_mail =
      row.kind != ipc::BlockKind::kIntake && row.kind != ipc::BlockKind::kException &&
      row.kind != ipc::BlockKind::kLock;
  const std::string of = row.kind == ipc::BlockKind::kOutbound ? (row.all ? "all" : "but internal routes")
                                                         : block_name(row);
  table.add({name(row.kind), of, local_time(row.since, now),
             local_time(row.until, now),
             !stops_mail      ? "-"
             : row.keep_clock ? "go on"
                              : "stopped",
             readable(row.who), readable(row.reason)});
}

std::string stopped_line(const ipc::Done& done, base::WallTime until, base::WallTime now) {
  return fmt::format("{}{}, {} in flight\n", readable(done.text, kWholeAnswer),
                     until_text(until, now), done.in_flight.value_or(0));
}

std::string quiet_lines(const ipc::Quiet& quiet) {
  auto out = fmt::format("{} in flight\n", quiet.in_flight);
  if (quiet.may_repeat_count == 0) return out;
  out +=
      fmt::format("{} may arrive twice, for the final dot had been sent:\n",
                  quiet.may_repeat_count == 1 ? "1 message"
                                              : fmt::format("{} messages", quiet.may_repeat_count));
  for (const auto id : quiet.may_repeat) out += base::to_string(id) + '\n';
  if (quiet.may_repeat.size() < quiet.may_repeat_count)
    out += fmt::format("and {} more; their last reply tells\n",
                       quiet.may_repeat_count - quiet.may_repeat.size());
  return out;
}

Table history_table(std::size_t line_width) {
  return {{{"ENDED"},
           {"ID"},
           {"END"},
           {"AFTER", Align::kRight},
           {"TRIES", Align::kRight},
           {"SIZE", Align::kRight},
           {"FROM"},
           {"TO"},
           {"REMOTE"},
           {"REPLY"},
           {"TLS"}},
          line_width};
}

void add_row(Table& table, const ipc::HistoryRow& row, base::WallTime now) {
  table.add({local_time(row.ended, now), base::to_string(row.id), name(row.end),
             age(row.arrived, row.ended), std::to_string(row.tries), size_text(row.size),
             path_text(row.from), readable(row.to), readable(row.remote), readable(row.reply),
             readable(row.tls)});
}

std::string message_page(base::MessageId id, const ipc::Shown& shown, base::WallTime now) {
  auto out =
      fmt::format("{} from {}, {}, {} ({} ago)\n", base::to_string(id), path_text(shown.from),
                  size_text(shown.size), local_time(shown.arrived, now), age(shown.arrived, now));
  if (shown.bounce)
    out += "  a notice of our own";
  else
    out += fmt::format("  client {} ({})", base::to_string(shown.client), readable(shown.hello));
  out += fmt::format("; expires {}\n", local_time(shown.expires, now));
  if (shown.requires_tls) out += "  its sender requires TLS on its whole way (REQUIRETLS)\n";
  if (shown.origin.value != 0)
    out += fmt::format("  imported; its origin is {}\n", base::to_string(shown.origin));
  for (const auto& row : shown.recipients) out += recipient(row, now);
  return out;
}

std::string terminal_text(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    if (c == '\n' || c == '\t' || c == '\\')
      out += c;
    else
      out += readable({&c, 1});
  }
  return out;
}

std::string ascii_text(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (base::is_ascii({&c, 1}))
      out += c;
    else
      out += base::printable({&c, 1});
  return out;
}

bool shows_utf8(std::string_view lc_all, std::string_view lc_ctype, std::string_view lang) {
  const auto locale = !lc_all.empty() ? lc_all : !lc_ctype.empty() ? lc_ctype : lang;
  return base::contains_ignoring_case(locale, "utf-8") || base::contains_ignoring_case(locale, "utf8");
}

std::string plain(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto end = text.find('\n');
    out += readable(text.substr(0, end), kWholeAnswer) + '\n';
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return out;
}

}  // namespace postern::ctl
