// A session over TLS: the handshake, its limits, and every way in which it may end inside a
// transaction.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "smtpd/session.h"
#include "tests/unit/smtpd/rig.h"

namespace postern::smtpd::test {
namespace {

using config::TlsMode;
using State = event::Filter::State;

struct TlsRig : SessionRig {
  explicit TlsRig(TlsMode mode = TlsMode::kOptional) : SessionRig(SOCK_STREAM, true, mode) {
    end.make(tls::Session::connect(*tls::ClientContext::make({}), {.host = "mx.example.org"}));
  }
  // To where the session stands in TLS; what it said there meanwhile.
  std::string secure() {
    if (service.tls != TlsMode::kImplicit) {
      heard();
      say("EHLO client.example\r\n");
      EXPECT_EQ(say("STARTTLS\r\n"), "220 2.0.0 Go ahead with TLS\r\n");
    }
    end.receive({});
    std::string said;
    for (int i = 0; i < 4; ++i) said += move();
    EXPECT_EQ(end.state(), State::kOpen);
    return said;
  }
  // Carries what is there both ways; what the server said.
  std::string move() {
    send(std::exchange(end.out, {}));
    if (!signer.waiting.empty()) signer.answer();
    const auto wire = heard();
    all += wire;
    end.receive(wire);
    return std::exchange(end.plain, {});
  }
  std::string tell(std::string_view bytes) {
    end.send(bytes);
    return move();
  }

