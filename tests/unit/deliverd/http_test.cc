// Answers of HTTP, good ones and others, whole and byte by byte.
#include "deliverd/fetch/http.h"

#include <gtest/gtest.h>

#include <optional>

namespace postern::fetch {
namespace {

constexpr std::size_t kMost = 1024;
using State = HttpReader::State;

std::string result(const HttpReader& reader, State state) {
  switch (state) {
    case State::kReading:
      return "reading";
    case State::kDone:
      return "body: " + reader.body();
    case State::kFailed:
      return reader.trouble();
  }
  return {};
}

// What comes of it, in one piece and in pieces of one byte; `end`: the connection ends behind it, well (true)
// or cut off.
std::string read(const std::string& answer, std::optional<bool> end = std::nullopt) {
  HttpReader whole(kMost);
  auto state = whole.feed(answer);
  if (end) state = whole.ended(*end);
  HttpReader split(kMost);
  auto split_state = State::kReading;
  for (const char c : answer) split_state = split.feed({&c, 1});
  if (end) split_state = split.ended(*end);
  EXPECT_EQ(result(split, split_state), result(whole, state)) << answer.substr(0, 200);
  return result(whole, state);
}

std::string head(const std::string& lines = "") {
  return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + lines + "\r\n";
}

TEST(Http, AsksForThePolicy) {
  EXPECT_EQ(policy_request("mta-sts.example.org", 443),
            "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.org\r\nUser-Agent: Postern\r\n"
            "Accept: text/plain\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n");
  EXPECT_NE(policy_request("mta-sts.example.org", 8443).find("Host: mta-sts.example.org:8443\r\n"),
            std::string::npos);
}

TEST(Http, ABodyOfALength) {
  EXPECT_EQ(read(head("Content-Length: 5\r\n") + "hello"), "body: hello");
  EXPECT_EQ(read(head("content-LENGTH:5 \r\n") + "hello, and what follows"), "body: hello");
  EXPECT_EQ(read(head("Content-Length: 0\r\n")), "body: ");
  EXPECT_EQ(read(head("Content-Length: 5\r\n") + "hell"), "reading");
  EXPECT_EQ(read(head("Content-Length: 5\r\n") + "hell", true), "the connection ended before the answer did");
  EXPECT_EQ(read("HTTP/1.0 200\r\nX: y\r\nContent-Type: Text/Plain; charset=utf-8\r\nContent-Length: 1\r\n\r\nx"),
            "body: x");
}

TEST(Http, ABodyToTheEnd) {
  EXPECT_EQ(read(head() + "hello", true), "body: hello");
  EXPECT_EQ(read(head() + "hello"), "reading");
  EXPECT_EQ(read(head() + "hello", false), "the connection ended before the answer did") << "perhaps cut off";
  EXPECT_EQ(read("", true), "the connection ended before the answer did");
}

TEST(Http, ABodyInChunks) {
  const auto chunked = head("Transfer-Encoding: chunked\r\n");
  EXPECT_EQ(read(chunked + "5\r\nhello\r\n00C;x=y\r\n, and more.\n\r\n0\r\n\r\n"), "body: hello, and more.\n");
  EXPECT_EQ(read(chunked + "1\r\nx\r\n0\r\nTrailer: y\r\n\r\n"), "body: x");
  EXPECT_EQ(read(chunked + "0\r\n\r\n"), "body: ");
  EXPECT_EQ(read(chunked + "5\r\nhello\r\n"), "reading");
  EXPECT_EQ(read(chunked + "5\r\nhello\r\n", true), "the connection ended before the answer did");
  for (const auto* bad : {"\r\n", "x\r\n", "-1\r\n", "5\nhello", "5\r\nhelloxx", "123456789\r\n"})
    EXPECT_EQ(read(chunked + bad + std::string(8, ' ') + "\r\n"), "malformed chunk") << bad;
}

TEST(Http, HasLimits) {
  EXPECT_EQ(read(head("Content-Length: 1025\r\n")), "longer than 1 KiB");
  EXPECT_EQ(read(head("Content-Length: 99999999999999999999\r\n")),
            "no such length: 99999999999999999999");
  EXPECT_EQ(read(head() + std::string(kMost, 'x'), true), "body: " + std::string(kMost, 'x'));
  EXPECT_EQ(read(head() + std::string(kMost + 1, 'x')), "longer than 1 KiB");
  const auto chunked = head("Transfer-Encoding: chunked\r\n");
  EXPECT_EQ(read(chunked + "401\r\n"), "longer than 1 KiB");
  EXPECT_EQ(read(chunked + "400\r\n" + std::string(kMost, 'x') + "\r\n1\r\n"), "longer than 1 KiB");
  EXPECT_EQ(read(chunked + "1" + std::string(HttpReader::kMaxChunkLine + 1, ' ')), "malformed chunk");
  EXPECT_EQ(read(chunked + "0\r\n" + std::string(HttpReader::kMaxTrailer + 1, 'x')),
            "the answer's trailer is too long");
  std::string trailer;
  for (std::size_t i = 0; i <= HttpReader::kMaxTrailer; i += 5) trailer += "x:y\r\n";
  EXPECT_EQ(read(chunked + "0\r\n" + trailer), "the answer's trailer is too long");
  EXPECT_EQ(read("HTTP/1.1 200 OK\r\nX: " + std::string(HttpReader::kMaxHead, 'x')),
            "the head of the answer is too long");
  std::string slow = chunked;
  for (std::size_t i = 0; i < kMost; ++i) slow += "1" + std::string(HttpReader::kMaxChunkLine - 3, ';') + "\r\nx\r\n";
  EXPECT_EQ(read(slow), "the answer is too long");
}

TEST(Http, InterimAnswersArePassedOver) {
  const std::string interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
  std::string many;
  for (std::size_t i = 0; i < HttpReader::kMaxInterim; ++i) many += interim;
  EXPECT_EQ(read(many + head("Content-Length: 1\r\n") + "x"), "body: x");
  EXPECT_EQ(read(many + interim), "too many interim answers");
}

// RFC 8461 3.3.
TEST(Http, OnlyAPlainTwoHundredCounts) {
  const auto status = [](const std::string& line) {
    return read(line + "\r\nContent-Type: text/plain\r\nLocation: https://elsewhere.example/\r\n"
                       "Content-Length: 1\r\n\r\nx");
  };
  EXPECT_EQ(status("HTTP/1.1 200 OK"), "body: x");
  EXPECT_EQ(status("HTTP/1.1 301 Moved"), "answered 301, and redirects are not followed");
  EXPECT_EQ(status("HTTP/1.1 302 Found"), "answered 302, and redirects are not followed");
  EXPECT_EQ(status("HTTP/1.1 404 Not Found"), "answered 404");
  EXPECT_EQ(status("HTTP/1.1 203 Non-Authoritative"), "answered 203");
  EXPECT_EQ(status("HTTP/1.1 503"), "answered 503");
  for (const auto* line : {"", "HTTP/2 200", "HTTP/1.1 2000 OK", "HTTP/1.1 20 OK", "HTTP/1.1  200", "ICY 200 OK",
                           "HTTP/1.1 099 x", "HTTP/1.1 +20 x", "220 mx.example.org ESMTP"})
    EXPECT_TRUE(status(line).starts_with("no answer of HTTP: ")) << line;
}

TEST(Http, OnlyPlainTextCounts) {
  const auto with = [](const std::string& lines) {
    return read("HTTP/1.1 200 OK\r\n" + lines + "Content-Length: 1\r\n\r\nx");
  };
  EXPECT_EQ(with("Content-Type: text/plain\r\n"), "body: x");
  EXPECT_EQ(with(""), "no content type");
  EXPECT_EQ(with("Content-Type: text/html\r\n"), "not text/plain: text/html");
  EXPECT_EQ(with("Content-Type: text/plainer\r\n"), "not text/plain: text/plainer");
  EXPECT_EQ(with("Content-Type: text/plain\r\nContent-Type: text/html\r\n"),
            "content-type stands twice in the answer");
  EXPECT_EQ(with("Content-Type: text/plain\r\nContent-Encoding: gzip\r\n"), "coded as gzip");
  EXPECT_EQ(with("Content-Type: text/plain\r\nContent-Encoding: identity\r\n"), "body: x");
}

TEST(Http, WhatIsAmbiguousIsNoAnswer) {
  EXPECT_EQ(read(head("Content-Length: 1\r\nContent-Length: 2\r\n")), "content-length stands twice in the answer");
  EXPECT_EQ(read(head("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")),
            "transferred as chunked, with a length");
  EXPECT_EQ(read(head("Transfer-Encoding: gzip, chunked\r\n")), "transferred as gzip, chunked");
  EXPECT_EQ(read(head("Content-Length: +1\r\n")), "no such length: +1");
  for (const auto* line : {"X\r\n", " folded: y\r\n", "X : y\r\n", ": y\r\n", "X\ty: z\r\n"})
    EXPECT_EQ(read(head(line)), "malformed line in the answer's head") << line;
}

}  // namespace
}  // namespace postern::fetch
