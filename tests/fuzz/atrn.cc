// A session that is turned round (RFC 2645), at either of its ends. At the outer host: nothing is turned for who has
// not logged in, and from then on he is a next hop like any other, whatever he says. At the inner one: whoever is
// called hears no password in clear text, and ATRN once, behind a login; if he turns the session, he is a stranger in
// it, wherever he is. The first byte chooses the end and its settings, the second the size of the pieces; 0: lines.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/base/text.h"
#include "deliverd/relay/protocol.h"
#include "tests/fuzz/commands.h"
#include "tests/fuzz/replies.h"
#include "tests/unit/deliverd/player.h"
#include "tests/unit/smtpd/harness.h"

namespace {

using namespace postern;
using Server = smtpd::test::Connection;

enum Setting : std::uint8_t {
  kInner = 1,         // else the outer host
  kTlsFirst = 2,      // of the outer host: its caller has come in TLS
  kMore = 4,          // domains are named; of the outer host: bodies lie in memory
  kSilence = 8,       // is the end; else the connection is lost
  kNoHandshake = 16,  // succeeds
};

struct Input {
  std::uint8_t settings = 0;
  std::uint8_t piece = 0;
  std::string_view wire;
  [[nodiscard]] bool has(Setting setting) const { return (settings & setting) != 0; }
  std::string_view take() {
    const auto size = piece > 0 ? piece : std::min(wire.find('\n'), wire.size() - 1) + 1;
    const auto bytes = wire.substr(0, size);
    wire.remove_prefix(bytes.size());
    return bytes;
  }
};

const config::RightsIndex& rights() {
  static const config::RightsIndex index(smtpd::test::sample_rights());
  return index;
}

// --- The outer host ---------------------------------------------------------------------------------

std::vector<relay::Envelope> mail_for_inner(bool in_memory) {
  std::vector<relay::Envelope> list(3);
  for (auto& message : list) {
    message.from = "a@us.example";
    message.size = 100;
    message.in_memory = in_memory;
    message.recipients = {{"r0@inner.example", {}, {}}, {"r1@inner.example", {}, {}}};
  }
  list[1].require_tls = true;
  return list;
}

void keep_mail(Input input) {
  auto service = smtpd::test::sample_service(rights());
  service.mechanisms = {sasl::Mechanism::kPlain};
  service.plaintext_logins = service.atrn = true;
  if (input.has(kTlsFirst)) service.tls = config::TlsMode::kImplicit;
  const auto said = input.wire;
  Server server(service, base::parse_ip("192.0.2.9"));
  const auto turned = [&] { return server.protocol.want() == smtpd::Want::kTurned; };
  while (!input.wire.empty() && !turned() && !server.closed()) server.feed(input.take());
  fuzz::check_replies(server.output, said);
  if (!turned()) return;
  CHECK(server.protocol.account() == "bob");

  const auto list = mail_for_inner(input.has(kMore));
  relay::Player client(list);
  if (server.protocol.tls()) client.client().kept_in_tls();
  while (!input.wire.empty()) {
    client.feed(input.take());
    fuzz::check_commands(client);
  }
  input.has(kSilence) ? client.silence() : client.lost();
  fuzz::check_verdicts(client, list);
}

// --- The inner host ---------------------------------------------------------------------------------

// The client as the collector and its connection drive it.
class Caller {
 public:
  explicit Caller(const Input& input)
      : domains_(input.has(kMore) ? "inner.example,branch.example" : ""),
        handshakes_(!input.has(kNoHandshake)),
        client_("us.example", input.has(kTlsFirst) ? relay::TlsUse::kFromStart : relay::TlsUse::kAlways,
                relay::Dialect::kSmtp,
                relay::Login(std::make_shared<relay::HopAccount>("inner", "open sesame"),
                             std::string(relay::Player::kNonce))) {
    shake_hands();
  }

