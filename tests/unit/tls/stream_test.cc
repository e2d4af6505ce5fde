// TLS as the filter of streams on a socket pair: nothing of a stream's promises is lost.
#include "common/event/stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "tests/unit/tls/pair.h"

namespace postern::tls::test {
namespace {

struct Owner final : event::StreamOwner {
  std::size_t on_input(std::string_view bytes) noexcept override {
    const auto used = std::min(take, bytes.size());
    seen += bytes.substr(0, used);
    if (pauses != nullptr) pauses->pause();
    return used;
  }
  void on_closed(event::CloseReason r) noexcept override { reason = r; }
  void on_drained() noexcept override { drained = true; }
  void on_filter_open() noexcept override { ++opened; }
  std::string seen;
  std::size_t take = ~std::size_t{0};
  event::Stream* pauses = nullptr;
  int opened = 0;
  bool drained = false;
  std::optional<event::CloseReason> reason;
};

struct Streams {
  Streams() : signer({issued.key}) {
    int fds[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    server = std::make_unique<event::Stream>(loop, base::UniqueFd::adopt(fds[0]), server_owner);
    client = std::make_unique<event::Stream>(loop, base::UniqueFd::adopt(fds[1]), client_owner);
    const auto tickets = std::make_shared<TicketKeys>();
    server->put(Session::accept(
        *ServerContext::make({.certificates = {{{"mx.example.org"}, issued.chain}}}, tickets),
        signer));
    client->put(Session::connect(*ClientContext::make({}), {.host = "mx.example.org"}));
    client->flush();
  }
  void turn(int times = 20) {
    for (int i = 0; i < times; ++i) {
      loop.run_once(false);
      if (!signer.waiting.empty()) signer.answer();
    }
  }

  const Issued& issued = Authority::instance().issue({"mx.example.org"});
  event::Loop loop;
  TestSigner signer;
  Owner server_owner, client_owner;
  std::unique_ptr<event::Stream> server, client;
};

TEST(FilteredStream, HoldsOutputUntilItIsOpen) {
  Streams s;
  s.server->output() += "220 hello\r\n";
  s.server->flush();
  EXPECT_EQ(s.server->unsent(), 11U);
  s.turn();
  EXPECT_EQ(s.server_owner.opened, 1);
  EXPECT_EQ(s.client_owner.opened, 1);
  EXPECT_EQ(s.client_owner.seen, "220 hello\r\n");
  EXPECT_EQ(s.server->unsent(), 0U);
}

TEST(FilteredStream, CarriesMoreThanTheSocketTakes) {
  Streams s;
  s.turn();
  const std::string much(3'000'000, 'x');
  s.server->output() += much;
  s.server->flush();
  EXPECT_GT(s.server->unsent(), 0U);
  s.turn(2'000);
  EXPECT_EQ(s.client_owner.seen.size(), much.size());
  EXPECT_TRUE(s.server_owner.drained);
  EXPECT_EQ(s.server->unsent(), 0U);
}

TEST(FilteredStream, SendsAllBeforeItCloses) {
  Streams s;
  s.turn();
  const std::string much(1'000'000, 'x');
  s.server->output() += much;
  s.server->close_after_flush();
  s.turn(2'000);
  EXPECT_EQ(s.server_owner.reason, event::CloseReason::kFlushed);
  EXPECT_EQ(s.client_owner.seen.size(), much.size());
  EXPECT_EQ(s.client_owner.reason, event::CloseReason::kEndOfStream);
}

TEST(FilteredStream, ClosesDuringTheHandshakeWithoutAWord) {
  Streams s;
  s.server->output() += "421 going away\r\n";
  s.server->close_after_flush();
  s.loop.run_once(false);
  EXPECT_EQ(s.server_owner.reason, event::CloseReason::kFlushed);
  s.turn();
  EXPECT_EQ(s.client_owner.reason, event::CloseReason::kEndOfStream);
  EXPECT_EQ(s.client_owner.opened, 0);
}

TEST(FilteredStream, ThePeersEndComesBehindWhatItSaid) {
  Streams s;
  s.turn();
  s.server_owner.take = 6;
  s.server_owner.pauses = s.server.get();  // it waits for somebody else before it goes on
  s.client->output() += "DATA\r\nQUIT\r\n";
  s.client->close_after_flush();
  s.turn();
  EXPECT_EQ(s.server_owner.seen, "DATA\r\n");
  EXPECT_FALSE(s.server_owner.reason);
  s.server_owner.pauses = nullptr;
  s.server->resume();
  s.turn();
  EXPECT_EQ(s.server_owner.seen, "DATA\r\nQUIT\r\n");
  EXPECT_EQ(s.server_owner.reason, event::CloseReason::kEndOfStream);
}

TEST(FilteredStream, ThePeersEndIsSeenAfterAPauseWithNothingKept) {
  Streams s;
  s.turn();
  s.server_owner.pauses = s.server.get();
  s.client->output() += "DATA\r\n";
  s.client->close_after_flush();
  s.turn();
  EXPECT_FALSE(s.server_owner.reason);
  s.server->resume();
  s.turn();
  EXPECT_EQ(s.server_owner.reason, event::CloseReason::kEndOfStream);
}

TEST(FilteredStream, FailsForGood) {
  Streams s;
  s.turn();
  const std::string clear = "MAIL FROM:<a@b.example>\r\n";
  CHECK(::send(s.client->fd(), clear.data(), clear.size(), 0) > 0);
  s.turn();
  EXPECT_EQ(s.server_owner.reason, event::CloseReason::kError);
  EXPECT_EQ(s.server->error(), 0);
  EXPECT_EQ(s.server_owner.seen, "");
  EXPECT_EQ(s.client_owner.reason, event::CloseReason::kError) << "it gets the alert";
}

// A word that was proved before it, for an owner who wants to hear such a peer out.
TEST(FilteredStream, WhatCameBeforeItFailedIsHeard) {
  for (const bool hears : {true, false}) {
    Streams s;
    s.turn();
    if (hears) s.client->hear_out();
    s.server->output() += "250 taken\r\n";
    s.server->flush();
    const std::string clear = "421 somebody else\r\n";
    CHECK(::send(s.server->fd(), clear.data(), clear.size(), 0) > 0);
    s.turn();
    EXPECT_EQ(s.client_owner.seen, hears ? "250 taken\r\n" : "");
    EXPECT_EQ(s.client_owner.reason, event::CloseReason::kError);
    EXPECT_EQ(s.client->error(), 0);
  }
}

TEST(FilteredStream, AnEndWithoutCloseNotifyIsAnEnd) {
  Streams s;
  s.turn();
  ::shutdown(s.client->fd(), SHUT_WR);
  s.turn();
  EXPECT_EQ(s.server_owner.reason, event::CloseReason::kEndOfStream);
}

}  // namespace
}  // namespace postern::tls::test
