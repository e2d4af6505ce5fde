#include "common/log/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/base/utf8.h"

namespace postern::log {
namespace {

constexpr std::size_t kMaxValue = 1024;        // bytes of one value, before escaping
constexpr std::size_t kMaxGathered = 1 << 20;  // bytes waiting for a reader; beyond it lines are dropped

struct State {
  base::UniqueFd fd;
  Format format = Format::kText;
  Level level = Level::kInfo;
  std::string gathered;
  std::uint64_t dropped = 0;  // lines since the last that was written
};

State& state() {
  static State s;
  return s;
}

int descriptor() { return state().fd.valid() ? state().fd.get() : STDERR_FILENO; }

std::string_view level_name(Level level) {
  static constexpr std::string_view kNames[] = {"debug", "info", "warning", "error"};
  return kNames[static_cast<std::size_t>(level)];
}

bool plain(std::string_view value) {
  if (value.empty()) return false;
  for (const char c : value)
    if (c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '=') return false;
  return true;
}

void append_bytes(std::string& out, std::string_view bytes) {
  for (const char c : bytes)
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<std::uint8_t>(c));
}

// Both formats share the escapes of JSON; bytes that are no harmless characters (common/base/utf8.h) become
// \u00XX each.
void append_quoted(std::string& out, std::string_view value) {
  out += '"';
  for (auto rest = value.substr(0, kMaxValue); !rest.empty();) {
    const auto character = base::first_character(rest);
    const auto size = character ? character->size : 1;
    const char c = rest.front();
    if (c == '"' || c == '\\') (out += '\\') += c;
    else if (character && base::is_harmless(character->point)) out += rest.substr(0, size);
    else append_bytes(out, rest.substr(0, size));
    rest.remove_prefix(size);
  }
  if (value.size() > kMaxValue) out += "...";
  out += '"';
}

void append_key(std::string& out, std::string_view key) {
  if (state().format == Format::kJson) {
    out += ',';
    append_quoted(out, key);
    out += ':';
  } else {
    out += ' ';
    out += key;
    out += '=';
  }
}

}  // namespace

void open(base::UniqueFd fd, Format format, Level level) {
  if (fd.valid()) ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  state().fd = std::move(fd);
  set_level(format, level);
}

void set_level(Format format, Level level) {
  state().format = format;
  state().level = level;
}

void flush() noexcept {
  auto& s = state();
  if (s.gathered.empty()) return;
  std::string_view rest(s.gathered);
  while (!rest.empty()) {
    const ssize_t put = ::write(descriptor(), rest.data(), rest.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      // A reader that is slow gets the rest later; one that is gone gets nothing more.
      if (errno != EAGAIN && errno != EWOULDBLOCK) rest = {};
      break;
    }
    rest.remove_prefix(static_cast<std::size_t>(put));
  }
  s.gathered.erase(0, s.gathered.size() - rest.size());
  if (s.gathered.empty() && s.dropped > 0) {
    const auto dropped = std::exchange(s.dropped, 0);
    warning("log.dropped").field("lines", dropped);
  }
}

void finish() noexcept {
  constexpr int kWaits = 10, kWaitMs = 20;
  flush();
  for (int i = 0; i < kWaits && !state().gathered.empty(); ++i) {
    pollfd ready{descriptor(), POLLOUT, 0};
    (void)::poll(&ready, 1, kWaitMs);
    flush();
  }
}

Event::Event(Level level, std::string_view name) : on_(level >= state().level) {
  auto& s = state();
  if (!on_) return;
  if (s.gathered.size() > kMaxGathered) {
    ++s.dropped;
    on_ = false;
    return;
  }
  const auto time = base::iso8601(base::system_clock().wall());
  if (s.format == Format::kJson)
    fmt::format_to(std::back_inserter(s.gathered), R"({{"time":"{}","level":"{}","event":"{}")", time,
                   level_name(level), name);
  else
    s.gathered.append(time).append(1, ' ').append(level_name(level)).append(1, ' ').append(name);
}

Event::Event(Event&& other) noexcept : on_(std::exchange(other.on_, false)) {}

Event::~Event() {
  if (!on_) return;
  state().gathered += state().format == Format::kJson ? "}\n" : "\n";
  // Without a loop (start, end, tools) nobody else flushes.
  if (!state().fd.valid()) flush();
}

Event&& Event::field(std::string_view key, std::string_view value) && {
  if (on_) {
    auto& out = state().gathered;
    append_key(out, key);
    if (state().format == Format::kText && plain(value) && value.size() <= kMaxValue)
      out += value;
    else
      append_quoted(out, value);
  }
  return std::move(*this);
}

Event&& Event::field(std::string_view key, base::MessageId id) && {
  return std::move(*this).field(key, base::to_string(id));
}

Event&& Event::field(std::string_view key, const base::IpAddress& address) && {
  return std::move(*this).field(key, base::to_string(address));
}

Event&& Event::field(std::string_view key, bool value) && {
  if (on_) {
    append_key(state().gathered, key);
    state().gathered += value ? "true" : "false";
  }
  return std::move(*this);
}

Event&& Event::number(std::string_view key, std::int64_t value) && {
  if (on_) {
    append_key(state().gathered, key);
    state().gathered += fmt::to_string(value);
  }
  return std::move(*this);
}

}  // namespace postern::log
