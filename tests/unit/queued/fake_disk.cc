#include "tests/unit/queued/fake_disk.h"

#include <unistd.h>

#include <algorithm>
#include <random>

namespace postern::queued {

class FakeDisk::Handle final : public os::File {
 public:
  Handle(FakeDisk& disk, std::string name, InodePtr inode)
      : disk_(disk), name_(std::move(name)), inode_(std::move(inode)) {
    ++disk_.open_;
  }
  ~Handle() override { --disk_.open_; }
  os::Result<void> write_at(std::uint64_t offset, std::string_view bytes) override {
    const std::lock_guard lock(disk_.mutex_);
    const auto end = offset + bytes.size();
    if (end > inode_->now.size() && (disk_.is_full() || end - inode_->now.size() > disk_.room()))
      return os::failure("write " + name_, ENOSPC);
    // A write cut short by a halt may have happened in part.
    const bool halts = disk_.operations == disk_.halt_at;
    auto ok = disk_.step("write " + name_ + " " + std::to_string(offset) + "+" +
                         std::to_string(bytes.size()));
    if (!ok && !halts) return ok;
    put(inode_->now, offset, bytes);
    inode_->unflushed.emplace_back(offset, std::string(bytes));
    return ok;
  }
  os::Result<std::string> read_at(std::uint64_t offset, std::size_t size) override {
    const std::lock_guard lock(disk_.mutex_);
    if (auto ok = disk_.look("read " + name_); !ok) return std::unexpected(ok.error());
    for (const auto& [name, block] : disk_.bad_blocks)
      if (name == name_ && block * 4096 < offset + size && offset < (block + 1) * 4096)
        return os::failure("read " + name_, EIO);
    if (offset >= inode_->now.size()) return std::string();
    return inode_->now.substr(offset, size);
  }
  std::optional<std::string> read_cached(std::uint64_t offset, std::size_t size) override {
    auto bytes = disk_.in_cache ? read_at(offset, size) : os::failure("read " + name_, EAGAIN);
    if (!bytes || bytes->size() < size) return std::nullopt;
    return *std::move(bytes);
  }
  os::Result<void> flush_data() override { return flush(); }
  os::Result<void> flush() override {
    const std::lock_guard lock(disk_.mutex_);
    if (auto ok = disk_.step("flush " + name_); !ok) {
      if (disk_.forget_failed_flush) inode_->unflushed.clear();
      return ok;
    }
    for (const auto& [offset, bytes] : inode_->unflushed) put(inode_->durable, offset, bytes);
    inode_->unflushed.clear();
    return {};
  }
  os::Result<std::uint64_t> size() override {
    const std::lock_guard lock(disk_.mutex_);
    if (auto ok = disk_.look("size " + name_); !ok) return std::unexpected(ok.error());
    return inode_->now.size();
  }
  os::Result<void> set_modified(base::WallTime) override { return {}; }
  os::Result<base::UniqueFd> duplicate() override {
    if (disk_.open_ >= disk_.most_open) return os::failure("duplicate " + name_, EMFILE);
    return base::UniqueFd::adopt(::dup(STDERR_FILENO));
  }
  os::Result<void> set_lease_read() override {
    if (inode_->writer_left) return os::failure("lease", EAGAIN);
    return {};
  }

