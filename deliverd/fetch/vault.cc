#include "deliverd/fetch/vault.h"

#include <cerrno>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/crc32c.h"

namespace postern::fetch {
namespace {

constexpr std::string_view kMark = "postern policies";
static_assert(kMark.size() + 4 + 8 + 4 + 4 == Vault::kHead);

struct Half {
  std::uint32_t version = 0;
  std::uint64_t number = 0;  // 0: there is none
  std::string bytes;
};

os::Result<Half> read_half(os::File& file, std::uint64_t at) {
  auto head = file.read_at(at, Vault::kHead);
  if (!head) return std::unexpected(std::move(head.error()));
  base::Reader reader(*head);
  if (reader.raw(kMark.size()) != kMark) return Half{};
  Half half;
  half.version = reader.integer<std::uint32_t>();
  half.number = reader.integer<std::uint64_t>();
  const auto size = reader.integer<std::uint32_t>();
  const auto crc = reader.integer<std::uint32_t>();
  if (!reader.complete() || size > Vault::kMost) return Half{};
  auto bytes = file.read_at(at + Vault::kHead, size);
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  const auto covered = std::string_view(*head).substr(0, Vault::kHead - sizeof crc);
  if (bytes->size() != size || base::crc32c(*bytes, base::crc32c(covered)) != crc) return Half{};
  half.bytes = *std::move(bytes);
  return half;
}

}  // namespace

os::Result<Vault::Content> Vault::read() {
  Content content;
  for (const auto at : {std::uint64_t{0}, kHalf}) {
    auto half = read_half(*file_, at);
    if (!half) return std::unexpected(std::move(half.error()));
    if (half->number <= number_) continue;
    number_ = half->number;
    content = {half->version, std::move(half->bytes)};
  }
  if (content.version > kVersion)
    return os::failure("read the policies, which a later version of Postern wrote", EPROTO);
  return content;
}

os::Result<void> Vault::write(std::string_view bytes) {
  CHECK(bytes.size() <= kMost);
  std::string half(kMark);
  base::Writer writer(half);
  writer.integer(kVersion);
  writer.integer(number_ + 1);
  writer.integer(static_cast<std::uint32_t>(bytes.size()));
  writer.integer(base::crc32c(bytes, base::crc32c(half)));
  half += bytes;
  if (auto done = file_->write_at((number_ + 1) % 2 == 0 ? 0 : kHalf, half); !done) return done;
  if (auto done = file_->flush_data(); !done) return done;
  ++number_;
  return {};
}

}  // namespace postern::fetch
