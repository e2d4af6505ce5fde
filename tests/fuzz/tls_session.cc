// A whole session with TLS in memory: a client that handshakes as it should, and then says what the
// input wants, within TLS and beside it, while queued, auth and the key answer when the input says
// so. Whatever comes: behind the handshake the server says records of TLS and nothing else, a message
// is submitted only if all of it came through TLS, a login likewise and bound to this TLS, and when
// the client is gone the session ends.
//
// The first byte chooses settings. Steps follow: a byte for what is done, a byte for how many bytes
// belong to it, and those bytes.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/base/utf8.h"
#include "common/mail/unstuffer.h"
#include "smtpd/proxy_header.h"
#include "smtpd/session.h"
#include "tests/unit/smtpd/rig.h"

namespace postern::smtpd::test {
namespace {

constexpr std::size_t kMostSteps = 200;
constexpr int kMostRounds = 8;               // of a handshake
constexpr std::size_t kTurnsToTheEnd = 100;  // and one more for each byte of the input
constexpr std::size_t kRecordHead = 5;       // RFC 8446 5.1
constexpr std::size_t kMostOfRecord = 16 * 1024 + 256;
constexpr std::size_t kCutPiece = 13;
constexpr std::string_view kGoAhead = "\r\n220 2.0.0 Go ahead with TLS\r\n";

// The two lowest bits choose how TLS begins.
constexpr unsigned kProxied = 4, kLoginRequired = 8, kSmallLimits = 16, kCut = 32,
                   kNoCertificate = 64, kSlowKey = 128;

enum class Step : std::uint8_t {
  kSay,          // through TLS
  kRaw,          // beside it, or before it began
  kHandshake,    // the client begins it, and both sides go on
  kHold,         // as kSay, but its record stays with the client...
  kPart,         // ...until this many bytes of what waits there leave, or the next kSay
  kFlip,         // through TLS, with one bit of the record wrong; its first byte says where
  kCloseNotify,
  kEnd,          // FIN
  kReset,
  kTime,         // a quarter of a second, so many times
  kAccept,       // the oldest message
  kRefuse,       // likewise; 1: with 421
  kLogin,        // the oldest question to auth is answered, with one of its four answers
  kSign,         // the key signs, where it is slow; 1: it refuses
  kShutdown,
  kEndLogin,
};
constexpr unsigned kSteps = 16;

// It protects nothing. Ed25519, so that records are as long in one run as in the next.
constexpr std::string_view kKey = R"(-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIFKyq/VYE02PHBll4JT2VOa2TetanQuZz/kSQARwc+29
-----END PRIVATE KEY-----
)";
constexpr std::string_view kCertificate = R"(-----BEGIN CERTIFICATE-----
MIIBZDCCARagAwIBAgIUEix9hTd0vhECFGmEA7L2mVaFSH4wBQYDK2VwMBkxFzAV
BgNVBAMMDm14LmV4YW1wbGUub3JnMCAXDTI2MTEyNjE3NDA1NloYDzIxMjYxMTAy
MTc0MDU2WjAZMRcwFQYDVQQDDA5teC5leGFtcGxlLm9yZzAqMAUGAytlcAMhABLM
abdmVVTQwaQ76MK5Jy2V3CxowwjocoixJ0G8i42do24wbDAdBgNVHQ4EFgQUeA9i
9rCRDeMjWA+YoaKRyTnFPMowHwYDVR0jBBgwFoAUeA9i9rCRDeMjWA+YoaKRyTnF
PMowDwYDVR0TAQH/BAUwAwEB/zAZBgNVHREEEjAQgg5teC5leGFtcGxlLm9yZzAF
BgMrZXADQQDxe8xfY8FQl0KhktF7HleBm4OKNnuSRwHeiUufqu2MvZRpDRiX7SlD
+XMluzzffzivr2M+obkfF6xULMu3jUYP
-----END CERTIFICATE-----
)";

const tls::PrivateKey& key() {
  static const auto parsed = tls::PrivateKey::parse(kKey);
  CHECK(parsed.has_value());
  return *parsed;
}

std::shared_ptr<const tls::ServerContext> server_context() {
  static const auto made = tls::ServerContext::make(
      {.certificates = {{{"mx.example.org"}, std::string(kCertificate)}}},
      std::make_shared<tls::TicketKeys>());
  CHECK(made.has_value());
  return *made;
}

