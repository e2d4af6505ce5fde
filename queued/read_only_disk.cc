#include "queued/read_only_disk.h"

#include <cerrno>
#include <utility>

namespace postern::queued {
namespace {

std::unexpected<os::Error> refused() { return os::failure("write to a spool that is only read", EROFS); }

class ReadOnlyFile final : public os::File {
 public:
  explicit ReadOnlyFile(std::unique_ptr<os::File> file) : file_(std::move(file)) {}
  os::Result<void> write_at(std::uint64_t, std::string_view) override { return refused(); }
  os::Result<std::string> read_at(std::uint64_t offset, std::size_t size) override {
    return file_->read_at(offset, size);
  }
  os::Result<void> flush_data() override { return {}; }
  os::Result<void> flush() override { return {}; }
  os::Result<std::uint64_t> size() override { return file_->size(); }
  os::Result<void> set_modified(base::WallTime) override { return refused(); }
  os::Result<base::UniqueFd> duplicate() override { return file_->duplicate(); }
  os::Result<void> set_lease_read() override { return refused(); }

 private:
  std::unique_ptr<os::File> file_;
};

class ReadOnlyDisk final : public os::Disk {
 public:
  explicit ReadOnlyDisk(os::Disk& disk) : disk_(disk) {}
  os::Result<std::unique_ptr<os::File>> open(std::string_view path, os::OpenMode mode) override {
    if (mode == os::OpenMode::kCreateExclusive || mode == os::OpenMode::kCreateWriteOnly)
      return refused();
    auto file = disk_.open(path, os::OpenMode::kRead);
    if (!file) return file;
    return std::make_unique<ReadOnlyFile>(*std::move(file));
  }
  os::Result<void> rename(std::string_view, std::string_view) override { return refused(); }
  os::Result<void> unlink(std::string_view) override { return refused(); }
  os::Result<void> make_directory(std::string_view path) override {
    const auto there = disk_.exists(path);
    if (there && *there) return {};
    return refused();
  }
  os::Result<void> flush_directory(std::string_view) override { return {}; }
  os::Result<std::vector<std::string>> list(std::string_view path) override {
    return disk_.list(path);
  }
  os::Result<bool> exists(std::string_view path) override { return disk_.exists(path); }
  os::Result<std::uint64_t> free_bytes() override { return disk_.free_bytes(); }

 private:
  os::Disk& disk_;
};

}  // namespace

std::unique_ptr<os::Disk> read_only(os::Disk& disk) { return std::make_unique<ReadOnlyDisk>(disk); }

}  // namespace postern::queued
