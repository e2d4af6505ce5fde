#include "tests/crash/volume.h"

#include <algorithm>
#include <unordered_map>

#include "common/base/check.h"

namespace postern::crash {
namespace {

void put(std::string& into, std::uint64_t offset, std::string_view bytes) {
  if (into.size() < offset + bytes.size()) into.resize(offset + bytes.size(), '\0');
  std::copy(bytes.begin(), bytes.end(), into.begin() + static_cast<std::ptrdiff_t>(offset));
}

std::pair<std::string, std::string> split(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

std::uint64_t chance(std::uint64_t seed, std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = seed ^ (a * 0x9e3779b97f4a7c15ULL) ^ (b * 0xc2b2ae3d27d4eb4fULL);
  for (int round = 0; round < 2; ++round) {  // splitmix64
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    x ^= x >> 31;
  }
  return x;
}

Volume::Volume(const Image& image) : inodes_(1), stale_(std::make_shared<std::string>()) {
  inodes_[0].directory = true;
  std::map<std::string, Node> by_path{{"", 0}};
  for (const auto& [path, entry] : image) {
    const auto node = static_cast<Node>(inodes_.size());
    auto& inode = inodes_.emplace_back();
    inode.directory = entry.bytes == nullptr;
    inode.durable = entry.bytes;
    inode.durable_time = entry.modified;
    by_path[path] = node;
    const auto [parent, leaf] = split(path);
    durable_[{by_path.at(parent), leaf}] = node;
  }
}

void Volume::apply(const Operation& operation) {
  const auto fresh_node = [&](bool directory) {
    CHECK(operation.node == inodes_.size());
    auto& inode = inodes_.emplace_back();
    inode.directory = directory;
    if (!directory) inode.durable = std::make_shared<const std::string>();
    add_name_change({{operation.directory, operation.leaf, operation.node}});
  };
  const auto inode = [&]() -> Inode& { return inodes_.at(operation.node); };
  switch (operation.kind) {
    case Kind::kCreate:
      fresh_node(false);
      break;
    case Kind::kMakeDirectory:
      fresh_node(true);
      break;
    case Kind::kWrite:
      inode().changes.push_back({next_, operation.offset, operation.bytes});
      unsettled_.insert(operation.node);
      if (operation.bytes->size() > stale_->size() / 2) stale_ = operation.bytes;
      break;
    case Kind::kTruncate:
      inode().changes.push_back({next_, operation.offset, nullptr});
      unsettled_.insert(operation.node);
      break;
    case Kind::kFlushRange:
      flush_range(inode(), operation.offset, operation.size);
      if (inode().changes.empty()) unsettled_.erase(operation.node);
      break;
    case Kind::kFlush:
      if (!inode().times.empty()) inode().durable_time = inode().times.back().second;
      inode().times.clear();
      [[fallthrough]];
    case Kind::kFlushData:
      flush_contents(inode());
      unsettled_.erase(operation.node);
      break;
    case Kind::kFlushDirectory:
      flush_names(operation.node);
      break;
    case Kind::kRename:
      add_name_change({{operation.to_directory, operation.to_leaf, operation.node},
                       {operation.directory, operation.leaf, kNoNode}});
      break;
    case Kind::kUnlink:
      add_name_change({{operation.directory, operation.leaf, kNoNode}});
      break;
    case Kind::kSetTime:
      inode().times.emplace_back(next_, operation.time);
      break;
  }
  ++next_;
}

bool Volume::settled() const {
  return unsettled_.empty() && name_changes_.empty();
}

void Volume::add_name_change(std::vector<Effect> effects) {
  name_changes_.push_back({next_, std::move(effects)});
}

// --- Flushes
// ----------------------------------------------------------------------------------------

void Volume::flush_contents(Inode& inode) {
  if (inode.changes.empty()) return;
  std::string bytes = *inode.durable;
  for (const auto& change : inode.changes) {
    if (change.bytes)
      put(bytes, change.offset, *change.bytes);
    else
      bytes.resize(change.offset, '\0');
  }
  inode.durable = std::make_shared<const std::string>(std::move(bytes));
  inode.changes.clear();
}

// What lies in the range is durable; what was written elsewhere is on its way still.
void Volume::flush_range(Inode& inode, std::uint64_t offset, std::uint64_t size) {
  std::string bytes = *inode.durable;
  const auto end = offset + size;
  std::vector<Change> left;
  for (const auto& change : inode.changes) {
    if (!change.bytes) {
      left.push_back(change);
      continue;
    }
    const auto& text = *change.bytes;
    const auto from = std::max(change.offset, offset);
    const auto to = std::min(change.offset + text.size(), end);
    if (from >= to) {
      left.push_back(change);
      continue;
    }
    put(bytes, from, std::string_view(text).substr(from - change.offset, to - from));
    if (change.offset < from)
      left.push_back({change.operation, change.offset,
                      std::make_shared<const std::string>(text.substr(0, from - change.offset))});
    if (to < change.offset + text.size())
      left.push_back({change.operation, to,
                      std::make_shared<const std::string>(text.substr(to - change.offset))});
  }
  inode.changes = std::move(left);
  inode.durable = std::make_shared<const std::string>(std::move(bytes));
}

void Volume::flush_names(Node directory) {
  for (auto& change : name_changes_)
    for (auto& effect : change.effects) {
      if (effect.directory != directory || effect.durable) continue;
      effect.durable = true;
      if (effect.node == kNoNode)
        durable_.erase({effect.directory, effect.leaf});
      else
        durable_[{effect.directory, effect.leaf}] = effect.node;
    }
  std::erase_if(name_changes_, [](const NameChange& change) {
    return std::all_of(change.effects.begin(), change.effects.end(),
                       [](const Effect& effect) { return effect.durable; });
  });
  names_flushed_ = next_;
}

// --- Building
// ---------------------------------------------------------------------------------------

Contents Volume::contents(const Inode& inode, Node node, const Choice& choice) const {
  if (inode.changes.empty() || choice.data == Choice::Data::kNone) return inode.durable;
  if (choice.data == Choice::Data::kBlocks) return by_blocks(inode, node, choice);
  std::string bytes = *inode.durable;
  for (const auto& change : inode.changes) {
    if (choice.data == Choice::Data::kOnlyLast && change.operation + 1 != next_) continue;
    if (choice.data == Choice::Data::kUpTo && change.operation > choice.limit) break;
    std::string_view text = change.bytes ? std::string_view(*change.bytes) : std::string_view();
    if (choice.data == Choice::Data::kUpTo && change.operation == choice.limit) {
      if (!change.bytes) break;
      text = text.substr(0, choice.torn);
    }
    if (change.bytes)
      put(bytes, change.offset, text);
    else
      bytes.resize(change.offset, '\0');
  }
  return std::make_shared<const std::string>(std::move(bytes));
}

// Each block as it was after some number of the changes, and the size likewise.
Contents Volume::by_blocks(const Inode& inode, Node node, const Choice& choice) const {
  const auto count = inode.changes.size();
  // In some states most is there, in some most is not.
  const auto mood = chance(choice.seed, node, 1) % 4;
  const auto applied = [&](std::uint64_t block) -> std::uint64_t {
    const auto r = chance(choice.seed, node, block + 2);
    if (mood == 0 && r % 16 != 0) return count;
    if (mood == 1 && r % 16 != 0) return 0;
    return (r >> 8) % (count + 1);
  };
  std::string bytes = *inode.durable;
  std::uint64_t size = bytes.size();
  std::uint64_t sized = size;
  const auto sized_after = applied(~0ULL >> 1);
  for (std::size_t n = 0; n < count; ++n) {
    const auto& change = inode.changes[n];
    size = change.bytes ? std::max<std::uint64_t>(size, change.offset + change.bytes->size())
                        : change.offset;
    if (n < sized_after) sized = size;
  }
  if (choice.stale && !stale_->empty())
    while (bytes.size() < sized)
      bytes += stale_->substr(0, std::min<std::size_t>(stale_->size(), sized - bytes.size()));
  bytes.resize(std::max<std::size_t>(bytes.size(), sized), '\0');
  for (std::size_t n = 0; n < count; ++n) {
    const auto& change = inode.changes[n];
    if (!change.bytes) continue;
    const std::string_view text = *change.bytes;
    for (std::uint64_t at = 0; at < text.size();) {
      const auto offset = change.offset + at;
      const auto block = offset / choice.block;
      const auto piece =
          std::min<std::uint64_t>((block + 1) * choice.block - offset, text.size() - at);
      if (applied(block) > n && offset < bytes.size())
        put(bytes, offset, text.substr(at, std::min<std::uint64_t>(piece, bytes.size() - offset)));
      at += piece;
    }
  }
  bytes.resize(sized, '\0');
  return std::make_shared<const std::string>(std::move(bytes));
}

// Which effects of which changes are there, beside the durable ones.
std::set<std::pair<std::size_t, std::size_t>> Volume::surviving(const Choice& choice) const {
  std::set<std::pair<std::size_t, std::size_t>> there;
  std::size_t waiting = 0;  // behind what a journaling file system has written
  for (const auto& change : name_changes_) waiting += change.operation >= names_flushed_;
  const auto kept = chance(choice.seed, 7) % (waiting + 1);
  std::size_t behind = 0;
  std::unordered_map<Node, bool> over;  // by directory: nothing more of it
  for (std::size_t n = 0; n < name_changes_.size(); ++n) {
    const auto& change = name_changes_[n];
    const bool committed = change.operation < names_flushed_;
    if (!committed) ++behind;
    bool added = true;
    for (std::size_t e = 0; e < change.effects.size(); ++e) {
      const auto& effect = change.effects[e];
      if (effect.durable) continue;
      bool is_there = false;
      switch (choice.names) {
        case Choice::Names::kAll:
          is_there = true;
          break;
        case Choice::Names::kNone:
          break;
        case Choice::Names::kOrdered:
          is_there = committed || behind <= kept;
          break;
        case Choice::Names::kByDirectory:
          if (chance(choice.seed, n, effect.directory + 11) % 3 == 0) over[effect.directory] = true;
          is_there = !over[effect.directory];
          break;
        case Choice::Names::kAny:
          is_there = chance(choice.seed, n, e + 13) % 2 == 0;
          break;
      }
      // In one directory a rename is one step; else the new name stands before the old one goes.
      if (e == 1 && effect.directory == change.effects[0].directory) is_there = added;
      if (e == 1 && !added) is_there = false;
      if (is_there) there.emplace(n, e);
      if (e == 0) added = is_there;
    }
  }
  return there;
}

Volume::Names Volume::names(const Choice& choice) const {
  Names names = durable_;
  const auto there = surviving(choice);
  for (std::size_t n = 0; n < name_changes_.size(); ++n)
    for (std::size_t e = 0; e < name_changes_[n].effects.size(); ++e) {
      const auto& effect = name_changes_[n].effects[e];
      if (!there.contains({n, e})) continue;
      if (effect.node == kNoNode)
        names.erase({effect.directory, effect.leaf});
      else
        names[{effect.directory, effect.leaf}] = effect.node;
    }
  return names;
}

Image Volume::build(const Choice& choice, NodePaths* nodes) const {
  if (nodes != nullptr) (*nodes)[""] = 0;
  const auto all = names(choice);
  Image image;
  std::vector<std::pair<Node, std::string>> directories{{0, ""}};
  while (!directories.empty()) {
    const auto [directory, path] = std::move(directories.back());
    directories.pop_back();
    for (auto at = all.lower_bound({directory, ""});
         at != all.end() && at->first.first == directory; ++at) {
      const auto& inode = inodes_.at(at->second);
      const auto inner = path.empty() ? at->first.second : path + "/" + at->first.second;
      if (nodes != nullptr) (*nodes)[inner] = at->second;
      if (inode.directory) {
        image[inner] = {};
        directories.emplace_back(at->second, inner);
        continue;
      }
      auto& entry = image[inner];
      entry.bytes = contents(inode, at->second, choice);
      entry.modified = inode.durable_time;
      if (!inode.times.empty() && choice.data == Choice::Data::kAll)
        entry.modified = inode.times.back().second;
    }
  }
  return image;
}

}  // namespace postern::crash
