#include "bench/ledger/sources.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "bench/ledger/lines.h"
#include "common/base/text.h"
#include "common/base/unique_fd.h"

namespace postern::bench {
namespace {

constexpr std::size_t kBlock = 1 << 20;
constexpr std::size_t kMaxMessage = std::size_t{2} << 30;

os::Result<base::UniqueFd> open_file(const std::string& path) {
  auto fd = base::UniqueFd::adopt(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return os::failure("open " + path);
  return fd;
}

// Appends up to a block; how much it was.
os::Result<std::size_t> read_block(int fd, const std::string& path, std::string& into) {
  const auto before = into.size();
  into.resize(before + kBlock);
  ssize_t got;
  do {
    got = ::read(fd, into.data() + before, kBlock);
  } while (got < 0 && errno == EINTR);
  into.resize(before + static_cast<std::size_t>(got < 0 ? 0 : got));
  if (got < 0) return os::failure("read " + path);
  return static_cast<std::size_t>(got);
}

// A message as it stands in a mailbox, where lines may end in LF, with CR LF.
std::string with_crlf(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 32);
  while (!text.empty()) {
    const auto lf = text.find('\n');
    auto line = text.substr(0, lf);
    text.remove_prefix(lf == std::string_view::npos ? text.size() : lf + 1);
    if (lf != std::string_view::npos && line.ends_with('\r')) line.remove_suffix(1);
    out += line;
    if (lf != std::string_view::npos) out += "\r\n";
  }
  return out;
}

// What stands on top of a delivered message names its recipient.
std::optional<std::string_view> recipient_of(std::string_view message) {
  for (std::size_t at = 0;;) {
    const auto end = message.find("\r\n", at);
    if (end == std::string_view::npos || end == at) return std::nullopt;
    const auto line = message.substr(at, end - at);
    for (const std::string_view field : {"Delivered-To:", "X-Receiver:"})
      if (base::starts_with_ignoring_case(line, field))
        return base::trim(line.substr(field.size()));
    if (line.starts_with(kLoadField)) return std::nullopt;
    at = end + 2;
  }
}

os::Result<void> read_message(const std::string& path, const Found& found) {
  const auto fd = open_file(path);
  if (!fd) return std::unexpected(fd.error());
  std::string text;
  for (std::size_t got = 1; got != 0 && text.size() < kMaxMessage;) {
    const auto block = read_block(fd->get(), path, text);
    if (!block) return std::unexpected(block.error());
    got = *block;
  }
  const auto message = with_crlf(text);
  Content content;
  content.feed(message);
  found(content.finish(), recipient_of(message));
  return {};
}

bool holds_a_message(const std::filesystem::path& path) {
  const auto name = path.filename().string();
  const auto folder = path.parent_path().filename();
  return !name.starts_with('.') && (name.ends_with(".eml") || folder == "new" || folder == "cur");
}

}  // namespace

os::Result<void> read_lines(const std::string& path,
                            const std::function<void(std::string_view)>& line) {
  const auto fd = open_file(path);
  if (!fd) return std::unexpected(fd.error());
  std::string held;
  for (;;) {
    const auto got = read_block(fd->get(), path, held);
    if (!got) return std::unexpected(got.error());
    if (*got == 0) return {};
    std::string_view rest = held;
    for (auto lf = rest.find('\n'); lf != std::string_view::npos; lf = rest.find('\n')) {
      line(rest.substr(0, lf));
      rest.remove_prefix(lf + 1);
    }
    held.erase(0, held.size() - rest.size());
    if (held.size() > kMaxLine) return os::failure("read " + path + ": a line is too long", EFBIG);
  }
}

os::Result<bool> is_load_ledger(const std::string& path) {
  const auto fd = open_file(path);
  if (!fd) return std::unexpected(fd.error());
  std::string begin;
  const auto got = read_block(fd->get(), path, begin);
  if (!got) return std::unexpected(got.error());
  const auto first = parse_line(std::string_view(begin).substr(0, begin.find('\n')));
  if (first && std::holds_alternative<LoadRun>(*first)) return true;
  if (first && std::holds_alternative<SinkRun>(*first)) return false;
  return os::failure(path + " is no ledger", EINVAL);
}

os::Result<void> read_mailboxes(const std::string& root, const Found& found) {
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(root, error);
  for (; !error && entry != std::filesystem::recursive_directory_iterator();
       entry.increment(error)) {
    if (!entry->is_regular_file(error) || !holds_a_message(entry->path())) continue;
    if (auto read = read_message(entry->path().string(), found); !read) return read;
  }
  if (error) return os::failure("list " + root, error.value());
  return {};
}

os::Result<std::unordered_set<std::string>> read_queue(const std::string& path) {
  std::unordered_set<std::string> ids;
  bool good = true;
  const auto read = read_lines(path, [&](std::string_view line) {
    const auto row = nlohmann::json::parse(line, nullptr, false);
    good = good && row.is_object() && row.contains("id") && row["id"].is_string();
    if (good) ids.insert(row["id"].get<std::string>());
  });
  if (!read) return std::unexpected(read.error());
  if (!good) return os::failure(path + " is not what posternctl messages --json prints", EINVAL);
  return ids;
}

}  // namespace postern::bench
