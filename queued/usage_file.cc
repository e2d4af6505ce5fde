#include "queued/usage_file.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/log/log.h"

namespace postern::queued {
namespace {

constexpr std::string_view kFresh = "accounts.new";

}  // namespace

void UsageFile::load() {
  const auto file = disk_.open(kUsageFile, os::OpenMode::kRead);
  if (!file && file.error().number == ENOENT) return;
  const auto size = file ? (*file)->size() : std::unexpected(file.error());
  const auto text = size ? (*file)->read_at(0, std::min<std::uint64_t>(*size, Usage::kMaxText))
                         : std::unexpected(size.error());
  auto usage = text ? Usage::from_text(*text) : std::unexpected(text.error().text());
  if (!usage) {
    log::error("accounts.unread").field("file", kUsageFile).field("reason", usage.error());
    return;
  }
  usage_ = *std::move(usage);
  usage_.forget_behind(now_());
}

void UsageFile::tick() {
  if (rest_ > 0) --rest_;
  if (!writing_ && rest_ == 0 && usage_.take_changed()) write();
}

void UsageFile::write() {
  writing_ = true;
  auto text = usage_.text(now_());
  if (text.size() > kLarge) rest_ = kRest;
  worker_.post([this, alive = alive_, text = std::move(text)]() noexcept -> event::Callback {
    auto done = replace(text);
    return [this, alive, done = std::move(done)]() noexcept {
      if (!*alive) return;
      writing_ = false;
      if (!done && !failing_)
        log::error("accounts.unwritten").field("file", kUsageFile).field("reason", done.error().text());
      failing_ = !done;
    };
  });
}

// Not flushed: a power cut may leave the old one, none, or one whose checksum is wrong.
os::Result<void> UsageFile::replace(const std::string& text) const {
  (void)disk_.unlink(kFresh);  // what an earlier life left
  auto file = disk_.open(kFresh, os::OpenMode::kCreateExclusive);
  auto done = file ? (*file)->write_at(0, text) : std::unexpected(file.error());
  if (done) done = disk_.rename(kFresh, kUsageFile);
  return done;
}

void UsageFile::settle(event::Callback done) {
  if (usage_.take_changed()) write();
  worker_.post([done = std::move(done)]() mutable noexcept -> event::Callback { return std::move(done); });
}

}  // namespace postern::queued