  // What is left is for the server of the session that was turned round.
  std::string_view feed(std::string_view bytes) {
    while (!bytes.empty() && !over_ && !turned_) {
      const auto step = client_.on_input(bytes, out_);
      bytes.remove_prefix(step.used);
      handle(step.event);
      check_said();
    }
    shake_hands();
    return bytes;
  }
  void end(bool by_silence) {
    if (over_) return;
    by_silence ? client_.timed_out(false) : client_.lost("connection lost", false);
    CHECK(client_.trouble().result == ipc::Result::kDeferred);
  }
  [[nodiscard]] bool over() const { return over_; }
  [[nodiscard]] bool turned() const { return turned_; }

 private:
  void handle(relay::Client::Event event) {
    using Event = relay::Client::Event;
    switch (event) {
      case Event::kNone:
      case Event::kTls:
        return;
      case Event::kReady:
        CHECK(client_.in_tls() && client_.login()->satisfied());
        return client_.turn(domains_, out_);
      case Event::kTurn:
        turned_ = client_.turn_reply().positive();
        if (!turned_) client_.quit(out_);
        return;
      case Event::kOver:
        over_ = true;
        return;
      case Event::kAlive:
      case Event::kBody:
      case Event::kChunk:
      case Event::kFinished:
        CHECK(false);  // nobody asks for these
    }
  }
  // When all that came was read: what follows STARTTLS in clear text is nobody's.
  void shake_hands() {
    if (over_ || client_.state() != relay::ClientState::kTls) return;
    if (handshakes_) return client_.secured(out_);
    client_.tls_failed("no");
    over_ = true;
  }
  void check_said() {
    CHECK(out_.empty() || out_.ends_with("\r\n"));
    while (!out_.empty()) {
      const auto line = out_.substr(0, out_.find("\r\n"));
      out_.erase(0, line.size() + 2);
      CHECK(line.find_first_of("\r\n") == std::string::npos);
      if (line.starts_with("ATRN")) {
        CHECK(!std::exchange(asked_, true) && line == (domains_.empty() ? "ATRN" : "ATRN " + domains_));
        continue;
      }
      CHECK(!asked_ || line == "QUIT");
      static constexpr std::string_view kInClear[] = {"EHLO us.example", "HELO us.example", "STARTTLS", "QUIT"};
      CHECK(client_.in_tls() || std::ranges::find(kInClear, line) != std::end(kInClear));
    }
  }

  const std::string domains_;
  const bool handshakes_;
  relay::Client client_;
  std::string out_;
  bool asked_ = false, turned_ = false, over_ = false;
};

bool is_ours(const mail::Address& address) {
  const auto text = base::to_lower(address.text());
  return text == "postmaster" || text.ends_with("@example.org") || text.ends_with("@old.example");
}

void call_for_mail(Input input) {
  auto service = smtpd::test::sample_service(rights());
  service.listener = config::kTurned;
  service.tls = config::TlsMode::kImplicit;  // that of the relay
  const auto said = input.wire;
  Caller caller(input);
  std::optional<Server> server;
  while (!input.wire.empty() && !caller.over() && !(server && server->closed())) {
    auto bytes = input.take();
    if (!server) bytes = caller.feed(bytes);
    if (!server && caller.turned()) server.emplace(service, base::parse_ip("10.0.0.1"));  // whose clients may relay
    if (server && !bytes.empty()) server->feed(bytes);
  }
  if (!server) return caller.end(input.has(kSilence));
  fuzz::check_replies(server->output, said);
  CHECK(server->protocol.account().empty());
  for (const auto* offer : {"250-STARTTLS", "250-AUTH", "250-ETRN", "250-ATRN"})
    CHECK(server->output.find(offer) == std::string::npos);
  for (const auto& message : server->sink.messages) {
    CHECK(!message.envelope.tls.empty() && message.envelope.account.empty());
    CHECK(std::ranges::all_of(message.envelope.recipients, [](const auto& to) { return is_ours(to.address); }));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const Input input{data[0], data[1], {reinterpret_cast<const char*>(data) + 2, size - 2}};
  input.has(kInner) ? call_for_mail(input) : keep_mail(input);
  return 0;
}
