#include "queued/backlog.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "common/base/check.h"

namespace postern::queued {
namespace {

constexpr unsigned kStageShift = 62;

using Halves = std::array<std::uint32_t, 2>;

Halves halves(std::uint64_t value) { return std::bit_cast<Halves>(value); }
std::uint64_t whole(Halves value) { return std::bit_cast<std::uint64_t>(value); }

std::uint64_t standing(Stage stage, std::uint64_t rank) {
  return static_cast<std::uint64_t>(stage) << kStageShift | rank;
}
Stage stage_of(std::uint64_t standing) { return static_cast<Stage>(standing >> kStageShift); }
std::uint64_t rank_of(std::uint64_t standing) { return standing & Backlog::kMaxRank; }

}  // namespace

// --- Nodes ------------------------------------------------------------------------------------------

Backlog::Key Backlog::Packed::key() const {
  return {queue, base::MessageId(whole(message)), number};
}

Backlog::Entry Backlog::Packed::unpack() const {
  return {key(), stage_of(whole(standing)), rank_of(whole(standing)), size};
}

Backlog::Packed Backlog::pack(const Entry& entry) {
  static_assert(sizeof(Packed) == 28);
  return {halves(entry.key.message.value), halves(standing(entry.stage, entry.rank)),
          entry.key.queue, entry.key.number, entry.size};
}

std::size_t Backlog::Leaf::position(const Key& key) const {
  const auto end = entries.begin() + count;
  const auto at = std::partition_point(
      entries.begin(), end, [&](const Packed& entry) { return entry.key() < key; });
  return static_cast<std::size_t>(at - entries.begin());
}

void Backlog::Summary::count_in(Stage stage, std::uint64_t rank) {
  if (stage == Stage::kReady) ready = std::min(ready, rank);
  if (stage == Stage::kWaiting) waiting = std::min(waiting, rank);
}

void Backlog::Summary::count_in(const Summary& other) {
  ready = std::min(ready, other.ready);
  waiting = std::min(waiting, other.waiting);
}

std::uint64_t Backlog::Summary::of(Stage stage) const {
  CHECK(stage == Stage::kReady || stage == Stage::kWaiting);
  return stage == Stage::kReady ? ready : waiting;
}

std::size_t Backlog::Child::count() const { return leaf ? leaf->count : inner->children.size(); }

bool Backlog::Child::full() const { return count() == (leaf ? kLeafRoom : kInnerRoom); }

void Backlog::Child::summarize() {
  summary = {};
  if (inner) {
    for (const auto& child : inner->children) summary.count_in(child.summary);
    return;
  }
  for (std::size_t i = 0; i < leaf->count; ++i) {
    const auto value = whole(leaf->entries[i].standing);
    summary.count_in(stage_of(value), rank_of(value));
  }
}

// The last one that begins at or before the key; the first one takes what is before all.
std::size_t Backlog::Inner::position(const Key& key) const {
  const auto after = std::partition_point(
      children.begin() + 1, children.end(),
      [&](const Child& child) { return child.from <= key; });
  return static_cast<std::size_t>(after - children.begin()) - 1;
}

Backlog::Backlog() : root_(std::make_unique<Inner>()) {
  root_->children.push_back({.leaf = std::make_unique_for_overwrite<Leaf>()});
}
Backlog::~Backlog() = default;
Backlog::Backlog(Backlog&&) noexcept = default;
Backlog& Backlog::operator=(Backlog&&) noexcept = default;

// --- Changes ----------------------------------------------------------------------------------------

void Backlog::insert(const Entry& entry) {
  if (root_->children.size() == kInnerRoom) {
    Child old{.from = root_->children.front().from, .inner = std::move(root_)};
    old.summarize();
    root_ = std::make_unique<Inner>();
    root_->children.push_back(std::move(old));
  }
  insert(*root_, entry);
  ++size_;
}

// Full nodes are split on the way down, so there is room for a further child wherever one is needed.
void Backlog::insert(Inner& node, const Entry& entry) {
  auto i = node.position(entry.key);
  if (node.children[i].full()) {
    split(node, i, entry.key);
    i = node.position(entry.key);
  }
  Child& child = node.children[i];
  child.from = std::min(child.from, entry.key);
  child.summary.count_in(entry.stage, entry.rank);
  if (child.inner) return insert(*child.inner, entry);
  Leaf& leaf = *child.leaf;
  const auto at = leaf.position(entry.key);
  const auto end = leaf.entries.begin() + leaf.count;
  CHECK(at == leaf.count || leaf.entries[at].key() != entry.key);
  std::move_backward(leaf.entries.begin() + at, end, end + 1);
  leaf.entries[at] = pack(entry);
  ++leaf.count;
}

// In the middle; but where mail comes in the order of its numbers, behind all of the node or behind all of a
// long queue in it, at that point: halves that nobody adds to would stay half empty.
void Backlog::split(Inner& node, std::size_t i, const Key& key) {
  Child& left = node.children[i];
  Child right;
  if (left.leaf) {
    auto& entries = left.leaf->entries;
    right.leaf = std::make_unique_for_overwrite<Leaf>();
    constexpr auto kHalf = kLeafRoom / 2;
    const auto at = left.leaf->position(key);
    const bool at_queue_end = at >= kHalf && entries[at - kHalf].queue == key.queue &&
                              (at == kLeafRoom || entries[at].queue != key.queue);
    const auto keep = at == kLeafRoom || at_queue_end ? at : kHalf;
    right.from = keep == kLeafRoom ? key : entries[keep].key();
    std::copy(entries.begin() + keep, entries.end(), right.leaf->entries.begin());
    left.leaf->count = static_cast<std::uint32_t>(keep);
    right.leaf->count = static_cast<std::uint32_t>(kLeafRoom - keep);
  } else {
    auto& children = left.inner->children;
    const bool last = left.inner->position(key) == kInnerRoom - 1;
    const auto keep = children.begin() + (last ? kInnerRoom - 1 : kInnerRoom / 2);
    right.inner = std::make_unique<Inner>();
    right.from = keep->from;
    right.inner->children.assign(std::make_move_iterator(keep),
                                 std::make_move_iterator(children.end()));
    children.erase(keep, children.end());
  }
  left.summarize();
  right.summarize();
  node.children.insert(node.children.begin() + static_cast<std::ptrdiff_t>(i) + 1, std::move(right));
}

void Backlog::update(const Entry& entry) { (void)update(*root_, entry); }

bool Backlog::update(Inner& node, const Entry& entry) {
  Child& child = node.children[node.position(entry.key)];
  if (child.inner) {
    if (!update(*child.inner, entry)) return false;
  } else {
    const auto at = child.leaf->position(entry.key);
    CHECK(at < child.leaf->count && child.leaf->entries[at].key() == entry.key);
    child.leaf->entries[at] = pack(entry);
  }
  const auto before = child.summary;
  child.summarize();
  return child.summary != before;
}

void Backlog::erase(const Key& key) {
  (void)erase(*root_, key);
  --size_;
  while (root_->children.size() == 1 && root_->children.front().inner)
    root_ = std::move(root_->children.front().inner);
}

bool Backlog::erase(Inner& node, const Key& key) {
  const auto i = node.position(key);
  Child& child = node.children[i];
  const auto room = child.leaf ? kLeafRoom : kInnerRoom;
  if (child.inner) {
    if (!erase(*child.inner, key)) return false;
  } else {
    Leaf& leaf = *child.leaf;
    const auto at = leaf.position(key);
    CHECK(at < leaf.count && leaf.entries[at].key() == key);
    std::move(leaf.entries.begin() + at + 1, leaf.entries.begin() + leaf.count,
              leaf.entries.begin() + at);
    --leaf.count;
  }
  const auto before = child.summary;
  child.summarize();
  const bool changed = child.summary != before;
  if (child.count() > room / 2 || node.children.size() == 1) return changed;
  const auto left = i + 1 < node.children.size() ? i : i - 1;
  const auto both = node.children[left].count() + node.children[left + 1].count();
  if (both > (child.count() == 0 ? room : room * 3 / 4)) return changed;
  merge(node, left);
  return true;  // there may be so few children now that the parent merges too
}

// The child behind goes into this one.
void Backlog::merge(Inner& node, std::size_t i) {
  Child& left = node.children[i];
  Child& right = node.children[i + 1];
  if (left.leaf) {
    std::copy_n(right.leaf->entries.begin(), right.leaf->count,
                left.leaf->entries.begin() + left.leaf->count);
    left.leaf->count += right.leaf->count;
  } else {
    std::move(right.inner->children.begin(), right.inner->children.end(),
              std::back_inserter(left.inner->children));
  }
  left.summary.count_in(right.summary);
  node.children.erase(node.children.begin() + static_cast<std::ptrdiff_t>(i) + 1);
}

// --- Looking ----------------------------------------------------------------------------------------

std::optional<Backlog::Entry> Backlog::find(const Key& key) const {
  auto found = at_or_after(key);
  if (found && found->key != key) found.reset();
  return found;
}

std::optional<Backlog::Entry> Backlog::at_or_after(const Key& key) const {
  const Packed* found = at_or_after(*root_, key);
  return found == nullptr ? std::nullopt : std::optional(found->unpack());
}

const Backlog::Packed* Backlog::at_or_after(const Inner& node, const Key& key) {
  for (auto i = node.position(key); i < node.children.size(); ++i) {
    const Child& child = node.children[i];
    if (child.inner) {
      if (const Packed* found = at_or_after(*child.inner, key)) return found;
    } else if (const auto at = child.leaf->position(key); at < child.leaf->count) {
      return &child.leaf->entries[at];
    }
  }
  return nullptr;
}

std::optional<Backlog::Entry> Backlog::before(const Key& key) const {
  const Packed* found = before(*root_, key);
  return found == nullptr ? std::nullopt : std::optional(found->unpack());
}

const Backlog::Packed* Backlog::before(const Inner& node, const Key& key) {
  for (auto i = node.position(key) + 1; i-- > 0;) {
    const Child& child = node.children[i];
    if (child.inner) {
      if (const Packed* found = before(*child.inner, key)) return found;
    } else if (const auto at = child.leaf->position(key); at > 0) {
      return &child.leaf->entries[at - 1];
    }
  }
  return nullptr;
}

std::optional<Backlog::Entry> Backlog::first(Stage stage, const Key& from, const Key& to,
                                             std::uint64_t rank) const {
  const Packed* found = first(*root_, stage, from, to, rank);
  return found == nullptr ? std::nullopt : std::optional(found->unpack());
}

const Backlog::Packed* Backlog::first(const Inner& node, Stage stage, const Key& from,
                                      const Key& to, std::uint64_t rank) {
  for (auto i = node.position(from); i < node.children.size(); ++i) {
    const Child& child = node.children[i];
    if (child.from >= to) return nullptr;
    if (child.summary.of(stage) > rank) continue;
    if (child.inner) {
      if (const Packed* found = first(*child.inner, stage, from, to, rank)) return found;
      continue;
    }
    const Leaf& leaf = *child.leaf;
    for (auto at = leaf.position(from); at < leaf.count; ++at) {
      const Packed& entry = leaf.entries[at];
      const auto value = whole(entry.standing);
      if (stage_of(value) == stage && rank_of(value) <= rank)
        return entry.key() < to ? &entry : nullptr;
    }
  }
  return nullptr;
}

std::optional<Backlog::Entry> Backlog::least(Stage stage, const Key& from, const Key& to) const {
  constexpr Key kEnd{std::numeric_limits<std::uint32_t>::max(), base::MessageId(kNone),
                       std::numeric_limits<std::uint32_t>::max()};
  const auto rank = least_rank(*root_, stage, from, to, kEnd);
  return rank == kNone ? std::nullopt : first(stage, from, to, rank);
}

// `end`: where what follows the node begins. Only the children at the two borders of the range are looked
// into; those between answer by their summaries.
std::uint64_t Backlog::least_rank(const Inner& node, Stage stage, const Key& from,
                                  const Key& to, const Key& end) {
  auto least = kNone;
  for (auto i = node.position(from); i < node.children.size() && node.children[i].from < to; ++i) {
    const Child& child = node.children[i];
    if (child.summary.of(stage) >= least) continue;
    const Key& child_end = i + 1 < node.children.size() ? node.children[i + 1].from : end;
    if (child.from >= from && child_end <= to) {
      least = child.summary.of(stage);
    } else if (child.inner) {
      least = std::min(least, least_rank(*child.inner, stage, from, to, child_end));
    } else {
      for (auto at = child.leaf->position(from);
           at < child.leaf->count && child.leaf->entries[at].key() < to; ++at) {
        const auto value = whole(child.leaf->entries[at].standing);
        if (stage_of(value) == stage) least = std::min(least, rank_of(value));
      }
    }
  }
  return least;
}

}  // namespace postern::queued
