#include "queued/badmail.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/base/fault.h"
#include "common/mail/unstuffer.h"

namespace postern::queued {
namespace {

constexpr std::size_t kChunk = 1 << 20;       // of a body, in memory at once
constexpr std::size_t kMaxReason = 16 << 20;  // of a reason that lies there

// Writes what it is given one behind the other.
class Appender {
 public:
  explicit Appender(os::File& file) : file_(file) {}
  os::Result<void> add(std::string_view bytes) {
    auto done = file_.write_at(at_, bytes);
    at_ += bytes.size();
    return done;
  }

 private:
  os::File& file_;
  std::uint64_t at_ = 0;
};

}  // namespace

std::string Badmail::path(base::MessageId id, std::string_view kind) const {
  const auto name = base::to_string(id).append(kind);
  return folder_ == "." ? name : fmt::format("{}/{}", folder_, name);
}

void Badmail::put(Letter letter, Store::Saved saved) {
  worker_.post([this, letter = std::move(letter),
                saved = std::move(saved)]() mutable noexcept -> event::Callback {
    auto done = write(letter);
    return [saved = std::move(saved), done = std::move(done)]() mutable noexcept {
      saved(std::move(done));
    };
  });
}

os::Result<void> Badmail::write(const Letter& letter) {
  if (folder_ != ".") {
    if (auto made = place_.make_directory(folder_); !made) return made;
    if (auto flushed = place_.flush_directory("."); !flushed) return flushed;
  }
  if (auto done = write_message(letter); !done) return done;
  if (auto done = write_reason(letter); !done) return done;
  return place_.flush_directory(folder_);
}

template <class Fill>
os::Result<void> Badmail::replace(const std::string& name, Fill fill) {
  const auto fresh = name + ".new";
  (void)place_.unlink(fresh);  // what an earlier crash left
  auto file = place_.open(fresh, os::OpenMode::kCreateExclusive);
  auto done = file ? fill(**file) : std::unexpected(file.error());
  if (done && !fault::planted(fault::Fault::kBadmailUnflushed)) done = (*file)->flush();
  if (done) done = place_.rename(fresh, name);
  if (!done) (void)place_.unlink(fresh);
  return done;
}

os::Result<void> Badmail::write_message(const Letter& letter) {
  const auto name = path(letter.id, ".eml");
  if (letter.lost) return {};
  if (const auto there = place_.exists(name); !there || *there)
    return there ? os::Result<void>() : std::unexpected(there.error());
  return replace(name, [&](os::File& file) -> os::Result<void> {
    Appender out(file);
    if (auto done = out.add(letter.prefix); !done) return done;
    auto large = letter.body ? os::Result<std::unique_ptr<os::File>>(nullptr)
                             : spool_.open("large/" + base::to_string(letter.id), os::OpenMode::kRead);
    if (!large) return std::unexpected(large.error());
    mail::Unstuffer unstuffer(mail::LineEnd::kCrLf);
    std::string plain;
    for (std::uint64_t at = 0; at < letter.size; at += kChunk) {
      const auto wanted = std::min<std::uint64_t>(kChunk, letter.size - at);
      auto bytes = letter.body ? letter.body->substr(at, wanted) : (*large)->read_at(at, wanted);
      if (!bytes) return std::unexpected(bytes.error());
      plain.clear();
      unstuffer.feed(*bytes, plain);
      if (auto done = out.add(plain); !done) return done;
    }
    plain.clear();
    unstuffer.finish(plain);
    return out.add(plain);
  });
}

os::Result<void> Badmail::write_reason(const Letter& letter) {
  const auto name = path(letter.id, ".reason");
  std::string text;
  if (auto file = place_.open(name, os::OpenMode::kRead)) {
    auto known = (*file)->read_at(0, kMaxReason);
    if (!known) return std::unexpected(known.error());
    text = *std::move(known);
  } else if (file.error().number != ENOENT) {
    return std::unexpected(file.error());
  }
  if (text.empty()) {
    text = letter.reason.envelope;
    if (letter.lost) text += "Body: lost, it cannot be read\n";
  }
  // After a crash the same is said again.
  if (text.find(letter.reason.failures) != std::string::npos) return {};
  text += letter.reason.failures;
  return replace(name, [&](os::File& file) { return file.write_at(0, text); });
}

}  // namespace postern::queued
