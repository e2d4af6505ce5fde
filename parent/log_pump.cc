#include "parent/log_pump.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "common/base/utf8.h"
#include "common/log/log.h"
#include "common/os/socket.h"

namespace postern::parent {
namespace {
constexpr std::size_t kMaxLine = 16 * 1024;
constexpr std::size_t kReadSize = 64 * 1024;
constexpr int kDrainReads = 1024;
constexpr std::size_t kPipePart =
    4096;  // PIPE_BUF: as much as a descriptor that polls writable takes
constexpr base::Millis kAgain{100};
// Non-blocking, so that a FIFO that nobody reads is an error and not the end of the start.
constexpr int kLogFlags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
constexpr int kLastWait = 300;  // milliseconds

// A role that was taken over writes what it likes: nothing of it may move a cursor or begin another line.
void append_harmless(std::string& out, std::string_view line) {
  if (std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c <= '~'; })) {
    out += line;
    return;
  }
  while (!line.empty()) {
    const auto character = base::first_character(line);
    const auto size = character ? character->size : 1;
    if (character && base::is_harmless(character->point)) out += line.substr(0, size);
    else out.append(size, '?');
    line.remove_prefix(size);
  }
}
}  // namespace

LogPump::LogPump(event::Loop& loop, std::string file, config::LogFormat format, base::Millis gather)
    : loop_(loop),
      file_(std::move(file)),
      format_(format),
      gather_(gather),
      again_(loop, [this]() noexcept { write_out(0); }),
      gathered_(loop, [this]() noexcept {
        for (const auto& source : sources_) source->event->watch(true, false);
      }) {}

LogPump::~LogPump() {
  drain();
}

os::Result<void> LogPump::open() {
  auto fd = base::UniqueFd::adopt(file_.empty() ? ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)
                                                : ::open(file_.c_str(), kLogFlags, 0640));
  if (!fd.valid()) return os::failure("open the log " + (file_.empty() ? "stderr" : file_));
  struct stat info {};
  is_file_ = ::fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode);
  out_ = std::move(fd);
  return {};
}

os::Result<base::UniqueFd> LogPump::add(std::string role) {
  auto pipe = os::make_pipe();
  if (!pipe) return std::unexpected(pipe.error());
  auto source = std::make_unique<Source>();
  source->fd = std::move(pipe->first);
  source->role = std::move(role);
  auto* raw = source.get();
  source->event = std::make_unique<event::FdEvent>(
      loop_, raw->fd.get(), [this, raw](bool, bool) noexcept { readable(*raw); });
  source->event->watch(true, false);
  sources_.push_back(std::move(source));
  return std::move(pipe->second);
}

void LogPump::readable(Source& source) noexcept {
  const bool ended = read(source) == Read::kEnd;
  if (ended || !source.full) source.event->watch(false, false);
  if (ended)
    loop_.defer([this, gone = &source]() noexcept {
      std::erase_if(sources_, [gone](const auto& s) { return s.get() == gone; });
    });
  else if (!source.full && !gathered_.running())
    gathered_.start(gather_);
  write_out(0);
}

LogPump::Read LogPump::read(Source& source) noexcept {
  char bytes[kReadSize];
  const ssize_t got = ::read(source.fd.get(), bytes, sizeof bytes);
  source.full = got == static_cast<ssize_t>(sizeof bytes);
  if (got < 0) return Read::kNothing;
  if (got > 0) {
    source.kept.append(bytes, static_cast<std::size_t>(got));
    take_lines(source);
    return Read::kSome;
  }
  if (!source.kept.empty()) append(source.kept, source.role);  // it died within a line
  source.kept.clear();
  return Read::kEnd;
}

void LogPump::take_lines(Source& source) {
  std::string_view rest(source.kept);
  for (auto end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
    append(rest.substr(0, end), source.role);
    rest.remove_prefix(end + 1);
  }
  if (rest.size() > kMaxLine) {
    append(rest, source.role);
    rest = {};
  }
  source.kept.erase(0, source.kept.size() - rest.size());
}

void LogPump::append(std::string_view line, const std::string& role) {
  if (buffer_.size() > kMaxBuffer) {
    ++dropped_;
    return;
  }
  line = line.substr(0, kMaxLine);
  const bool json = format_ == config::LogFormat::kJson && line.ends_with('}');
  if (json) line.remove_suffix(1);
  append_harmless(buffer_, line);
  buffer_ += json ? ",\"role\":\"" + role + "\"}\n" : " role=" + role + "\n";
}

// stderr may be a pipe or a terminal that nobody reads, and cannot be made non-blocking: others
// share it.
void LogPump::write_out(int wait_ms) noexcept {
  const int fd = out_.valid() ? out_.get() : STDERR_FILENO;
  std::string_view rest(buffer_);
  while (!rest.empty()) {
    pollfd ready{fd, POLLOUT, 0};
    if (!is_file_ && ::poll(&ready, 1, wait_ms) == 0) break;
    const ssize_t put =
        ::write(fd, rest.data(), is_file_ ? rest.size() : std::min(rest.size(), kPipePart));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) break;
    if (put <= 0) {  // a log that cannot be written must not stop the mail
      rest = {};
      break;
    }
    rest.remove_prefix(static_cast<std::size_t>(put));
  }
  buffer_.erase(0, buffer_.size() - rest.size());
  if (!buffer_.empty()) return again_.start(kAgain);
  tell_dropped();
}

void LogPump::tell_dropped() noexcept {
  if (const auto lines = std::exchange(dropped_, 0); lines > 0)
    (void)log::warning("log.dropped").field("lines", lines);
}

void LogPump::drain() noexcept {
  for (auto& source : sources_) {
    for (int reads = 0; reads < kDrainReads && read(*source) == Read::kSome; ++reads) {
    }
  }
  write_out(kLastWait);
}

}  // namespace postern::parent
