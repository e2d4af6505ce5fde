// UniqueFd: owner of one file descriptor. Move-only, adopts only when told to, converts to nothing.
#pragma once

#include <unistd.h>

#include <utility>

namespace postern::base {

class UniqueFd {
 public:
  constexpr UniqueFd() noexcept = default;
  // Takes ownership of `fd`; a negative number means none.
  [[nodiscard]] static UniqueFd adopt(int fd) noexcept { return UniqueFd(fd); }

  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }
  // The number, for a system call; ownership stays here.
  [[nodiscard]] int get() const noexcept { return fd_; }
  // Gives ownership away.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  explicit UniqueFd(int fd) noexcept : fd_(fd < 0 ? -1 : fd) {}
  int fd_ = -1;
};

}  // namespace postern::base
