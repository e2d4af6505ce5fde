#include "common/tls/provider.h"

#include <openssl/async.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>

#include <cstring>
#include <string_view>

#include "common/base/check.h"
#include "common/base/text.h"

namespace postern::tls {
namespace {

constexpr const char* kName = "postern";
constexpr const char* kOurs = "provider=postern";
constexpr const char* kDefaults = "provider=default";
// The one parameter from which such a key is made: a Remote.
constexpr const char* kRemote = "postern-remote";

struct Remote {
  EVP_PKEY* public_key;
  KeyId id;
};

// A key as this provider holds it. Without `remote` it is the public half alone, for comparisons.
struct Key {
  PkeyHandle public_key;
  KeyId id{};
  bool remote = false;
};

enum class Kind { kRsa, kEc, kEd25519 };
constexpr const char* type_of(Kind kind) {
  return kind == Kind::kRsa ? "RSA" : kind == Kind::kEc ? "EC" : "ED25519";
}

thread_local SigningPoint* current = nullptr;

using Dispatch = OSSL_DISPATCH;
template <class F>
Dispatch entry(int id, F* function) {
  return {id, reinterpret_cast<void (*)()>(function)};
}

// --- Keys ---------------------------------------------------------------------------------------

void* key_new(void*) noexcept {
  return new Key;
}
void key_free(void* key) noexcept {
  delete static_cast<Key*>(key);
}

int key_has(const void* data, int selection) noexcept {
  const auto& key = *static_cast<const Key*>(data);
  if (!key.public_key) return 0;
  return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0 || key.remote ? 1 : 0;
}

int key_match(const void* a, const void* b, int) noexcept {
  return ::EVP_PKEY_eq(static_cast<const Key*>(a)->public_key.get(),
                       static_cast<const Key*>(b)->public_key.get()) == 1;
}

// The public half of somebody else's key.
int import_public(Key& key, Kind kind, const OSSL_PARAM* parameters) {
  const PkeyContextHandle context(
      ::EVP_PKEY_CTX_new_from_name(library(), type_of(kind), kDefaults));
  EVP_PKEY* made = nullptr;
  if (!context || ::EVP_PKEY_fromdata_init(context.get()) != 1 ||
      ::EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_PUBLIC_KEY,
                          const_cast<OSSL_PARAM*>(parameters)) != 1)
    return 0;
  key.public_key.reset(made);
  return 1;
}

template <Kind kKind>
int key_import(void* data, int, const OSSL_PARAM* parameters) noexcept {
  auto& key = *static_cast<Key*>(data);
  const auto* const given = ::OSSL_PARAM_locate_const(parameters, kRemote);
  if (given == nullptr) return import_public(key, kKind, parameters);
  if (given->data_size != sizeof(Remote)) return 0;
  Remote remote;
  std::memcpy(&remote, given->data, sizeof remote);
  ::EVP_PKEY_up_ref(remote.public_key);
  key.public_key.reset(remote.public_key);
  key.id = remote.id;
  key.remote = true;
  return 1;
}

// Never the private half: so no other provider ever takes such a key for one that it can sign with.
int key_export(void* data, int selection, OSSL_CALLBACK* take, void* argument) noexcept {
  if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0) return 0;
  OSSL_PARAM* parameters = nullptr;
  if (::EVP_PKEY_todata(static_cast<Key*>(data)->public_key.get(), EVP_PKEY_PUBLIC_KEY,
                        &parameters) != 1)
    return 0;
  const int taken = take(parameters, argument);
  ::OSSL_PARAM_free(parameters);
  return taken;
}

// What travels depends on the key; nobody in OpenSSL asks.
const OSSL_PARAM* key_types(int) noexcept {
  static const OSSL_PARAM kNone[] = {OSSL_PARAM_END};
  return kNone;
}

int key_get_params(void* data, OSSL_PARAM parameters[]) noexcept {
  return ::EVP_PKEY_get_params(static_cast<Key*>(data)->public_key.get(), parameters);
}
const OSSL_PARAM* key_gettable_params(void*) noexcept {
  static const OSSL_PARAM kAll[] = {
      OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, nullptr),
      OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, nullptr),
      OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, nullptr),
      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0),
      OSSL_PARAM_END};
  return kAll;
}

