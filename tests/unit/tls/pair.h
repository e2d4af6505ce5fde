// Two sessions whose wires are strings, and a signer that answers when the test says so.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "common/base/check.h"
#include "common/tls/chain.h"
#include "common/tls/key.h"
#include "common/tls/session.h"
#include "tests/unit/tls/certificates.h"

namespace postern::tls::test {

class TestSigner final : public Signer {
 public:
  explicit TestSigner(const std::vector<std::string>& keys) {
    for (const auto& pem : keys) {
      auto key = PrivateKey::parse(pem);
      CHECK(key.has_value());
      const auto id = key->id();
      keys_.emplace(id, *std::move(key));
    }
  }
  void sign(SignRequest request, Signed done) override {
    waiting.emplace_back(std::move(request), std::move(done));
  }
  // Answers the oldest.
  void answer(bool refuse = false) {
    CHECK(!waiting.empty());
    auto [request, done] = std::move(waiting.front());
    waiting.pop_front();
    schemes.push_back(request.scheme);
    EXPECT_TRUE(is_server_handshake(request.bytes));
    const auto key = keys_.find(request.key);
    if (refuse || key == keys_.end()) return done(std::nullopt);
    done(key->second.sign(request.scheme, request.bytes));
  }

  std::deque<std::pair<SignRequest, Signed>> waiting;
  std::vector<Scheme> schemes;

 private:
  std::map<KeyId, PrivateKey> keys_;
};

struct End {
  void make(std::unique_ptr<Session> made) {
    session = std::move(made);
    session->on_ready([this]() noexcept { ready = true; });
  }
  void receive(std::string_view wire) {
    ready = false;
    session->receive(wire, plain, out);
  }
  void send(std::string_view bytes) { session->send(bytes, out); }
  [[nodiscard]] event::Filter::State state() const { return session->state(); }

  std::unique_ptr<Session> session;
  std::string plain, out;
  bool ready = false;
};

struct Pair {
  explicit Pair(const ServerSettings& settings, const std::vector<std::string>& keys,
                const std::string& name = "mx.example.org",
                const ClientSettings& client_settings = {})
      : signer(keys) {
    auto context = ServerContext::make(settings, tickets);
    if (!context) ADD_FAILURE() << context.error();
    server.make(Session::accept(*context, signer));
    auto client_context = ClientContext::make(client_settings);
    if (!client_context) ADD_FAILURE() << client_context.error();
    client.make(Session::connect(
        *client_context,
        {.host = name, .proof = client_settings.roots.empty() ? Proof::kNothing : Proof::kName}));
  }
  static Pair of(const Issued& issued) {
    return Pair({.certificates = {{{"mx.example.org"}, issued.chain}}}, {issued.key});
  }

  // Carries bytes both ways, at most `most` at a time, until nothing moves any more.
  void run(std::size_t most = ~std::size_t{0}, bool sign = true) {
    client.receive({});
    for (bool moved = true; moved;) {
      moved = carry(client, server, most);
      moved = carry(server, client, most) || moved;
      if (sign && !signer.waiting.empty()) signer.answer();
      if (server.ready) {
        server.receive({});
        moved = true;
      }
    }
  }
  static bool carry(End& from, End& to, std::size_t most) {
    if (from.out.empty()) return false;
    const auto piece = from.out.substr(0, most);
    from.out.erase(0, piece.size());
    to.receive(piece);
    return true;
  }
  [[nodiscard]] bool both_open() const {
    return client.state() == event::Filter::State::kOpen &&
           server.state() == event::Filter::State::kOpen;
  }

  TestSigner signer;
  std::shared_ptr<TicketKeys> tickets = std::make_shared<TicketKeys>();
  End server, client;
};

}  // namespace postern::tls::test
