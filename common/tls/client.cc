#include "common/tls/client.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "common/tls/library.h"

namespace postern::tls {

void ClientContext::Free::operator()(ssl_ctx_st* context) const noexcept {
  ::SSL_CTX_free(context);
}
ClientContext::~ClientContext() = default;

std::expected<std::shared_ptr<const ClientContext>, std::string> ClientContext::make(
    const ClientSettings& settings) {
  std::shared_ptr<ClientContext> made(new ClientContext);
  made->context_.reset(::SSL_CTX_new_ex(library(), nullptr, ::TLS_client_method()));
  SSL_CTX* const context = made->context_.get();
  if (context == nullptr) return std::unexpected(trouble("make a TLS context"));
  const int least = settings.minimum == Version::k13 ? TLS1_3_VERSION : TLS1_2_VERSION;
  ::SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  ::SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
  if (::SSL_CTX_set_min_proto_version(context, least) != 1)
    return std::unexpected(trouble("set a TLS context up"));
  if (settings.roots.empty()) return made;
  const auto bio = reader(settings.roots);
  for (;;) {
    X509* read = ::X509_new_ex(library(), nullptr);
    const bool more = ::PEM_read_bio_X509(bio.get(), &read, nullptr, nullptr) != nullptr;
    const X509Handle certificate(read);
    if (!more) break;
    if (::X509_STORE_add_cert(::SSL_CTX_get_cert_store(context), certificate.get()) != 1)
      return std::unexpected(trouble("use a root certificate"));
    made->verifies_ = true;
  }
  ::ERR_clear_error();
  if (!made->verifies_) return std::unexpected("the roots hold no certificate in PEM");
  ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  return made;
}

}  // namespace postern::tls
