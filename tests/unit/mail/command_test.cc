// The parser alone; what the protocol makes of it stands in tests/dialogues.
#include "common/mail/command.h"

#include <gtest/gtest.h>

namespace postern::mail {
namespace {

std::string error(std::string_view line) {
  const auto command = parse_command(line);
  return command.error ? command.error->text() : "";
}

TEST(Command, VerbsInAnyCase) {
  EXPECT_EQ(parse_command("HELO a").verb, Verb::kHelo);
  EXPECT_EQ(parse_command("ehlo a").verb, Verb::kEhlo);
  EXPECT_EQ(parse_command("Data").verb, Verb::kData);
  EXPECT_EQ(parse_command("bdat 1").verb, Verb::kBdat);
  EXPECT_EQ(parse_command("rset").verb, Verb::kRset);
  EXPECT_EQ(parse_command("noop x y").verb, Verb::kNoop);
  EXPECT_EQ(parse_command("quit\t").verb, Verb::kQuit);
  EXPECT_EQ(parse_command("vrfy x").verb, Verb::kVrfy);
  EXPECT_EQ(parse_command("expn x").verb, Verb::kExpn);
  EXPECT_EQ(parse_command("help").verb, Verb::kHelp);
  EXPECT_EQ(parse_command("starttls").verb, Verb::kStartTls);
  EXPECT_EQ(parse_command("auth plain").verb, Verb::kAuth);
  EXPECT_EQ(parse_command("GET /").verb, Verb::kForeign);
  for (const auto* line : {"", " ", " QUIT", "QUITT", "QUI", "EHL0 a", "\x16\x03\x01"})
    EXPECT_EQ(parse_command(line).verb, Verb::kUnknown) << line;
}

TEST(Command, EveryVerbHasAName) {
  for (std::size_t i = 0; i < kVerbCount; ++i) EXPECT_FALSE(name(static_cast<Verb>(i)).empty());
}

TEST(Command, MailWithParameters) {
  const auto command = parse_command("MAIL FROM:<Ann@A.example> SIZE=12345 BODY=8BITMIME");
  EXPECT_FALSE(command.error);
  EXPECT_EQ(command.path.kind, Path::Kind::kAddress);
  EXPECT_EQ(command.path.address.text(), "Ann@a.example");
  EXPECT_EQ(command.size, 12345U);
  EXPECT_EQ(command.body, BodyType::k8BitMime);
}

TEST(Command, MailByHand) {
  for (const auto* line :
       {"mail from: ann@a.example", "MAIL FROM:ann@a.example", "mail from:\t<ann@a.example> ",
        "Mail  From:   ann@a.example   size=1", "mail from:<@x.example:ann@a.example>"}) {
    const auto command = parse_command(line);
    EXPECT_FALSE(command.error) << line;
    EXPECT_EQ(command.path.address.text(), "ann@a.example") << line;
  }
  EXPECT_EQ(parse_command("mail from: \"a b\"@a.example").path.address.text(), "\"a b\"@a.example");
}

TEST(Command, ReadsChunks) {
  const auto command = parse_command("BDAT 1234");
  EXPECT_FALSE(command.error);
  EXPECT_EQ(command.chunk, 1234U);
  EXPECT_FALSE(command.last_chunk);
  EXPECT_TRUE(parse_command("bdat 0 last").last_chunk);
  EXPECT_EQ(parse_command("BDAT 18446744073709551615").chunk, ~std::uint64_t{0});
  for (const auto* line : {"BDAT", "BDAT LAST", "BDAT -1", "BDAT +1", "BDAT 0x10", "BDAT 1.0", "BDAT 1 LAS", "BDAT 1 LAST LAST",
                           "BDAT 1LAST", "BDAT 18446744073709551616"})
    EXPECT_TRUE(parse_command(line).error) << line;
  EXPECT_EQ(parse_command("MAIL FROM:<a@b> BODY=binarymime").body, BodyType::kBinaryMime);
  EXPECT_TRUE(parse_command("MAIL FROM:<a@b> BODY=BINARYMIME BODY=7BIT").error);
}

TEST(Command, NullPath) {
  const auto command = parse_command("MAIL FROM:<> SIZE=1");
  EXPECT_FALSE(command.error);
  EXPECT_EQ(command.path.kind, Path::Kind::kNull);
  EXPECT_EQ(error("RCPT TO:<>"), "501 5.1.3 Recipient needs an address");
}

TEST(Command, BarePaths) {
  const auto mail = parse_command("MAIL FROM:<ann>");
  EXPECT_FALSE(mail.error);
  EXPECT_EQ(mail.path.kind, Path::Kind::kBare);
  EXPECT_EQ(mail.path.stamped(Domain::parse("b.example").value())->text(), "ann@b.example");
  EXPECT_EQ(parse_command("MAIL FROM:<postmaster>").path.kind, Path::Kind::kBare);
  EXPECT_EQ(parse_command("RCPT TO:<Postmaster>").path.kind, Path::Kind::kAddress);
  EXPECT_EQ(parse_command("RCPT TO:\"a@b\"").path.kind, Path::Kind::kBare);
}

TEST(Command, SourceRoutesAreDropped) {
  EXPECT_EQ(parse_command("RCPT TO:<@a,@b.example:c@d.example>").path.address.text(),
            "c@d.example");
  EXPECT_EQ(parse_command("RCPT TO:<@[IPv6:::1]:c@d.example>").path.address.text(), "c@d.example");
  for (const auto* line : {"RCPT TO:<@a>", "RCPT TO:<@a,b:c@d>", "RCPT TO:<@:c@d>",
                           "RCPT TO:<@a b:c@d>", "RCPT TO:<@a,,@b:c@d>"})
    EXPECT_EQ(error(line), "501 5.1.3 Bad source route") << line;
}

TEST(Command, QuotesHideBracketsAndSpaces) {
  EXPECT_EQ(parse_command("RCPT TO:<\"a> b\"@c.example>").path.address.local_part(), "a> b");
  EXPECT_EQ(parse_command("RCPT TO:<\"a\\\"> b\"@c.example>").path.address.local_part(), "a\"> b");
  EXPECT_EQ(error("RCPT TO:<\"a@c.example>"), "501 5.5.4 Syntax: RCPT TO:<address>");
}

// RFC 6531 3
TEST(Command, SmtpUtf8) {
  const auto mail = parse_command("MAIL FROM:<b\xc3\xb6@b\xc3\xbc" "cher.example> smtputf8 BODY=8BITMIME");
  ASSERT_FALSE(mail.error);
  EXPECT_TRUE(mail.smtputf8);
  EXPECT_TRUE(mail.utf8_said);
  EXPECT_EQ(mail.path.address.text(), "b\xc3\xb6@xn--bcher-kva.example");
  EXPECT_EQ(error("MAIL FROM:<a@b> SMTPUTF8 SMTPUTF8"), "501 5.5.4 SMTPUTF8 given twice");
  EXPECT_EQ(error("MAIL FROM:<a@b> SMTPUTF8=yes"), "555 5.5.4 Parameter not recognized: SMTPUTF8");
  EXPECT_EQ(error("MAIL FROM:<a@b> SMTPUTF8 AUTH=b+C3+B6b@b.example"), "");
  EXPECT_EQ(error("MAIL FROM:<a@b> AUTH=b+C3@b.example"), "501 5.5.4 AUTH must be an address in xtext, or <>");
  EXPECT_EQ(error("RCPT TO:<a@b> SMTPUTF8"), "555 5.5.4 Parameter not recognized: SMTPUTF8");
}

// RFC 8689 2
TEST(Command, RequireTls) {
  EXPECT_TRUE(parse_command("MAIL FROM:<a@b> SIZE=100 requiretls RET=FULL").require_tls);
  EXPECT_TRUE(parse_command("MAIL FROM:<> REQUIRETLS").require_tls);
  EXPECT_FALSE(parse_command("MAIL FROM:<a@b>").require_tls);
  EXPECT_EQ(error("MAIL FROM:<a@b> REQUIRETLS REQUIRETLS"), "501 5.5.4 REQUIRETLS given twice");
  EXPECT_EQ(error("MAIL FROM:<a@b> REQUIRETLS=yes"), "555 5.5.4 Parameter not recognized: REQUIRETLS");
  EXPECT_EQ(error("MAIL FROM:<a@b> REQUIRETLS="), "555 5.5.4 Parameter not recognized: REQUIRETLS");
  EXPECT_EQ(error("RCPT TO:<a@b> REQUIRETLS"), "555 5.5.4 Parameter not recognized: REQUIRETLS");
}

TEST(Command, KnowsWhatIsWrittenBeyondAscii) {
  for (const auto* line : {"MAIL FROM:<b\xc3\xb6@b.example>", "RCPT TO:<ann@b\xc3\xbc" "cher.example>",
                           "RCPT TO:b\xc3\xb6", "RCPT TO:<@b\xc3\xbc" "cher.example:ann@b.example>"}) {
    const auto command = parse_command(line);
    EXPECT_FALSE(command.error) << line;
    EXPECT_TRUE(command.utf8_said) << line;
    EXPECT_FALSE(command.smtputf8) << line;
  }
  for (const auto* line : {"RCPT TO:<ann@xn--bcher-kva.example> ORCPT=utf-8;b\\x{F6}@b.example",
                           "RCPT TO:<ann@b.example> ORCPT=utf-8;b\xc3\xb6@b.example"}) {
    EXPECT_FALSE(parse_command(line).error) << line;
    EXPECT_FALSE(parse_command(line).utf8_said) << line;
  }
  EXPECT_EQ(error("MAIL FROM:<b\xc3@b.example> SMTPUTF8"), "501 5.1.7 Bad address: local part is not plain UTF-8");
  EXPECT_TRUE(parse_command("RCPT TO:<ann@b.example> ORCPT=rfc822;b\xc3\xb6@b.example").error);
}

TEST(Command, ForeignTextInRepliesIsClean) {
  EXPECT_EQ(error("MAIL FROM:<a@b> \xff=1"), "555 5.5.4 Parameter not recognized: \\\\xff");
  EXPECT_EQ(error(std::string("MAIL FROM:<a@b> x\0y", 19)),
            "500 5.5.2 Control character in command");
}

TEST(Command, AnyBytesAtAnyLengthAreSurvived) {
  // Each prefix of each line, with each byte behind it.
  for (const std::string line : {"MAIL FROM:<\"a\\\"b\"@[IPv6:::1]> SIZE=1 BODY=7BIT",
                                 "RCPT TO: <@a,@b:c@d> X=Y", "EHLO [192.0.2.1]"}) {
    for (std::size_t size = 0; size <= line.size(); ++size)
      for (int c = 0; c < 256; ++c)
        (void)parse_command(line.substr(0, size) + static_cast<char>(c));
  }
}

}  // namespace
}  // namespace postern::mail
