// Error: what a system call said, with what we were doing. The environment's kind of trouble.
#pragma once

#include <cerrno>
#include <cstring>
#include <expected>
#include <string>
#include <string_view>

namespace postern::os {

struct Error {
  int number = 0;  // errno; 0: `what` says all
  std::string what;  // "open spool/control.json"

  [[nodiscard]] std::string text() const {
    return number == 0 ? what : what + ": " + ::strerrordesc_np(number);
  }
};

template <class T>
using Result = std::expected<T, Error>;

// The current errno with what failed.
[[nodiscard]] inline std::unexpected<Error> failure(std::string_view what, int number = errno) {
  return std::unexpected(Error{number, std::string(what)});
}

}  // namespace postern::os
