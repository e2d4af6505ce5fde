#include "ctl/explain_screen.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "common/base/check.h"
#include "common/base/utf8.h"
#include "ctl/human.h"
#include "ctl/screens.h"

namespace postern::ctl {
namespace {

using base::readable;
using ipc::Blocker;
using ipc::Obstacle;

constexpr std::size_t kNamed = 3;  // recipients of an explanation that are named on the screen

std::string line(std::string_view label, const std::string& text) {
  return text.empty() ? std::string() : fmt::format("  {:<9}{}\n", label, text);
}

std::string plural(std::uint64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

// "by anna since 12:03:17: "moving house"", as far as it is known.
std::string by_whom(const Obstacle& o, base::WallTime now) {
  std::string text;
  if (!o.who.empty()) text += " by " + readable(o.who);
  if (o.since.ms != 0) text += " since " + local_time(o.since, now);
  if (o.until.ms != 0) text += " until " + local_time(o.until, now);
  if (!o.reason.empty()) text += ": \"" + readable(o.reason, ipc::kReplyShown) + '"';
  return text;
}

std::string what_it_said(const std::string& reply, const std::string& remote) {
  if (reply.empty()) return {};
  return ": " + readable(reply, ipc::kReplyShown) +
         (remote.empty() ? "" : " from " + readable(remote));
}

std::string dead_text(const Obstacle& o, base::WallTime now) {
  // A queue has no colon in its name: its hosts are not known.
  const bool lost = o.name.find(':') == std::string::npos;
  auto text = lost ? fmt::format("the hosts of {} cannot be found, until {}", readable(o.name),
                                 local_time(o.until, now))
                   : fmt::format("next hop {} is dead until {}", readable(o.name),
                                 local_time(o.until, now));
  if (o.count > 0) text += " after " + plural(o.count, "failure");
  if (o.since.ms != 0) text += ", the last " + local_time(o.since, now);
  return text + what_it_said(o.reason, o.remote);
}

std::string text_of(const Obstacle& o, const std::string& queue, base::WallTime now) {
  switch (o.blocker) {
    case Blocker::kDelivering:
      return "in delivery" + (o.name.empty() ? "" : " to " + readable(o.name)) + by_whom(o, now);
    case Blocker::kConcluding:
      return "its outcome is being written down";
    case Blocker::kDamaged:
      return "its body is lost" + by_whom(o, now);
    case Blocker::kHeld:
      return o.count > 0 ? "all that is left of it is held: " + plural(o.count, "recipient")
                         : "held" + by_whom(o, now);
    case Blocker::kFrozen:
      return (o.name == queue ? "frozen" : "frozen by the pattern " + readable(o.name)) +
             by_whom(o, now);
    case Blocker::kHopFrozen:
      return "next hop " + readable(o.name) + " is frozen" +
             (o.freeze.empty() || o.freeze == o.name ? "" : " as --hop " + readable(o.freeze)) + by_whom(o, now);
    case Blocker::kOff:
      return "outbound is disabled" + by_whom(o, now);
    case Blocker::kRetry:
      return "its time has not come: " + local_time(o.until, now);
    case Blocker::kHopDead:
      return dead_text(o, now);
    case Blocker::kLoading:
      return "the server is still reading its mail after the start";
    case Blocker::kStarting:
      return "nothing goes out yet: deliverers still tell what they have from before";
    case Blocker::kNoDeliverer:
      return fmt::format("no {} process is there", readable(o.name));
    case Blocker::kLookup:
      return fmt::format("the hosts of {} are being looked up", readable(o.name));
    case Blocker::kUncalled:
      return fmt::format("waits until the host of {} calls (ATRN)", readable(o.name));
    case Blocker::kRate:
      return fmt::format("next hop {} had its rate; the next message goes {}", readable(o.name),
                         local_time(o.until, now));
    case Blocker::kConnections:
      return fmt::format("{} of {} connections to {} are busy{}{}", o.count, o.of,
                         readable(o.name), o.reason.empty() ? "" : "; ", readable(o.reason));
    case Blocker::kSlots:
      return fmt::format("{} of {} connections of the server are busy", o.count, o.of);
    case Blocker::kConnecting:
      return o.count == 1
                 ? fmt::format("a connection to {} is being opened", readable(o.name))
                 : fmt::format("{} connections to {} are being opened", o.count, readable(o.name));
    case Blocker::kTurn:
      return fmt::format("{} of its queue {} before it{}", plural(o.count, "message"),
                         o.count == 1 ? "goes" : "go",
                         o.until.ms == 0 ? "" : "; its turn is " + local_time(o.until, now));
  }
  CHECK(false);
}

std::string because(const std::vector<Obstacle>& obstacles, const std::string& queue,
                    base::WallTime now) {
  std::string out;
  for (const auto& obstacle : obstacles)
    out += line(out.empty() ? "Because" : "and",
                text_of(obstacle, queue, now) +
                    (obstacle.place.empty() ? "" : "  (" + readable(obstacle.place) + ")"));
  return out;
}

// "RETRY in 2h34m (04:49:11)", "FROZEN", "READY now".
std::string headline(ipc::State state, base::WallTime next, base::WallTime now) {
  auto text = upper(ipc::name(state));
  if (next.ms == 0 || state == ipc::State::kDelivering) return text;
  return next > now
             ? fmt::format("{} in {} ({})", text, span_text(next - now), local_time(next, now))
             : text + " now";
}

std::string way_text(const ipc::Way& way) {
  std::string text;
  switch (way.by) {
    case ipc::RoutedBy::kNothing:
      text = "by MX, for no route names it";
      break;
    case ipc::RoutedBy::kRoute:
      text = (way.place.empty() ? "a route" : readable(way.place)) + "  " + readable(way.via);
      break;
    case ipc::RoutedBy::kDomain:
      text = (way.place.empty() ? "a domain of ours" : readable(way.place)) + "  " +
             readable(way.via);
      break;
  }
  if (way.of > 1) text += fmt::format(" ({} of {})", way.number, way.of);
  if (way.via.starts_with("mx") && !way.hop.empty()) text += ": " + readable(way.hop);
  return text;
}

std::string retry_text(const ipc::RetryPlan& plan) {
  auto text = plan.place.empty() ? std::string("as by default") : readable(plan.place);
  if (plan.failure) text += fmt::format(" ({})", ipc::name(*plan.failure));
  return text;
}

std::string tries_text(const ipc::Explanation& e, base::WallTime now) {
  if (e.tries == 0) return "none of its own yet";
  return fmt::format("{}, the last {}", e.tries, local_time(e.last_try, now)) +
         what_it_said(e.last_reply, e.remote);
}

std::string list(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + readable(word);
  return text;
}

bool is_stopped(ipc::State state) {
  return state == ipc::State::kHeld || state == ipc::State::kFrozen || state == ipc::State::kOff;
}

// What happens first, if that is no time.
std::string first_step(ipc::State state, const std::vector<Obstacle>& obstacles,
                       base::WallTime next) {
  if (state == ipc::State::kDelivering) return "its outcome decides; ";
  if (next.ms != 0) return {};
  if (is_stopped(state)) return "nothing by itself; ";
  return obstacles.empty() ? "" : "it goes when that is over; ";
}

std::string failure_step(const ipc::RetryPlan& plan) {
  return fmt::format("{} {}", plan.repeats ? "after a failure every" : "after a failure again in",
                     span_text(plan.wait));
}

std::string deadline(std::string_view what, base::WallTime at, bool stands, base::WallTime now) {
  if (at.ms == 0) return {};
  if (at <= now) return fmt::format("; {} with the next failure", what);
  if (stands) return fmt::format("; {} when its clock ran {} more", what, span_text(at - now));
  return fmt::format("; {} at one after {}", what, local_time(at, now));  // a failure, that is
}

// As it is to be unfrozen: a host of a pattern by its own name, a set of them, or what is demanded of one, as it was frozen.
std::string frozen_as(const Obstacle& o) {
  const bool by_pattern = o.freeze.starts_with('*');
  const bool is_host = o.name.find_first_of(",>/") == std::string::npos;
  if (o.freeze.empty() || (by_pattern && is_host)) return readable(o.name);
  return by_pattern ? fmt::format("'{}'", readable(o.freeze)) : readable(o.freeze);
}

// The command that lifts what binds.
std::string remedy(const std::vector<Obstacle>& obstacles, const std::string& queue,
                   const std::string& selector) {
  if (obstacles.empty()) return {};
  const auto& first = obstacles.front();
  switch (first.blocker) {
    case Blocker::kHeld:
      return "posternctl release " + selector;
    case Blocker::kFrozen:
      return "posternctl unfreeze " + readable(queue);
    case Blocker::kHopFrozen:
      return "posternctl unfreeze --hop " + frozen_as(first);
    case Blocker::kOff:
      return "posternctl outbound enable";
    case Blocker::kRetry:
    case Blocker::kHopDead:
      return selector.empty() ? "" : "posternctl retry " + selector;
    case Blocker::kNoDeliverer:
      return "posternctl status";
    case Blocker::kDelivering:
    case Blocker::kConcluding:
    case Blocker::kDamaged:
    case Blocker::kLoading:
    case Blocker::kStarting:
    case Blocker::kLookup:
    case Blocker::kUncalled:
    case Blocker::kRate:
    case Blocker::kConnections:
    case Blocker::kSlots:
    case Blocker::kConnecting:
    case Blocker::kTurn:
      return {};
  }
  CHECK(false);
}

std::string names(const std::vector<mail::Address>& recipients) {
  std::string text;
  for (std::size_t i = 0; i < recipients.size() && i < kNamed; ++i)
    text += (i == 0 ? "" : ", ") + readable(recipients[i].text());
  if (recipients.size() > kNamed) text += fmt::format(" and {} more", recipients.size() - kNamed);
  return text;
}

std::string explanation(const ipc::Explanation& e, const MessageStory& story, base::WallTime now) {
  const std::string_view end = story.queued.from.is_null() ? "badmail" : "bounce";
  auto out = fmt::format("{}: {}\n", names(e.recipients), headline(e.state, e.next, now));
  if (!e.alias.empty()) out += fmt::format("  Alias    {}\n", readable(e.alias));
  out += because(e.obstacles, e.queue, now);
  out += line("Queue", readable(e.queue));
  out += line("Route", way_text(e.way));
  out += line("Retry", retry_text(e.retry));
  out += line("Tries", tries_text(e, now));
  out += line("TLS", readable(e.tls));
  out += line("Passed", list(e.passed));
  out += line("Then", first_step(e.state, e.obstacles, e.next) + failure_step(e.retry) +
                          deadline("notice", e.notice, e.clock_stands, now) +
                          deadline(end, e.expires, e.clock_stands, now));
  return out + line("Try", remedy(e.obstacles, e.queue, base::to_string(story.id)));
}

std::string ending(const ipc::HistoryRow& row, base::WallTime now) {
  auto out =
      fmt::format("{}: {} {}, {} after it came, {}\n", readable(row.to), upper(ipc::name(row.end)),
                  local_time(row.ended, now), span_text(row.ended - row.arrived),
                  row.tries == 1 ? "1 try" : fmt::format("{} tries", row.tries));
  out += line("Queue", readable(row.queue));
  if (!row.reply.empty())
    out += line("Reply", readable(row.reply, ipc::kHistoryReply) +
                             (row.remote.empty() ? "" : " from " + readable(row.remote)));
  return out + line("TLS", readable(row.tls));
}

std::string head(base::MessageId id, const mail::ReversePath& from, std::uint64_t size,
                 base::WallTime arrived, base::WallTime now) {
  return fmt::format("{} from {}, {}, {} ({} ago)\n", base::to_string(id), path_text(from),
                     size_text(size), local_time(arrived, now), span_text(now - arrived));
}

std::string hop_text(const ipc::HopFacts& hop, base::WallTime now) {
  auto text = readable(hop.name);
  if (hop.name.find(':') == std::string::npos) text = "its hosts are not known yet";
  text += hop.limit == 0 ? fmt::format(": {}", plural(hop.connections, "connection"))
                         : fmt::format(": {} of {} connections", hop.connections, hop.limit);
  if (hop.opening > 0) text += fmt::format(", {} opening", hop.opening);
  if (hop.idle > 0) text += fmt::format(", {} idle", hop.idle);
  if (hop.interval > 0)
    text += fmt::format(", {:.3g}/min", 60e6 / static_cast<double>(hop.interval));
  if (hop.queues > 1) text += fmt::format(", shared by {} queues", hop.queues);
  if (hop.dead_until.ms != 0) text += "; dead until " + local_time(hop.dead_until, now);
  if (hop.failures > 0) text += "; " + plural(hop.failures, "failure") + " in a row";
  if (hop.failed.ms != 0)
    text += ", the last " + local_time(hop.failed, now) + what_it_said(hop.last_reply, hop.remote);
  return text;
}

}  // namespace

namespace {

// Pages are made one after the other, and times are read off two clocks: what differs by seconds only is
// the same.
void take_if_near(base::WallTime& time, base::WallTime other) {
  constexpr std::int64_t kNear = 10'000;
  if (time.ms != 0 && other.ms != 0 && std::abs(time.ms - other.ms) < kNear) time = other;
}

bool is_same(ipc::Explanation one, const ipc::Explanation& other) {
  one.recipients = other.recipients;
  take_if_near(one.next, other.next);
  take_if_near(one.notice, other.notice);
  take_if_near(one.expires, other.expires);
  for (std::size_t i = 0; i < std::min(one.obstacles.size(), other.obstacles.size()); ++i) {
    take_if_near(one.obstacles[i].since, other.obstacles[i].since);
    take_if_near(one.obstacles[i].until, other.obstacles[i].until);
  }
  return one == other;
}

}  // namespace

void merge(std::vector<ipc::Explanation>& all, std::vector<ipc::Explanation> page) {
  for (auto& one : page) {
    const auto same = std::find_if(all.begin(), all.end(),
                                   [&](const auto& other) { return is_same(one, other); });
    if (same == all.end())
      all.push_back(std::move(one));
    else
      same->recipients.insert(same->recipients.end(), one.recipients.begin(), one.recipients.end());
  }
}

std::string explain_page(const MessageStory& story, base::WallTime now) {
  std::string out;
  if (story.queued.found) {
    const auto& m = story.queued;
    out = head(story.id, m.from, m.size, m.arrived, now);
    out += m.bounce
               ? "  a notice of our own\n"
               : fmt::format("  client {} ({})\n", base::to_string(m.client), readable(m.hello));
    if (m.origin.value != 0)
      out += fmt::format("  imported; its origin is {}\n", base::to_string(m.origin));
    for (const auto& one : m.explanations) out += explanation(one, story, now);
    if (m.ended > 0 && story.ended.empty())
      out += fmt::format("{} ended; the history does not tell how\n", plural(m.ended, "recipient"));
  } else if (!story.ended.empty()) {
    const auto& first = story.ended.front();
    out = head(story.id, first.from, first.size, first.arrived, now);
    out += fmt::format("  client {}; finished: nothing of it is in the queue\n",
                       base::to_string(first.client));
  }
  for (const auto& row : story.ended) out += ending(row, now);
  return out;
}

std::string explain_page(const ipc::QueueExplained& q, base::WallTime now) {
  auto out = fmt::format("{}: {}", readable(q.name), headline(q.state, q.next, now));
  if (!q.is_hop)
    out += fmt::format("; {} {}, the oldest {}", plural(q.messages, "message"), size_text(q.bytes),
                       q.oldest.ms == 0 ? "-" : span_text(now - q.oldest));
  out += '\n' + because(q.obstacles, q.name, now);
  if (!q.is_hop) {
    out += line("Route", way_text(q.way));
    out += line("Mail", fmt::format("ready {}  retry {}  held {}  delivering {}", q.ready,
                                    q.waiting, q.held, q.delivering));
  }
  for (const auto& hop : q.hops) out += line(hop.current ? "Next hop" : "or", hop_text(hop, now));
  if (q.is_hop) {
    auto text = list(q.queues);
    const auto all = q.hops.empty() ? 0U : q.hops.front().queues;
    if (all > q.queues.size()) text += fmt::format(" and {} more", all - q.queues.size());
    out += line("Queues", text.empty() ? "none leads there now" : text);
  }
  out += line("Retry", retry_text(q.retry));
  out += line("Passed", list(q.passed));
  out += line("Then", first_step(q.state, q.obstacles, q.next) + failure_step(q.retry));
  const auto selector = q.is_hop ? std::string() : "--queue " + readable(q.name);
  return out + line("Try", remedy(q.obstacles, q.name, selector));
}

}  // namespace postern::ctl
