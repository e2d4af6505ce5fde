// Log: one line per event, the same fields as logfmt text or JSON: time, level, event, then what the
// caller names. Values of any origin are escaped here, so one event is one line, always. Lines gather
// in memory and leave in one non-blocking write per loop turn (flush()); what the reader does not take
// is dropped and counted, and the count is told when there is room again. One log per process.
//
//   log::info("message.accepted").field("id", id).field("from", path.text()).field("size", n);
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/ids.h"
#include "common/base/ip.h"
#include "common/base/unique_fd.h"

namespace postern::log {

enum class Format : std::uint8_t { kText, kJson };
enum class Level : std::uint8_t { kDebug, kInfo, kWarning, kError };

// Where and how to log from now on. `fd` is written to without blocking. Before the first call, lines
// go to stderr as text.
void open(base::UniqueFd fd, Format format, Level level);
void set_level(Format format, Level level);
// Writes what has gathered; the loop calls it once per turn.
void flush() noexcept;
// The same before the end of the process, when nobody writes the rest later: waits a moment for a reader
// that is behind.
void finish() noexcept;

// One event under construction; its destructor appends the line.
class Event {
 public:
  Event(Level level, std::string_view name);
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&&) = delete;
  Event(const Event&) = delete;

  Event&& field(std::string_view key, std::string_view value) &&;
  Event&& field(std::string_view key, const char* value) && {
    return std::move(*this).field(key, std::string_view(value));
  }
  Event&& field(std::string_view key, const std::string& value) && {
    return std::move(*this).field(key, std::string_view(value));
  }
  Event&& field(std::string_view key, base::MessageId id) &&;
  Event&& field(std::string_view key, const base::IpAddress& address) &&;
  Event&& field(std::string_view key, bool value) &&;
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  Event&& field(std::string_view key, T value) && {
    return std::move(*this).number(key, static_cast<std::int64_t>(value));
  }

 private:
  Event&& number(std::string_view key, std::int64_t value) &&;
  bool on_;
};

[[nodiscard]] inline Event debug(std::string_view event) { return {Level::kDebug, event}; }
[[nodiscard]] inline Event info(std::string_view event) { return {Level::kInfo, event}; }
[[nodiscard]] inline Event warning(std::string_view event) { return {Level::kWarning, event}; }
[[nodiscard]] inline Event error(std::string_view event) { return {Level::kError, event}; }

}  // namespace postern::log
