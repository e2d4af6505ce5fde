#include "queued/index_check.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/bytes.h"
#include "queued/index_pages.h"
#include "queued/index_row.h"
#include "queued/row.h"

namespace postern::queued {
namespace {

constexpr std::uint64_t kMaxDepth = 32;  // LMDB's own
constexpr std::size_t kWord = sizeof(std::uint64_t);

using Done = os::Result<void>;

std::unexpected<os::Error> damaged(std::string_view what) {
  std::string text = "check the index: ";
  text += what;
  return os::failure(text, EBADMSG);
}
std::unexpected<os::Error> damaged(std::uint64_t page, std::string_view what) {
  std::string text = "page ";
  text.append(std::to_string(page)).append(": ").append(what);
  return damaged(text);
}

std::uint64_t word(std::string_view bytes) {
  return base::Reader(bytes).integer<std::uint64_t>();
}

std::optional<std::uint64_t> stamp_of(std::string_view key, std::string_view stored) {
  const auto first = read_first_piece(key, stored);
  if (!first || first->bytes.size() < kWord) return std::nullopt;
  return word(first->bytes);
}

class Checker {
 public:
  Checker(os::File& file, std::uint64_t size, std::uint64_t map)
      : file_(file), size_(size), map_(map), mark_key_(stored_key(KeySpace::kOwn, "mark")) {}

  os::Result<IndexFacts> run() {
    if (auto done = read_heads(); !done) return std::unexpected(done.error());
    claims_.resize(newest_.last_page + 1);
    if (auto done = check_tree(newest_.rows, Tree::kRows); !done)
      return std::unexpected(done.error());
    if (stamp_ != newest_.transaction) return damaged("the newest tree bears another number");
    if (pieces_expected_ != pieces_found_) return damaged("pieces of rows are missing");
    if (auto done = check_tree(newest_.free, Tree::kFree); !done)
      return std::unexpected(done.error());
    facts_.pages = newest_.last_page + 1;
    if (claimed_ + kHeads != facts_.pages) return damaged("pages are neither used nor free");
    if (auto done = check_older(); !done) return std::unexpected(done.error());
    return facts_;
  }

  IndexVersions versions() {
    IndexVersions versions;
    if (!read_heads()) return versions;
    const auto format_key = stored_key(KeySpace::kOwn, "format");
    const auto format = find(newest_, format_key), mark = find(newest_, mark_key_);
    if (!format || !mark || !*format || !*mark) return versions;
    if (const auto first = read_first_piece(format_key, **format)) {
      base::Reader reader(first->bytes);
      if (reader.raw(kIndexMagic.size()) == kIndexMagic)
        versions.file = reader.integer<std::uint32_t>();
    }
    const auto first = read_first_piece(mark_key_, **mark);
    if (first && first->bytes.size() > kWord)
      versions.rows = kept_version(first->bytes.substr(kWord));
    return versions;
  }

 private:
  enum class Tree : std::uint8_t { kRows, kFree };
  struct Counts {
    std::uint64_t branches = 0, leaves = 0, long_pages = 0, entries = 0;
  };
  // Keys of a page lie from `from` on and below `to`.
  struct Bounds {
    std::optional<std::string_view> from, to;
  };

  Done read_heads() {
    std::array<Head, kHeads> heads;
    std::uint64_t page_size = 0;
    for (std::uint64_t number = 0; number < kHeads; ++number) {
      const auto bytes = file_.read_at(number * page_size, kSmallestPage);
      if (!bytes) return std::unexpected(bytes.error());
      if (const auto flaw = read_head(*bytes, number, heads[number])) return damaged(number, *flaw);
      if (number == 0) page_size = heads[0].free.page_size;
    }
    if (heads[1].free.page_size != page_size) return damaged(1, "its page size is another");
    const bool first = heads[0].transaction > heads[1].transaction;
    newest_ = heads[first ? 0 : 1];
    older_ = heads[first ? 1 : 0];
    if (older_.transaction + 1 != newest_.transaction)
      return damaged("its heads do not follow each other");
    page_size_ = page_size;
    facts_.page_size = page_size;
    if (newest_.last_page >= map_ / page_size) return damaged("its last page is beyond the map");
    return {};
  }

  Done claim(std::uint64_t first, std::uint64_t count) {
    if (first < kHeads || first > newest_.last_page || count == 0 ||
        count > newest_.last_page - first + 1)
      return damaged(first, "there is no such page");
    for (auto page = first; page < first + count; ++page) {
      if (claims_[page]) return damaged(page, "it is used twice");
      claims_[page] = true;
    }
    claimed_ += count;
    return {};
  }

