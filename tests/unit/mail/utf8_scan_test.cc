// Which messages need SMTPUTF8 by their headers.
#include "common/mail/utf8_scan.h"

#include <gtest/gtest.h>

namespace postern::mail {
namespace {

bool needs_utf8(std::string_view message, std::size_t piece = ~std::size_t{0}) {
  Utf8Scan scan;
  for (; !message.empty(); message.remove_prefix(std::min(piece, message.size())))
    scan.feed(message.substr(0, piece));
  return scan.found();
}

const std::string kWide = "gr\xc3\xbc\xc3\x9f";

std::string multipart(const std::string& parts) {
  return "Subject: x\r\nCONTENT-type: Multipart/mixed;\r\n\tcharset=\"a;b\"; Boundary=\"a b\\\"c\" \r\n\r\n" + kWide +
         "\r\n" + parts;
}
const std::string kNext = "--a b\"c\r\n", kEnd = "--a b\"c-- \r\n";

TEST(Utf8Scan, KnowsHeadersFromBodies) {
  const struct {
    std::string message;
    bool needs;
  } cases[] = {
      {"Subject: " + kWide + "\r\n\r\nhi\r\n", true},
      {"Subject: x\r\n " + kWide, true},
      {"Subject: x\r\n\r\n" + kWide + "\r\n", false},
      {"\r\nSubject: " + kWide + "\r\n", false},
      {"", false},
      // Boundaries that are none.
      {"Subject: x\r\n\r\n--\r\nX: " + kWide + "\r\n", false},
      {"Content-Type: text/plain; boundary=b\r\n\r\n--b\r\nX: " + kWide + "\r\n", false},
      {multipart("--a b\r\nX: " + kWide + "\r\n"), false},
      {multipart("--a b\"cd\r\nX: " + kWide + "\r\n"), false},
      {multipart(" " + kNext + "X: " + kWide + "\r\n"), false},
      // Headers of parts.
      {multipart(kNext + "X: y\r\n\r\n" + kWide + "\r\n" + kEnd), false},
      {multipart(kNext + "X: " + kWide + "\r\n\r\nhi\r\n" + kEnd), true},
      {multipart(kNext + "\r\n" + kWide + "\r\n" + kNext + "X: " + kWide + "\r\n"), true},
      {multipart(kNext + kNext + "X: " + kWide + "\r\n"), true},
      {multipart(kEnd + "X: " + kWide + "\r\n"), false},
      // Parts of parts, and what follows behind the inner ones.
      {multipart(kNext + "Content-Type: multipart/x; boundary=in(side)\r\n\r\n--in\r\nX: " + kWide + "\r\n"), true},
      {multipart(kNext + "Content-Type: multipart/x; boundary=in\r\n\r\n--in--\r\n" + kWide + "\r\n" + kNext +
                 "X: " + kWide + "\r\n"),
       true},
      {multipart(kNext + "Content-Type: multipart/x; boundary=in\r\n\r\n--in--\r\n--in\r\nX: " + kWide + "\r\n"),
       false},
      {multipart(kNext + "Content-Type: multipart/x; boundary=in\r\n\r\n" + kNext + "\r\n--in\r\nX: " + kWide),
       false},
      // The parts of a digest are messages, unless they say otherwise.
      {"Content-Type: multipart/Digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: " + kWide + "\r\n", true},
      {"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\n" + kWide + "\r\n--b\r\n\r\n" +
           kWide,
       true},
      {"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n" + kWide, false},
      {"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\n--b--\r\n" + kWide, false},
      {multipart(kNext + "Content-Type: multipart/digest; boundary=in\r\n\r\n--in--\r\n" + kNext + "\r\n" + kWide),
       false},
      // Messages in messages, and fields that are a body.
      {multipart(kNext + "Content-Type: message/rfc822\r\n\r\nSubject: " + kWide + "\r\n"), true},
      {multipart(kNext + "Content-Type: message/global\r\n\r\nSubject: x\r\n\r\n" + kWide + "\r\n"), false},
      {"Content-Type: message/rfc822\r\n\r\nSubject: " + kWide + "\r\n", true},
      {multipart(kNext + "Content-Type: message/global-delivery-status\r\n\r\nX: y\r\n\r\nX: " + kWide + "\r\n"), true},
      {multipart(kNext + "Content-Type: message/delivery-status\r\n\r\nX: " + kWide + "\r\n"), false},
      {multipart(kNext + "Content-Type: message/global-headers\r\n\r\nX: y\r\n\r\n" + kNext + "\r\n" + kWide), false},
  };
  for (const auto& c : cases)
    for (const std::size_t piece : {std::size_t{1}, std::size_t{3}, std::size_t{1'000'000}})
      EXPECT_EQ(needs_utf8(c.message, piece), c.needs) << c.message << " in pieces of " << piece;
}

// So that a large body is not read to its end for nothing.
TEST(Utf8Scan, IsOverWhereNothingCanFollow) {
  Utf8Scan plain;
  plain.feed("Subject: x\r\n");
  EXPECT_FALSE(plain.over());
  plain.feed("\r\n");
  EXPECT_TRUE(plain.over());
  Utf8Scan parts;
  parts.feed(multipart(kNext));
  EXPECT_FALSE(parts.over());
  parts.feed("\r\n" + kEnd);
  EXPECT_TRUE(parts.over());
  EXPECT_FALSE(parts.found());
}

TEST(Utf8Scan, IsBounded) {
  Utf8Scan scan;
  scan.feed("Content-Type: multipart/x;" + std::string(2'000'000, 'x') + "\r\n");
  for (int n = 0; n < 100'000; ++n) scan.feed(" ; boundary=b\r\n");
  scan.feed("\r\n");
  for (int n = 0; n < 1000; ++n) scan.feed("--b\r\nContent-Type: multipart/x; boundary=b\r\n\r\n");
  EXPECT_FALSE(scan.found());
}

}  // namespace
}  // namespace postern::mail
