#include "parent/background.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "common/base/check.h"

namespace postern::parent {
namespace {
constexpr int kOsError = 71;
constexpr std::size_t kMaxReport = 4096;  // PIPE_BUF: written at once
constexpr std::string_view kServes = "+";
}  // namespace

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
  std::string report;
  char bytes[512];
  for (ssize_t got;
       report.size() < kMaxReport && (got = ::read(read_.get(), bytes, sizeof bytes)) > 0;)
    report.append(bytes, static_cast<std::size_t>(got));
  if (report == kServes) return 0;
  std::fprintf(stderr, "postern: %s\n",
               report.empty() ? "the server ended at its start" : report.c_str());
  return kOsError;
}

void Background::report(const std::string& error) noexcept {
  if (write_.valid()) {
    const std::string_view text = error.empty() ? kServes : std::string_view(error);
    (void)!::write(write_.get(), text.data(), std::min(text.size(), kMaxReport));
    write_.reset();
  } else if (!error.empty()) {
    std::fprintf(stderr, "postern: %s\n", error.c_str());
  }
}

}  // namespace postern::parent
