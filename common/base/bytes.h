// Writer and Reader of little-endian bytes: the one way in which Postern lays out numbers on channels
// and on disk. A Reader never reads past its end: after the first shortage it is failed for good and
// returns zeros, so a decoder may check once, at its end.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace postern::base {

class Writer {
 public:
  // Appends to `out`, which must outlive the writer.
  explicit Writer(std::string& out) noexcept : out_(out) {}

  template <std::integral T>
  void integer(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));  // x86-64 and arm64 are little-endian, as is the format
    out_.append(raw, sizeof(T));
  }
  void raw(std::string_view bytes) { out_.append(bytes); }
  // A 32-bit length and the bytes.
  void blob(std::string_view bytes) {
    integer(static_cast<std::uint32_t>(bytes.size()));
    raw(bytes);
  }

 private:
  std::string& out_;
};

class Reader {
 public:
  static constexpr std::uint32_t kNewest = UINT32_MAX;
  // Reads from `bytes`, which must outlive the reader and all views that it returned. `version`: of the
  // format that they are in, for decoders that know more than one.
  explicit Reader(std::string_view bytes, std::uint32_t version = kNewest) noexcept
      : rest_(bytes), version_(version) {}

  template <std::integral T>
  T integer() noexcept {
    T value{};
    if (const auto from = raw(sizeof(T)); from.size() == sizeof(T))
      std::memcpy(&value, from.data(), sizeof(T));
    return value;
  }
  std::string_view raw(std::size_t size) noexcept {
    if (failed_ || size > rest_.size()) {
      failed_ = true;
      return {};
    }
    const auto bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }
  // What Writer::blob() wrote, unless it is longer than `limit` (a failure).
  std::string_view blob(std::size_t limit) noexcept {
    const auto size = integer<std::uint32_t>();
    if (size > limit) failed_ = true;
    return raw(size);
  }

  [[nodiscard]] std::uint32_t version() const noexcept { return version_; }
  void fail() noexcept { failed_ = true; }
  [[nodiscard]] bool failed() const noexcept { return failed_; }
  [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }
  // Everything was read, and nothing was missing.
  [[nodiscard]] bool complete() const noexcept { return !failed_ && rest_.empty(); }

 private:
  std::string_view rest_;
  std::uint32_t version_;
  bool failed_ = false;
};

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

}  // namespace postern::base
