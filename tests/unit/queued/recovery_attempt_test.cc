// Starts that fail again and again: what they fail over is set aside, and the rest lives on.
#include "queued/recovery_attempt.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/queued/store_rig.h"

namespace postern::queued {
namespace {

// Ends the process as soon as a start is about to read what a test names: the file `recovering`
// tells.
class AbortingDisk final : public os::Disk {
 public:
  AbortingDisk(std::unique_ptr<os::Disk> disk, std::string at)
      : disk_(std::move(disk)), at_("\nat " + std::move(at) + "\n") {}

  os::Result<std::unique_ptr<os::File>> open(std::string_view path, os::OpenMode mode) override {
    auto file = disk_->open(path, mode);
    if (!file || path != "recovering") return file;
    return std::make_unique<Watched>(*std::move(file), at_);
  }
  os::Result<void> rename(std::string_view from, std::string_view to) override {
    return disk_->rename(from, to);
  }
  os::Result<void> unlink(std::string_view path) override { return disk_->unlink(path); }
  os::Result<void> make_directory(std::string_view path) override {
    return disk_->make_directory(path);
  }
  os::Result<void> flush_directory(std::string_view path) override {
    return disk_->flush_directory(path);
  }
  os::Result<std::vector<std::string>> list(std::string_view path) override {
    return disk_->list(path);
  }
  os::Result<bool> exists(std::string_view path) override { return disk_->exists(path); }
  os::Result<std::uint64_t> free_bytes() override { return disk_->free_bytes(); }

 private:
  class Watched final : public os::File {
   public:
    Watched(std::unique_ptr<os::File> file, std::string at)
        : file_(std::move(file)), at_(std::move(at)) {}
    os::Result<void> write_at(std::uint64_t offset, std::string_view bytes) override {
      auto done = file_->write_at(offset, bytes);
      if (bytes.find(at_) != std::string_view::npos) std::abort();
      return done;
    }
    os::Result<std::string> read_at(std::uint64_t offset, std::size_t size) override {
      return file_->read_at(offset, size);
    }
    os::Result<void> flush_data() override { return file_->flush_data(); }
    os::Result<void> flush() override { return file_->flush(); }
    os::Result<std::uint64_t> size() override { return file_->size(); }
    os::Result<void> set_modified(base::WallTime t) override { return file_->set_modified(t); }
    os::Result<base::UniqueFd> duplicate() override { return file_->duplicate(); }
    os::Result<void> set_lease_read() override { return file_->set_lease_read(); }

   private:
    std::unique_ptr<os::File> file_;
    std::string at_;
  };
  std::unique_ptr<os::Disk> disk_;
  std::string at_;
};

// A store on a real directory, so that a process that dies leaves what it wrote.
class RecoveryAttemptTest : public ::testing::Test {
 protected:
  RecoveryAttemptTest() {
    std::string name = ::testing::TempDir() + "postern-XXXXXX";
    root_ = ::mkdtemp(name.data());
    life_.segment_size = 16 * 1024;
    life_.cache = 0;
    life_.pace.every =
        base::Millis(1LL << 40);  // no checkpoint: every start reads all of the journal
    if (life_.open(real())) {
      for (int i = 0; i < 40; ++i) {
        const std::string text = "body " + std::to_string(i) + std::string(3600, 'x') + "\r\n";
        bodies_[life_.accept(text)] = text;
      }
      life_.kill();
    }
    EXPECT_FALSE(noted());
  }
  ~RecoveryAttemptTest() override {
    life_.store.reset();
    std::filesystem::remove_all(root_);
  }