  // `count` whole pages.
  os::Result<std::string> load(std::uint64_t first, std::uint64_t count) {
    const auto pages = size_ / page_size_;
    if (first < kHeads || first >= pages || count > pages - first)
      return damaged(first, "the file ends before it");
    auto bytes = file_.read_at(first * page_size_, count * page_size_);
    if (bytes && bytes->size() != count * page_size_)
      return damaged(first, "the file ends before it");
    return bytes;
  }

  Done check_tree(const TreeHead& head, Tree tree) {
    Counts counts;
    if (head.root == kNoPage) {
      if (head.depth != 0) return damaged("an empty tree has a depth");
    } else {
      if (head.depth == 0 || head.depth > kMaxDepth) return damaged("a tree's depth is wrong");
      if (auto done = check_page(head.root, head.depth, tree, {}, counts); !done) return done;
    }
    if (counts.branches != head.branches || counts.leaves != head.leaves ||
        counts.long_pages != head.long_pages || counts.entries != head.entries)
      return damaged("a tree's counts are wrong");
    return {};
  }

  // The page and what is below it; `levels` is 1 for a leaf. Goes no deeper than kMaxDepth.
  Done check_page(std::uint64_t number, std::uint64_t levels, Tree tree, const Bounds& bounds,
                  Counts& counts) {
    if (auto done = claim(number, 1); !done) return done;
    const auto bytes = load(number, 1);
    if (!bytes) return std::unexpected(bytes.error());
    const bool leaf = levels == 1;
    std::vector<Node> nodes;
    if (auto flaw = read_nodes(*bytes, number, leaf ? PageKind::kLeaf : PageKind::kBranch, nodes))
      return damaged(number, *flaw);
    if (auto done = check_keys(number, leaf, tree, bounds, nodes); !done) return done;
    ++(leaf ? counts.leaves : counts.branches);
    if (leaf) {
      counts.entries += nodes.size();
      for (const auto& node : nodes)
        if (auto done =
                tree == Tree::kRows ? check_row(number, node) : check_free(number, node, counts);
            !done)
          return done;
      return {};
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      Bounds inner = bounds;
      if (i > 0) inner.from = nodes[i].key;
      if (i + 1 < nodes.size()) inner.to = nodes[i + 1].key;
      if (auto done = check_page(nodes[i].page, levels - 1, tree, inner, counts); !done)
        return done;
    }
    return {};
  }

  static bool below(Tree tree, std::string_view a, std::string_view b) {
    return tree == Tree::kFree ? word(a) < word(b) : a < b;
  }

  // In order and within bounds. The first key of a branch stands for "everything before the
  // second".
  static Done check_keys(std::uint64_t number, bool leaf, Tree tree, const Bounds& bounds,
                         const std::vector<Node>& nodes) {
    // LMDB takes a branch with one child in the tree of rows for damage itself.
    if (nodes.size() < (leaf || tree == Tree::kFree ? 1U : 2U))
      return damaged(number, "it has too few nodes");
    for (std::size_t i = leaf ? 0 : 1; i < nodes.size(); ++i) {
      const auto key = nodes[i].key;
      if (tree == Tree::kFree ? key.size() != kWord : key.empty())
        return damaged(number, "a key's size is wrong");
      const bool has_previous = i > (leaf ? 0U : 1U);
      if ((has_previous && !below(tree, nodes[i - 1].key, key)) ||
          (bounds.from && below(tree, key, *bounds.from)) ||
          (bounds.to && !below(tree, key, *bounds.to)))
        return damaged(number, "its keys are out of order");
    }
    return {};
  }

  Done check_row(std::uint64_t number, const Node& node) {
    if (node.long_size != 0) return damaged(number, "a row is too long");
    ++facts_.rows;
    bool whole = false;
    if (node.key.front() == static_cast<char>(KeySpace::kPieces)) {
      whole = read_further_piece(node.key, node.value).has_value();
      ++pieces_found_;
    } else if (const auto first = read_first_piece(node.key, node.value)) {
      whole = true;
      pieces_expected_ += first->pieces - 1;
    }
    if (!whole) {
      std::string what = "the checksum of row ";
      what.append(describe_key(node.key)).append(" is wrong");
      return damaged(number, what);
    }
    if (node.key == mark_key_) stamp_ = stamp_of(node.key, node.value);
    return {};
  }