template <Kind kKind>
const char* key_operation(int) noexcept {
  return kKind == Kind::kEc ? "ECDSA" : type_of(kKind);
}

template <Kind kKind>
const Dispatch kKeyFunctions[] = {
    entry(OSSL_FUNC_KEYMGMT_NEW, key_new),
    entry(OSSL_FUNC_KEYMGMT_FREE, key_free),
    entry(OSSL_FUNC_KEYMGMT_HAS, key_has),
    entry(OSSL_FUNC_KEYMGMT_MATCH, key_match),
    entry(OSSL_FUNC_KEYMGMT_IMPORT, key_import<kKind>),
    entry(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, key_types),
    entry(OSSL_FUNC_KEYMGMT_EXPORT, key_export),
    entry(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, key_types),
    entry(OSSL_FUNC_KEYMGMT_GET_PARAMS, key_get_params),
    entry(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, key_gettable_params),
    entry(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, key_operation<kKind>),
    {0, nullptr}};

// --- Signatures ---------------------------------------------------------------------------------

struct Signature {
  const Key* key = nullptr;
  Scheme scheme;
};

// By the names that OpenSSL has for it (EVP_MD-SHA2(7)): to fetch it would be a search in each handshake.
std::optional<Digest> digest_named(const char* name) {
  if (name == nullptr || *name == '\0') return Digest::kNone;
  struct Known {
    Digest digest;
    std::string_view names[3];
  };
  static constexpr Known kKnown[] = {{Digest::kSha256, {"SHA2-256", "SHA-256", "SHA256"}},
                                     {Digest::kSha384, {"SHA2-384", "SHA-384", "SHA384"}},
                                     {Digest::kSha512, {"SHA2-512", "SHA-512", "SHA512"}}};
  for (const auto& [digest, names] : kKnown)
    for (const auto known : names)
      if (base::equals_ignoring_case(known, name)) return digest;
  return std::nullopt;
}

void* signature_new(void*, const char*) noexcept {
  return new Signature;
}
void signature_free(void* signature) noexcept {
  delete static_cast<Signature*>(signature);
}

int signature_set(void* data, const OSSL_PARAM parameters[]) noexcept {
  auto& signature = *static_cast<Signature*>(data);
  const auto* const mode = ::OSSL_PARAM_locate_const(parameters, OSSL_SIGNATURE_PARAM_PAD_MODE);
  if (mode == nullptr) return 1;
  bool pss = false;
  if (mode->data_type == OSSL_PARAM_UTF8_STRING) {
    pss = std::string_view(static_cast<const char*>(mode->data)) == OSSL_PKEY_RSA_PAD_MODE_PSS;
  } else {
    int number = 0;
    if (::OSSL_PARAM_get_int(mode, &number) != 1) return 0;
    pss = number == RSA_PKCS1_PSS_PADDING;
  }
  signature.scheme.algorithm = pss ? Algorithm::kRsaPss : Algorithm::kRsaPkcs1;
  return 1;
}
const OSSL_PARAM* signature_settable(void*, void*) noexcept {
  static const OSSL_PARAM kAll[] = {
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, nullptr, 0), OSSL_PARAM_END};
  return kAll;
}

template <Kind kKind>
int sign_init(void* data, const char* digest, void* key, const OSSL_PARAM parameters[]) noexcept {
  auto& signature = *static_cast<Signature*>(data);
  const auto known = digest_named(digest);
  if (!known || key == nullptr || !static_cast<Key*>(key)->remote) return 0;
  signature.key = static_cast<const Key*>(key);
  signature.scheme.algorithm = kKind == Kind::kRsa  ? Algorithm::kRsaPkcs1
                               : kKind == Kind::kEc ? Algorithm::kEcdsa
                                                    : Algorithm::kEd25519;
  signature.scheme.digest = *known;
  return parameters == nullptr ? 1 : signature_set(data, parameters);
}

bool ask(const Signature& signature, const unsigned char* bytes, std::size_t size) {
  if (current == nullptr || size > kMaxSigned) return false;
  current->signature.reset();
  current->asked = SignRequest{signature.key->id, signature.scheme,
                               std::string(reinterpret_cast<const char*>(bytes), size)};
  return true;
}

