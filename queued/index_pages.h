// LMDB's file format (version 1, of LMDB 0.9, 64 bit, little-endian), as far as the index uses it:
// pages and what stands on them, read with bounds on everything. Pure.
//
//   page    u64 number | u16 - | u16 kind | u16 lower | u16 upper | u16 offset of each node ...
//   nodes
//           (between lower and upper nothing is used; nodes are packed from upper to the end)
//   long    u64 number | u16 - | u16 kind | u32 pages | the value, over that many pages
//   head    u64 number | u16 - | u16 kind | u32 - | u32 magic | u32 version | u64 - | u64 map
//           | tree of free pages | tree of rows | u64 last page | u64 transaction
//   tree    u32 page size, or 0 | u16 flags | u16 depth | u64 branches, leaves, long, entries, root
//   node    u16 low | u16 high | u16 flags | u16 size of the key | key | value
//           (in a branch: 48 bits of a page's number, no value; with kLong: the value's page)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::queued {

inline constexpr std::uint64_t kNoPage = ~0ULL;  // the root of an empty tree
inline constexpr std::uint64_t kHeads = 2;       // pages 0 and 1
inline constexpr std::size_t kSmallestPage = 4096, kLargestPage = 32'768;

enum class PageKind : std::uint16_t { kBranch = 1, kLeaf = 2, kLong = 4, kHead = 8 };

struct TreeHead {
  std::uint32_t page_size = 0;
  std::uint16_t flags = 0;
  std::uint16_t depth = 0;
  std::uint64_t branches = 0, leaves = 0, long_pages = 0, entries = 0;
  std::uint64_t root = kNoPage;
};

struct Head {
  TreeHead free;
  TreeHead rows;
  std::uint64_t last_page = 0;
  std::uint64_t transaction = 0;
};

struct Node {
  std::string_view key;
  std::string_view value;       // of a leaf; empty for a long one
  std::uint64_t page = 0;       // of a branch: the child; of a long value: where it begins
  std::uint64_t long_size = 0;  // of a long value; 0: it is not long
};

// Each of them: what is wrong, or nothing.
using Flaw = std::optional<std::string_view>;

// The head at the beginning of `bytes`, which is page `number`.
[[nodiscard]] Flaw read_head(std::string_view bytes, std::uint64_t number, Head& head);
// The nodes of the whole page `bytes`, which must be a branch or a leaf and bear that number; views
// into it.
[[nodiscard]] Flaw read_nodes(std::string_view bytes, std::uint64_t number, PageKind kind,
                              std::vector<Node>& nodes);
// The number of pages of the long value that begins with `bytes`.
[[nodiscard]] Flaw read_long(std::string_view bytes, std::uint64_t number, std::uint64_t& pages);

}  // namespace postern::queued