 private:
  FakeDisk& disk_;
  std::string name_;
  InodePtr inode_;
};

void FakeDisk::cut_power(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (auto& [name, inode] : names_) {
    if (!durable_names_.contains(name) && random() % 2 == 0) durable_names_[name] = inode;
  }
  std::erase_if(durable_names_, [&](const auto& entry) {
    const auto at = names_.find(entry.first);
    return (at == names_.end() || at->second != entry.second) && random() % 2 == 0;
  });
  names_ = durable_names_;
  for (auto& [name, inode] : names_) {
    for (const auto& [offset, bytes] : inode->unflushed)
      for (std::size_t at = 0; at < bytes.size(); at += 512)
        if (random() % 2 == 0) put(inode->durable, offset + at, bytes.substr(at, 512));
    inode->unflushed.clear();
    inode->now = inode->durable;
  }
  restart();
}

void FakeDisk::restart() {
  halt_at = ~0ULL;
  fail_at = ~0ULL;
}

void FakeDisk::put_file(const std::string& path, std::string bytes) {
  auto inode = std::make_shared<Inode>();
  inode->now = inode->durable = std::move(bytes);
  names_[path] = durable_names_[path] = inode;
}

std::vector<std::string> FakeDisk::files(const std::string& folder) {
  std::vector<std::string> found;
  for (const auto& [name, inode] : names_)
    if (name.starts_with(folder + "/")) found.push_back(name);
  return found;
}

os::Result<std::unique_ptr<os::File>> FakeDisk::open(std::string_view path, os::OpenMode mode) {
  const std::lock_guard lock(mutex_);
  const std::string name(path);
  const bool create =
      mode == os::OpenMode::kCreateExclusive || mode == os::OpenMode::kCreateWriteOnly;
  const auto at = names_.find(name);
  if (!create) {
    if (auto ok = look("open " + name); !ok) return std::unexpected(ok.error());
    if (at == names_.end()) return os::failure("open " + name, ENOENT);
    if (open_ >= most_open) return os::failure("open " + name, EMFILE);
    return std::make_unique<Handle>(*this, name, at->second);
  }
  if (at != names_.end()) return os::failure("open " + name, EEXIST);
  if (open_ >= most_open) return os::failure("open " + name, EMFILE);
  if (is_full()) return os::failure("open " + name, ENOSPC);
  if (auto ok = step("create " + name); !ok) return std::unexpected(ok.error());
  auto inode = std::make_shared<Inode>();
  names_[name] = inode;
  return std::make_unique<Handle>(*this, name, inode);
}

os::Result<void> FakeDisk::rename(std::string_view from, std::string_view to) {
  const std::lock_guard lock(mutex_);
  if (auto ok = step("rename " + std::string(from) + " " + std::string(to)); !ok) return ok;
  const auto at = names_.find(std::string(from));
  if (at == names_.end()) return os::failure("rename", ENOENT);
  auto inode = at->second;
  names_.erase(at);
  names_[std::string(to)] = inode;
  return {};
}

os::Result<void> FakeDisk::unlink(std::string_view path) {
  const std::lock_guard lock(mutex_);
  if (!names_.contains(std::string(path))) return os::failure("unlink", ENOENT);
  if (auto ok = step("unlink " + std::string(path)); !ok) return ok;
  names_.erase(std::string(path));
  return {};
}

os::Result<void> FakeDisk::make_directory(std::string_view path) {
  const std::lock_guard lock(mutex_);
  if (!folders_.insert(std::string(path)).second) return {};
  return step("mkdir " + std::string(path));
}

os::Result<void> FakeDisk::flush_directory(std::string_view path) {
  const std::lock_guard lock(mutex_);
  if (auto ok = step("flush_directory " + std::string(path)); !ok) return ok;
  const auto inside = [&](const std::string& name) {
    const auto slash = name.rfind('/');
    return path == (slash == std::string::npos ? "." : name.substr(0, slash));
  };
  std::erase_if(durable_names_, [&](const auto& e) { return inside(e.first); });
  for (const auto& [name, inode] : names_)
    if (inside(name)) durable_names_[name] = inode;
  return {};
}

os::Result<std::vector<std::string>> FakeDisk::list(std::string_view path) {
  const std::lock_guard lock(mutex_);
  if (auto ok = look("list " + std::string(path)); !ok) return std::unexpected(ok.error());
  std::vector<std::string> found;
  const auto prefix = std::string(path) + "/";
  for (const auto& [name, inode] : names_)
    if (name.starts_with(prefix)) found.push_back(name.substr(prefix.size()));
  return found;
}

os::Result<bool> FakeDisk::exists(std::string_view path) {
  const std::lock_guard lock(mutex_);
  if (auto ok = look("stat " + std::string(path)); !ok) return std::unexpected(ok.error());
  return names_.contains(std::string(path)) || folders_.contains(std::string(path));
}

os::Result<std::uint64_t> FakeDisk::free_bytes() {
  const std::lock_guard lock(mutex_);
  if (auto ok = look("statfs"); !ok) return std::unexpected(ok.error());
  return is_full() ? 0 : std::min(free, room());
}

void FakeDisk::put(std::string& into, std::uint64_t offset, std::string_view bytes) {
  if (into.size() < offset + bytes.size()) into.resize(offset + bytes.size(), '\0');
  std::copy(bytes.begin(), bytes.end(), into.begin() + static_cast<std::ptrdiff_t>(offset));
}

std::uint64_t FakeDisk::room() const {
  if (capacity == ~0ULL) return capacity;
  std::uint64_t used = 0;
  for (const auto& [name, inode] : names_) used += inode->now.size();
  return capacity - std::min(used, capacity);
}

os::Result<void> FakeDisk::step(std::string what) {
  const auto number = operations++;
  log.push_back(std::move(what));
  const bool fails = calls++ == fail_call;
  if (fails) failed = log.back();
  if (number >= halt_at || number == fail_at || fails) return os::failure(log.back(), error);
  return {};
}

bool FakeDisk::is_full() const {
  return full || (calls >= full_call && calls < full_until);
}

os::Result<void> FakeDisk::look(std::string what) {
  if (calls++ != fail_call) return {};
  failed = what;
  return os::failure(what, error);
}

}  // namespace postern::queued
