// Vault: the one file of fetch, which it gets open and could not open itself. It holds a text of bytes, old or
// new and never a mixture: its two halves are written in turn, each with its number, its length and a CRC32C,
// and the whole one with the higher number counts. A half that a crash left torn is as if it were not there.
//
//   half := "postern policies" version:u32 number:u64 size:u32 crc:u32 bytes
//
// where crc covers all that stands before it, and the bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/os/disk.h"

namespace postern::fetch {

class Vault {
 public:
  static constexpr std::uint32_t kVersion = 1;
  static constexpr std::uint64_t kHalf = 32U << 20;  // where the second one begins
  static constexpr std::size_t kHead = 36;
  static constexpr std::size_t kMost = kHalf - kHead;

  explicit Vault(std::unique_ptr<os::File> file) : file_(std::move(file)) {}

  struct Content {
    std::uint32_t version = kVersion;  // of the format of `bytes`
    std::string bytes;                 // empty: there is nothing
  };
  // What was written last. Nothing of a later version is read, and none of it overwritten: an error.
  [[nodiscard]] os::Result<Content> read();
  // Flushed when this returns. `bytes`: at most kMost. Behind read().
  [[nodiscard]] os::Result<void> write(std::string_view bytes);

 private:
  std::unique_ptr<os::File> file_;
  std::uint64_t number_ = 0;  // of the half that counts
};

}  // namespace postern::fetch
