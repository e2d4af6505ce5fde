#include "queued/index_pages.h"

#include <algorithm>

#include "common/base/bytes.h"

namespace postern::queued {
namespace {

constexpr std::uint32_t kMagic = 0xBEEFC0DE, kVersion = 1;
constexpr std::size_t kPageHeader = 16, kNodeHeader = 8, kOffset = 2;
constexpr std::uint16_t kLongFlag = 1;               // of a node
constexpr std::uint16_t kRowFlags = 0;               // plain keys, one value each
constexpr std::uint16_t kFreeFlags = 0x08;           // keys are numbers
constexpr std::uint16_t kEnvironmentFlags = 0x4000;  // "no subdirectory" stands among them
constexpr std::size_t kLongestKey = 511;

struct PageHeader {
  std::uint64_t number = 0;
  std::uint16_t kind = 0;
  std::uint16_t lower = 0, upper = 0;
};

PageHeader read_page_header(base::Reader& reader) {
  PageHeader header;
  header.number = reader.integer<std::uint64_t>();
  (void)reader.integer<std::uint16_t>();
  header.kind = reader.integer<std::uint16_t>();
  header.lower = reader.integer<std::uint16_t>();
  header.upper = reader.integer<std::uint16_t>();
  return header;
}

Flaw check_kind(const PageHeader& header, std::uint64_t number, PageKind kind) {
  if (header.number != number) return "it bears another page's number";
  if (header.kind != static_cast<std::uint16_t>(kind)) return "it is of another kind";
  return std::nullopt;
}

TreeHead read_tree(base::Reader& reader) {
  TreeHead tree;
  tree.page_size = reader.integer<std::uint32_t>();
  tree.flags = reader.integer<std::uint16_t>();
  tree.depth = reader.integer<std::uint16_t>();
  tree.branches = reader.integer<std::uint64_t>();
  tree.leaves = reader.integer<std::uint64_t>();
  tree.long_pages = reader.integer<std::uint64_t>();
  tree.entries = reader.integer<std::uint64_t>();
  tree.root = reader.integer<std::uint64_t>();
  return tree;
}

std::uint16_t half(std::string_view bytes, std::size_t at) {
  return base::Reader(bytes.substr(at)).integer<std::uint16_t>();
}

// A node at `offset`, and the bytes that it takes; nullopt: it does not fit.
std::optional<std::size_t> read_node(std::string_view page, std::size_t offset, PageKind kind,
                                     Node& node) {
  if (offset + kNodeHeader > page.size()) return std::nullopt;
  const std::uint64_t low = half(page, offset) | std::uint64_t{half(page, offset + 2)} << 16;
  const auto flags = half(page, offset + 4);
  const std::size_t key_size = half(page, offset + 6);
  const auto rest = page.substr(offset + kNodeHeader);
  const bool leaf = kind == PageKind::kLeaf;
  const bool is_long = leaf && flags == kLongFlag;
  if (key_size > kLongestKey || (leaf && flags > kLongFlag)) return std::nullopt;
  const std::uint64_t value_size = is_long ? sizeof node.page : leaf ? low : 0;
  if (key_size + value_size > rest.size()) return std::nullopt;
  node = {};
  node.key = rest.substr(0, key_size);
  if (is_long) {
    node.page = base::Reader(rest.substr(key_size)).integer<std::uint64_t>();
    node.long_size = low;
    if (low == 0) return std::nullopt;
  } else if (leaf) {
    node.value = rest.substr(key_size, value_size);
  } else {
    node.page = low | std::uint64_t{flags} << 32;
  }
  const auto size = kNodeHeader + key_size + value_size;
  return size + size % 2;
}

}  // namespace

Flaw read_head(std::string_view bytes, std::uint64_t number, Head& head) {
  base::Reader reader(bytes);
  const auto header = read_page_header(reader);
  if (auto flaw = check_kind(header, number, PageKind::kHead)) return flaw;
  if (reader.integer<std::uint32_t>() != kMagic) return "it is no head of LMDB";
  if (reader.integer<std::uint32_t>() != kVersion) return "it is of another version of LMDB";
  (void)reader.integer<std::uint64_t>();
  (void)reader.integer<std::uint64_t>();
  head.free = read_tree(reader);
  head.rows = read_tree(reader);
  head.last_page = reader.integer<std::uint64_t>();
  head.transaction = reader.integer<std::uint64_t>();
  if (reader.failed()) return "it is cut";
  const auto size = head.free.page_size;
  if (size < kSmallestPage || size > kLargestPage || (size & (size - 1)) != 0)
    return "its page size is wrong";
  if (head.free.flags != (kFreeFlags | kEnvironmentFlags) || head.rows.flags != kRowFlags ||
      head.rows.page_size != 0)
    return "its flags are wrong";
  if (head.transaction % kHeads != number) return "its transaction belongs into the other head";
  if (head.last_page < kHeads - 1) return "its last page is wrong";
  return std::nullopt;
}

Flaw read_nodes(std::string_view bytes, std::uint64_t number, PageKind kind,
                std::vector<Node>& nodes) {
  base::Reader reader(bytes);
  const auto header = read_page_header(reader);
  if (auto flaw = check_kind(header, number, kind)) return flaw;
  if (header.lower < kPageHeader || header.lower % 2 != 0 || header.lower > header.upper ||
      header.upper > bytes.size())
    return "its bounds are wrong";
  nodes.resize((header.lower - kPageHeader) / kOffset);
  std::vector<std::pair<std::size_t, std::size_t>> places;
  places.reserve(nodes.size());
  for (auto& node : nodes) {
    const std::size_t offset = reader.integer<std::uint16_t>();
    if (offset % 2 != 0) return "a node is out of bounds";
    const auto size = read_node(bytes, offset, kind, node);
    if (!size) return "a node is out of bounds";
    places.emplace_back(offset, *size);
  }
  // Packed without a gap, none over another: LMDB moves them by their sizes.
  std::ranges::sort(places);
  std::size_t at = header.upper;
  for (const auto& [offset, size] : places) {
    if (offset != at) return "its nodes are not packed";
    at += size;
  }
  if (at != bytes.size()) return "its nodes are not packed";
  return std::nullopt;
}

Flaw read_long(std::string_view bytes, std::uint64_t number, std::uint64_t& pages) {
  base::Reader reader(bytes);
  const auto header = read_page_header(reader);
  if (auto flaw = check_kind(header, number, PageKind::kLong)) return flaw;
  pages = header.lower | std::uint64_t{header.upper} << 16;
  return std::nullopt;
}

}  // namespace postern::queued