bool answer(const SigningPoint& point, unsigned char* to, std::size_t* size, std::size_t room) {
  if (!point.signature || point.signature->size() > room) return false;
  std::memcpy(to, point.signature->data(), point.signature->size());
  *size = point.signature->size();
  return true;
}

// It runs on the fibre of the handshake, which may stand still in the middle of it: no variable
// whose address is taken lives across that, for the sanitizers know nothing of this stack.
int sign(void* data, unsigned char* to, std::size_t* size, std::size_t room,
         const unsigned char* bytes, std::size_t count) noexcept {
  const auto& signature = *static_cast<const Signature*>(data);
  if (to == nullptr) {
    *size = static_cast<std::size_t>(::EVP_PKEY_get_size(signature.key->public_key.get()));
    return 1;
  }
  SigningPoint* const point = current;
  if (!ask(signature, bytes, count)) return 0;
  ::ASYNC_pause_job();
  return answer(*point, to, size, room) ? 1 : 0;
}

template <Kind kKind>
const Dispatch kSignatureFunctions[] = {
    entry(OSSL_FUNC_SIGNATURE_NEWCTX, signature_new),
    entry(OSSL_FUNC_SIGNATURE_FREECTX, signature_free),
    entry(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, sign_init<kKind>),
    entry(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, sign),
    entry(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, signature_set),
    entry(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, signature_settable),
    {0, nullptr}};

// --- The provider -------------------------------------------------------------------------------

constexpr const char* kRsaNames = "RSA:rsaEncryption:1.2.840.113549.1.1.1";
constexpr const char* kEd25519Names = "ED25519:1.3.101.112";

const OSSL_ALGORITHM kKeys[] = {
    {kRsaNames, kOurs, kKeyFunctions<Kind::kRsa>, nullptr},
    {"EC:id-ecPublicKey:1.2.840.10045.2.1", kOurs, kKeyFunctions<Kind::kEc>, nullptr},
    {kEd25519Names, kOurs, kKeyFunctions<Kind::kEd25519>, nullptr},
    {nullptr, nullptr, nullptr, nullptr}};
const OSSL_ALGORITHM kSignatures[] = {
    {kRsaNames, kOurs, kSignatureFunctions<Kind::kRsa>, nullptr},
    {"ECDSA", kOurs, kSignatureFunctions<Kind::kEc>, nullptr},
    {kEd25519Names, kOurs, kSignatureFunctions<Kind::kEd25519>, nullptr},
    {nullptr, nullptr, nullptr, nullptr}};

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) noexcept {
  *no_cache = 0;
  if (operation == OSSL_OP_KEYMGMT) return kKeys;
  return operation == OSSL_OP_SIGNATURE ? kSignatures : nullptr;
}

const Dispatch kProvider[] = {entry(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query), {0, nullptr}};

int initialise(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH*,
               const OSSL_DISPATCH** functions, void** context) noexcept {
  *functions = kProvider;
  *context = const_cast<OSSL_CORE_HANDLE*>(handle);
  return 1;
}

}  // namespace

void load_provider(OSSL_LIB_CTX* context) {
  CHECK(::OSSL_PROVIDER_add_builtin(context, kName, initialise) == 1 &&
        ::OSSL_PROVIDER_load(context, kName) != nullptr);
}

PkeyHandle remote_key(EVP_PKEY* public_key, const KeyId& id) {
  const Kind kind = ::EVP_PKEY_is_a(public_key, "RSA") == 1  ? Kind::kRsa
                    : ::EVP_PKEY_is_a(public_key, "EC") == 1 ? Kind::kEc
                                                             : Kind::kEd25519;
  Remote remote{public_key, id};
  OSSL_PARAM parameters[] = {::OSSL_PARAM_construct_octet_string(kRemote, &remote, sizeof remote),
                             OSSL_PARAM_END};
  const PkeyContextHandle context(::EVP_PKEY_CTX_new_from_name(library(), type_of(kind), kOurs));
  EVP_PKEY* made = nullptr;
  CHECK(context && ::EVP_PKEY_fromdata_init(context.get()) == 1 &&
        ::EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_KEYPAIR, parameters) == 1);
  return PkeyHandle(made);
}

SigningScope::SigningScope(SigningPoint& point) noexcept {
  current = &point;
}
SigningScope::~SigningScope() {
  current = nullptr;
}

}  // namespace postern::tls
