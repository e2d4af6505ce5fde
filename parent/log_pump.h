// LogPump: carries the log lines of the children to where the log goes, and signs each with the
// name of the process that wrote it, so that a stolen role cannot speak for another. Lines are
// opaque here: cut at a length, control bytes replaced. A log that is not read, or cannot be
// written, never stops the server: up to kMaxBuffer waits for it, beyond that lines are dropped,
// and the log says how many.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/config/roles.h"
#include "common/event/loop.h"
#include "common/os/error.h"

namespace postern::parent {

class LogPump {
 public:
  static constexpr std::size_t kMaxBuffer = 1 << 20;
  // What came first is taken at once, what follows gathers for so long in its pipe: a busy role writes with each turn of
  // its loop, and to wake up as often costs more than the lines do.
  static constexpr base::Millis kGather{5};

  // `file`: absolute path, or empty for stderr. `gather`: see kGather.
  LogPump(event::Loop& loop, std::string file, config::LogFormat format, base::Millis gather = kGather);
  ~LogPump();
  // Opens the file; again after it was moved away (SIGUSR1).
  os::Result<void> open();
  void set_format(config::LogFormat format) { format_ = format; }
  // A descriptor for a child to log to; its lines are signed `role`.
  [[nodiscard]] os::Result<base::UniqueFd> add(std::string role);
  // Takes what is left in all pipes, and waits a moment for a reader that is behind; before the
  // end.
  void drain() noexcept;

 private:
  struct Source {
    base::UniqueFd fd;
    std::string role;
    std::string kept;
    bool full = false;  // its pipe was, and may be again
    std::unique_ptr<event::FdEvent> event;
  };
  enum class Read : std::uint8_t { kSome, kNothing, kEnd };  // kEnd: its last writer is gone
  void readable(Source& source) noexcept;
  Read read(Source& source) noexcept;
  void take_lines(Source& source);
  void append(std::string_view line, const std::string& role);
  void write_out(int wait_ms) noexcept;
  void tell_dropped() noexcept;

  event::Loop& loop_;
  std::string file_;
  config::LogFormat format_;
  const base::Millis gather_;
  base::UniqueFd out_;
  bool is_file_ = false;  // a regular one: writing to it never waits for a reader
  std::string buffer_;
  std::uint64_t dropped_ = 0;
  event::Timer again_;
  event::Timer gathered_;
  std::vector<std::unique_ptr<Source>> sources_;
};

}  // namespace postern::parent
