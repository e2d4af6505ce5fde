#include "common/tls/server.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "common/base/check.h"
#include "common/base/random.h"
#include "common/base/text.h"
#include "common/tls/chain.h"
#include "common/tls/handshake_key.h"
#include "common/tls/library.h"

namespace postern::tls {
namespace {

// Forward secrecy and authenticated encryption only; TLS 1.3 has nothing else.
constexpr const char* kCiphers12 = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr const char* kGroups = "X25519:P-256:P-384";
constexpr const char* kSignatures =
    "ECDSA+SHA256:ed25519:ECDSA+SHA384:RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:"
    "RSA+SHA384:RSA+SHA512";
constexpr int kMaxDepth = 8;                  // certificates above a client's
constexpr std::size_t kMaxChain = 32U << 10;  // bytes of a client's chain

int index_of_owner() {
  static const int index = ::SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

const ServerContext& owner(SSL* ssl) noexcept {
  return *static_cast<const ServerContext*>(
      ::SSL_CTX_get_ex_data(::SSL_get_SSL_CTX(ssl), index_of_owner()));
}

// RFC 6066 3: the client names the host that it wants.
int choose_by_name(SSL* ssl, int*, void*) noexcept {
  const char* const name = ::SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name != nullptr) ::SSL_set_SSL_CTX(ssl, owner(ssl).for_name(name));
  return SSL_TLSEXT_ERR_OK;  // a name that nobody has is no reason to refuse mail
}

// A certificate that proves nothing does not end the session; what it was worth is asked for
// afterwards.
int accept_any(int, X509_STORE_CTX*) noexcept {
  return 1;
}

// Seals a ticket or opens one. 0: cannot; 1: done; 2: opened, and should be sealed anew.
int handle_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                  EVP_MAC_CTX* mac, int sealing) noexcept {
  const auto& keys = owner(ssl).tickets();
  const TicketKey* const key =
      sealing == 1 ? keys.newest()
                   : keys.named({reinterpret_cast<const char*>(name), TicketKey{}.name.size()});
  if (key == nullptr) return 0;
  if (sealing == 1) {
    std::memcpy(name, key->name.data(), key->name.size());
    base::random_bytes(iv, EVP_MAX_IV_LENGTH);
  }
  static const EVP_CIPHER* const kCipher = ::EVP_CIPHER_fetch(library(), "AES-256-CBC", nullptr);
  auto& secret = const_cast<TicketKey*>(key)->mac;  // OSSL_PARAM knows no const; it only reads
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      ::OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, secret.data(), secret.size()),
      ::OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_END};
  if (::EVP_MAC_CTX_set_params(mac, parameters) != 1 ||
      ::EVP_CipherInit_ex2(cipher, kCipher, key->cipher.data(), iv, sealing, nullptr) != 1)
    return -1;
  return sealing == 1 || key == keys.newest() ? 1 : 2;
}

// Tickets of before a change of what is asked from clients must not get around it.
bool set_identity(SSL_CTX* context, const std::string& client_ca) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  std::size_t size = 0;
  return ::EVP_Q_digest(library(), "SHA256", nullptr, client_ca.data(), client_ca.size(), digest,
                        &size) == 1 &&
         ::SSL_CTX_set_session_id_context(context, digest, SSL_MAX_SID_CTX_LENGTH) == 1;
}

// Whose signature counts, and the names of these in the request to the client.
bool ask_clients(SSL_CTX* context, const std::string& pem) {
  X509_STORE* const store = ::SSL_CTX_get_cert_store(context);
  const auto bio = reader(pem);
  int count = 0;
  for (;; ++count) {
    X509* read = ::X509_new_ex(library(), nullptr);
    const bool more = ::PEM_read_bio_X509(bio.get(), &read, nullptr, nullptr) != nullptr;
    const X509Handle certificate(read);
    if (!more) break;
    if (::X509_STORE_add_cert(store, certificate.get()) != 1 ||
        ::SSL_CTX_add_client_CA(context, certificate.get()) != 1)
      return false;
  }
  ::ERR_clear_error();
  ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER, accept_any);
  ::SSL_CTX_set_verify_depth(context, kMaxDepth);
  ::SSL_CTX_set_max_cert_list(context, kMaxChain);
  return count > 0;
}

bool add_certificate(SSL_CTX* context, const Chain& chain) {
  if (::SSL_CTX_use_certificate(context, chain.leaf()) != 1 ||
      !use_key(context, ::X509_get0_pubkey(chain.leaf()), chain.key()))
    return false;
  for (auto* const issuer : chain.issuers())
    if (::SSL_CTX_add1_chain_cert(context, issuer) != 1) return false;
  return true;
}

