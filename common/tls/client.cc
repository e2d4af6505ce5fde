#include "common/tls/client.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "common/tls/library.h"

namespace postern::tls {
namespace {

constexpr int kMaxRoots = 10'000;
constexpr int kMaxDepth = 8;                  // certificates above a server's
constexpr std::size_t kMaxChain = 64U << 10;  // bytes of a server's chain

// How many.
int add_roots(SSL_CTX* context, const std::string& pem) {
  const auto bio = reader(pem);
  int count = 0;
  for (int i = 0; i < kMaxRoots; ++i) {
    X509* read = ::X509_new_ex(library(), nullptr);
    const bool good = ::PEM_read_bio_X509(bio.get(), &read, nullptr, nullptr) != nullptr;
    const X509Handle certificate(read);
    const bool end = !good && ERR_GET_REASON(::ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ::ERR_clear_error();
    if (end) break;
    if (good && ::X509_STORE_add_cert(::SSL_CTX_get_cert_store(context), certificate.get()) == 1)
      ++count;
  }
  ::ERR_clear_error();
  return count;
}

// DANE-EE(3) says which certificate it is, whatever name stands in it (RFC 7672 3.1.1).
bool set_dane(SSL_CTX* context) {
  if (::SSL_CTX_dane_enable(context) <= 0) return false;
  ::SSL_CTX_dane_set_flags(context, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
  return true;
}

}  // namespace

void ClientContext::Free::operator()(ssl_ctx_st* context) const noexcept {
  ::SSL_CTX_free(context);
}
ClientContext::~ClientContext() = default;

std::expected<std::shared_ptr<ClientContext>, std::string> ClientContext::make(
    const ClientSettings& settings) {
  std::shared_ptr<ClientContext> made(new ClientContext);
  made->context_.reset(::SSL_CTX_new_ex(library(), nullptr, ::TLS_client_method()));
  SSL_CTX* const context = made->context_.get();
  if (context == nullptr) return std::unexpected(trouble("make a TLS context"));
  const int least = settings.minimum == Version::k13 ? TLS1_3_VERSION : TLS1_2_VERSION;
  ::SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  ::SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
  // Kept by us, under the key of the wish: OpenSSL would hand a session to anybody.
  ::SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  ::SSL_CTX_set_verify_depth(context, kMaxDepth);
  ::SSL_CTX_set_max_cert_list(context, kMaxChain);
  if (::SSL_CTX_set_min_proto_version(context, least) != 1 || !set_dane(context))
    return std::unexpected(trouble("set a TLS context up"));
  if (!settings.roots.empty() && add_roots(context, settings.roots) == 0)
    return std::unexpected("the roots hold no certificate in PEM");
  return made;
}

}  // namespace postern::tls
