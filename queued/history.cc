#include "queued/history.h"

#include <algorithm>
#include <utility>

#include "common/log/log.h"
#include "queued/notices.h"
#include "queued/retry.h"

namespace postern::queued {
namespace {

constexpr base::Millis kTrimEvery{60'000};
constexpr std::size_t kHandOver = 64 * 1024;  // bytes; fewer wait for the next second

ipc::HistoryEnd end_of(const Message& message, const RecipientFate& fate, const Route& route) {
  if (fate.fate == Fate::kFailed) {
    if (!has_sender(message)) return ipc::HistoryEnd::kBadmail;
    const Recipient* recipient = find_recipient(message, fate.number);
    return recipient->notify.failure() ? ipc::HistoryEnd::kBounced : ipc::HistoryEnd::kFailed;
  }
  if (fate.fate == Fate::kRemoved) return ipc::HistoryEnd::kRemoved;
  return route.destination.via.front().kind == config::HopKind::kDiscard
             ? ipc::HistoryEnd::kDiscarded
             : ipc::HistoryEnd::kDelivered;
}

}  // namespace

std::vector<HistoryLine> history_lines(const Message& message,
                                       const std::vector<RecipientFate>& fates,
                                       const std::string& remote, const std::string& tls,
                                       base::WallTime when, const Router& router) {
  std::vector<HistoryLine> lines;
  for (const auto& fate : fates) {
    const Recipient* recipient = find_recipient(message, fate.number);
    if (fate.fate == Fate::kDeferred || recipient == nullptr) continue;
    if (lines.empty() || lines.back().recipients.size() == kHistoryRecipients)
      lines.push_back({when, message.id, message.arrived, message.size(), message.client,
                       message.from, tls, {}});
    const auto route = router.route(recipient->address);
    lines.back().recipients.push_back({end_of(message, fate, route), fate.fate == Fate::kRemoved ? recipient->tries : recipient->tries_so_far(),
                                       route.queue, remote.substr(0, ipc::kMaxRemote),
                                       text_of(fate.reply).substr(0, ipc::kHistoryReply),
                                       recipient->address.text()});
  }
  return lines;
}

History::History(Worker& worker, os::Disk& disk, const base::Clock& clock, HistoryLimits limits)
    : worker_(worker),
      clock_(clock),
      limits_(limits),
      files_(std::make_shared<HistoryFiles>(disk)) {}

History::~History() { *alive_ = false; }

void History::add(const std::vector<HistoryLine>& lines) {
  if (!limits_.wanted()) return;
  for (const auto& line : lines) {
    auto text = encode_history(line);
    if (unwritten_ + gathered_.size() + text.size() > kMaxUnwritten) {
      ++dropped_;
      continue;
    }
    gathered_ += text;
    ++gathered_lines_;
  }
  if (gathered_.size() >= kHandOver) hand_over();
}

void History::hand_over() {
  if (gathered_.empty()) return;
  unwritten_ += gathered_.size();
  worker_.post([this, alive = alive_, files = files_, lines = std::exchange(gathered_, {}),
                count = std::exchange(gathered_lines_, 0), wall = clock_.wall(),
                steady = clock_.steady(), limits = limits_]() noexcept -> event::Callback {
    auto result = files->append(lines, wall, limits);
    (void)files->trim(wall, steady, limits);
    return [this, alive, result = std::move(result), bytes = lines.size(), count]() noexcept {
      if (*alive) written(result, bytes, count);
    };
  });
}

void History::written(const os::Result<void>& result, std::size_t bytes, std::uint64_t lines) {
  unwritten_ -= bytes;
  if (!result) dropped_ += lines;
  if (failing_ == !result) return;
  failing_ = !result;
  if (result)
    log::info("history.written").field("dropped", dropped_);
  else
    log::warning("history.unwritten").field("reason", result.error().text());
}

void History::tick() {
  hand_over();
  const auto now = clock_.steady();
  if (now - trimmed_ < kTrimEvery) return;
  trimmed_ = now;
  worker_.post([files = files_, wall = clock_.wall(), now,
                limits = limits_]() noexcept -> event::Callback {
    (void)files->trim(wall, now, limits);
    return {};
  });
}

void History::settle(event::Callback done) {
  hand_over();
  worker_.post([done = std::move(done)]() mutable noexcept -> event::Callback {
    return std::move(done);
  });
}

void History::read(HistoryCursor after, base::WallTime since, std::size_t rows, Wanted wanted,
                   Read read) {
  hand_over();
  worker_.post([files = files_, page = Page{{}, std::move(after), false}, since, rows,
                wanted = std::move(wanted),
                read = std::move(read)]() mutable noexcept -> event::Callback {
    auto more = files->read(page.next, since,
                            [&](const HistoryLine& line, const HistoryRecipient& recipient) {
                              if (!wanted(line, recipient)) return true;
                              if (page.rows.size() == rows) return false;
                              auto& row = page.rows.emplace_back(Row{line, recipient});
                              row.line.recipients.clear();
                              return true;
                            });
    page.more = more.value_or(false);
    os::Result<Page> answer = more ? os::Result<Page>(std::move(page))
                                   : std::unexpected(std::move(more.error()));
    return [read = std::move(read), answer = std::move(answer)]() mutable noexcept {
      read(std::move(answer));
    };
  });
}

}  // namespace postern::queued
