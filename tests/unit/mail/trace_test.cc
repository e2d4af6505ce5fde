#include "common/mail/trace.h"

#include <gtest/gtest.h>

namespace postern::mail {
namespace {

const base::WallTime kWhen{1'795'404'105'000};  // 2026-11-23T03:21:45Z

Received sample() {
  return {.hello = "client.example",
          .client = base::parse_ip("192.0.2.1"),
          .hostname = "mx.example.org",
          .with = WithProtocol::kEsmtp,
          .id = base::MessageId(7),
          .only_recipient = nullptr,
          .when = kWhen};
}

TEST(SubmissionFields, AreWholeLines) {
  EXPECT_EQ(date_field(kWhen), "Date: Mon, 23 Nov 2026 03:21:45 +0000\r\n");
  EXPECT_EQ(message_id_field(base::MessageId(7), "mx.example.org"),
            "Message-ID: <" + base::to_string(base::MessageId(7)) + "@mx.example.org>\r\n");
}

void expect_folded(const std::string& field, std::size_t widest = 78) {
  ASSERT_TRUE(field.ends_with("\r\n"));
  for (std::size_t begin = 0; begin < field.size();) {
    const auto end = field.find("\r\n", begin);
    EXPECT_LE(end - begin, widest) << field;
    if (begin != 0) {
      EXPECT_EQ(field[begin], '\t');
    }
    begin = end + 2;
  }
}

TEST(Received, WithOneRecipient) {
  auto received = sample();
  const auto ann = Address::parse("ann@example.org").value();
  received.only_recipient = &ann;
  EXPECT_EQ(received_field(received),
            "Received: from client.example ([192.0.2.1])\r\n"
            "\tby mx.example.org with ESMTP id 0000000000007\r\n"
            "\tfor <ann@example.org>;\r\n"
            "\tMon, 23 Nov 2026 03:21:45 +0000\r\n");
}

// RFC 3848
TEST(Received, OfWhoHasLoggedIn) {
  auto received = sample();
  received.logged_in = true;
  EXPECT_NE(received_field(received).find(" with ESMTPA id "), std::string::npos);
  received.tls = "TLSv1.3 TLS_AES_256_GCM_SHA384";
  EXPECT_NE(received_field(received).find(" with ESMTPSA\r\n"), std::string::npos);
}

TEST(DeliveredTo, IsAscii) {
  EXPECT_EQ(delivered_to(Address::parse("team+x@example.org").value()), "team+x@example.org");
  EXPECT_EQ(delivered_to(Address::parse("t\xc3\xa9" "am@b\xc3\xbc" "cher.example").value()),
            "t\\x{E9}am@xn--bcher-kva.example");
}

// RFC 6531 4.3
TEST(Received, OfWhoHasSaidSmtpUtf8) {
  auto received = sample();
  const auto bob = Address::parse("b\xc3\xb6" "b@b\xc3\xbc" "cher.example").value();
  received.with = WithProtocol::kUtf8Smtp;
  received.only_recipient = &bob;
  EXPECT_NE(received_field(received).find(" with UTF8SMTP id 0000000000007\r\n"
                                          "\tfor <b\xc3\xb6" "b@xn--bcher-kva.example>;\r\n"),
            std::string::npos);
  received.logged_in = true;
  EXPECT_NE(received_field(received).find(" with UTF8SMTPA id "), std::string::npos);
  received.tls = "TLSv1.3 X";
  EXPECT_NE(received_field(received).find(" with UTF8SMTPSA\r\n"), std::string::npos);
  received.logged_in = false;
  EXPECT_NE(received_field(received).find(" with UTF8SMTPS\r\n"), std::string::npos);
}

// RFC 3848
TEST(Received, OverTls) {
  auto received = sample();
  received.tls = "TLSv1.3 TLS_AES_256_GCM_SHA384";
  EXPECT_EQ(received_field(received),
            "Received: from client.example ([192.0.2.1])\r\n"
            "\tby mx.example.org with ESMTPS\r\n"
            "\t(TLSv1.3 TLS_AES_256_GCM_SHA384) id 0000000000007;\r\n"
            "\tMon, 23 Nov 2026 03:21:45 +0000\r\n");
  received.tls_peer = "relay.example.net";
  EXPECT_EQ(received_field(received),
            "Received: from client.example ([192.0.2.1])\r\n"
            "\tby mx.example.org with ESMTPS\r\n"
            "\t(TLSv1.3 TLS_AES_256_GCM_SHA384, client certificate relay.example.net)\r\n"
            "\tid 0000000000007;\r\n"
            "\tMon, 23 Nov 2026 03:21:45 +0000\r\n");
  received.with = WithProtocol::kSmtp;
  received.tls_peer = "evil) by\r\n\tme (\\";
  const auto field = received_field(received);
  EXPECT_NE(field.find("with SMTP\r\n"), std::string::npos) << "there is no SMTPS";
  received.tls = "TLSv1.3 X)\r\nEvil: y";  // a stolen smtpd says what it likes
  EXPECT_NE(received_field(received).find("(TLSv1.3 X???Evil: y,"), std::string::npos);
  EXPECT_NE(field.find("certificate evil? by???me ??" ")"), std::string::npos) << field;
}

TEST(Received, WithSeveralRecipientsNamesNone) {
  auto received = sample();
  received.with = WithProtocol::kSmtp;
  received.client = base::parse_ip("2001:db8::1");
  EXPECT_EQ(received_field(received),
            "Received: from client.example ([IPv6:2001:db8::1])\r\n"
            "\tby mx.example.org with SMTP id 0000000000007;\r\n"
            "\tMon, 23 Nov 2026 03:21:45 +0000\r\n");
}

TEST(Received, AHostileHelloIsLeftOut) {
  auto received = sample();
  for (const auto* hello : {"", "a b", "x\r\nEvil: yes", "a;b"}) {
    received.hello = hello;
    EXPECT_TRUE(received_field(received).starts_with("Received: from [192.0.2.1]\r\n")) << hello;
  }
  received.client.reset();
  EXPECT_TRUE(received_field(received).starts_with("Received: from localhost\r\n\tby "));
}

TEST(Received, IsFolded) {
  auto received = sample();
  const std::string hello(60, 'h');
  const std::string host = "mx." + std::string(60, 'x') + ".example";
  received.hello = hello;
  received.hostname = host;
  expect_folded(received_field(received));
  const std::string longest(255, 'h');
  received.hello = longest;
  expect_folded(received_field(received), 256);
}

TEST(ReturnPath, Field) {
  EXPECT_EQ(return_path_field(ReversePath()), "Return-Path: <>\r\n");
  EXPECT_EQ(return_path_field(ReversePath(Address::parse("\"a b\"@c.example").value())),
            "Return-Path: <\"a b\"@c.example>\r\n");
}

TEST(Received, NamesTheClientAsItsAddressIsCalled) {
  auto received = sample();
  received.client_name = "host.example.net";
  EXPECT_TRUE(received_field(received).starts_with(
      "Received: from client.example (host.example.net [192.0.2.1])\r\n\tby "));
  received.client_name = "evil) by\r\nme (";
  EXPECT_TRUE(received_field(received).starts_with(
      "Received: from client.example (evil? by??me ? [192.0.2.1])\r\n\tby "));
}

TEST(Received, OfAClientWhomNobodyKnows) {
  auto received = sample();
  received.client = base::IpAddress{};
  EXPECT_TRUE(received_field(received).starts_with("Received: from client.example (unknown)\r\n"));
  received.hello = "";
  EXPECT_TRUE(received_field(received).starts_with("Received: from unknown\r\n"));
}

TEST(Received, TellsWhatWasForwarded) {
  auto received = sample();
  received.forwarded = "first.example [198.51.100.7]:4321 helo=(evil) ident=1";
  const auto field = received_field(received);
  EXPECT_NE(field.find("\r\n\t(forwarded first.example [198.51.100.7]:4321 helo=?evil? ident=1)\r\n"
                       "\tby mx.example.org "),
            std::string::npos)
      << field;
  expect_folded(field);
  std::string many;
  for (int i = 0; i < 60; ++i) many += "word-of-twelve ";
  received.forwarded = many;
  expect_folded(received_field(received));
}

}  // namespace
}  // namespace postern::mail
