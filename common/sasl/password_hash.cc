#include "common/sasl/password_hash.h"

#include <crypt.h>

#include <algorithm>
#include <array>
#include <memory>

#include "common/base/secret.h"
#include "common/sasl/account.h"

namespace postern::sasl {
namespace {

constexpr std::array<std::string_view, 6> kKnown{"$y$", "$gy$", "$7$", "$6$", "$5$", "$2b$"};
constexpr std::string_view kOurs = "$y$";

// Large, and full of what was derived from a password.
struct Wipe {
  void operator()(crypt_data* data) const noexcept {
    ::explicit_bzero(data, sizeof *data);
    std::default_delete<crypt_data>()(data);
  }
};

}  // namespace

std::string wrong_with_hash(const std::string& hash) {
  if (hash.size() > kMaxHash) return "this is no hash of crypt(3): it is too long";
  if (!std::all_of(hash.begin(), hash.end(), [](char c) { return c > ' ' && c <= '~'; }))
    return "this is no hash of crypt(3)";
  const bool known = std::any_of(kKnown.begin(), kKnown.end(), [&](std::string_view prefix) {
    return hash.starts_with(prefix);
  });
  if (!known || ::crypt_checksalt(hash.c_str()) != CRYPT_SALT_OK)
    return "expected a hash of crypt(3) by yescrypt ($y$), SHA-512 ($6$), SHA-256 ($5$), scrypt "
           "($7$) or bcrypt ($2b$)";
  // A setting without its result would refuse everybody.
  if (hash.size() < 40) return "this hash of crypt(3) is not complete";
  return {};
}

std::string make_hash(const std::string& password) {
  std::array<char, CRYPT_GENSALT_OUTPUT_SIZE> setting{};
  if (::crypt_gensalt_rn(kOurs.data(), 0, nullptr, 0, setting.data(), setting.size()) == nullptr)
    return {};
  const std::unique_ptr<crypt_data, Wipe> data(new crypt_data{});
  const char* const hash = ::crypt_r(password.c_str(), setting.data(), data.get());
  return hash == nullptr || hash[0] == '*' ? std::string() : std::string(hash);
}

bool hash_accepts(const std::string& hash, const std::string& password) noexcept {
  if (password.find('\0') != std::string::npos) return false;  // crypt(3) would not see what follows
  const std::unique_ptr<crypt_data, Wipe> data(new crypt_data{});
  const char* const made = ::crypt_r(password.c_str(), hash.c_str(), data.get());
  return made != nullptr && made[0] != '*' && base::equal_secrets(made, hash);
}

}  // namespace postern::sasl
