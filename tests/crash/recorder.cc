#include "tests/crash/recorder.h"

#include <execinfo.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>

#include "common/base/check.h"
#include "common/base/fault.h"

namespace postern::crash {
namespace {

std::atomic<Recorder*> g_active{nullptr};

constexpr int kMostFrames = 24;

std::uint64_t inode_of(const struct stat& info) {
  return info.st_ino;
}

}  // namespace

std::string_view name(Kind kind) {
  switch (kind) {
    case Kind::kCreate:
      return "create";
    case Kind::kMakeDirectory:
      return "make directory";
    case Kind::kWrite:
      return "write";
    case Kind::kTruncate:
      return "truncate";
    case Kind::kFlushRange:
      return "flush range";
    case Kind::kFlushData:
      return "flush data";
    case Kind::kFlush:
      return "flush";
    case Kind::kFlushDirectory:
      return "flush directory";
    case Kind::kRename:
      return "rename";
    case Kind::kUnlink:
      return "unlink";
    case Kind::kSetTime:
      return "set time";
  }
  return "";
}

Recorder* Recorder::active() {
  return g_active.load(std::memory_order_acquire);
}

Recorder::Recorder(std::string root, const NodePaths& nodes, Node next, std::uint32_t base,
                   bool with_sites)
    : root_(std::move(root)), base_(base), with_sites_(with_sites), paths_(next) {
  for (const auto& [path, node] : nodes) {
    struct stat info {};
    if (::stat((root_ + "/" + path).c_str(), &info) != 0) continue;  // it was not laid out
    by_inode_[inode_of(info)] = node;
    by_path_[path] = node;
    paths_.at(node) = path;
  }
  sites_.emplace_back();
  CHECK(g_active.exchange(this) == nullptr);
}

Recorder::~Recorder() {
  g_active.store(nullptr);
}

std::uint32_t Recorder::position() {
  const std::lock_guard lock(mutex_);
  return base_ + static_cast<std::uint32_t>(operations_.size());
}

void Recorder::fail_next(Kind kind, std::string path, int error) {
  const std::lock_guard lock(mutex_);
  planned_.push_back({kind, std::move(path), error});
}

std::string Recorder::left_to_fail() {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (const auto& planned : planned_)
    text += std::string(text.empty() ? "" : ", ").append(name(planned.kind)) + " " + planned.path;
  return text;
}

int Recorder::take_failure(Kind kind, const std::string& path) {
  const auto at = std::find_if(planned_.begin(), planned_.end(), [&](const Planned& planned) {
    return planned.kind == kind && path.starts_with(planned.path);
  });
  if (at == planned_.end()) return 0;
  const int error = at->error;
  planned_.erase(at);
  return error;
}

int Recorder::failure(Kind kind, int fd) {
  if (planned_.empty()) return 0;
  const auto node = node_of(fd);
  return node == kNoNode ? 0 : take_failure(kind, paths_[node]);
}

int Recorder::failure(Kind kind, int directory, const char* path) {
  if (planned_.empty()) return 0;
  const auto where = place(directory, path);
  return where.directory == kNoNode ? 0 : take_failure(kind, where.path);
}

Node Recorder::add(std::uint64_t inode, std::string path) {
  const auto node = static_cast<Node>(paths_.size());
  by_inode_[inode] = node;
  by_path_[path] = node;
  paths_.push_back(std::move(path));
  return node;
}

Node Recorder::node_of(int fd) const {
  struct stat info {};
  if (::fstat(fd, &info) != 0 || (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))) return kNoNode;
  const auto at = by_inode_.find(inode_of(info));
  return at == by_inode_.end() ? kNoNode : at->second;
}

// Paths are relative to a directory of ours, or absolute and below the root.
Recorder::Place Recorder::place(int directory, const char* path) const {
  std::string whole = path;
  if (whole.starts_with('/') || directory == AT_FDCWD) {
    const auto slash = whole.rfind('/');
    const auto parent = slash == std::string::npos ? std::string(".") : whole.substr(0, slash);
    char* resolved = ::realpath(parent.c_str(), nullptr);
    if (resolved == nullptr) return {};
    whole = std::string(resolved) + "/" + whole.substr(slash == std::string::npos ? 0 : slash + 1);
    std::free(resolved);
    if (!whole.starts_with(root_ + "/")) return {};
    whole.erase(0, root_.size() + 1);
  } else {
    const auto node = node_of(directory);
    if (node == kNoNode) return {};
    if (whole == ".") whole = "";
    if (!paths_[node].empty()) whole = paths_[node] + (whole.empty() ? "" : "/") + whole;
  }
  const auto slash = whole.rfind('/');
  const auto parent = by_path_.find(slash == std::string::npos ? "" : whole.substr(0, slash));
  if (parent == by_path_.end()) return {};
  Place found{parent->second, whole, {}};
  found.leaf = slash == std::string::npos ? whole : whole.substr(slash + 1);
  return found;
}

bool Recorder::knows(int directory, const char* path) const {
  const auto where = place(directory, path);
  return where.directory == kNoNode || by_path_.contains(where.path);
}

