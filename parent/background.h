// Background: leaving the terminal, with the caller waiting until the server serves or has failed.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/unique_fd.h"

namespace postern::parent {

class Background {
 public:
  enum class Side : std::uint8_t { kServer, kCaller };
  // Forks into a new session; both sides return. Before the first thread and the loop.
  [[nodiscard]] Side detach();
  // The caller's side: waits for the server's report, and says on stderr why it failed; what to
  // exit with (0, or 71).
  [[nodiscard]] int wait_for_start();
  // The server's side, and the foreground's: it serves (empty), or why not.
  void report(const std::string& error) noexcept;

 private:
  base::UniqueFd read_, write_;
};

}  // namespace postern::parent