  std::unique_ptr<os::Disk> real() const {
    return os::real_disk(
        base::UniqueFd::adopt(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  }
  // A record in the middle of the n-th newest segment.
  struct Spot {
    std::string file, record, told_file, told_record;
  };
  Spot spot(std::uint64_t n) const {
    std::map<std::uint64_t, std::pair<std::string, std::uint64_t>, std::greater<>> found;
    for (const auto& entry : std::filesystem::directory_iterator(root_ / "journal")) {
      std::string block(kBlock, '\0');
      std::ifstream(entry.path()).read(block.data(), static_cast<std::streamsize>(kBlock));
      if (const auto header = decode_header(block))
        found[header->number] = {entry.path().filename(), header->first.value + 1};
    }
    const auto& [name, record] = std::next(found.begin(), static_cast<std::ptrdiff_t>(n))->second;
    const auto number = std::to_string(record);
    return {"journal/" + name, "journal/" + name + " record " + number,
            "file " + name + " of the journal is set aside",
            "record " + number + " of the journal (file " + name + ") is left out"};
  }
  bool noted() const { return std::filesystem::exists(root_ / "recovering"); }
  // A start that dies where `at` is read; true if it did.
  void die(const std::string& at) {
    EXPECT_DEATH((void)life_.open(std::make_unique<AbortingDisk>(real(), at)), "");
    EXPECT_TRUE(noted());
  }
  std::size_t intact() {
    std::size_t count = 0;
    for (const auto& [id, text] : bodies_) count += life_.body(id) == text;
    return count;
  }
  bool told(const std::string& what) {
    for (const auto& sentence : life_.store->health().damage)
      if (sentence.find(what) != std::string::npos) return true;
    return false;
  }

  std::filesystem::path root_;
  StoreRig life_;
  std::map<base::MessageId, std::string> bodies_;
};

TEST_F(RecoveryAttemptTest, ARecordThatEndsTheProcessIsLeftOutAfterThreeStarts) {
  const auto bad = spot(4);
  die(bad.file);  // while the file is read: from now on records are named
  die(bad.record);
  die(bad.record);
  ASSERT_TRUE(life_.open(std::make_unique<AbortingDisk>(real(), "no such thing")));
  EXPECT_TRUE(told(bad.told_record));
  EXPECT_EQ(intact(), bodies_.size() - 1);
  EXPECT_FALSE(noted());
}

TEST_F(RecoveryAttemptTest, AFileThatEndsTheProcessIsSetAside) {
  const auto bad = spot(4);
  for (int start = 0; start < 3; ++start) die(bad.file);
  ASSERT_TRUE(life_.open(real()));
  EXPECT_TRUE(told(bad.told_file));
  EXPECT_GE(intact(), bodies_.size() - 8);
  EXPECT_LT(intact(), bodies_.size());
  EXPECT_FALSE(noted());
  EXPECT_FALSE(std::filesystem::exists(root_ / bad.file));
  EXPECT_FALSE(std::filesystem::is_empty(root_ / "damaged"));
}

TEST_F(RecoveryAttemptTest, TwoBadRecordsAreBothLeftOut) {
  const auto first = spot(6);
  const auto second = spot(3);
  die(first.file);
  for (int start = 0; start < 2; ++start) die(first.record);
  for (int start = 0; start < 2; ++start) die(second.record);
  ASSERT_TRUE(life_.open(real()));
  EXPECT_TRUE(told(first.told_record));
  EXPECT_TRUE(told(second.told_record));
  EXPECT_EQ(intact(), bodies_.size() - 2);
}

TEST_F(RecoveryAttemptTest, WhereLeavingOutARecordDoesNotHelpItsFileGoes) {
  const auto bad = spot(4);
  die(bad.file);
  for (int start = 0; start < 3; ++start) die(bad.record);
  ASSERT_TRUE(life_.open(real()));
  EXPECT_TRUE(told(bad.told_file));
}

TEST_F(RecoveryAttemptTest, StartsThatAreKilledHereAndThereCostNothing) {
  die(spot(4).file);
  die(spot(3).record);
  die("large");
  die(spot(5).record);
  ASSERT_TRUE(life_.open(real()));
  EXPECT_TRUE(life_.store->health().damage.empty());
  EXPECT_EQ(intact(), bodies_.size());
  EXPECT_FALSE(noted());
}

TEST_F(RecoveryAttemptTest, AnIndexThatEndsTheProcessAtOnePlaceIsSetAside) {
  die("index");  // from now on places in it are named
  for (int start = 0; start < 2; ++start) die("index from 0");
  ASSERT_TRUE(life_.open(real()));
  EXPECT_TRUE(told("the index is set aside and rebuilt"));
  EXPECT_EQ(intact(), bodies_.size());
}

// While it is read, mail goes on: who ends the process then need not mean the index, however often.
TEST_F(RecoveryAttemptTest, AnIndexIsNotBlamedForStartsThatEndElsewhereToo) {
  die("index");
  for (int start = 0; start < 4; ++start) {
    die("large");
    die("index from 0");
  }
  ASSERT_TRUE(life_.open(real()));
  EXPECT_TRUE(life_.store->health().damage.empty());
}

TEST_F(RecoveryAttemptTest, ACompleteStartForgetsTheFailedOnes) {
  for (int round = 0; round < 2; ++round) {
    const auto bad = spot(4);
    die(bad.file);
    die(bad.record);
    ASSERT_TRUE(life_.open(real()));
    EXPECT_TRUE(life_.store->health().damage.empty());
    EXPECT_EQ(intact(), bodies_.size());
    life_.kill();
  }
}

TEST(RecoveryAttempt, AStartThatIsGivenUpHasNotFailed) {
  FakeDisk disk;
  {
    RecoveryAttempt first(disk);
    first.stage("index");
  }
  for (int start = 0; start < 5; ++start) {
    RecoveryAttempt next(disk);
    EXPECT_EQ(next.failed(), 1U);
    EXPECT_EQ(next.culprit(), "index");
    next.stage_beside_mail("index", 7);
    next.withdraw();
    next.stage("large");  // it goes on reading until it ends
  }
  RecoveryAttempt(disk).complete();
  for (int start = 0; start < 2; ++start) {
    RecoveryAttempt next(disk);
    EXPECT_EQ(next.failed(), 0U);
    next.stage("index");
    next.withdraw();
  }
}

// On a disk in memory.
class UnreadableTest : public ::testing::Test, protected StoreRig {
 protected:
  void fill() {
    segment_size = 16 * 1024;
    cache = 0;
    ASSERT_TRUE(open());
    for (int i = 0; i < 40; ++i) {
      const std::string text = "body " + std::to_string(i) + std::string(3600, 'x') + "\r\n";
      bodies[accept(text)] = text;
    }
    kill();
  }
  std::map<base::MessageId, std::string> bodies;
};

TEST_F(UnreadableTest, ABlockThatCannotBeReadCostsItsMessageAfterThreeStarts) {
  fill();
  std::string file;
  for (const auto& name : disk.files("journal"))
    if (disk.content(name).find("body 20x") != std::string::npos) file = name;
  for (const std::uint64_t block : {0U, 2U}) disk.bad_blocks.emplace(file, block);
  EXPECT_FALSE(open());
  EXPECT_NE(fatal.find("Input/output error"), std::string::npos);
  EXPECT_FALSE(open());
  ASSERT_TRUE(open());
  EXPECT_FALSE(store->health().damage.empty());
  std::size_t left = 0;
  for (const auto& [id, text] : bodies) left += body(id) == text;
  EXPECT_EQ(left, bodies.size() - 1);
}

TEST_F(UnreadableTest, ADiskThatCannotBeWrittenToStopsNoCounting) {
  fill();
  disk.put_file("recovering", "");
  disk.fail_at = disk.operations;
  ASSERT_TRUE(open());
  EXPECT_FALSE(disk.has("recovering"));
  EXPECT_TRUE(store->health().damage.empty());
}

TEST_F(UnreadableTest, NonsenseIsOneFailedStart) {
  for (const std::string text : {"", "x", "POSTERN RECOVERING 1\nfailed 99999999999999\nat \n",
                                 "POSTERN RECOVERING 1\nfailed -1\nskip\nskip \n\n\nat"}) {
    disk.put_file("recovering", text);
    const RecoveryAttempt attempt(disk);
    EXPECT_EQ(attempt.failed(), 1U) << text;
    EXPECT_FALSE(attempt.tolerant());
  }
}

}  // namespace
}  // namespace postern::queued
