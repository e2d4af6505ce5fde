// MemoryDisk: a disk that costs nothing but the copy, so that what is counted is Postern.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/os/disk.h"

namespace postern::guard {

class MemoryDisk final : public os::Disk {
 public:
  os::Result<std::unique_ptr<os::File>> open(std::string_view path, os::OpenMode mode) override {
    const bool fresh =
        mode == os::OpenMode::kCreateExclusive || mode == os::OpenMode::kCreateWriteOnly;
    auto at = files_.find(path);
    if (fresh && at != files_.end()) return os::failure("open", EEXIST);
    if (!fresh && at == files_.end()) return os::failure("open", ENOENT);
    if (fresh) at = files_.emplace(path, std::make_shared<std::string>()).first;
    return std::make_unique<Handle>(at->second);
  }
  os::Result<void> rename(std::string_view from, std::string_view to) override {
    auto entry = files_.extract(std::string(from));
    if (entry.empty()) return os::failure("rename", ENOENT);
    files_.erase(std::string(to));
    entry.key() = to;
    files_.insert(std::move(entry));
    return {};
  }
  os::Result<void> unlink(std::string_view path) override {
    if (files_.erase(std::string(path)) == 0) return os::failure("unlink", ENOENT);
    return {};
  }
  os::Result<void> make_directory(std::string_view) override { return {}; }
  os::Result<void> flush_directory(std::string_view) override { return {}; }
  os::Result<std::vector<std::string>> list(std::string_view path) override {
    std::vector<std::string> found;
    const auto prefix = std::string(path) + '/';
    for (const auto& [name, bytes] : files_)
      if (name.starts_with(prefix)) found.push_back(name.substr(prefix.size()));
    return found;
  }
  os::Result<bool> exists(std::string_view path) override { return files_.contains(path); }
  os::Result<std::uint64_t> free_bytes() override { return std::uint64_t{100} << 30; }

 private:
  class Handle final : public os::File {
   public:
    explicit Handle(std::shared_ptr<std::string> bytes) : bytes_(std::move(bytes)) {}
    os::Result<void> write_at(std::uint64_t offset, std::string_view bytes) override {
      if (bytes_->size() < offset + bytes.size()) bytes_->resize(offset + bytes.size());
      bytes_->replace(offset, bytes.size(), bytes);
      return {};
    }
    os::Result<std::string> read_at(std::uint64_t offset, std::size_t size) override {
      return offset < bytes_->size() ? bytes_->substr(offset, size) : std::string();
    }
    os::Result<void> flush_data() override { return {}; }
    os::Result<void> flush() override { return {}; }
    os::Result<std::uint64_t> size() override { return bytes_->size(); }
    os::Result<void> set_modified(base::WallTime) override { return {}; }
    os::Result<base::UniqueFd> duplicate() override { return os::failure("duplicate", ENOTSUP); }
    os::Result<void> set_lease_read() override { return {}; }

   private:
    std::shared_ptr<std::string> bytes_;
  };

  std::map<std::string, std::shared_ptr<std::string>, std::less<>> files_;
};

}  // namespace postern::guard
