#include "parent/background.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/base/check.h"

namespace postern::parent {
namespace {
constexpr int kOsError = 71;
}

Background::Side Background::detach() {
  int ends[2];
  CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  read_ = base::UniqueFd::adopt(ends[0]);
  write_ = base::UniqueFd::adopt(ends[1]);
  const pid_t pid = ::fork();
  CHECK(pid >= 0);
  if (pid > 0) {
    write_.reset();
    return Side::kCaller;
  }
  read_.reset();
  ::setsid();
  const auto null = base::UniqueFd::adopt(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null.valid()) {
    ::dup2(null.get(), STDIN_FILENO);
    ::dup2(null.get(), STDOUT_FILENO);
  }
  return Side::kServer;
}

int Background::wait_for_start() {
  char byte = 0;
  return ::read(read_.get(), &byte, 1) == 1 ? 0 : kOsError;
}

void Background::report(const std::string& error) noexcept {
  if (write_.valid() && error.empty()) (void)!::write(write_.get(), "+", 1);
  write_.reset();
}

}  // namespace postern::parent
