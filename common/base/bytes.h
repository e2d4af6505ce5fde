// Writer and Reader of little-endian bytes: the one way in which Postern lays out numbers on channels
// and on disk. A Reader never reads past its end: after the first shortage it is failed for good and
// returns zeros, so a decoder may check once, at its end.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace postern::base {

class Writer {
 public:
  // Appends to `out`, which must outlive the writer.
  explicit Writer(std::string& out) noexcept : out_(out) {}

  template <std::integral T>
  void integer(T value) {
    const auto at = out_.size();
    out_.resize_and_overwrite(at + sizeof(T), [&](char* bytes, std::size_t) {
      std::memcpy(bytes + at, &value, sizeof(T));  // x86-64 and arm64 are little-endian, as is the format
      return at + sizeof(T);  // g++ 12 tells the capacity in place of the size
    });
  }
  void raw(std::string_view bytes) { out_.append(bytes); }
  void bytes(std::span<const std::uint8_t> from) {
    raw({reinterpret_cast<const char*>(from.data()), from.size()});
  }
  // A 32-bit length and the bytes.
  void blob(std::string_view bytes) {
    integer(static_cast<std::uint32_t>(bytes.size()));
    raw(bytes);
  }
  // The same of what `append` appends to a string.
  void blob_of(auto&& append) {
    integer(std::uint32_t{0});
    const auto begin = out_.size();
    append(out_);
    const auto size = static_cast<std::uint32_t>(out_.size() - begin);
    std::memcpy(out_.data() + begin - sizeof size, &size, sizeof size);
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
  // Fills `into`; where too few are left, it stays as it is.
  void bytes(std::span<std::uint8_t> into) noexcept {
    if (const auto from = raw(into.size()); from.size() == into.size())
      std::memcpy(into.data(), from.data(), into.size());
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
