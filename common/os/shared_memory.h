// Memory that one process writes and others read: a memory file of fixed size with two descriptors, of
// which the second gives no right to write.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include "common/base/unique_fd.h"
#include "common/os/error.h"

namespace postern::os {

struct SharedMemory {
  base::UniqueFd writable, readable;
};
// Zeroed, and sealed against any change of its size: no reader can be made to fault. Before a sandbox.
[[nodiscard]] Result<SharedMemory> make_shared_memory(std::string_view name, std::size_t bytes);

// A mapped piece of memory; unmapped at its end.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Mapping();

  // Of a file that make_shared_memory() made; it may be closed then.
  [[nodiscard]] static Result<Mapping> of(int fd, std::size_t bytes, bool writable);
  // Of this process alone.
  [[nodiscard]] static Result<Mapping> of_own(std::size_t bytes);

  [[nodiscard]] void* data() const noexcept { return data_; }

 private:
  Mapping(void* data, std::size_t size) noexcept : data_(data), size_(size) {}
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace postern::os