// A name may have one certificate for each kind of key. The client's abilities choose among them.
void add(std::vector<std::size_t>& set, std::size_t which, const std::vector<Chain>& chains) {
  const auto algorithm = [&](std::size_t i) {
    const std::string_view kind = chains[i].kind();
    return kind.substr(0, kind.find(' '));
  };
  if (std::none_of(set.begin(), set.end(),
                   [&](std::size_t other) { return algorithm(other) == algorithm(which); }))
    set.push_back(which);
}

}  // namespace

void ServerContext::Free::operator()(ssl_ctx_st* context) const noexcept {
  ::SSL_CTX_free(context);
}
ServerContext::~ServerContext() = default;

std::expected<std::shared_ptr<const ServerContext>, std::string> ServerContext::make(
    const ServerSettings& settings, std::shared_ptr<const TicketKeys> tickets) {
  CHECK(!settings.certificates.empty());
  std::shared_ptr<ServerContext> made(new ServerContext(std::move(tickets)));
  std::vector<Chain> chains;
  for (const auto& certificate : settings.certificates) {
    auto chain = Chain::parse(certificate.chain);
    if (!chain) return std::unexpected("a certificate " + chain.error());
    chains.push_back(*std::move(chain));
  }
  std::map<std::string, std::vector<std::size_t>> by_name;
  for (std::size_t i = 0; i < chains.size(); ++i)
    for (const auto& name : settings.certificates[i].names) add(by_name[name], i, chains);
  std::map<std::vector<std::size_t>, ssl_ctx_st*> known;
  const auto context_for =
      [&](const std::vector<std::size_t>& set) -> std::expected<void, std::string> {
    if (known.contains(set)) return {};
    auto context = made->make_one(settings);
    if (!context) return std::unexpected(std::move(context.error()));
    for (const auto i : set)
      if (!add_certificate(context->get(), chains[i]))
        return std::unexpected(trouble("use a certificate"));
    known.emplace(set, context->get());
    made->contexts_.push_back(*std::move(context));
    return {};
  };
  const auto& first = settings.certificates.front().names;
  const std::vector<std::size_t> fallback =
      first.empty() ? std::vector<std::size_t>{0} : by_name[first.front()];
  if (auto done = context_for(fallback); !done) return std::unexpected(std::move(done.error()));
  for (const auto& [name, set] : by_name) {
    if (auto done = context_for(set); !done) return std::unexpected(std::move(done.error()));
    made->by_name_.emplace(name, known[set]);
  }
  return made;
}

std::expected<ServerContext::Handle, std::string> ServerContext::make_one(
    const ServerSettings& settings) const {
  Handle made(::SSL_CTX_new_ex(library(), nullptr, ::TLS_server_method()));
  if (!made) return std::unexpected(trouble("make a TLS context"));
  SSL_CTX* const context = made.get();
  const int least = settings.minimum == Version::k13 ? TLS1_3_VERSION : TLS1_2_VERSION;
  // No renegotiation, no compression, no early data. Memory is given back between records.
  ::SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  ::SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
  ::SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  ::SSL_CTX_set_timeout(context, kTicketLife.count() / 1000);
  ::SSL_CTX_set_ex_data(context, index_of_owner(), const_cast<ServerContext*>(this));
  ::SSL_CTX_set_tlsext_servername_callback(context, choose_by_name);
  const bool good = ::SSL_CTX_set_min_proto_version(context, least) == 1 &&
                    ::SSL_CTX_set_cipher_list(context, kCiphers12) == 1 &&
                    ::SSL_CTX_set1_groups_list(context, kGroups) == 1 &&
                    ::SSL_CTX_set1_sigalgs_list(context, kSignatures) == 1 &&
                    ::SSL_CTX_set_num_tickets(context, 1) == 1 &&
                    ::SSL_CTX_set_tlsext_ticket_key_evp_cb(context, handle_ticket) == 1 &&
                    set_identity(context, settings.client_ca);
  if (!good) return std::unexpected(trouble("set a TLS context up"));
  if (!settings.client_ca.empty() && !ask_clients(context, settings.client_ca))
    return std::unexpected(trouble("use tls.client_ca"));
  return made;
}

ssl_ctx_st* ServerContext::for_name(std::string_view name) const {
  const auto lower = base::to_lower(name);
  if (const auto exact = by_name_.find(lower); exact != by_name_.end()) return exact->second;
  if (const auto dot = lower.find('.'); dot != std::string::npos)
    if (const auto any = by_name_.find('*' + lower.substr(dot)); any != by_name_.end())
      return any->second;
  return contexts_.front().get();
}

}  // namespace postern::tls
