// Listings of what the operator stopped.
#include "queued/listings.h"

namespace postern::queued {
namespace {

constexpr std::size_t kBlockRows = 24;

}  // namespace

ipc::BlockRow block_row(const Freeze& freeze) {
  return {.kind = ipc::BlockKind::kFreeze,
          .name = freeze.queue,
          .reason = freeze.reason,
          .who = freeze.who,
          .since = freeze.since,
          .until = freeze.until,
          .hop = freeze.hop,
          .keep_clock = freeze.keep_clock};
}

ipc::BlockRows list_blocks(const Engine& engine, const ipc::ListBlocks& ask) {
  std::vector<ipc::BlockRow> all;
  const auto& blocks = engine.blocks();
  const auto& outbound = blocks.outbound();
  if (outbound.disabled)
    all.push_back({.kind = ipc::BlockKind::kOutbound,
                   .reason = outbound.reason,
                   .who = outbound.who,
                   .since = outbound.since,
                   .all = outbound.all});
  if (const auto& intake = blocks.intake(); intake.disabled)
    all.push_back({.kind = ipc::BlockKind::kIntake,
                   .reason = intake.reason,
                   .who = intake.who,
                   .since = intake.since});
  for (const auto& freeze : blocks.freezes()) all.push_back(block_row(freeze));
  for (const auto& exception : blocks.exceptions())
    all.push_back({.kind = ipc::BlockKind::kException,
                   .name = exception.queue,
                   .reason = "not frozen, although it is a member",
                   .who = exception.who,
                   .since = exception.since,
                   .hop = exception.hop});
  for (const auto& hold : blocks.holds())
    all.push_back({.kind = ipc::BlockKind::kHold,
                   .name = conditions_text(hold.what),
                   .reason = hold.reason,
                   .who = hold.who,
                   .since = hold.since});
  for (const auto& lock : blocks.locks())
    all.push_back({.kind = ipc::BlockKind::kLock,
                   .name = lock.account,
                   .reason = lock.reason,
                   .who = lock.who,
                   .since = lock.since});
  ipc::BlockRows answer;
  answer.request = ask.request;
  for (std::size_t i = ask.after; i < all.size() && answer.rows.size() < kBlockRows; ++i)
    answer.rows.push_back(std::move(all[i]));
  answer.more = ask.after + answer.rows.size() < all.size();
  return answer;
}

}  // namespace postern::queued
