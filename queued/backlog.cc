#include "queued/backlog.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "common/base/check.h"

namespace postern::queued {
namespace {

constexpr unsigned kStageShift = 62;
constexpr unsigned kSenderShift = 54;

using Halves = std::array<std::uint32_t, 2>;

Halves halves(std::uint64_t value) {
  return std::bit_cast<Halves>(value);
}
std::uint64_t whole(Halves value) {
  return std::bit_cast<std::uint64_t>(value);
}

std::uint64_t standing(const Backlog::Entry& entry) {
  return static_cast<std::uint64_t>(entry.stage) << kStageShift |
         static_cast<std::uint64_t>(entry.sender) << kSenderShift | entry.rank;
}
Stage stage_of(std::uint64_t standing) {
  return static_cast<Stage>(standing >> kStageShift);
}
std::uint64_t rank_of(std::uint64_t standing) {
  return standing & Backlog::kMaxRank;
}
std::uint8_t sender_of(std::uint64_t standing) {
  return static_cast<std::uint8_t>(standing >> kSenderShift);
}

}  // namespace

// --- Nodes ------------------------------------------------------------------------------------------

Backlog::Entry Backlog::Packed::unpack() const {
  const auto value = whole(standing);
  return {key(), stage_of(value), rank_of(value), size, sender_of(value)};
}

Backlog::Packed Backlog::pack(const Entry& entry) {
  static_assert(sizeof(Packed) == 28);
  return {halves(entry.key.message.value), halves(standing(entry)),
          entry.key.queue, entry.key.number, entry.size};
}

std::size_t Backlog::Leaf::position(const Key& key) const {
  const auto end = entries.begin() + count;
  const auto at = std::partition_point(entries.begin(), end,
                                       [&](const Packed& entry) { return entry.key() < key; });
  return static_cast<std::size_t>(at - entries.begin());
}

void Backlog::Summary::count_in(Stage stage, std::uint64_t rank) {
  const auto at = static_cast<std::size_t>(stage);
  if (at < least.size()) least[at] = std::min(least[at], rank);
}

void Backlog::Summary::count_in(const Summary& other) {
  for (std::size_t i = 0; i < least.size(); ++i) least[i] = std::min(least[i], other.least[i]);
}

Backlog::Summary Backlog::Child::summary() const {
  if (inner) return inner->summary();
  Summary all;
  for (std::size_t i = 0; i < leaf->count; ++i) {
    const auto value = whole(leaf->entries[i].standing);
    all.count_in(stage_of(value), rank_of(value));
  }
  return all;
}

// The last one that begins at or before the key; the first one takes what is before all.
std::size_t Backlog::Inner::position(const Key& key) const {
  const auto after = std::partition_point(from.begin() + 1, from.begin() + count,
                                          [&](const Key& first) { return first <= key; });
  return static_cast<std::size_t>(after - from.begin()) - 1;
}

Backlog::Summary Backlog::Inner::summary() const {
  Summary all;
  for (std::size_t i = 0; i < count; ++i) all.count_in(summaries[i]);
  return all;
}

void Backlog::Inner::insert(std::size_t i, const Key& first, Child child) {
  std::move_backward(from.begin() + i, from.begin() + count, from.begin() + count + 1);
  std::move_backward(summaries.begin() + i, summaries.begin() + count,
                     summaries.begin() + count + 1);
  std::move_backward(children.begin() + i, children.begin() + count, children.begin() + count + 1);
  ++count;
  from[i] = first;
  summaries[i] = child.summary();
  children[i] = std::move(child);
}

void Backlog::Inner::erase(std::size_t i) {
  std::move(from.begin() + i + 1, from.begin() + count, from.begin() + i);
  std::move(summaries.begin() + i + 1, summaries.begin() + count, summaries.begin() + i);
  std::move(children.begin() + i + 1, children.begin() + count, children.begin() + i);
  --count;
  children[count] = {};
}

bool Backlog::Inner::summarize(std::size_t i) {
  const auto before = std::exchange(summaries[i], children[i].summary());
  return summaries[i] != before;
}

Backlog::Backlog() : root_(std::make_unique<Inner>()) {
  root_->insert(0, {}, {std::make_unique_for_overwrite<Leaf>(), nullptr});
}
Backlog::~Backlog() = default;
Backlog::Backlog(Backlog&&) noexcept = default;
Backlog& Backlog::operator=(Backlog&&) noexcept = default;

// --- Changes ----------------------------------------------------------------------------------------

void Backlog::insert(const Entry& entry) {
  if (root_->count == kInnerRoom) {
    auto root = std::make_unique<Inner>();
    const Key first = root_->from.front();
    root->insert(0, first, {nullptr, std::move(root_)});
    root_ = std::move(root);
  }
  insert(*root_, entry);
  summary_.count_in(entry.stage, entry.rank);
  ++size_;
}

// Full nodes are split on the way down, so there is room for a further child wherever one is
// needed.
void Backlog::insert(Inner& node, const Entry& entry) {
  auto i = node.position(entry.key);
  if (node.children[i].full()) {
    split(node, i, entry.key);
    i = node.position(entry.key);
  }
  node.from[i] = std::min(node.from[i], entry.key);
  node.summaries[i].count_in(entry.stage, entry.rank);
  if (node.children[i].inner) return insert(*node.children[i].inner, entry);
  Leaf& leaf = *node.children[i].leaf;
  const auto at = leaf.position(entry.key);
  const auto end = leaf.entries.begin() + leaf.count;
  CHECK(at == leaf.count || leaf.entries[at].key() != entry.key);
  std::move_backward(leaf.entries.begin() + at, end, end + 1);
  leaf.entries[at] = pack(entry);
  ++leaf.count;
}

// In the middle; but where mail comes in the order of its numbers, behind all of the node or behind
// all of a long queue in it, at that point: halves that nobody adds to would stay half empty.
void Backlog::split(Inner& node, std::size_t i, const Key& key) {
  Child right;
  Key first = key;
  if (node.children[i].leaf) {
    Leaf& left = *node.children[i].leaf;
    constexpr auto kHalf = kLeafRoom / 2;
    const auto at = left.position(key);
    const bool at_queue_end = at >= kHalf && left.entries[at - kHalf].queue == key.queue &&
                              (at == kLeafRoom || left.entries[at].queue != key.queue);
    const auto keep = at == kLeafRoom || at_queue_end ? at : kHalf;
    if (keep == kHalf && share(node, i)) return;
    right.leaf = std::make_unique_for_overwrite<Leaf>();
    std::copy(left.entries.begin() + keep, left.entries.end(), right.leaf->entries.begin());
    right.leaf->count = static_cast<std::uint32_t>(kLeafRoom - keep);
    left.count = static_cast<std::uint32_t>(keep);
    if (keep < kLeafRoom) first = right.leaf->entries.front().key();
  } else {
    Inner& left = *node.children[i].inner;
    const auto keep = left.position(key) == kInnerRoom - 1 ? kInnerRoom - 1 : kInnerRoom / 2;
    right.inner = std::make_unique<Inner>();
    first = left.from[keep];
    append(*right.inner, left, keep);
  }
  (void)node.summarize(i);
  node.insert(i + 1, first, std::move(right));
}

// Instead of a split: a neighbour with room takes some of a full leaf. False: there is none.
bool Backlog::share(Inner& node, std::size_t i) {
  const auto roomy = [&](std::size_t n) { return node.children[n].count() <= kLeafRoom * 3 / 4; };
  if (i + 1 < node.count && roomy(i + 1)) {
    even_out(node, i);
    return true;
  }
  if (i == 0 || !roomy(i - 1)) return false;
  even_out(node, i - 1);
  return true;
}

// The leaf and the one behind it.
void Backlog::even_out(Inner& node, std::size_t left) {
  Leaf& a = *node.children[left].leaf;
  Leaf& b = *node.children[left + 1].leaf;
  const auto half = (a.count + b.count) / 2;
  if (a.count > half) {
    const auto moved = a.count - half;
    std::move_backward(b.entries.begin(), b.entries.begin() + b.count,
                       b.entries.begin() + b.count + moved);
    std::copy_n(a.entries.begin() + half, moved, b.entries.begin());
    b.count += moved;
  } else {
    const auto moved = half - a.count;
    std::copy_n(b.entries.begin(), moved, a.entries.begin() + a.count);
    std::move(b.entries.begin() + moved, b.entries.begin() + b.count, b.entries.begin());
    b.count -= moved;
  }
  a.count = half;
  node.from[left + 1] = b.entries.front().key();
  (void)node.summarize(left);
  (void)node.summarize(left + 1);
}

// The children from `begin` on go to the end of the other.
void Backlog::append(Inner& to, Inner& from, std::size_t begin) {
  const auto copy = [&](auto& source, auto& target) {
    std::move(source.begin() + begin, source.begin() + from.count, target.begin() + to.count);
  };
  copy(from.from, to.from);
  copy(from.summaries, to.summaries);
  copy(from.children, to.children);
  to.count += from.count - static_cast<std::uint32_t>(begin);
  from.count = static_cast<std::uint32_t>(begin);
}

void Backlog::update(const Entry& entry) {
  if (update(*root_, entry)) summary_ = root_->summary();
}

bool Backlog::update(Inner& node, const Entry& entry) {
  const auto i = node.position(entry.key);
  if (node.children[i].inner) return update(*node.children[i].inner, entry) && node.summarize(i);
  Leaf& leaf = *node.children[i].leaf;
  const auto at = leaf.position(entry.key);
  CHECK(at < leaf.count && leaf.entries[at].key() == entry.key);
  leaf.entries[at] = pack(entry);
  return node.summarize(i);
}

void Backlog::erase(const Key& key) {
  if (erase(*root_, key)) summary_ = root_->summary();
  --size_;
  while (root_->count == 1 && root_->children.front().inner)
    root_ = std::move(root_->children.front().inner);
}

bool Backlog::erase(Inner& node, const Key& key) {
  const auto i = node.position(key);
  if (node.children[i].inner) {
    if (!erase(*node.children[i].inner, key)) return false;
  } else {
    Leaf& leaf = *node.children[i].leaf;
    const auto at = leaf.position(key);
    CHECK(at < leaf.count && leaf.entries[at].key() == key);
    std::move(leaf.entries.begin() + at + 1, leaf.entries.begin() + leaf.count,
              leaf.entries.begin() + at);
    --leaf.count;
  }
  const bool changed = node.summarize(i);
  // A parent hears of a merge too, for it may have to merge itself.
  return merge(node, i) || changed;
}

// A child that is half empty goes together with its neighbour, if they fit with some room to spare.
bool Backlog::merge(Inner& node, std::size_t i) {
  const auto count = node.children[i].count();
  const auto room = node.children[i].leaf ? kLeafRoom : kInnerRoom;
  if (count > room / 2 || node.count == 1) return false;
  const auto left = i + 1 < node.count ? i : i - 1;
  Child& into = node.children[left];
  Child& gone = node.children[left + 1];
  if (into.count() + gone.count() > (count == 0 ? room : room * 3 / 4)) return false;
  if (into.leaf) {
    std::copy_n(gone.leaf->entries.begin(), gone.leaf->count,
                into.leaf->entries.begin() + into.leaf->count);
    into.leaf->count += gone.leaf->count;
  } else {
    append(*into.inner, *gone.inner, 0);
  }
  node.summaries[left].count_in(node.summaries[left + 1]);
  node.erase(left + 1);
  return true;
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
  for (auto i = node.position(key); i < node.count; ++i) {
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
  for (auto i = node.position(from); i < node.count; ++i) {
    if (node.from[i] >= to) return nullptr;
    if (node.summaries[i].of(stage) > rank) continue;
    const Child& child = node.children[i];
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

std::optional<std::uint64_t> Backlog::least_rank(Stage stage) const {
  const auto rank = summary_.of(stage);
  return rank == kNone ? std::nullopt : std::optional(rank);
}

std::optional<Backlog::Entry> Backlog::least(Stage stage, const Key& from, const Key& to) const {
  constexpr Key kEnd{std::numeric_limits<std::uint32_t>::max(), base::MessageId(kNone),
                     std::numeric_limits<std::uint32_t>::max()};
  const auto rank = least_rank(*root_, stage, from, to, kEnd);
  return rank == kNone ? std::nullopt : first(stage, from, to, rank);
}

// `end`: where what follows the node begins. Children between the two borders of the range answer
// by what is known of them; those at the borders are looked into, if they can know better.
std::uint64_t Backlog::least_rank(const Inner& node, Stage stage, const Key& from, const Key& to,
                                  const Key& end) {
  auto least = kNone;
  const auto look_into = [&](std::size_t i) {
    const auto known = node.summaries[i].of(stage);
    if (known >= least) return;
    const Key& child_end = i + 1 < node.count ? node.from[i + 1] : end;
    if (node.from[i] >= from && child_end <= to)
      least = known;
    else if (const Child& child = node.children[i]; child.inner)
      least = std::min(least, least_rank(*child.inner, stage, from, to, child_end));
    else
      least = std::min(least, least_rank(*child.leaf, stage, from, to));
  };
  const auto first = node.position(from);
  auto last = first;
  for (; last + 1 < node.count && node.from[last + 1] < to; ++last)
    if (last > first) least = std::min(least, node.summaries[last].of(stage));
  look_into(first);
  if (last > first) look_into(last);
  return least;
}

std::uint64_t Backlog::least_rank(const Leaf& leaf, Stage stage, const Key& from, const Key& to) {
  auto least = kNone;
  for (auto at = leaf.position(from); at < leaf.count && leaf.entries[at].key() < to; ++at) {
    const auto value = whole(leaf.entries[at].standing);
    if (stage_of(value) == stage) least = std::min(least, rank_of(value));
  }
  return least;
}

}  // namespace postern::queued
