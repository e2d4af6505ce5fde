#include "common/tls/library.h"

#include <openssl/err.h>
#include <openssl/provider.h>

#include "common/base/check.h"
#include "common/tls/provider.h"

namespace postern::tls {

OSSL_LIB_CTX* library() {
  static OSSL_LIB_CTX* const context = [] {
    // No openssl.cnf: what this process may do does not hang on a file of somebody else. No
    // clean-up at exit: the process ends by _exit().
    CHECK(::OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, nullptr) ==
          1);
    OSSL_LIB_CTX* made = ::OSSL_LIB_CTX_new();
    CHECK(made != nullptr && ::OSSL_PROVIDER_load(made, "default") != nullptr);
    load_provider(made);
    return made;
  }();
  return context;
}

std::string trouble(std::string_view what) {
  std::string text(what);
  if (const auto code = ::ERR_peek_error(); code != 0) {
    const char* const reason = ::ERR_reason_error_string(code);
    text += ": ";
    text += reason != nullptr ? reason : "unknown reason";
  }
  ::ERR_clear_error();
  return text;
}

BioHandle reader(std::string_view bytes) {
  BioHandle bio(::BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  CHECK(bio);
  return bio;
}

}  // namespace postern::tls
