// Backlog: every queued recipient and how it stands, in one B+-tree sorted by queue, message and
// number. One tree for all queues, so that ten recipients in each of 100,000 queues cost what a
// million in one do: 29 to 42 bytes each, all overheads included. Each subtree knows the least of
// what is ready and of what waits in it; thus the next recipient of a queue is found without a
// second order beside this one. Everything takes O(log n). Owned by the schedule. Pure.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>

#include "common/base/ids.h"

namespace postern::queued {

enum class Stage : std::uint8_t { kReady, kWaiting, kHeld, kLeased };

class Backlog {
 public:
  struct Key {
    std::uint32_t queue = 0;
    base::MessageId message;
    std::uint32_t number = 0;
    friend auto operator<=>(const Key&, const Key&) noexcept = default;
  };
  static constexpr std::uint64_t kMaxRank = (std::uint64_t{1} << 54) - 1;

  struct Entry {
    Key key;
    Stage stage = Stage::kReady;
    std::uint64_t rank = 0;  // its order within the stage; at most kMaxRank
    std::uint32_t size = 0;
    std::uint8_t sender = 0;  // a hash of who sent it
  };

  Backlog();
  ~Backlog();
  Backlog(Backlog&&) noexcept;
  Backlog& operator=(Backlog&&) noexcept;

  [[nodiscard]] std::size_t size() const { return size_; }
  // A key that must not be there yet.
  void insert(const Entry& entry);
  // One that must be there: its stage, rank and size change.
  void update(const Entry& entry);
  // One that must be there.
  void erase(const Key& key);

  [[nodiscard]] std::optional<Entry> find(const Key& key) const;
  // The first one at or behind `key`, and the last one before it.
  [[nodiscard]] std::optional<Entry> at_or_after(const Key& key) const;
  [[nodiscard]] std::optional<Entry> before(const Key& key) const;
  // The first one, by key, in [from, to) of the stage (not kLeased) with a rank of at most `rank`.
  [[nodiscard]] std::optional<Entry> first(Stage stage, const Key& from, const Key& to,
                                           std::uint64_t rank = kMaxRank) const;
  // The least rank of all in the stage.
  [[nodiscard]] std::optional<std::uint64_t> least_rank(Stage stage) const;
  // The one of the least rank; of several, the first by key.
  [[nodiscard]] std::optional<Entry> least(Stage stage, const Key& from, const Key& to) const;

 private:
  static constexpr std::size_t kLeafRoom = 64;
  static constexpr std::size_t kInnerRoom = 32;
  static constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

  // An entry as it is kept: in words of 32 bits, so that nothing is lost to alignment.
  struct Packed {
    std::array<std::uint32_t, 2> message;
    std::array<std::uint32_t, 2> standing;  // stage, sender and rank
    std::uint32_t queue;
    std::uint32_t number;
    std::uint32_t size;
    [[nodiscard]] Key key() const {  // inline, for whoever looks for one compares many
      return {queue, base::MessageId(std::bit_cast<std::uint64_t>(message)), number};
    }
    [[nodiscard]] Entry unpack() const;
  };
  struct Leaf {
    std::uint32_t count = 0;
    std::array<Packed, kLeafRoom> entries;
    [[nodiscard]] std::size_t position(const Key& key) const;  // of the first not before it
  };
  struct Summary {  // the least rank of each stage but the last
    std::array<std::uint64_t, 3> least{kNone, kNone, kNone};
    void count_in(Stage stage, std::uint64_t rank);
    void count_in(const Summary& other);
    [[nodiscard]] std::uint64_t of(Stage stage) const {
      return least[static_cast<std::size_t>(stage)];
    }
    friend bool operator==(const Summary&, const Summary&) = default;
  };
  struct Inner;
  struct Child {  // one of the two
    std::unique_ptr<Leaf> leaf;
    std::unique_ptr<Inner> inner;
    [[nodiscard]] std::size_t count() const { return leaf ? leaf->count : inner->count; }
    [[nodiscard]] bool full() const { return count() == (leaf ? kLeafRoom : kInnerRoom); }
    [[nodiscard]] Summary summary() const;
  };
  // What is known of the children stands apart from them, for to look for a key should touch little
  // memory.
  struct Inner {
    std::uint32_t count = 0;
    std::array<Key, kInnerRoom> from;  // nothing in the child stands before
    std::array<Summary, kInnerRoom> summaries;
    std::array<Child, kInnerRoom> children;
    [[nodiscard]] std::size_t position(const Key& key) const;  // of the child for it
    [[nodiscard]] Summary summary() const;
    void insert(std::size_t i, const Key& first, Child child);
    void erase(std::size_t i);
    // Whether it was not the same before.
    bool summarize(std::size_t i);
  };

  static Packed pack(const Entry& entry);
  static void insert(Inner& node, const Entry& entry);
  // Whether what a parent knows of the node may have changed.
  static bool update(Inner& node, const Entry& entry);
  static bool erase(Inner& node, const Key& key);
  static void split(Inner& node, std::size_t i, const Key& key);
  static bool share(Inner& node, std::size_t i);
  static void even_out(Inner& node, std::size_t left);
  static bool merge(Inner& node, std::size_t i);
  static void append(Inner& to, Inner& from, std::size_t begin);
  static const Packed* at_or_after(const Inner& node, const Key& key);
  static const Packed* before(const Inner& node, const Key& key);
  static const Packed* first(const Inner& node, Stage stage, const Key& from, const Key& to,
                             std::uint64_t rank);
  static std::uint64_t least_rank(const Inner& node, Stage stage, const Key& from, const Key& to,
                                  const Key& end);
  static std::uint64_t least_rank(const Leaf& leaf, Stage stage, const Key& from, const Key& to);

  std::unique_ptr<Inner> root_;
  Summary summary_;
  std::size_t size_ = 0;
};

}  // namespace postern::queued
