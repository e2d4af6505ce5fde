#include "common/tls/chain.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

#include "common/base/text.h"
#include "common/tls/library.h"
#include "common/tls/public_key.h"

namespace postern::tls {
namespace {

constexpr std::size_t kMaxCertificates = 16;
constexpr std::size_t kMaxNames = 1'000;

base::WallTime wall(const ASN1_TIME* time) {
  std::tm broken{};
  if (::ASN1_TIME_to_tm(time, &broken) != 1) return {};
  return {static_cast<std::int64_t>(::timegm(&broken)) * 1000};
}

std::vector<std::string> dns_names(X509* certificate) {
  std::vector<std::string> names;
  const std::unique_ptr<GENERAL_NAMES, Release<::GENERAL_NAMES_free>> all(
      static_cast<GENERAL_NAMES*>(
          ::X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  const int count = all ? sk_GENERAL_NAME_num(all.get()) : 0;
  for (int i = 0; i < count && names.size() < kMaxNames; ++i) {
    const auto* const name = sk_GENERAL_NAME_value(all.get(), i);
    if (name->type != GEN_DNS) continue;
    const auto* const text =
        reinterpret_cast<const char*>(::ASN1_STRING_get0_data(name->d.dNSName));
    names.push_back(base::to_lower(
        std::string_view(text, static_cast<std::size_t>(::ASN1_STRING_length(name->d.dNSName)))));
  }
  return names;
}

}  // namespace

void Chain::Free::operator()(x509_st* certificate) const noexcept {
  ::X509_free(certificate);
}
Chain::Chain(Chain&&) noexcept = default;
Chain& Chain::operator=(Chain&&) noexcept = default;
Chain::~Chain() = default;

std::string wrong_with_authorities(std::string_view pem) {
  const auto bio = reader(pem);
  int count = 0;
  for (;; ++count) {
    X509* read = ::X509_new_ex(library(), nullptr);
    const bool more = ::PEM_read_bio_X509(bio.get(), &read, nullptr, nullptr) != nullptr;
    const X509Handle certificate(read);
    if (!more) break;
  }
  const bool over = ::ERR_GET_REASON(::ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!over) return trouble("holds a bad certificate");
  ::ERR_clear_error();
  return count == 0 ? "holds no certificate in PEM" : "";
}

std::expected<Chain, std::string> Chain::parse(std::string_view pem) {
  const auto bio = reader(pem);
  Chain chain;
  for (;;) {
    X509* certificate = ::X509_new_ex(library(), nullptr);
    if (::PEM_read_bio_X509(bio.get(), &certificate, nullptr, nullptr) == nullptr) {
      ::X509_free(certificate);
      break;
    }
    chain.certificates_.emplace_back(certificate);
    if (chain.certificates_.size() > kMaxCertificates)
      return std::unexpected(fmt::format("holds more than {} certificates", kMaxCertificates));
  }
  // The end of the text is told like a mistake in it.
  const bool over = ::ERR_GET_REASON(::ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!over || chain.certificates_.empty())
    return std::unexpected(trouble(chain.certificates_.empty() ? "holds no certificate in PEM"
                                                               : "holds a bad certificate"));
  ::ERR_clear_error();
  X509* const leaf = chain.leaf();
  EVP_PKEY* const key = ::X509_get0_pubkey(leaf);
  if (key == nullptr) return std::unexpected(trouble("its first certificate has no usable key"));
  auto kind = kind_of(key);
  if (!kind) return std::unexpected("its first certificate has " + kind.error());
  chain.kind_ = *std::move(kind);
  chain.key_ = id_of(key);
  chain.names_ = dns_names(leaf);
  chain.not_before_ = wall(::X509_get0_notBefore(leaf));
  chain.not_after_ = wall(::X509_get0_notAfter(leaf));
  return chain;
}

bool Chain::covers(const std::string& name) const {
  if (name.starts_with("*.")) return std::find(names_.begin(), names_.end(), name) != names_.end();
  return ::X509_check_host(leaf(), name.data(), name.size(), X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
                           nullptr) == 1;
}

std::vector<x509_st*> Chain::issuers() const {
  std::vector<x509_st*> all;
  for (std::size_t i = 1; i < certificates_.size(); ++i) all.push_back(certificates_[i].get());
  return all;
}

}  // namespace postern::tls
