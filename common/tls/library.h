// Library: OpenSSL as this process uses it: a library context of our own, which reads no
// configuration file and knows the default provider and ours (provider.h). For the files of
// common/tls alone.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>

namespace postern::tls {

template <auto F>
struct Release {
  template <class T>
  void operator()(T* object) const noexcept {
    F(object);
  }
};
using BioHandle = std::unique_ptr<BIO, Release<::BIO_free_all>>;
using PkeyHandle = std::unique_ptr<EVP_PKEY, Release<::EVP_PKEY_free>>;
using PkeyContextHandle = std::unique_ptr<EVP_PKEY_CTX, Release<::EVP_PKEY_CTX_free>>;
using DigestContextHandle = std::unique_ptr<EVP_MD_CTX, Release<::EVP_MD_CTX_free>>;
using X509Handle = std::unique_ptr<X509, Release<::X509_free>>;
using StoreHandle = std::unique_ptr<X509_STORE, Release<::X509_STORE_free>>;
using SslContextHandle = std::unique_ptr<SSL_CTX, Release<::SSL_CTX_free>>;
using SslHandle = std::unique_ptr<SSL, Release<::SSL_free>>;

// The process's context; made at the first call, which must come before its sandbox.
[[nodiscard]] OSSL_LIB_CTX* library();

// `what`, with the first reason that OpenSSL has noted; its notes are gone afterwards.
[[nodiscard]] std::string trouble(std::string_view what);

// A BIO that reads `bytes`, which outlive it.
[[nodiscard]] BioHandle reader(std::string_view bytes);

}  // namespace postern::tls
