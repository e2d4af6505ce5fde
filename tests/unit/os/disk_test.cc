#include "common/os/disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/uio.h>

#include <filesystem>
#include <fstream>

namespace postern::os {
namespace {

namespace fs = std::filesystem;

class RealDisk : public ::testing::Test {
 protected:
  RealDisk() {
    path_ = (fs::temp_directory_path() / "postern-disk-XXXXXX").string();
    EXPECT_NE(::mkdtemp(path_.data()), nullptr);
    disk_ = real_disk(base::UniqueFd::adopt(::open(path_.c_str(), O_DIRECTORY | O_RDONLY | O_CLOEXEC)));
  }
  ~RealDisk() override { fs::remove_all(path_); }
  std::string path_;
  std::unique_ptr<Disk> disk_;
};

TEST_F(RealDisk, WritesReadsRenamesAndUnlinks) {
  ASSERT_TRUE(disk_->make_directory("sub"));
  ASSERT_TRUE(disk_->make_directory("sub"));
  auto file = disk_->open("sub/a", OpenMode::kCreateExclusive);
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->write_at(4096, "hello"));
  ASSERT_TRUE((*file)->flush_data());
  EXPECT_EQ((*file)->size().value(), 4101U);
  EXPECT_EQ((*file)->read_at(4097, 100).value(), "ello");
  ASSERT_TRUE((*file)->set_modified({1234567890123}));
  EXPECT_FALSE(disk_->open("sub/a", OpenMode::kCreateExclusive));
  ASSERT_TRUE(disk_->rename("sub/a", "b"));
  ASSERT_TRUE(disk_->flush_directory("sub"));
  ASSERT_TRUE(disk_->flush_directory("."));
  EXPECT_FALSE(disk_->exists("sub/a").value());
  EXPECT_FALSE(disk_->exists("nowhere/a").value());
  EXPECT_TRUE(disk_->exists("b").value());
  EXPECT_EQ(disk_->list(".")->size(), 2U);
  ASSERT_TRUE(disk_->unlink("b"));
  EXPECT_GT(disk_->free_bytes().value(), 0U);
}

TEST_F(RealDisk, NeverLeavesItsDirectory) {
  const auto outside = path_ + "-outside";
  fs::create_directory(outside);
  std::ofstream(outside + "/secret") << "secret";
  fs::create_symlink(outside, path_ + "/link");
  fs::create_symlink(outside + "/secret", path_ + "/file");
  for (const auto* path : {"link/secret", "file", "../secret", "/etc/passwd", "sub/../../x"}) {
    EXPECT_FALSE(disk_->open(path, OpenMode::kRead)) << path;
    EXPECT_FALSE(disk_->open(path, OpenMode::kCreateExclusive)) << path;
  }
  EXPECT_FALSE(disk_->unlink("link/secret"));
  EXPECT_FALSE(disk_->make_directory("link/new"));
  EXPECT_FALSE(disk_->rename("file", "link/new"));
  EXPECT_FALSE(disk_->list("link"));
  EXPECT_FALSE(disk_->unlink(".."));
  EXPECT_TRUE(fs::exists(outside + "/secret"));
  fs::remove_all(outside);
}

TEST_F(RealDisk, ALeaseShowsWhetherAWriterIsLeft) {
  auto writer = disk_->open("large", OpenMode::kCreateWriteOnly);
  ASSERT_TRUE(writer);
  auto reader = disk_->open("large", OpenMode::kRead);
  ASSERT_TRUE(reader);
  EXPECT_FALSE((*reader)->set_lease_read());
  writer->reset();
  EXPECT_TRUE((*reader)->set_lease_read());
}

// Whether the page cache is asked at all is the file system's business.
TEST_F(RealDisk, ReadsWithoutWaitingAllOrNothing) {
  auto file = disk_->open("a", OpenMode::kCreateExclusive);
  ASSERT_TRUE(file);
  const std::string bytes(3 * 4096, 'x');
  ASSERT_TRUE((*file)->write_at(0, bytes));
  ASSERT_TRUE((*file)->flush());
  const auto raw = base::UniqueFd::adopt(::open((path_ + "/a").c_str(), O_RDONLY | O_CLOEXEC));
  const auto in_cache = [&](off_t offset, std::size_t size) {
    std::string into(size, '\0');
    const iovec all{into.data(), size};
    return ::preadv2(raw.get(), &all, 1, offset, RWF_NOWAIT) == static_cast<ssize_t>(size);
  };
  const auto read = (*file)->read_cached(4096, 100);
  EXPECT_EQ(read.has_value(), in_cache(4096, 100));
  EXPECT_EQ(read.value_or(std::string(100, 'x')), std::string(100, 'x'));
  EXPECT_FALSE((*file)->read_cached(2 * 4096, 4097)) << "it is not as long";
  EXPECT_FALSE((*file)->read_cached(3 * 4096, 1));
  ASSERT_EQ(::posix_fadvise(raw.get(), 4096, 4096, POSIX_FADV_DONTNEED), 0);
  EXPECT_EQ((*file)->read_cached(0, bytes.size()).value_or(bytes), bytes);  // if it is there at all
  EXPECT_EQ((*file)->read_at(0, bytes.size()).value(), bytes);
}

TEST_F(RealDisk, ErrorsNameWhatFailed) {
  const auto error = disk_->open("missing", OpenMode::kRead).error();
  EXPECT_EQ(error.number, ENOENT);
  EXPECT_EQ(error.text(), "open missing: No such file or directory");
}

}  // namespace
}  // namespace postern::os
