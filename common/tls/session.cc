#include "common/tls/session.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "common/base/check.h"
#include "common/base/ip.h"
#include "common/base/text.h"
#include "common/tls/library.h"
#include "common/tls/provider.h"

namespace postern::tls {

struct Session::Wire {
  std::string_view in;
  std::string* out = nullptr;
};
struct Session::Point : SigningPoint {};

namespace {

constexpr std::size_t kRecord = 16 * 1024;    // bytes of one record, RFC 8446 5.1
constexpr std::size_t kMaxEarly = 64 * 1024;  // while a signature is waited for
constexpr std::size_t kMaxPeer = 200;         // of the name in a certificate

// --- The BIO: it reads what lies there, and never waits to write --------------------------------

template <class Wire>
int bio_read(BIO* bio, char* to, std::size_t room, std::size_t* got) noexcept {
  auto& in = static_cast<Wire*>(::BIO_get_data(bio))->in;
  ::BIO_clear_retry_flags(bio);
  if (in.empty()) {
    ::BIO_set_retry_read(bio);
    return 0;
  }
  *got = std::min(room, in.size());
  std::memcpy(to, in.data(), *got);
  in.remove_prefix(*got);
  return 1;
}

template <class Wire>
int bio_write(BIO* bio, const char* from, std::size_t size, std::size_t* put) noexcept {
  auto* const out = static_cast<Wire*>(::BIO_get_data(bio))->out;
  if (out != nullptr) out->append(from, size);  // null: nobody is there any more
  *put = size;
  return 1;
}

long bio_control(BIO*, int command, long, void*) noexcept {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int bio_create(BIO* bio) noexcept {
  ::BIO_set_init(bio, 1);
  return 1;
}

template <class Wire>
const BIO_METHOD* wire_method() {
  static const BIO_METHOD* const kMethod = [] {
    BIO_METHOD* method = ::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "postern");
    CHECK(method != nullptr && ::BIO_meth_set_read_ex(method, bio_read<Wire>) == 1 &&
          ::BIO_meth_set_write_ex(method, bio_write<Wire>) == 1 &&
          ::BIO_meth_set_ctrl(method, bio_control) == 1 &&
          ::BIO_meth_set_create(method, bio_create) == 1);
    return method;
  }();
  return kMethod;
}

// The first host name of the certificate, or else its common name.
std::string name_in(X509* certificate) {
  const std::unique_ptr<GENERAL_NAMES, Release<::GENERAL_NAMES_free>> all(
      static_cast<GENERAL_NAMES*>(
          ::X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  const ASN1_STRING* found = nullptr;
  for (int i = 0; all && found == nullptr && i < sk_GENERAL_NAME_num(all.get()); ++i) {
    const auto* const name = sk_GENERAL_NAME_value(all.get(), i);
    if (name->type == GEN_DNS) found = name->d.dNSName;
  }
  X509_NAME* const subject = ::X509_get_subject_name(certificate);
  const int at = ::X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (found == nullptr && at >= 0)
    found = ::X509_NAME_ENTRY_get_data(::X509_NAME_get_entry(subject, at));
  if (found == nullptr) return "unnamed";
  const std::string_view text(reinterpret_cast<const char*>(::ASN1_STRING_get0_data(found)),
                              static_cast<std::size_t>(::ASN1_STRING_length(found)));
  auto clean = base::printable(text.substr(0, kMaxPeer));
  clean.resize(std::min(clean.size(), kMaxPeer));
  return clean;
}

int index_of_session() {
  static const int index = ::SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// An address is proved by an address, and never said as a name (RFC 6066 3).
bool expect_name(SSL* ssl, const std::string& host) {
  if (base::parse_ip(host))
    return ::X509_VERIFY_PARAM_set1_ip_asc(::SSL_get0_param(ssl), host.c_str()) == 1;
  ::SSL_set_hostflags(ssl,
                      X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return ::SSL_set_tlsext_host_name(ssl, host.c_str()) == 1 &&
         ::SSL_set1_host(ssl, host.c_str()) == 1;
}

bool expect_records(SSL* ssl, const Wish& wish) {
  ::SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (::SSL_dane_enable(ssl, wish.host.c_str()) <= 0) return false;
  for (const auto& name : wish.also)
    if (::SSL_add1_host(ssl, name.c_str()) != 1) return false;
  bool usable = false;
  for (const auto& record : wish.associations) {
    const auto* const data = reinterpret_cast<const unsigned char*>(record.data.data());
    usable |= ::SSL_dane_tlsa_add(ssl, record.usage, record.selector, record.matching, data,
                                  record.data.size()) > 0;
  }
  ::ERR_clear_error();
  return usable;
}

}  // namespace

void Session::Free::operator()(ssl_st* ssl) const noexcept {
  ::SSL_free(ssl);
}

Session::Session() : wire_(std::make_unique<Wire>()), self_(std::make_shared<Session*>(this)) {}

// A handshake that stands still on its fibre must come to its end, or the fibre would be lost.
Session::~Session() {
  *self_ = nullptr;
  wire_->out = nullptr;
  wire_->in = {};
  if (paused_) {
    const SigningScope scope(*point_);
    (void)::SSL_do_handshake(ssl_.get());
    ::ERR_clear_error();
  }
}

void Session::attach(ssl_st* ssl) {
  CHECK(ssl != nullptr);
  ssl_.reset(ssl);
  BIO* const bio = ::BIO_new_ex(library(), wire_method<Wire>());
  CHECK(bio != nullptr);
  ::BIO_set_data(bio, wire_.get());
  ::SSL_set_bio(ssl, bio, bio);
}

std::unique_ptr<Session> Session::accept(std::shared_ptr<const ServerContext> context,
                                         Signer& signer) {
  std::unique_ptr<Session> session(new Session);
  session->attach(::SSL_new(context->for_name({})));
  SSL* const ssl = session->ssl_.get();
  ::SSL_set_accept_state(ssl);
  if (context->tickets().newest() == nullptr) {  // nothing to seal a ticket with
    ::SSL_set_options(ssl, SSL_OP_NO_TICKET);
    ::SSL_set_num_tickets(ssl, 0);
  }
  session->server_ = std::move(context);
  session->signer_ = &signer;
  session->point_ = std::make_unique<Point>();
  return session;
}

std::unique_ptr<Session> Session::connect(std::shared_ptr<ClientContext> context,
                                          const Wish& wish) {
  std::unique_ptr<Session> session(new Session);
  session->attach(::SSL_new(context->raw()));
  SSL* const ssl = session->ssl_.get();
  ::SSL_set_connect_state(ssl);
  session->client_ = std::move(context);
  if (!(wish.proof == Proof::kRecords ? expect_records(ssl, wish) : expect_name(ssl, wish.host)))
    return nullptr;
  // Without a proof the certificate is looked at too, so that people can be told.
  ::SSL_set_verify(ssl, wish.proof == Proof::kNothing ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  if (!wish.resume_key.empty()) session->resume_as(wish.resume_key);
  return session;
}

void Session::resume_as(const std::string& key) {
  resume_key_ = key;
  ::SSL_set_ex_data(ssl_.get(), index_of_session(), this);
  ::SSL_CTX_sess_set_new_cb(client_->raw(), keep_session);
  if (const auto earlier = client_->resumption().take(key))
    ::SSL_set_session(ssl_.get(), earlier.get());
}

// A copy: with its connection the original would be marked as not to be resumed.
int Session::keep_session(ssl_st* ssl, ssl_session_st* fresh) noexcept {
  auto* const session = static_cast<Session*>(::SSL_get_ex_data(ssl, index_of_session()));
  if (session == nullptr || ::SSL_SESSION_is_resumable(fresh) != 1) return 0;
  if (Resumption::Handle copy(::SSL_SESSION_dup(fresh)); copy)
    session->client_->resumption().put(session->resume_key_, std::move(copy));
  return 0;
}

void Session::receive(std::string_view wire, std::string& plain, std::string& out) noexcept {
  if (state_ == State::kFailed) return;
  if (waiting_ && !wire.empty()) {
    early_.append(wire);
    if (early_.size() > kMaxEarly) fail("too much came during the handshake");
    return;
  }
  if (waiting_) return;
  if (!early_.empty()) early_.append(wire);
  wire_->in = early_.empty() ? wire : std::string_view(early_);
  wire_->out = &out;
  if (state_ == State::kOpening) shake_hands();
  if (state_ == State::kOpen) read(plain);
  if (waiting_ && early_.empty())
    early_.assign(wire_->in);
  else if (waiting_)
    early_.erase(0, early_.size() - wire_->in.size());
  else
    std::string().swap(early_);
  wire_->in = {};
  wire_->out = nullptr;
}

void Session::shake_hands() noexcept {
  ::ERR_clear_error();
  paused_ = false;
  int result = 0;
  if (point_) {
    const SigningScope scope(*point_);
    result = ::SSL_do_handshake(ssl_.get());
  } else {
    result = ::SSL_do_handshake(ssl_.get());
  }
  if (result == 1) {
    state_ = State::kOpen;
    point_.reset();
    ::SSL_clear_mode(ssl_.get(), SSL_MODE_ASYNC);
    return;
  }
  switch (::SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return;
    case SSL_ERROR_WANT_ASYNC:
      return ask_signer();
    default:
      return handshake_failed();
  }
}

// A certificate that proves too little is named by what is wrong with it.
void Session::handshake_failed() noexcept {
  const auto doubt = ::SSL_get_verify_result(ssl_.get());
  auto why = tls::trouble("handshake");
  if (client_ && doubt != X509_V_OK)
    why += fmt::format(" ({})", ::X509_verify_cert_error_string(doubt));
  if (client_ && !resume_key_.empty()) client_->resumption().forget(resume_key_);
  fail(std::move(why));
}

void Session::ask_signer() noexcept {
  CHECK(point_->asked);
  waiting_ = paused_ = true;
  auto request = *std::exchange(point_->asked, std::nullopt);
  signer_->sign(std::move(request), [self = self_](std::optional<std::string> signature) noexcept {
    Session* const session = *self;
    if (session == nullptr || !session->waiting_) return;
    session->point_->signature = std::move(signature);
    session->waiting_ = false;
    if (session->ready_) session->ready_();
  });
}

void Session::read(std::string& plain) noexcept {
  ::ERR_clear_error();
  for (;;) {
    int result = 0;
    const auto had = plain.size();
    plain.resize_and_overwrite(had + kRecord, [&](char* bytes, std::size_t) {
      std::size_t got = 0;
      result = ::SSL_read_ex(ssl_.get(), bytes + had, kRecord, &got);
      return had + got;
    });
    if (result == 1) continue;
    switch (::SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        return;
      case SSL_ERROR_ZERO_RETURN:  // close_notify
        state_ = State::kEnded;
        return;
      default:
        return fail(tls::trouble("read"));
    }
  }
}

void Session::send(std::string_view plain, std::string& out) noexcept {
  if (plain.empty()) return;
  wire_->out = &out;
  ::ERR_clear_error();
  std::size_t put = 0;
  if (::SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &put) != 1)
    fail(tls::trouble("write"));
  wire_->out = nullptr;
}

void Session::end(std::string& out) noexcept {
  wire_->out = &out;
  ::ERR_clear_error();
  (void)::SSL_shutdown(ssl_.get());
  ::ERR_clear_error();
  wire_->out = nullptr;
}

void Session::fail(std::string why) noexcept {
  trouble_ = std::move(why);
  state_ = State::kFailed;
}

Facts Session::facts() const {
  SSL* const ssl = ssl_.get();
  Facts facts;
  facts.version = ::SSL_get_version(ssl);
  facts.cipher = ::SSL_get_cipher_name(ssl);
  facts.resumed = ::SSL_session_reused(ssl) == 1;
  if (const char* const name = ::SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
      name != nullptr)
    facts.name = base::printable(name);
  X509* const peer = ::SSL_get0_peer_certificate(ssl);
  const bool checked = client_ || (::SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) != 0;
  if (peer != nullptr && checked && ::SSL_get_verify_result(ssl) == X509_V_OK)
    facts.peer = name_in(peer);
  if (const auto doubt = ::SSL_get_verify_result(ssl); client_ && doubt != X509_V_OK)
    facts.doubt = ::X509_verify_cert_error_string(doubt);
  return facts;
}

bool Session::names(const std::string& host) const {
  X509* const peer = ::SSL_get0_peer_certificate(ssl_.get());
  return peer != nullptr && ::X509_check_host(peer, host.data(), host.size(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                                              nullptr) == 1;
}

// Without the extended master secret, TLS 1.2 lets somebody in the middle have the same on both sides
// (RFC 9266 4.2).
std::string Session::exporter_binding() const {
  static constexpr std::string_view kLabel = "EXPORTER-Channel-Binding";
  SSL* const ssl = ssl_.get();
  if (::SSL_version(ssl) < TLS1_3_VERSION && ::SSL_get_extms_support(ssl) != 1) return {};
  std::string made(32, '\0');
  if (::SSL_export_keying_material(ssl, reinterpret_cast<unsigned char*>(made.data()), made.size(),
                                   kLabel.data(), kLabel.size(), nullptr, 0, 0) != 1)
    return {};
  return made;
}

// The first Finished of the handshake: the client's, or where it is resumed the server's.
std::string Session::unique_binding() const {
  SSL* const ssl = ssl_.get();
  if (::SSL_version(ssl) != TLS1_2_VERSION || ::SSL_get_extms_support(ssl) != 1) return {};
  std::array<char, EVP_MAX_MD_SIZE> first{};
  const bool ours = (::SSL_is_server(ssl) == 1) == (::SSL_session_reused(ssl) == 1);
  const auto size = ours ? ::SSL_get_finished(ssl, first.data(), first.size())
                         : ::SSL_get_peer_finished(ssl, first.data(), first.size());
  return {first.data(), std::min(size, first.size())};
}

}  // namespace postern::tls