  // An entry of the list of free pages: their count, then the pages, falling.
  Done check_free(std::uint64_t number, const Node& node, Counts& counts) {
    std::string long_value;
    auto list = node.value;
    if (node.long_size != 0) {
      auto loaded = load_long(node, counts);
      if (!loaded) return std::unexpected(loaded.error());
      long_value = *std::move(loaded);
      list = long_value;
    }
    if (list.size() < kWord || list.size() % kWord != 0 || word(node.key) == 0 ||
        word(node.key) > newest_.transaction)
      return damaged(number, "a list of free pages is wrong");
    const auto count = word(list);
    if (count > list.size() / kWord - 1) return damaged(number, "a list of free pages is wrong");
    for (std::uint64_t i = 1, last = kNoPage; i <= count; ++i) {
      const auto page = word(list.substr(i * kWord));
      if (page >= last) return damaged(number, "a list of free pages is out of order");
      if (auto done = claim(page, 1); !done) return done;
      last = page;
    }
    facts_.free += count;
    return {};
  }

  os::Result<std::string> load_long(const Node& node, Counts& counts) {
    constexpr std::size_t kHeader = 16;
    auto bytes = load(node.page, 1);
    if (!bytes) return bytes;
    std::uint64_t pages = 0;
    if (const auto flaw = read_long(*bytes, node.page, pages)) return damaged(node.page, *flaw);
    if (auto done = claim(node.page, pages); !done) return std::unexpected(done.error());
    const auto needed = (kHeader + node.long_size + page_size_ - 1) / page_size_;
    if (needed > pages) return damaged(node.page, "a long value does not fit");
    counts.long_pages += pages;
    bytes = load(node.page, needed);
    if (bytes) *bytes = bytes->substr(kHeader, node.long_size);
    return bytes;
  }

  // The tree before the newest is whole too; if its head bears another number than its mark, then
  // one of the heads is damaged, and it may be that the wrong one was taken for the newest.
  Done check_older() {
    if (older_.transaction == 0 && older_.rows.root == kNoPage) return {};
    const auto mark = find(older_, mark_key_);
    if (!mark) return std::unexpected(mark.error());
    if (*mark && stamp_of(mark_key_, **mark) == older_.transaction) return {};
    return damaged("the tree before the newest bears another number");
  }

  // What is stored under the key in that head's tree of rows; nullopt: nothing.
  os::Result<std::optional<std::string>> find(const Head& head, const std::string& key) {
    auto number = head.rows.root;
    for (auto levels = std::min<std::uint64_t>(head.rows.depth, kMaxDepth); levels > 0; --levels) {
      const auto bytes = load(number, 1);
      if (!bytes) return std::unexpected(bytes.error());
      const auto kind = levels == 1 ? PageKind::kLeaf : PageKind::kBranch;
      std::vector<Node> nodes;
      if (auto flaw = read_nodes(*bytes, number, kind, nodes)) return damaged(number, *flaw);
      if (nodes.empty()) break;
      if (kind == PageKind::kLeaf) {
        for (const auto& node : nodes)
          if (node.key == key) return std::string(node.value);
        break;
      }
      auto child = nodes.size() - 1;
      while (child > 0 && nodes[child].key > key) --child;
      number = nodes[child].page;
    }
    return std::nullopt;
  }

  os::File& file_;
  std::uint64_t size_;
  std::uint64_t map_;
  std::string mark_key_;
  std::uint64_t page_size_ = 0;
  Head newest_, older_;
  std::vector<bool> claims_;
  std::uint64_t claimed_ = 0;
  std::uint64_t pieces_expected_ = 0, pieces_found_ = 0;
  std::optional<std::uint64_t> stamp_;
  IndexFacts facts_;
};

}  // namespace

os::Result<IndexFacts> check_index(os::Disk& disk, const std::string& name, std::uint64_t map) {
  const auto file = disk.open(name, os::OpenMode::kRead);
  if (!file) return std::unexpected(file.error());
  const auto size = (*file)->size();
  if (!size) return std::unexpected(size.error());
  return Checker(**file, *size, map).run();
}

IndexVersions index_versions(os::Disk& disk, const std::string& name) {
  const auto file = disk.open(name, os::OpenMode::kRead);
  const auto size = file ? (*file)->size() : std::unexpected(file.error());
  if (!size) return {};
  return Checker(**file, *size, ~std::uint64_t{0}).versions();
}

}  // namespace postern::queued
