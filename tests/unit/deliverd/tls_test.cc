// Connections that are secured: what leaves, to whom, and what people are told of it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "common/tls/chain.h"
#include "fake_hop.h"
#include "sender.h"

namespace postern::relay {
namespace {

using config::HopKind;
using config::HopTls;
using tls::test::Authority;
using tls::test::Issued;

const Issued& good() { return Authority::instance().issue({"mx.example"}); }
const Issued& other() { return Authority::instance().issue({"other.example"}); }

// A next hop with a certificate, and what was sent there.
class Tls : public testing::Test {
 protected:
  void offer(const Issued& issued, bool first = false) {
    tickets_->replace({tls::random_ticket_key()});
    signer = std::make_unique<PromptSigner>(loop, issued.key);
    secure(hop, issued, *signer, first);
    if (!first) hop.answer(offering());
    forget_sessions();
  }
  void secure(FakeHop& which, const Issued& issued, tls::Signer& with, bool first = false) {
    which.secure(*tls::ServerContext::make({.certificates = {{{}, issued.chain}}}, tickets_), with, first);
  }
  void forget_sessions() { rig.use(); }
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
  EXPECT_EQ(sent.note.policy, "opportunistic: no policy");
}

TEST_F(Tls, IsNotUsedWhereItIsOff) {
  offer(good());
  const auto& sent = send(way(HopTls::kOff));
  EXPECT_EQ(sent.note.tls, "none: off");
  EXPECT_EQ(sent.note.policy, "off: by configuration");
  EXPECT_EQ(hop.messages.size(), 1U);
  EXPECT_EQ(greeted(), 1U);
}

TEST_F(Tls, IsDoneWithoutWhereItIsNotOffered) {
  const auto& sent = send(way(HopTls::kOptional));
  EXPECT_EQ(sent.note.tls, "none: not offered");
  EXPECT_EQ(sent.note.policy, "opportunistic: no policy");
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
            "4.7.5 handshake: certificate verify failed (hostname mismatch); verified: by configuration");
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

TEST_F(Tls, OfTheLeastVersionWillDo) {
  offer(good());
  rig.use(tls::Version::k13);
  EXPECT_TRUE(send(way(HopTls::kRequired)).note.tls.starts_with("TLSv1.3 "));
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
  const auto& sent = send(way(HopTls::kRequired));
  EXPECT_EQ(sent.trouble.failure, ipc::FailureClass::kTls);
  EXPECT_EQ(sent.trouble.reply.text(), "454 4.7.0 not now") << "its own words";
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
    EXPECT_EQ(sent.note.policy, "dane: 1 TLSA record");
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

// With one for a domain of his own nobody has proved to be the host of others, whose mail comes by the same session.
TEST_F(Dane, ACertificateForADomainIsForItsMailAlone) {
  const auto root = Authority::instance().root();
  rig.tlsa(name(), record(2, 1, 1, spki(root)));
  const std::string taken = "0 250 2.0.0 taken;";
  const std::string unproved = "1 4.7.5 the certificate of mx.example bears neither its name nor that of far.example;";
  const auto sent = [&](const std::vector<std::string>& in_certificate) {
    auto issued = Authority::instance().issue(in_certificate);
    issued.chain += root;
    offer(issued);
    Sender sender(loop, rig, way(HopTls::kDane), {target(true)});
    sender.add("Subject: x\r\n", {"r@example.org"});
    sender.add("Subject: x\r\n", {"r@far.example"});
    sender.add("Subject: x\r\n", {"r@example.org", "r@far.example"});
    sender.add("Subject: x\r\n", {"r@example.org"});
    sender.start();
    until(loop, [&] { return sender.gone; });
    return sender.done;
  };
  EXPECT_EQ(sent({"example.org"}), (std::vector<std::string>{taken, unproved, "4 ;" + unproved, taken}));
  EXPECT_EQ(hop.sessions, 1U);
  EXPECT_EQ(hop.messages.size(), 2U);
  const std::vector<std::string> all{taken, taken, taken + taken, taken};
  EXPECT_EQ(sent({"mx.example"}), all);
  EXPECT_EQ(sent({"example.org", "far.example"}), all);
}

TEST_F(Dane, DemandsTlsEvenWhereNoRecordIsUsable) {
  rig.tlsa(name(), record(1, 1, 1, spki(good().chain)));
  EXPECT_EQ(send(way(HopTls::kOptional), true).trouble.reply.text(),
            "4.7.4 the next hop does not offer STARTTLS; required: by TLSA records, of which none can be used");
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

// --- REQUIRETLS (RFC 8689) --------------------------------------------------------------------------

class RequireTls : public Dane {
 protected:
  static FakeHop::Answer promising() {
    return [](const std::string& line, bool& close) -> std::optional<std::string> {
      if (line.starts_with("EHLO")) return "250-fake\r\n250-REQUIRETLS\r\n250 STARTTLS";
      return offering()(line, close);
    };
  }
  void promise(const Issued& issued) {
    offer(issued);
    hop.answer(promising());
  }
  // A host that the configuration or DNSSEC names.
  [[nodiscard]] Target known(const FakeHop& which, std::string host = "mx.example") const {
    Target made{std::move(host), which.endpoint(), "example.org"};
    made.named_for_sure = true;
    return made;
  }
  // What becomes of a message that requires TLS.
  std::string fate(const config::HopSpec& hop_spec, std::vector<Target> targets,
                   const std::string& recipient = "r@example.org") {
    Sender sender(loop, rig, hop_spec, std::move(targets));
    sender.add("Subject: x\r\n", {recipient});
    sender.require_tls();
    run(sender);
    return sender.done.empty() ? "none" : sender.done.front();
  }
  std::string fate(HopTls tls) { return fate(way(tls), {known(hop)}); }
  void run(Sender& sender) {
    sender.start();
    until(loop, [&] { return sender.gone; });
  }
  static std::size_t said(const FakeHop& which, std::string_view line) {
    return static_cast<std::size_t>(std::count(which.lines.begin(), which.lines.end(), line));
  }
  static constexpr std::string_view kMail = "MAIL FROM:<a@us.example> REQUIRETLS";
  static constexpr std::string_view kUnfit = "message that requires TLS on its whole way, the next hop ";
  // Failed for good, or not yet.
  static std::string fails(std::string_view code, std::string_view why) {
    return fmt::format("2 {} {}{};", code, kUnfit, why);
  }
  static std::string waits(std::string_view code, std::string_view why) {
    return fmt::format("1 {} {}{};", code, kUnfit, why);
  }
};

TEST_F(RequireTls, GoesToAHostThatIsKnownAndPromisesTheSame) {
  promise(good());
  std::size_t sent = 0;
  for (const auto tls : {HopTls::kOptional, HopTls::kRequired, HopTls::kVerified}) {
    EXPECT_EQ(fate(tls), "0 250 2.0.0 taken;");
    EXPECT_EQ(said(hop, kMail), ++sent);
  }
}

// A session that is resumed knows what was found out about the host.
TEST_F(RequireTls, GoesBySessionsThatAreResumed) {
  promise(good());
  EXPECT_EQ(fate(HopTls::kOptional), "0 250 2.0.0 taken;");
  EXPECT_EQ(fate(HopTls::kOptional), "0 250 2.0.0 taken;");
  offer(other());
  hop.answer(promising());
  const auto doubted = fails("5.7.30", "has not proved who it is (hostname mismatch)");
  EXPECT_EQ(fate(HopTls::kOptional), doubted);
  EXPECT_EQ(fate(HopTls::kOptional), doubted);
}

TEST_F(RequireTls, FailsWhereItIsNotPromised) {
  offer(good());
  EXPECT_EQ(fate(HopTls::kVerified), fails("5.7.30", "does not promise it (no REQUIRETLS)"));
  EXPECT_TRUE(hop.messages.empty());
}

TEST_F(RequireTls, FailsWhereTheHostHasNotProvedWhoItIs) {
  promise(other());
  EXPECT_EQ(fate(HopTls::kOptional), fails("5.7.30", "has not proved who it is (hostname mismatch)"));
  EXPECT_EQ(fate(HopTls::kRequired), fails("5.7.30", "has not proved who it is (hostname mismatch)"));
  EXPECT_TRUE(hop.messages.empty());
}

TEST_F(RequireTls, FailsWhereAnybodyMayHaveNamedTheHost) {
  promise(good());
  const auto nobody =
      fails("5.7.30", "has not proved who it is (neither DNSSEC nor an MTA-STS policy names mx.example)");
  EXPECT_EQ(fate(way(HopTls::kVerified), {target()}), nobody);
  auto tested = target();
  tested.policy = PolicyWord{false, true};
  EXPECT_EQ(fate(way(HopTls::kOptional), {tested}), nobody);
  auto enforced = target();
  enforced.policy = PolicyWord{true, true};
  EXPECT_EQ(fate(way(HopTls::kOptional), {enforced}), "0 250 2.0.0 taken;");
  auto itself = target();
  itself.domain = "mx.example";
  EXPECT_EQ(fate(way(HopTls::kOptional), {itself}, "r@mx.example"), "0 250 2.0.0 taken;");
  EXPECT_EQ(fate(way(HopTls::kOptional), {itself}), nobody) << "mail of another domain on its connection";
}

TEST_F(RequireTls, GoesToWhomDaneNames) {
  const auto& own = Authority::instance().issue({"nothing.example"});
  promise(own);
  rig.tlsa(name(), record(3, 1, 1, spki(own.chain)));
  auto vouched = known(hop);
  vouched.vouched = {"mx.example"};
  EXPECT_EQ(fate(way(HopTls::kOptional), {vouched}), "0 250 2.0.0 taken;");
  EXPECT_EQ(said(hop, kMail), 1U);
}

TEST_F(RequireTls, FailsInClear) {
  EXPECT_EQ(fate(HopTls::kOptional), fails("5.7.10", "was reached in clear")) << "there is no STARTTLS";
  promise(good());
  EXPECT_EQ(fate(HopTls::kOff), fails("5.7.10", "was reached in clear"));
  EXPECT_TRUE(hop.messages.empty());
}

// That may be there another time.
TEST_F(RequireTls, WaitsForTlsThatFailsNow) {
  promise(good());
  signer->refuses = true;
  EXPECT_EQ(fate(HopTls::kOptional), waits("4.7.10", "was reached in clear"));
  hop.answer(offering("454 4.7.0 not now"));
  EXPECT_EQ(fate(HopTls::kOptional), waits("4.7.10", "was reached in clear"));
  EXPECT_TRUE(hop.messages.empty());
}

TEST_F(RequireTls, IsThatMessagesMatterAlone) {
  offer(good());
  Sender sender(loop, rig, way(HopTls::kVerified), {known(hop)});
  sender.add("Subject: 1\r\n");
  sender.add("Subject: 2\r\n");
  sender.require_tls();
  sender.add("Subject: 3\r\n");
  run(sender);
  ASSERT_EQ(sender.done.size(), 3U);
  EXPECT_EQ(sender.done[0], "0 250 2.0.0 taken;");
  EXPECT_TRUE(sender.done[1].starts_with("2 5.7.30 ")) << sender.done[1];
  EXPECT_EQ(sender.done[2], "0 250 2.0.0 taken;");
  EXPECT_EQ(hop.sessions, 1U);
}

// RFC 8689 5: it is not lost for the promise.
TEST_F(RequireTls, HindersNoNotice) {
  for (const bool promises : {false, true}) {
    if (promises) promise(good());
    Sender sender(loop, rig, way(HopTls::kOptional), {known(hop)});
    sender.add("Subject: x\r\n");
    sender.require_tls();
    sender.from_nobody();
    run(sender);
    ASSERT_EQ(sender.done.size(), 1U);
    EXPECT_EQ(sender.done[0], "0 250 2.0.0 taken;");
  }
  EXPECT_EQ(said(hop, "MAIL FROM:<> REQUIRETLS"), 1U);
}

class TwoHosts : public RequireTls {
 private:
  std::unique_ptr<PromptSigner> second_signer_;

 protected:
  void SetUp() override {
    const auto& issued = Authority::instance().issue({"second.example"});
    offer(good());
    second_signer_ = std::make_unique<PromptSigner>(loop, issued.key);
    secure(second, issued, *second_signer_);
    second.answer(promising());
  }
  [[nodiscard]] std::vector<Target> both() const { return {known(hop), known(second, "second.example")}; }
  // Where nobody listens.
  Target dead(std::string host) { return known(FakeHop(loop), std::move(host)); }

  FakeHop second{loop};
};

TEST_F(TwoHosts, TheNextOneMayBeBetter) {
  EXPECT_EQ(fate(way(HopTls::kOptional), both()), "0 250 2.0.0 taken;");
  EXPECT_TRUE(hop.messages.empty());
  EXPECT_EQ(hop.lines.back(), "QUIT");
  EXPECT_EQ(said(second, kMail), 1U);
}

TEST_F(TwoHosts, OtherMailStaysWithTheFirst) {
  Sender sender(loop, rig, way(HopTls::kOptional), both());
  sender.add("Subject: 1\r\n");
  sender.add("Subject: 2\r\n");
  sender.require_tls();
  sender.add("Subject: 3\r\n");
  run(sender);
  EXPECT_EQ(sender.done, (std::vector<std::string>{"0 250 2.0.0 taken;", "0 250 2.0.0 taken;"}))
      << "the third is left for another connection";
  EXPECT_EQ(sender.trouble.end, ipc::GrantEnd::kClosed);
  EXPECT_EQ(hop.messages.size(), 1U);
  EXPECT_EQ(second.messages.size(), 1U);
}

TEST_F(TwoHosts, NeitherWillDo) {
  second.answer(offering());
  EXPECT_EQ(fate(way(HopTls::kOptional), both()), fails("5.7.30", "does not promise it (no REQUIRETLS)"));
  EXPECT_EQ(hop.sessions, 1U);
  EXPECT_EQ(second.sessions, 1U);
}

TEST_F(TwoHosts, TheOtherAddressesOfAHostAreNoOtherHost) {
  auto targets = both();
  targets.insert(targets.begin() + 1, known(second));
  EXPECT_EQ(fate(way(HopTls::kOptional), targets), "0 250 2.0.0 taken;");
  EXPECT_EQ(second.sessions, 1U);
}

TEST_F(TwoHosts, WhoCannotBeAskedMayBeBetter) {
  EXPECT_TRUE(fate(way(HopTls::kOptional), {known(hop), dead("second.example")}).starts_with("1 4.4.1 connecting: "));
  EXPECT_EQ(fate(way(HopTls::kOptional), {dead("second.example"), known(hop)}),
            waits("4.7.30", "does not promise it (no REQUIRETLS)"));
  EXPECT_TRUE(hop.messages.empty());
}

// Its family may be one that is not to be had here.
TEST_F(TwoHosts, AnAddressThatCannotBeReachedIsNoHostThatCannotBeAsked) {
  EXPECT_EQ(fate(way(HopTls::kOptional), {dead("mx.example"), known(hop)}),
            fails("5.7.30", "does not promise it (no REQUIRETLS)"));
}

TEST_F(TwoHosts, AStopOnTheWayGivesTheMessageBack) {
  Sender sender(loop, rig, way(HopTls::kOptional), both());
  sender.add("Subject: x\r\n");
  sender.require_tls();
  hop.answer([&](const std::string& line, bool& close) -> std::optional<std::string> {
    if (line == "QUIT") sender.quit();
    return offering()(line, close);
  });
  run(sender);
  EXPECT_EQ(sender.done, std::vector<std::string>{""});
  EXPECT_TRUE(second.messages.empty());
}

}  // namespace
}  // namespace postern::relay
