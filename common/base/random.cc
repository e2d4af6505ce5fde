#include "common/base/random.h"

#include <sys/random.h>

#include <cerrno>

#include "common/base/check.h"

namespace postern::base {

void random_bytes(void* out, std::size_t size) noexcept {
  ssize_t got;
  do {
    got = ::getrandom(out, size, 0);
  } while (got < 0 && errno == EINTR);
  CHECK(got == static_cast<ssize_t>(size));  // up to 256 bytes are never cut short
}

std::uint64_t random_u64() noexcept {
  std::uint64_t value;
  random_bytes(&value, sizeof value);
  return value;
}

Token random_token() noexcept {
  Token token;
  random_bytes(token.bytes.data(), token.bytes.size());
  return token;
}

}  // namespace postern::base