Operation& Recorder::log(Kind kind, Node node) {
  auto& operation = operations_.emplace_back();
  operation.kind = kind;
  operation.node = node;
  if (node != kNoNode) operation.path = paths_[node];
  operation.time = wall_;
  if (with_sites_) {
    std::array<void*, kMostFrames> frames{};
    const auto count = ::backtrace(frames.data(), kMostFrames);
    const Site site(frames.begin(), frames.begin() + count);
    const std::string key(reinterpret_cast<const char*>(site.data()), site.size() * sizeof(void*));
    const auto [at, fresh] =
        site_numbers_.try_emplace(key, static_cast<std::uint32_t>(sites_.size()));
    if (fresh) sites_.push_back(site);
    operation.site = at->second;
  }
  return operation;
}

void Recorder::opened_new(int fd, int directory, const char* path) {
  auto where = place(directory, path);
  if (where.directory == kNoNode) return;
  struct stat info {};
  CHECK(::fstat(fd, &info) == 0);
  auto& operation = log(Kind::kCreate, add(inode_of(info), where.path));
  operation.directory = where.directory;
  operation.leaf = std::move(where.leaf);
}

void Recorder::made_directory(int directory, const char* path) {
  auto where = place(directory, path);
  if (where.directory == kNoNode) return;
  struct stat info {};
  CHECK(::stat((root_ + "/" + where.path).c_str(), &info) == 0);
  auto& operation = log(Kind::kMakeDirectory, add(inode_of(info), where.path));
  operation.directory = where.directory;
  operation.leaf = std::move(where.leaf);
}

void Recorder::wrote(int fd, std::uint64_t offset, const void* bytes, std::size_t size) {
  const auto node = node_of(fd);
  if (node == kNoNode) return;
  auto& operation = log(Kind::kWrite, node);
  operation.offset = offset;
  operation.bytes = std::make_shared<const std::string>(static_cast<const char*>(bytes), size);
  if ((::fcntl(fd, F_GETFL) & O_DSYNC) == 0) return;
  auto& flush = log(Kind::kFlushRange, node);
  flush.offset = offset;
  flush.size = size;
}

void Recorder::truncated(int fd, std::uint64_t size) {
  const auto node = node_of(fd);
  if (node != kNoNode) log(Kind::kTruncate, node).offset = size;
}

void Recorder::allocated(int fd, std::uint64_t end) {
  struct stat info {};
  CHECK(::fstat(fd, &info) == 0);
  if (static_cast<std::uint64_t>(info.st_size) == end) truncated(fd, end);
}

void Recorder::flushed(int fd, Kind kind) {
  const auto node = node_of(fd);
  if (node == kNoNode) return;
  struct stat info {};
  CHECK(::fstat(fd, &info) == 0);
  // A start flushes the spool's folder again for other reasons, which would hide this fault.
  if (fault::planted(fault::Fault::kIndexNameUnflushed) && index_published_ &&
      paths_[node] == "spool")
    return;
  log(S_ISDIR(info.st_mode) ? Kind::kFlushDirectory : kind, node);
}

void Recorder::renamed(int from, const char* path, int to, const char* to_path) {
  auto old_place = place(from, path);
  auto new_place = place(to, to_path);
  if (old_place.directory == kNoNode && new_place.directory == kNoNode) return;
  const auto at = by_path_.find(old_place.path);
  CHECK(at != by_path_.end() && new_place.directory != kNoNode);
  const auto node = at->second;
  index_published_ |= new_place.path == "spool/index";
  auto& operation = log(Kind::kRename, node);
  operation.directory = old_place.directory;
  operation.leaf = std::move(old_place.leaf);
  operation.to_directory = new_place.directory;
  operation.to_leaf = std::move(new_place.leaf);
  // A directory that is set aside takes along what is in it.
  const auto below = old_place.path + "/";
  std::vector<std::pair<std::string, Node>> moved{{new_place.path, node}};
  for (const auto& [known, inner] : by_path_)
    if (known.starts_with(below))
      moved.emplace_back(new_place.path + "/" + known.substr(below.size()), inner);
  std::erase_if(by_path_, [&](const auto& entry) {
    return entry.first == old_place.path || entry.first.starts_with(below);
  });
  for (auto& [moved_path, moved_node] : moved) {
    by_path_[moved_path] = moved_node;
    paths_[moved_node] = moved_path;
  }
}

void Recorder::unlinked(int directory, const char* path) {
  auto where = place(directory, path);
  if (where.directory == kNoNode) return;
  const auto at = by_path_.find(where.path);
  CHECK(at != by_path_.end());
  auto& operation = log(Kind::kUnlink, at->second);
  operation.directory = where.directory;
  operation.leaf = std::move(where.leaf);
  by_path_.erase(at);
}

void Recorder::set_time(int fd, std::int64_t ms) {
  const auto node = node_of(fd);
  if (node != kNoNode) log(Kind::kSetTime, node).time = ms;
}

}  // namespace postern::crash
