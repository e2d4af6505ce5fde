#include "common/os/shared_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace postern::os {
namespace {

constexpr std::size_t kBytes = 12'345;

TEST(SharedMemory, ShowsReadersWhatItsOwnerWrites) {
  const auto memory = make_shared_memory("test", kBytes);
  ASSERT_TRUE(memory);
  const auto own = Mapping::of(memory->writable.get(), kBytes, true);
  const auto other = Mapping::of(memory->readable.get(), kBytes, false);
  ASSERT_TRUE(own && other);
  EXPECT_EQ(static_cast<const char*>(other->data())[kBytes - 1], '\0');
  static_cast<char*>(own->data())[kBytes - 1] = 'x';
  EXPECT_EQ(static_cast<const char*>(other->data())[kBytes - 1], 'x');
}

TEST(SharedMemory, GivesReadersNoWayToWrite) {
  const auto memory = make_shared_memory("test", kBytes);
  ASSERT_TRUE(memory);
  EXPECT_FALSE(Mapping::of(memory->readable.get(), kBytes, true).has_value());
  EXPECT_LT(::write(memory->readable.get(), "x", 1), 0);
  const auto other = Mapping::of(memory->readable.get(), kBytes, false);
  ASSERT_TRUE(other);
  EXPECT_NE(::mprotect(other->data(), kBytes, PROT_READ | PROT_WRITE), 0);
}

// Nobody, its owner included, can take pages away from under a reader.
TEST(SharedMemory, KeepsItsSize) {
  const auto memory = make_shared_memory("test", kBytes);
  ASSERT_TRUE(memory);
  EXPECT_NE(::ftruncate(memory->writable.get(), 0), 0);
  EXPECT_NE(::ftruncate(memory->writable.get(), 2 * kBytes), 0);
  EXPECT_NE(::fcntl(memory->writable.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
}

TEST(SharedMemory, IsTakenForNothingElse) {
  const auto memory = make_shared_memory("test", kBytes);
  ASSERT_TRUE(memory);
  EXPECT_FALSE(Mapping::of(memory->readable.get(), kBytes + 1, false).has_value());
  const auto unsealed = base::UniqueFd::adopt(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), kBytes), 0);
  EXPECT_FALSE(Mapping::of(unsealed.get(), kBytes, false).has_value());
  EXPECT_FALSE(Mapping::of(-1, kBytes, false).has_value());
}

}  // namespace
}  // namespace postern::os