  tls::test::End end;
  std::string all;  // what came over the wire since TLS began
};

constexpr std::string_view kTransaction =
    "EHLO c\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nhello\r\n.\r\n";

TEST(TlsSession, CarriesAMessage) {
  TlsRig rig;
  EXPECT_EQ(rig.secure(), "") << "nothing is said after the handshake of STARTTLS";
  EXPECT_TRUE(rig.tell("EHLO client.example\r\n").starts_with("250-mx.example.org\r\n"));
  rig.tell("MAIL FROM:<a@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n");
  rig.tell("hello\r\n.\r\n");
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  EXPECT_EQ(rig.queued->transactions[0].submit.tls, "TLSv1.3 TLS_AES_256_GCM_SHA384");
  EXPECT_EQ(rig.queued->transactions[0].submit.tls_peer, "");
  rig.queued->accept(0, 77);
  rig.turn();
  EXPECT_EQ(rig.move().substr(0, 9), "250 2.0.0");
  EXPECT_EQ(rig.tell("QUIT\r\n").substr(0, 3), "221");
  EXPECT_EQ(rig.end.state(), State::kEnded) << "close_notify";
  EXPECT_TRUE(rig.hung_up);
  EXPECT_EQ(rig.ended, 1);
}

// RFC 8689 4.1: the message that it was said with, and no other.
TEST(TlsSession, TellsQueuedThatRequireTlsWasSaid) {
  TlsRig rig;
  rig.secure();
  EXPECT_NE(rig.tell("EHLO client.example\r\n").find("\r\n250-REQUIRETLS\r\n"), std::string::npos);
  rig.tell("MAIL FROM:<a@client.example> REQUIRETLS\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n");
  rig.tell("TLS-Required: No\r\n\r\n.\r\n");
  rig.queued->accept(0, 77);
  rig.turn();
  rig.tell("MAIL FROM:<a@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n");
  rig.tell("hello\r\n.\r\n");
  ASSERT_EQ(rig.queued->transactions.size(), 2U);
  EXPECT_EQ(rig.queued->transactions[0].submit.tls_wish, mail::TlsWish::kRequired);
  EXPECT_EQ(rig.queued->transactions[1].submit.tls_wish, mail::TlsWish::kUnsaid);
}

TEST(TlsSession, ImplicitGreetsWithinTls) {
  TlsRig rig(TlsMode::kImplicit);
  EXPECT_EQ(rig.heard(), "");
  EXPECT_EQ(rig.secure(), "220 mx.example.org ESMTP Postern\r\n");
  EXPECT_EQ(rig.tell("NOOP\r\n"), "250 2.0.0 Ok\r\n");
}

TEST(TlsSession, ALargeBodyComesWhole) {
  TlsRig rig;
  rig.secure();
  rig.tell("EHLO c\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n");
  const auto body = lines(200'000);
  rig.tell(body + ".\r\n");
  ASSERT_EQ(rig.queued->transactions.size(), 1U);
  EXPECT_TRUE(rig.queued->transactions[0].body == body);
}

TEST(TlsSession, OneByteBehindStartTlsClosesIt) {
  TlsRig rig;
  rig.heard();
  rig.say("EHLO client.example\r\n");
  EXPECT_EQ(rig.say("STARTTLS\r\nR"), "554 5.5.1 Nothing may follow STARTTLS before its reply\r\n");
  EXPECT_TRUE(rig.hung_up);
  EXPECT_EQ(rig.ended, 1);
}

TEST(TlsSession, BytesBeyondAPortionOfCommandsCountAsWell) {
  TlsRig rig;
  rig.heard();
  std::string flood = "EHLO client.example\r\nSTARTTLS\r\n";
  while (flood.size() < 9'000) flood += "NOOP\r\n";
  EXPECT_TRUE(
      rig.say(flood).ends_with("554 5.5.1 Nothing may follow STARTTLS before its reply\r\n"));
  EXPECT_TRUE(rig.hung_up);
}

TEST(TlsSession, ClearTextInPlaceOfTheHandshakeEndsIt) {
  TlsRig rig;
  rig.heard();
  rig.say("EHLO client.example\r\n");
  rig.say("STARTTLS\r\n");
  const auto said = rig.say("MAIL FROM:<a@client.example>\r\n");
  EXPECT_EQ(said.find("250"), std::string::npos);
  EXPECT_TRUE(rig.hung_up);
  EXPECT_EQ(rig.ended, 1);
}

TEST(TlsSession, AHandshakeHasItsTime) {
  for (const auto mode : {TlsMode::kOptional, TlsMode::kImplicit}) {
    TlsRig rig(mode);
    if (mode == TlsMode::kOptional) {
      rig.heard();
      rig.say("EHLO client.example\r\n");
      rig.say("STARTTLS\r\n");
    }
    rig.send("\x16");
    rig.clock.advance(base::Millis(29'999));
    rig.session->check_deadline();
    rig.turn();
    EXPECT_EQ(rig.ended, 0);
    rig.send("\x03");  // a byte wins no time
    rig.clock.advance(base::Millis(2));
    rig.session->check_deadline();
    rig.turn();
    EXPECT_EQ(rig.ended, 1);
    EXPECT_EQ(rig.heard(), "") << "and nothing can be said";
  }
}

TEST(TlsSession, AShutdownDuringTheHandshakeSaysNothing) {
  TlsRig rig(TlsMode::kImplicit);
  rig.session->shutdown();
  rig.turn();
  EXPECT_EQ(rig.heard(), "");
  EXPECT_EQ(rig.ended, 1);
}

TEST(TlsSession, AShutdownLaterIsSaidWithinTls) {
  TlsRig rig;
  rig.secure();
  rig.session->shutdown();
  rig.turn();
  EXPECT_EQ(rig.move(), "421 4.3.2 mx.example.org shutting down\r\n");
}

TEST(TlsSession, WithoutASignatureTheHandshakeFailsAndTheNextMayWork) {
  TlsRig rig;
  rig.heard();
  rig.say("EHLO client.example\r\n");
  rig.say("STARTTLS\r\n");
  rig.end.receive({});
  rig.send(std::exchange(rig.end.out, {}));
  ASSERT_EQ(rig.signer.waiting.size(), 1U);
  rig.signer.answer(true);
  rig.end.receive(rig.heard());
  EXPECT_EQ(rig.end.state(), State::kFailed);
  EXPECT_EQ(rig.ended, 1);
  EXPECT_TRUE(rig.desk.has_room());
}

TEST(TlsSession, TheClientMayGoWhileItsSignatureIsMade) {
  TlsRig rig(TlsMode::kImplicit);
  rig.end.receive({});
  rig.send(std::exchange(rig.end.out, {}));
  ASSERT_EQ(rig.signer.waiting.size(), 1U);
  rig.leave();
  EXPECT_EQ(rig.ended, 1);
  rig.signer.answer();
}

TEST(TlsSession, HandshakesAreBounded) {
  TlsRig rig;
  std::vector<TlsDesk::Place> places;
  for (std::size_t i = 0; i < TlsDesk::kMostHandshakes; ++i) {
    ASSERT_TRUE(rig.desk.has_room());
    (void)rig.desk.accept(places.emplace_back(), rig.clock.steady(), []() noexcept {});
  }
  EXPECT_FALSE(rig.desk.has_room());
  rig.heard();
  rig.say("EHLO client.example\r\n");
  EXPECT_EQ(rig.say("STARTTLS\r\n"), "454 4.7.0 TLS is not available now\r\n");
  places.pop_back();
  EXPECT_EQ(rig.say("STARTTLS\r\n"), "220 2.0.0 Go ahead with TLS\r\n");
  EXPECT_FALSE(rig.desk.has_room());
  rig.leave();
  EXPECT_TRUE(rig.desk.has_room());
}

// A crowd that only begins them keeps nobody out for longer than a handshake has for itself.
TEST(TlsSession, ASlowHandshakeMakesRoomForAnother) {
  TlsRig slow(TlsMode::kImplicit);
  slow.clock.advance(base::Millis(1));
  std::vector<TlsDesk::Place> places;
  while (slow.desk.has_room())
    (void)slow.desk.accept(places.emplace_back(), slow.clock.steady(), []() noexcept {});
  EXPECT_FALSE(slow.desk.make_room(slow.clock.steady()));
  slow.clock.advance(TlsDesk::kOwnTime - base::Millis(2));
  EXPECT_FALSE(slow.desk.make_room(slow.clock.steady()));
  EXPECT_EQ(slow.ended, 0);
  slow.clock.advance(base::Millis(1));
  EXPECT_TRUE(slow.desk.make_room(slow.clock.steady()));
  slow.turn();
  EXPECT_EQ(slow.ended, 1);
  EXPECT_TRUE(slow.desk.make_room(slow.clock.steady())) << "there is room";
  EXPECT_EQ(places.size(), TlsDesk::kMostHandshakes - 1);
}

TEST(TlsSession, OneThatHasShakenHandsIsNotCut) {
  TlsRig rig;
  rig.secure();
  std::vector<TlsDesk::Place> places;
  while (rig.desk.has_room())
    (void)rig.desk.accept(places.emplace_back(), rig.clock.steady(), []() noexcept {});
  rig.clock.advance(TlsDesk::kOwnTime);
  EXPECT_FALSE(rig.desk.make_room(rig.clock.steady())) << "the first of these did not go";
  EXPECT_TRUE(rig.tell("EHLO client.example\r\n").starts_with("250-mx.example.org\r\n"));
}

TEST(TlsSession, WithoutCertificatesNoneBegins) {
  TlsRig rig;
  rig.desk.use(nullptr);
  rig.heard();
  rig.say("EHLO client.example\r\n");
  EXPECT_EQ(rig.say("STARTTLS\r\n"), "454 4.7.0 TLS is not available now\r\n");
}

// Whole records of TLS, of these types (RFC 8446 5.1), and nothing else.
constexpr std::string_view kAnyType = "\x14\x15\x16\x17";
constexpr std::string_view kBehindTheHandshake = "\x15\x17";

bool only_records(std::string_view wire, std::string_view types) {
  while (!wire.empty()) {
    if (wire.size() < 5 || types.find(wire[0]) == std::string_view::npos || wire[1] != 3)
      return false;
    const auto size =
        5U + (std::size_t{static_cast<unsigned char>(wire[3])} << 8 | static_cast<unsigned char>(wire[4]));
    if (wire.size() < size) return false;
    wire.remove_prefix(size);
  }
  return true;
}

enum class Ending { kCloseNotify, kEnd, kClearText, kWrongBit, kReset };

// Every way to end at every place of a transaction: what had its final dot goes to queued, the rest
// is lost, and not one byte of an answer leaves in clear text.
class EachEnding : public testing::TestWithParam<Ending> {};
INSTANTIATE_TEST_SUITE_P(TlsSession, EachEnding,
                         testing::Values(Ending::kCloseNotify, Ending::kEnd, Ending::kClearText,
                                         Ending::kWrongBit, Ending::kReset));

void come_to(Ending ending, TlsRig& rig) {
  switch (ending) {
    case Ending::kCloseNotify:
      rig.end.session->end(rig.end.out);
      rig.send(rig.end.out);
      return;
    case Ending::kEnd:
      ::shutdown(rig.client.get(), SHUT_WR);
      rig.turn();
      return;
    case Ending::kClearText:
      rig.send("hello\r\n.\r\nMAIL FROM:<b@client.example>\r\n");
      return;
    case Ending::kWrongBit:
      rig.end.send(".\r\n");
      rig.end.out[8] ^= 1;
      rig.send(rig.end.out);
      return;
    case Ending::kReset:
      rig.leave();
      return;
  }
}

TEST_P(EachEnding, LosesTheTransactionAtEveryOffset) {
  for (std::size_t offset = 0; offset <= kTransaction.size(); ++offset) {
    TlsRig rig;
    rig.secure();
    rig.tell(kTransaction.substr(0, offset));
    const auto complete = offset == kTransaction.size();
    come_to(GetParam(), rig);
    const auto wire = rig.client.valid() ? rig.heard() : std::string();
    EXPECT_EQ(rig.queued->transactions.size(), complete ? 1U : 0U) << offset;
    EXPECT_EQ(rig.ended, 1) << offset;
    EXPECT_EQ(wire.find("\r\n250"), std::string::npos);
    ASSERT_TRUE(only_records(wire, kBehindTheHandshake)) << offset;
  }
}

// Of all that the client's end of TLS makes, handshake and transaction, only so many bytes leave.
struct CutRig : TlsRig {
  explicit CutRig(std::size_t bytes) : left(bytes) {
    heard();
    say("EHLO client.example\r\n");
    say("STARTTLS\r\n");
    end.receive({});
    for (int i = 0; i < 4 && rest.empty() && end.state() == State::kOpening; ++i) pass();
    if (end.state() != State::kOpen) return;
    const auto body = kTransaction.find("hello");
    end.send(kTransaction.substr(0, body));  // a record each
    end.send(kTransaction.substr(body, 7));
    end.send(kTransaction.substr(body + 7));
    pass();
    whole = rest.empty();
  }
  void pass() {
    const auto made = std::exchange(end.out, {});
    const auto part = std::string_view(made).substr(0, left);
    left -= part.size();
    rest += std::string_view(made).substr(part.size());
    send(part);
    if (!signer.waiting.empty()) signer.answer();
    hear();
  }
  void hear() {
    if (!client.valid()) return;
    const auto wire = heard();
    all += wire;
    if (!wire.empty()) end.receive(wire);
  }
  // What waits for the rest of a record waits only so long.
  void wait_out() {
    while (!signer.waiting.empty()) signer.answer();
    turn();
    clock.advance(base::Millis(30'001));
    if (session) session->check_deadline();
    turn();
  }

  std::size_t left;
  std::string rest;  // what did not leave
  bool whole = false;
};

enum class Cut { kEnd, kReset, kNoise, kRecords };

// The end of the client, or something foreign in its stream, at every byte of it: in the handshake, in
// the head of a record, in its middle, between two.
class EachCut : public testing::TestWithParam<Cut> {};
INSTANTIATE_TEST_SUITE_P(TlsSession, EachCut,
                         testing::Values(Cut::kEnd, Cut::kReset, Cut::kNoise, Cut::kRecords));

std::string noise(std::mt19937& random, std::size_t size) {
  std::string bytes(size, '\0');
  for (auto& byte : bytes) byte = static_cast<char>(random() & 0xff);
  return bytes;
}

std::string foreign_record(std::mt19937& random) {
  const std::size_t size = random() % 300;
  std::string record;
  record += static_cast<char>(20 + random() % 5);
  record += "\x03\x03";
  record += static_cast<char>(size >> 8);
  record += static_cast<char>(size & 0xff);
  return record + noise(random, size);
}

// Behind what is foreign the client goes on as if nothing were.
void come_to(Cut cut, CutRig& rig, std::mt19937& random) {
  switch (cut) {
    case Cut::kEnd:
      ::shutdown(rig.client.get(), SHUT_WR);
      rig.turn();
      EXPECT_EQ(rig.ended, 1) << "at once";
      return;
    case Cut::kReset:
      rig.leave();
      EXPECT_EQ(rig.ended, 1) << "at once";
      return;
    case Cut::kNoise:
      rig.send(noise(random, 400) + rig.rest);
      return;
    case Cut::kRecords: {
      std::string wire;
      for (int i = 0; i < 3; ++i) wire += foreign_record(random);
      rig.send(wire + rig.rest);
      return;
    }
  }
}

TEST_P(EachCut, LosesTheTransactionInEveryRecordAndTheHandshake) {
  std::mt19937 random(1);
  bool whole = false;
  std::size_t offset = 0;
  for (; !whole && !HasFailure(); ++offset) {
    SCOPED_TRACE(offset);
    ASSERT_LT(offset, 2'000U);
    CutRig rig(offset);
    whole = rig.whole;
    come_to(GetParam(), rig, random);
    rig.wait_out();
    rig.hear();
    EXPECT_EQ(rig.queued->transactions.size(), whole ? 1U : 0U);
    EXPECT_EQ(rig.ended, 1);
    EXPECT_TRUE(only_records(rig.all, kAnyType));
  }
  EXPECT_GT(offset, 200 + kTransaction.size()) << "the handshake was in it";
}

}  // namespace
}  // namespace postern::smtpd::test
