// Connections that are secured: what leaves, to whom, and what people are told of it.
#include <gtest/gtest.h>

#include "common/tls/chain.h"
#include "fake_hop.h"
#include "sender.h"
#include "tests/unit/tls/pair.h"

namespace postern::relay {
namespace {

using config::HopKind;
using config::HopTls;
using tls::test::Authority;
using tls::test::Issued;

class PromptSigner final : public tls::Signer {
 public:
  PromptSigner(event::Loop& loop, const std::string& key) : loop_(loop), signer_({key}) {}
  void sign(tls::SignRequest request, Signed done) override {
    signer_.sign(std::move(request), std::move(done));
    loop_.defer([this]() noexcept { signer_.answer(refuses); });
  }
  bool refuses = false;  // so that no handshake succeeds

 private:
  event::Loop& loop_;
  tls::test::TestSigner signer_;
};

const Issued& good() { return Authority::instance().issue({"mx.example"}); }
const Issued& other() { return Authority::instance().issue({"other.example"}); }

// A next hop with a certificate, and what was sent there.
class Tls : public testing::Test {
 protected:
  void offer(const Issued& issued, bool first = false) {
    tickets_->replace({tls::random_ticket_key()});
    signer = std::make_unique<PromptSigner>(loop, issued.key);
    hop.secure(*tls::ServerContext::make({.certificates = {{{}, issued.chain}}}, tickets_), *signer,
               first);
    if (!first) hop.answer(offering());
    forget_sessions();
  }
  void forget_sessions() {
    rig.desk.use(TlsDesk::context_for(Authority::instance().root()).value());
  }
  // STARTTLS is offered in clear, and the answers to it are these.
  static FakeHop::Answer offering(std::optional<std::string> to_starttls = std::nullopt) {
    return [to_starttls](const std::string& line, bool&) -> std::optional<std::string> {
      if (line.starts_with("EHLO")) return "250-fake\r\n250 STARTTLS";
      if (line == "STARTTLS") return to_starttls;
      return std::nullopt;
    };
  }
  Target target(bool vouched = false) const {
    return {"mx.example", hop.endpoint(), "example.org",
            vouched ? std::vector<std::string>{"mx.example"} : std::vector<std::string>()};
  }
  static config::HopSpec way(HopTls tls) { return {.kind = HopKind::kMx, .tls = tls}; }

  Sender& send(const config::HopSpec& hop_spec, bool vouched = false,
               const std::optional<ipc::FirstClient>& client = std::nullopt) {
    sender_ = std::make_unique<Sender>(loop, rig, hop_spec, std::vector{target(vouched)});
    sender_->add("Subject: x\r\n");
    if (client) sender_->come_from(*client);
    sender_->start();
    until(loop, [&] { return sender_->gone; });
    return *sender_;
  }
  [[nodiscard]] std::size_t greeted() const {
    return static_cast<std::size_t>(std::count(hop.lines.begin(), hop.lines.end(), "EHLO us.example"));
  }

  event::Loop loop;
  TlsRig rig{loop};
  std::unique_ptr<PromptSigner> signer;
  FakeHop hop{loop};