std::shared_ptr<tls::ClientContext> client_context() {
  static const auto made = tls::ClientContext::make({});
  CHECK(made.has_value());
  return *made;
}

config::TlsMode mode(unsigned settings) {
  static constexpr config::TlsMode kModes[] = {config::TlsMode::kOptional, config::TlsMode::kImplicit,
                                               config::TlsMode::kRequired, config::TlsMode::kOptional};
  return kModes[settings & 3];
}

// The client, 192.0.2.7, is a proxy.
config::Rights rights_with_proxy() {
  auto rights = sample_rights();
  rights.listeners.front().proxy_from = {base::parse_network("192.0.2.7").value()};
  return rights;
}

Service make_service(unsigned settings) {
  static const config::RightsIndex rights(sample_rights());
  static const config::RightsIndex with_proxy(rights_with_proxy());
  auto service = sample_service((settings & kProxied) != 0 ? with_proxy : rights);
  service.tls = mode(settings);
  service.login_required = (settings & kLoginRequired) != 0;
  service.mechanisms = {sasl::Mechanism::kPlain, sasl::Mechanism::kLogin,
                        sasl::Mechanism::kScramSha256, sasl::Mechanism::kScramSha256Plus};
  service.limits.timeout = {
      .command = base::Millis(5'000), .data = base::Millis(20'000), .idle = base::Millis(9'000)};
  if ((settings & kSmallLimits) != 0) {
    service.limits.message_size = 100;
    service.limits.messages_per_session = 2;
  }
  return service;
}

// --- The server's neighbours --------------------------------------------------------------------

class KeyInMemory final : public tls::Signer {
 public:
  void sign(tls::SignRequest request, Signed done) override {
    waiting_.emplace_back(std::move(request), std::move(done));
  }
  [[nodiscard]] bool waits() const { return !waiting_.empty(); }
  // The oldest.
  void answer(bool refuse) {
    if (waiting_.empty()) return;
    auto [request, done] = std::move(waiting_.front());
    waiting_.pop_front();
    CHECK(tls::is_server_handshake(request.bytes) && request.key == key().id());
    if (refuse) return done(std::nullopt);
    done(key().sign(request.scheme, request.bytes));
  }

 private:
  std::deque<std::pair<tls::SignRequest, Signed>> waiting_;
};

class FakeAuth {
 public:
  using Connection = ipc::Connection<FakeAuth, ipc::Role::kAuth, ipc::Role::kSmtpd>;

  FakeAuth(event::Loop& loop, base::UniqueFd fd)
      : connection_(std::make_unique<Connection>(loop, std::move(fd), *this)) {}

  void on(const ipc::Login& m) {
    logins.push_back(m);
    waiting_.push_back(m.request);
  }
  void on(const ipc::LoginResponse& m) { waiting_.push_back(m.request); }
  void on(const ipc::UserLogin&, ipc::Descriptors) {}
  void on(const ipc::EndLogin&) {}
  void closed() noexcept {}

  [[nodiscard]] bool waits() const { return !waiting_.empty(); }
  // The oldest.
  void answer(ipc::LoginResult result) {
    if (waiting_.empty()) return;
    ipc::LoginAnswer word;
    word.request = waiting_.front();
    word.result = result;
    if (result == ipc::LoginResult::kChallenge) word.challenge = "go on";
    if (result == ipc::LoginResult::kAccepted) word.account = "bob";
    accepted = accepted || result == ipc::LoginResult::kAccepted;
    waiting_.pop_front();
    connection_->send(word);
  }

  std::vector<ipc::Login> logins;
  bool accepted = false;  // some login was

 private:
  std::deque<base::RequestId> waiting_;
  std::unique_ptr<Connection> connection_;
};

// --- What must hold of texts --------------------------------------------------------------------

// Lines of replies, whole ones.
void check_replies(std::string_view text) {
  while (!text.empty()) {
    const auto size = text.find("\r\n");
    CHECK(size != std::string_view::npos && size + 2 <= 512 && size >= 4);
    const auto line = text.substr(0, size);
    CHECK(line[0] >= '2' && line[0] <= '5' && (line[3] == ' ' || line[3] == '-'));
    CHECK(base::is_harmless(line));
    text.remove_prefix(size + 2);
  }
}

std::string unstuffed(std::string_view stuffed) {
  mail::Unstuffer unstuffer(mail::LineEnd::kCrLf);
  std::string out;
  unstuffer.feed(stuffed, out);
  unstuffer.finish(out);
  return out;
}

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

bool has_in_order(std::string_view text, std::string_view bytes) {
  std::size_t at = 0;
  for (const char byte : bytes) {
    at = text.find(byte, at);
    if (at == std::string_view::npos) return false;
    ++at;
  }
  return true;
}

// As the body of DATA with its end, or in chunks with the last one.
bool has_whole(std::string_view text, const std::string& body) {
  if (text.find("\r\n" + body + ".\r\n") != std::string_view::npos) return true;
  return base::contains_ignoring_case(text, "LAST") && has_in_order(text, unstuffed(body));
}

// How many messages can have come to their end in it.
std::size_t ends_in(std::string_view text) {
  return count(text, "\r\n.\r\n") + count(base::to_lower(text), "last");
}

// --- The session and its client -----------------------------------------------------------------

struct Rig : LinkRig {
  explicit Rig(unsigned settings)
      : service(make_service(settings)),
        proxied((settings & kProxied) != 0),
        slow_key((settings & kSlowKey) != 0),
        most_at_once((settings & kCut) != 0 ? kCutPiece : std::string_view::npos),
        in_tls(service.tls == config::TlsMode::kImplicit) {
    if ((settings & kNoCertificate) == 0) desk.use(server_context());
    connect();
    auto channel = ipc::make_channel_pair();
    auth = std::make_unique<FakeAuth>(loop, std::move(channel.a));
    auth_link.connect(std::move(channel.b));
    int ends[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    client = base::UniqueFd::adopt(ends[0]);
    session = std::make_unique<Session>(
        context, service, base::UniqueFd::adopt(ends[1]),
        base::IpAddress{base::IpFamily::kV4, {192, 0, 2, 7}}, ClientDesk::Place(),
        [this](Session*) noexcept {
          ++ended;
          session.reset();
        });
    hear();
  }
  ~Rig() { session.reset(); }

  void run(Step step, std::string_view bytes) {
    act(step, bytes);
    if (!slow_key) signer.answer(false);
    hear();
    check_logins();
    check_messages();
  }

  // The client is gone, and whoever is asked answers.
  void run_out(std::size_t most_turns) {
    leave();
    for (std::size_t i = 0; session && i < most_turns; ++i) {
      answer_all();
      turn(1);
    }
    CHECK(!session && ended == 1);
    check_logins();
    check_messages();
    check_said();
  }

 private:
  void act(Step step, std::string_view bytes) {
    const auto value = static_cast<std::uint8_t>(bytes.empty() ? '\0' : bytes.front());
    switch (step) {
      case Step::kSay:
        encrypt(bytes);
        return flush();
      case Step::kRaw:
        return say_raw(bytes);
      case Step::kHandshake:
        return shake_hands();
      case Step::kHold:
        return encrypt(bytes);
      case Step::kPart:
        return flush(value);
      case Step::kFlip:
        return say_with_wrong_bit(bytes, value);
      case Step::kCloseNotify:
        return close_tls();
      case Step::kEnd:
        ::shutdown(client.get(), SHUT_WR);
        writes = false;
        return;
      case Step::kReset:
        return leave();
      case Step::kTime:
        return pass(base::Millis(250 * value));
      case Step::kAccept:
        return accept();
      case Step::kRefuse:
        return refuse(value == 1);
      case Step::kLogin:
        return auth->answer(static_cast<ipc::LoginResult>(value % 4));
      case Step::kSign:
        signer.answer(value == 1);
        return carry();
      case Step::kShutdown:
        if (session) session->shutdown();
        return;
      case Step::kEndLogin:
        if (session && !session->account().empty()) session->end_login();
        return;
    }
  }

  // --- The client speaks

  // How many bytes left; none after it has closed its side, or the server has.
  std::size_t put(std::string_view bytes) {
    std::size_t done = 0;
    while (done < bytes.size() && writes) {
      const auto piece = bytes.substr(done, most_at_once);
      const auto taken = ::send(client.get(), piece.data(), piece.size(), MSG_NOSIGNAL);
      writes = taken == static_cast<ssize_t>(piece.size());
      if (taken > 0) done += static_cast<std::size_t>(taken);
      turn(2);
    }
    said.append(bytes.substr(0, done));
    return done;
  }
  void flush(std::size_t most = std::string_view::npos) {
    const auto done = put(std::string_view(end.out).substr(0, most));
    sent += done;
    end.out.erase(0, done);
  }
  void encrypt(std::string_view plain) {
    using State = event::Filter::State;
    const bool speaks = end.session && !closed_tls &&
                        (end.state() == State::kOpen || end.state() == State::kEnded);
    if (!speaks || plain.empty()) return;
    end.send(plain);
    pieces.push_back({sent + end.out.size(), std::string(plain)});
  }
  // Until the handshake is done, something foreign may still be passed over (RFC 8446 5).
  void say_raw(std::string_view bytes) {
    if (!bytes.empty() && !binding.empty()) spoiled_at = std::min(spoiled_at, sent);
    put(bytes);
  }
  void say_with_wrong_bit(std::string_view bytes, std::size_t where) {
    flush();
    if (!end.out.empty()) return;
    encrypt(bytes);
    if (end.out.empty()) return;
    auto& byte = end.out[where % end.out.size()];
    byte = static_cast<char>(byte ^ 1);
    spoiled_at = std::min(spoiled_at, sent);
    flush();
  }
  void close_tls() {
    if (binding.empty() || std::exchange(closed_tls, true)) return;
    end.session->end(end.out);
    flush();
  }
  void leave() {
    client.reset();
    writes = false;
  }
  // At most once in a session, and where it is TLS that the server waits for.
  void shake_hands() {
    if (!in_tls) return;
    if (!end.session) {
      end.make(tls::Session::connect(client_context(), {.host = "mx.example.org"}));
      end.receive({});
    }
    carry();
  }
  // What the handshake wants carried, both ways.
  void carry() {
    if (!end.session || !binding.empty()) return;
    for (int i = 0; i < kMostRounds && binding.empty(); ++i) {
      flush();
      if (!slow_key) signer.answer(false);
      hear();
    }
    flush();
  }

  // --- The client hears

  void hear() {
    turn();
    char piece[4096];
    while (client.valid()) {
      const auto got = ::recv(client.get(), piece, sizeof piece, 0);
      if (got <= 0) return;
      listen({piece, static_cast<std::size_t>(got)});
      turn(2);
    }
  }
  void listen(std::string_view wire) {
    if (in_tls) return take_records(wire);
    clear += wire;
    const auto at = clear.find(kGoAhead);
    if (at == std::string::npos) return;
    in_tls = true;
    const auto behind = clear.substr(at + kGoAhead.size());
    clear.resize(at + kGoAhead.size());
    take_records(behind);
  }
  void take_records(std::string_view wire) {
    heard_tls = heard_tls || !wire.empty();
    records += wire;
    while (records.size() >= kRecordHead) {
      const auto byte = [this](std::size_t at) {
        return std::size_t{static_cast<unsigned char>(records[at])};
      };
      CHECK(byte(0) >= 20 && byte(0) <= 23 && byte(1) == 3);
      const auto size = kRecordHead + (byte(3) << 8 | byte(4));
      CHECK(size <= kRecordHead + kMostOfRecord);
      if (records.size() < size) break;
      records.erase(0, size);
    }
    if (!end.session || wire.empty()) return;
    end.receive(wire);
    if (binding.empty() && end.state() == event::Filter::State::kOpen)
      binding = end.session->exporter_binding();
  }

  // --- The others

  void pass(base::Millis duration) {
    clock.advance(duration);
    link.check_deadlines();
    if (session) session->check_deadline();
  }
  void accept() {
    if (answered == queued->transactions.size()) return;
    queued->accept(answered, answered + 1);
    ++answered;
  }
  void refuse(bool closing) {
    if (answered == queued->transactions.size()) return;
    queued->refuse(answered, closing ? mail::Reply{421, {4, 3, 2}, {"Stopping"}}
                                     : mail::Reply{452, {4, 3, 1}, {"No room"}});
    ++answered;
  }
  void answer_all() {
    while (answered < queued->transactions.size()) accept();
    while (auth->waits()) auth->answer(ipc::LoginResult::kRefused);
    while (signer.waits()) signer.answer(false);
    for (; started < queued->started.size(); ++started)
      queued->say(ipc::QueueStarted{queued->started[started].request,
                                    ipc::to_ipc(mail::Reply{250, {2, 0, 0}, {"Started"}})});
  }

  // --- What must hold

  // What came through TLS whole, with nothing foreign in front of it.
  [[nodiscard]] std::string delivered() const {
    std::string text;
    for (const auto& [its_end, plain] : pieces)
      if (its_end <= std::min(sent, spoiled_at)) text += plain;
    return text;
  }
  void check_logins() {
    for (; logins_seen < auth->logins.size(); ++logins_seen) {
      const auto& login = auth->logins[logins_seen];
      CHECK(!binding.empty() && login.tls_exporter == binding);
      CHECK(base::contains_ignoring_case(delivered(), "AUTH"));
    }
  }
  void check_messages() {
    for (; messages_seen < queued->transactions.size(); ++messages_seen) {
      const auto& message = queued->transactions[messages_seen];
      CHECK(!message.recipients.empty());
      CHECK(message.recipients.size() == message.submit.recipient_count);
      CHECK(message.body.size() == message.submit.body_size);
      message.submit.tls.empty() ? check_clear(message.submit) : check_secret(message);
    }
  }
  void check_clear(const ipc::Submit& submit) const {
    CHECK(service.tls == config::TlsMode::kOptional && !in_tls);
    CHECK(!service.login_required && submit.session == base::Token{});
  }
  void check_secret(const FakeQueued::Transaction& message) {
    const auto text = delivered();
    CHECK(!binding.empty() && message.submit.tls.starts_with("TLSv1.3 "));
    CHECK(has_whole(text, message.body));
    ++secret_messages;
    CHECK(secret_messages <= ends_in(text));
    const bool logged_in = message.submit.session != base::Token{};
    CHECK(logged_in ? auth->accepted : !service.login_required);
  }
  void check_said() const {
    CHECK(records.empty());
    check_replies(clear);
    check_replies(end.plain);
    CHECK(clear.find("\r\n250-AUTH") == std::string::npos);
    if (!proxied || (clear.empty() && !heard_tls)) return;
    const auto header = parse_proxy_header(said);
    CHECK(header && *header);
  }

  struct Piece {
    std::size_t end;  // of its record, in all that the client's end made
    std::string plain;
  };

  Service service;
  KeyInMemory signer;
  TlsDesk desk{signer};
  AuthLink auth_link{loop, clock, []() noexcept {}};
  ClientDesk clients{clock};
  ClientNames names{link, clock};
  SessionContext context{loop, clock, link, budget, desk, auth_link, clients, names};
  std::unique_ptr<FakeAuth> auth;
  base::UniqueFd client;
  std::unique_ptr<Session> session;
  int ended = 0;
  bool proxied;
  bool slow_key;
  std::size_t most_at_once;

  bool in_tls;  // from here on the server says records
  bool heard_tls = false;
  tls::test::End end;
  std::string binding;  // as the client has it; empty: the handshake is not done
  std::string clear;    // what the server said before
  std::string records;  // of the server, an incomplete one
  std::string said;     // all that left the client
  bool writes = true;
  bool closed_tls = false;
  std::vector<Piece> pieces;
  std::size_t sent = 0;  // of what the client's end made
  std::size_t spoiled_at = ~std::size_t{0};
  std::size_t answered = 0, started = 0, logins_seen = 0, messages_seen = 0, secret_messages = 0;
};

// All that the input wants; the session is over then.
void run_session(std::uint8_t settings, std::string_view steps) {
  Rig rig(settings);
  const auto most_turns = kTurnsToTheEnd + steps.size();
  for (std::size_t i = 0; i < kMostSteps && steps.size() >= 2; ++i) {
    const auto step = static_cast<Step>(static_cast<unsigned char>(steps[0]) % kSteps);
    const auto bytes = steps.substr(2, static_cast<unsigned char>(steps[1]));
    rig.run(step, bytes);
    steps.remove_prefix(2 + bytes.size());
  }
  rig.run_out(most_turns);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 0) run_session(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}

}  // namespace postern::smtpd::test
