#include "queued/history_listing.h"

#include <algorithm>
#include <utility>

#include "common/base/text.h"
#include "common/base/utf8.h"
#include "queued/blocks.h"

namespace postern::queued {
namespace {

constexpr std::size_t kRows = 25;

ipc::HistoryRow to_row(History::Row row) {
  ipc::HistoryRow out;
  out.id = row.line.id;
  out.ended = row.line.ended;
  out.arrived = row.line.arrived;
  out.size = row.line.size;
  out.client = row.line.client;
  out.from = std::move(row.line.from);
  out.to = std::move(row.recipient.to);
  out.queue = std::move(row.recipient.queue);
  out.end = row.recipient.end;
  out.tries = row.recipient.tries;
  out.remote = std::move(row.recipient.remote);
  out.reply = std::move(row.recipient.reply);
  out.tls = std::move(row.line.tls);
  return out;
}

ipc::HistoryRows to_answer(os::Result<History::Page> page) {
  ipc::HistoryRows answer;
  if (!page) {
    answer.error = page.error().text().substr(0, ipc::kMaxText);
    return answer;
  }
  answer.more = page->more;
  answer.next_after = {std::move(page->next.file), page->next.offset, page->next.recipients};
  for (auto& row : page->rows) answer.rows.push_back(to_row(std::move(row)));
  return answer;
}

// A line of history keeps the text of an address; it is parsed again only where it may have other forms.
bool mentions(const std::string& address, const std::string& part) {
  if (base::is_ascii(part)) return base::contains_ignoring_case(address, part);
  const auto parsed = mail::Address::parse(address);
  return parsed && parsed->mentions(part);
}

}  // namespace

bool selects(const ipc::Selector& s, const HistoryLine& line, const HistoryRecipient& recipient,
             base::WallTime now) {
  if (s.empty() || s.state || !s.message_id.empty()) return false;
  if (!s.ids.empty() && std::find(s.ids.begin(), s.ids.end(), line.id) == s.ids.end()) return false;
  if (s.from == "<>" ? !line.from.is_null() : !line.from.mentions(s.from)) return false;
  if (s.client && !s.client->contains(line.client)) return false;
  const auto age = now - line.arrived;
  if ((s.older && age <= *s.older) || (s.newer && age >= *s.newer)) return false;
  if ((s.larger && line.size <= *s.larger) || (s.smaller && line.size >= *s.smaller)) return false;
  return mentions(recipient.to, s.to) &&
         base::contains_ignoring_case(recipient.reply, s.error) &&
         (s.queue.empty() || matches(s.queue, recipient.queue));
}

// Nothing ends before it came, and an id tells when that was.
base::WallTime earliest_end(const ipc::Selector& selector, base::WallTime now) {
  constexpr base::Millis kSetBack{24LL * 3600 * 1000};  // of clocks
  base::WallTime since{0};
  if (selector.newer) since = std::max(since, now - *selector.newer - kSetBack);
  if (!selector.ids.empty()) {
    const auto first = *std::min_element(selector.ids.begin(), selector.ids.end());
    since = std::max(since, base::WallTime{static_cast<std::int64_t>(first.value / 1000)} - kSetBack);
  }
  return since;
}

void list_history(History* history, const ipc::ListHistory& ask, base::WallTime now,
                  std::move_only_function<void(const ipc::HistoryRows&) noexcept> answer) {
  if (history == nullptr) {
    ipc::HistoryRows none;
    none.request = ask.request;
    return answer(none);
  }
  history->read({ask.after.file, ask.after.offset, ask.after.recipients},
                earliest_end(ask.selector, now), kRows,
                [selector = ask.selector, now](const HistoryLine& line,
                                               const HistoryRecipient& recipient) {
                  return selects(selector, line, recipient, now);
                },
                [request = ask.request,
                 answer = std::move(answer)](os::Result<History::Page> page) mutable noexcept {
                  auto rows = to_answer(std::move(page));
                  rows.request = request;
                  answer(rows);
                });
}

}  // namespace postern::queued