 private:
  std::shared_ptr<tls::TicketKeys> tickets_ = std::make_shared<tls::TicketKeys>();
  std::unique_ptr<Sender> sender_;
};

TEST_F(Tls, IsUsedWhereItIsOffered) {
  offer(good());
  const auto& sent = send(way(HopTls::kOptional));
  EXPECT_EQ(hop.messages.size(), 1U);
  EXPECT_EQ(hop.lines.at(1), "STARTTLS");
  EXPECT_EQ(greeted(), 2U);
  EXPECT_EQ(sent.note.tls, "TLSv1.3 TLS_AES_256_GCM_SHA384");
  EXPECT_EQ(sent.note.verified, "yes: mx.example");
}

TEST_F(Tls, IsNotUsedWhereItIsOff) {
  offer(good());
  EXPECT_EQ(send(way(HopTls::kOff)).note.tls, "none: off");
  EXPECT_EQ(hop.messages.size(), 1U);
  EXPECT_EQ(greeted(), 1U);
}

TEST_F(Tls, IsDoneWithoutWhereItIsNotOffered) {
  EXPECT_EQ(send(way(HopTls::kOptional)).note.tls, "none: not offered");
  EXPECT_EQ(hop.messages.size(), 1U);
}

TEST_F(Tls, OfAStrangerIsBetterThanNone) {
  offer(other());
  for (const auto tls : {HopTls::kOptional, HopTls::kRequired}) {
    const auto& sent = send(way(tls));
    EXPECT_TRUE(sent.note.tls.starts_with("TLSv1.3")) << sent.note.tls;
    EXPECT_EQ(sent.note.verified, "no: hostname mismatch");
  }
  EXPECT_EQ(hop.messages.size(), 2U);
}

TEST_F(Tls, OfAStrangerIsNotEnoughWhereTheNameMatters) {
  offer(other());
  const auto& sent = send(way(HopTls::kVerified));
  EXPECT_EQ(sent.trouble.end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(sent.trouble.failure, ipc::FailureClass::kTls);
  EXPECT_EQ(sent.trouble.reply.text(),
            "4.7.5 handshake: certificate verify failed (hostname mismatch)");
  EXPECT_EQ(hop.sessions, 1U) << "never in clear";
  EXPECT_TRUE(hop.messages.empty());
  offer(good());
  EXPECT_EQ(send(way(HopTls::kVerified)).note.verified, "yes: mx.example");
  EXPECT_EQ(hop.messages.size(), 1U);
}

TEST_F(Tls, ThatFailsIsTriedOnceMoreInClear) {
  offer(good());
  signer->refuses = true;
  const auto& sent = send(way(HopTls::kOptional));
  EXPECT_EQ(hop.sessions, 2U);
  EXPECT_EQ(hop.messages.size(), 1U);
  EXPECT_TRUE(sent.note.tls.starts_with("none: 4.7.5 handshake")) << sent.note.tls;
}

TEST_F(Tls, ThatFailsIsTheEndWhereItIsRequired) {
  offer(good());
  signer->refuses = true;
  for (const auto tls : {HopTls::kRequired, HopTls::kVerified}) {
    const auto before = hop.sessions;
    const auto& sent = send(way(tls));
    EXPECT_EQ(sent.trouble.failure, ipc::FailureClass::kTls);
    EXPECT_EQ(hop.sessions, before + 1);
  }
  EXPECT_TRUE(hop.messages.empty());
}

TEST_F(Tls, ThatIsBrokenOffIsTriedOnceMoreInClear) {
  for (const auto* reply : {"", "220 go"}) {
    hop.answer([reply](const std::string& line, bool& close) -> std::optional<std::string> {
      close = line == "STARTTLS";
      return offering(reply)(line, close);
    });
    const auto before = hop.sessions;
    const auto& sent = send(way(HopTls::kOptional));
    EXPECT_EQ(hop.sessions, before + 2);
    EXPECT_TRUE(sent.note.tls.starts_with("none: 4.4.2 connection ")) << sent.note.tls;
  }
  EXPECT_EQ(hop.messages.size(), 2U);
}

// Nor is anything said in clear to whoever speaks there.
TEST_F(Tls, WithAByteBehindTheReplyEndsTheSession) {
  hop.answer(offering("220 go\r\n250 evil"));
  const auto& sent = send(way(HopTls::kOptional));
  EXPECT_EQ(hop.sessions, 1U);
  EXPECT_TRUE(hop.messages.empty());
  EXPECT_EQ(sent.trouble.reply.text(),
            "4.7.5 the next hop speaks between its reply to STARTTLS and TLS");
}

TEST_F(Tls, ThatIsRefusedIsDoneWithoutInTheSameSession) {
  hop.answer(offering("454 4.7.0 not now"));
  EXPECT_EQ(send(way(HopTls::kOptional)).note.tls, "none: refused: 454 4.7.0 not now");
  EXPECT_EQ(hop.sessions, 1U);
  EXPECT_EQ(hop.messages.size(), 1U);
  EXPECT_EQ(send(way(HopTls::kRequired)).trouble.failure, ipc::FailureClass::kTls);
  EXPECT_EQ(hop.messages.size(), 1U);
}

TEST_F(Tls, MayComeFirst) {
  offer(good(), true);
  auto implicit = config::HopSpec{.kind = HopKind::kHost, .host = "mx.example", .implicit = true};
  EXPECT_EQ(send(implicit).note.verified, "yes: mx.example");
  EXPECT_EQ(hop.messages.size(), 1U);
  EXPECT_EQ(greeted(), 1U);
}

TEST_F(Tls, ComesBehindAProxyHeader) {
  const ipc::FirstClient client{base::parse_ip("192.0.2.7"), "4321", "", "client.example", "ESMTP"};
  hop.proxied = true;
  for (const bool first : {false, true}) {
    offer(good(), first);
    const config::HopSpec behind{.kind = HopKind::kHost,
                                 .host = "mx.example",
                                 .tls = HopTls::kVerified,
                                 .implicit = first,
                                 .pass_client = config::PassClient::kProxy};
    EXPECT_EQ(send(behind, false, client).note.verified, "yes: mx.example") << first;
    EXPECT_EQ(hop.headers.back(), proxy_header(client, hop.endpoint()));
    EXPECT_EQ(std::count(hop.lines.begin(), hop.lines.end(), "EHLO client.example"), first ? 3 : 2);
  }
  EXPECT_EQ(hop.messages.size(), 2U);
  EXPECT_EQ(greeted(), 0U);
}

// The next session is the client's, too.
TEST_F(Tls, ThatFailsBehindAProxyHeaderIsTriedOnceMoreBehindAnother) {
  const ipc::FirstClient client{base::parse_ip("192.0.2.7"), "4321", "", "client.example", "ESMTP"};
  hop.proxied = true;
  offer(good());
  signer->refuses = true;
  auto behind = way(HopTls::kOptional);
  behind.pass_client = config::PassClient::kProxy;
  EXPECT_TRUE(send(behind, false, client).note.tls.starts_with("none: 4.7.5 handshake"));
  EXPECT_EQ(hop.headers, std::vector(2, proxy_header(client, hop.endpoint())));
  EXPECT_EQ(hop.messages.size(), 1U);
}

TEST_F(Tls, IsNotAgreedOnAgainInAClientsSession) {
  offer(good());
  hop.answer([](const std::string& line, bool&) -> std::optional<std::string> {
    if (line.starts_with("EHLO")) return "250-fake\r\n250-STARTTLS\r\n250 XCLIENT ADDR";
    if (line.starts_with("XCLIENT")) return "220 fake";
    return std::nullopt;
  });
  auto way_in = way(HopTls::kVerified);
  way_in.pass_client = config::PassClient::kXclient;
  const ipc::FirstClient client{base::parse_ip("192.0.2.7"), "4321", "", "client.example", "ESMTP"};
  EXPECT_EQ(send(way_in, false, client).note.verified, "yes: mx.example");
  EXPECT_EQ(hop.lines, (std::vector<std::string>{"EHLO us.example", "STARTTLS", "EHLO us.example",
                                                 "XCLIENT ADDR=192.0.2.7", "EHLO client.example",
                                                 "MAIL FROM:<a@us.example>", "RCPT TO:<r@example.org>", "DATA",
                                                 "QUIT"}));
}

TEST_F(Tls, ThatShouldComeFirstIsNeverClear) {
  auto implicit = config::HopSpec{.kind = HopKind::kHost, .host = "mx.example", .implicit = true};
  EXPECT_EQ(send(implicit).trouble.failure, ipc::FailureClass::kTls);
  EXPECT_EQ(hop.sessions, 1U);
  EXPECT_TRUE(hop.messages.empty());
}

TEST_F(Tls, IsResumedUnderTheSameDemandsAlone) {
  offer(good());
  const auto resumed = [&](HopTls tls) {
    return send(way(tls)).note.tls.ends_with(" resumed");
  };
  EXPECT_FALSE(resumed(HopTls::kOptional));
  EXPECT_TRUE(resumed(HopTls::kOptional));
  EXPECT_FALSE(resumed(HopTls::kRequired));
  EXPECT_FALSE(resumed(HopTls::kVerified));
  EXPECT_TRUE(resumed(HopTls::kVerified));
  // A ticket is used once (RFC 8446 C.4), and behind it this server gives no other.
  EXPECT_FALSE(resumed(HopTls::kVerified));
  forget_sessions();
  EXPECT_FALSE(resumed(HopTls::kVerified)) << "other authorities may be believed now";
}

TEST_F(Tls, ThatEndsBehindTheDotLeavesItUnknown) {
  offer(good());
  hop.answer([](const std::string& line, bool& close) -> std::optional<std::string> {
    close = line == "<message>";
    if (close) return "";
    return offering()(line, close);
  });
  EXPECT_TRUE(send(way(HopTls::kRequired)).done.at(0).starts_with("3 "));
}

// --- DANE -------------------------------------------------------------------------------------------

std::string record(std::uint8_t usage, std::uint8_t selector, std::uint8_t matching, std::string data) {
  return std::string{static_cast<char>(usage), static_cast<char>(selector),
                     static_cast<char>(matching)} +
         std::move(data);
}
std::string spki(const std::string& chain) {
  const auto id = tls::Chain::parse(chain)->key();
  return {id.begin(), id.end()};
}

class Dane : public Tls {
 protected:
  [[nodiscard]] std::string name() const { return tlsa_name("mx.example", hop.endpoint().port); }
};

// RFC 7672 3.1.1: neither name nor authority matters.
TEST_F(Dane, BelievesTheCertificateThatTheRecordNames) {
  const auto& own = Authority::instance().issue({"nothing.example"});
  offer(own);
  rig.tlsa(name(), record(3, 1, 1, spki(own.chain)));
  for (const auto tls : {HopTls::kOptional, HopTls::kDane}) {
    const auto& sent = send(way(tls), true);
    EXPECT_EQ(sent.note.verified, "dane: nothing.example") << sent.trouble.reply.text();
  }
  EXPECT_EQ(hop.messages.size(), 2U);
}

TEST_F(Dane, BelievesNoOther) {
  offer(good());
  rig.tlsa(name(), record(3, 1, 1, spki(other().chain)));
  const auto& sent = send(way(HopTls::kOptional), true);
  EXPECT_EQ(sent.trouble.failure, ipc::FailureClass::kTls);
  EXPECT_EQ(hop.sessions, 1U) << "never in clear";
  EXPECT_TRUE(hop.messages.empty());
}

// RFC 7672 3.1.2: the authority's certificate comes along, and names count.
TEST_F(Dane, BelievesTheAuthorityThatTheRecordNames) {
  const auto root = Authority::instance().root();
  rig.tlsa(name(), record(2, 1, 1, spki(root)));
  auto with_root = good();
  with_root.chain += root;
  offer(with_root);
  EXPECT_EQ(send(way(HopTls::kDane), true).note.verified, "dane: mx.example");
  auto for_domain = Authority::instance().issue({"example.org"});
  for_domain.chain += root;
  offer(for_domain);
  EXPECT_EQ(send(way(HopTls::kDane), true).note.verified, "dane: example.org");
  auto stranger = other();
  stranger.chain += root;
  offer(stranger);
  EXPECT_EQ(send(way(HopTls::kDane), true).trouble.failure, ipc::FailureClass::kTls);
}

TEST_F(Dane, DemandsTlsEvenWhereNoRecordIsUsable) {
  rig.tlsa(name(), record(1, 1, 1, spki(good().chain)));
  EXPECT_EQ(send(way(HopTls::kOptional), true).trouble.reply.text(),
            "4.7.4 the next hop does not offer STARTTLS");
  offer(other());
  EXPECT_EQ(send(way(HopTls::kOptional), true).note.verified, "no: hostname mismatch");
  EXPECT_EQ(hop.messages.size(), 1U);
}

TEST_F(Dane, ConnectsToNobodyWithoutAnAnswer) {
  rig.tlsa(name(), "", 0x8182);  // SERVFAIL
  const auto& sent = send(way(HopTls::kOptional), true);
  EXPECT_EQ(sent.trouble.failure, ipc::FailureClass::kTls);
  EXPECT_EQ(sent.trouble.end, ipc::GrantEnd::kTemporary);
  EXPECT_EQ(hop.sessions, 0U);
}

TEST_F(Dane, IsNothingThatAnybodyMaySay) {
  offer(good());
  rig.tlsa(name(), record(3, 1, 1, spki(other().chain)), 0x8180);  // not vouched for
  EXPECT_EQ(send(way(HopTls::kOptional), true).note.verified, "yes: mx.example");
  EXPECT_EQ(send(way(HopTls::kOptional), false).note.verified, "yes: mx.example");
  EXPECT_EQ(send(way(HopTls::kDane), false).trouble.reply.text(),
            "4.7.0 DNSSEC does not vouch for mx.example");
  EXPECT_EQ(hop.messages.size(), 2U);
}

TEST_F(Dane, AsksAtEachNameInTurn) {
  offer(good());
  rig.tlsa(name(), record(3, 1, 1, spki(good().chain)));
  auto aliased = target(true);
  aliased.vouched = {"real.example.net", "mx.example"};
  Sender sender(loop, rig, way(HopTls::kDane), {aliased});
  sender.add("Subject: x\r\n");
  sender.start();
  until(loop, [&] { return sender.gone; });
  EXPECT_EQ(sender.note.verified, "dane: mx.example");
}

TEST_F(Dane, GoesOnToTheNextHost) {
  offer(good());
  rig.tlsa("_" + std::to_string(hop.endpoint().port) + "._tcp.broken.example", "", 0x8182);
  auto broken = target(true);
  broken.host = "broken.example";
  broken.vouched = {"broken.example"};
  Sender sender(loop, rig, way(HopTls::kOptional), {broken, target()});
  sender.add("Subject: x\r\n");
  sender.start();
  until(loop, [&] { return sender.gone; });
  EXPECT_EQ(hop.messages.size(), 1U);
  EXPECT_EQ(hop.sessions, 1U);
}

}  // namespace
}  // namespace postern::relay
