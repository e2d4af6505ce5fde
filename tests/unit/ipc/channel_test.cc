#include "common/ipc/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "common/base/random.h"

namespace postern::ipc {
namespace {

// smtpd's end.
struct Client {
  std::vector<Submitted> submitted;
  std::vector<std::pair<LargeOpened, std::size_t>> opened;  // with the count of descriptors
  std::vector<base::UniqueFd> files;
  int closed_count = 0;
  void on(const Submitted& m) { submitted.push_back(m); }
  void on(const TokenResult&) {}
  void on(const LargeOpened& m, Descriptors d) {
    opened.emplace_back(m, d.size());
    for (auto& fd : d) files.push_back(std::move(fd));
  }
  void on(const Intake&) {}
  void on(const RecipientKnown&) {}
  void on(const NameKnown&) {}
  void on(const QueueStarted&) {}
  void on(const SessionTurned&, Descriptors) {}
  void on(const EndAccount&) {}
  void on(const ServeTurned&, Descriptors) {}
  void closed() noexcept { ++closed_count; }
};

// queued's end.
struct Server {
  std::vector<Submit> submits;
  std::string body;
  int closed_count = 0;
  void on(const Submit& m) { submits.push_back(m); }
  void on(const SubmitRecipients&) {}
  void on(const SubmitBody& m) { body += m.bytes.bytes; }
  void on(const AskToken&) {}
  void on(const OpenLarge&) {}
  void on(const AbandonLarge&) {}
  void on(const AskRecipient&) {}
  void on(const AskName&) {}
  void on(const StartQueue&) {}
  void on(const TurnSession&) {}
  void closed() noexcept { ++closed_count; }
};

using ClientEnd = Connection<Client, Role::kSmtpd, Role::kQueued>;
using ServerEnd = Connection<Server, Role::kQueued, Role::kSmtpd>;

struct Pair {
  Pair() {
    auto ends = make_channel_pair();
    client_end = std::make_unique<ClientEnd>(loop, std::move(ends.a), client);
    server_end = std::make_unique<ServerEnd>(loop, std::move(ends.b), server);
  }
  void turn(int times = 6) {
    for (int i = 0; i < times; ++i) loop.run_once(false);
  }
  event::Loop loop;
  Client client;
  Server server;
  std::unique_ptr<ClientEnd> client_end;
  std::unique_ptr<ServerEnd> server_end;
};

Submit submit(std::uint64_t request, std::uint64_t bytes = 0) {
  Submit m;
  m.request = base::RequestId(request);
  m.body_size = bytes;
  return m;
}

TEST(Channel, CarriesRequestsPartsAndReplies) {
  Pair p;
  p.client_end->send(submit(1, 5));
  p.client_end->send(SubmitBody{base::RequestId(1), {"hello"}});
  p.turn();
  ASSERT_EQ(p.server.submits.size(), 1U);
  EXPECT_EQ(p.server.body, "hello");
  p.server_end->send(Submitted{base::RequestId(1), base::MessageId(9), {}});
  p.turn();
  ASSERT_EQ(p.client.submitted.size(), 1U);
  EXPECT_EQ(p.client.submitted[0].id, base::MessageId(9));
}

TEST(Channel, PassesDescriptorsWithTheirFrame) {
  Pair p;
  for (std::uint64_t i = 1; i <= 3; ++i) p.client_end->send(OpenLarge{base::RequestId(i)});
  p.turn();
  for (std::uint64_t i = 1; i <= 3; ++i) {
    Descriptors d;
    if (i != 2) {
      int ends[2];
      ASSERT_EQ(::pipe(ends), 0);
      ASSERT_EQ(::write(ends[1], &i, sizeof i), static_cast<ssize_t>(sizeof i));
      ::close(ends[1]);
      d.push_back(base::UniqueFd::adopt(ends[0]));
    }
    p.server_end->send(LargeOpened{base::RequestId(i), base::MessageId(i)}, std::move(d));
  }
  p.turn();
  ASSERT_EQ(p.client.opened.size(), 3U);
  EXPECT_EQ(p.client.opened[0].second, 1U);
  EXPECT_EQ(p.client.opened[1].second, 0U);
  EXPECT_EQ(p.client.opened[2].second, 1U);
  for (std::size_t i = 0; i < 2; ++i) {
    std::uint64_t number = 0;
    ASSERT_EQ(::read(p.client.files[i].get(), &number, sizeof number), static_cast<ssize_t>(sizeof number));
    EXPECT_EQ(number, i * 2 + 1);
    EXPECT_TRUE(::fcntl(p.client.files[i].get(), F_GETFD) & FD_CLOEXEC);
  }
}

TEST(Channel, CreditStopsTheSenderAndRepliesGiveItBack) {
  Pair p;
  const auto window = Submit::kWindow;
  std::uint64_t sent = 0;
  while (p.client_end->channel().has_credit<Submit>()) p.client_end->send(submit(++sent));
  EXPECT_EQ(sent, window.requests);
  int credited = 0;
  p.client_end->channel().on_credit([&]() noexcept { ++credited; });
  p.turn();
  EXPECT_EQ(p.server.submits.size(), sent);
  p.server_end->send(Submitted{base::RequestId(7), base::MessageId(1), {}});
  p.server_end->send(Submitted{base::RequestId(8), base::MessageId(2), {}});
  p.turn();
  EXPECT_EQ(credited, 1) << "once for what one turn gave back";
  p.server_end->send(Submitted{base::RequestId(9), base::MessageId(3), {}});
  p.turn();
  EXPECT_EQ(credited, 2);
  EXPECT_TRUE(p.client_end->channel().has_credit<Submit>());
}

TEST(Channel, CreditCountsBytes) {
  Pair p;
  p.client_end->send(submit(1, Submit::kWindow.bytes));
  EXPECT_FALSE(p.client_end->channel().has_credit<Submit>(1));
}

// --- A peer that breaks the rules: raw bytes into one end of a channel ---------------------------

std::string frame(Type type, std::string_view payload, std::uint16_t descriptors = 0) {
  std::string bytes;
  base::Writer w(bytes);
  w.integer(static_cast<std::uint32_t>(payload.size()));
  w.integer(static_cast<std::uint16_t>(type));
  w.integer(descriptors);
  w.raw(payload);
  return bytes;
}

std::string hello(Role role = Role::kSmtpd, std::uint64_t shapes = shapes_hash()) {
  return frame(Type::kHello, encode(Hello{role, shapes}));
}

struct Victim {
  Victim() {
    auto ends = make_channel_pair();
    raw = std::move(ends.a);
    end = std::make_unique<ServerEnd>(loop, std::move(ends.b), server);
  }
  // Sends what the kernel takes; true while the channel stands.
  bool feed(std::string_view bytes) {
    while (!bytes.empty() && end->channel().open()) {
      const auto put = ::send(raw.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put > 0) bytes.remove_prefix(static_cast<std::size_t>(put));
      loop.run_once(false);
    }
    for (int i = 0; i < 4; ++i) loop.run_once(false);
    return end->channel().open();
  }
  event::Loop loop;
  Server server;
  base::UniqueFd raw;
  std::unique_ptr<ServerEnd> end;
};

TEST(HostilePeer, NonsenseClosesTheChannelAndNothingElse) {
  const std::string cases[] = {
      frame(Type::kSubmit, encode(submit(1))),                // before hello
      hello(Role::kRelay),                                    // somebody else
      hello(Role::kSmtpd, 1),                                 // another build
      hello() + hello(),                                      // twice
      hello() + frame(Type::kLease, std::string(40, 'x')),    // not its route
      hello() + frame(Type::kSubmit, "short"),                // malformed
      hello() + frame(Type::kSubmit, encode(submit(1)) + "x"),
      hello() + frame(static_cast<Type>(kTypeCount), ""),     // unknown type
      hello() + frame(Type::kAskToken, encode(AskToken{}), 1),  // a descriptor that is not there
      hello() + std::string("\xFF\xFF\xFF\xFF\x09\0\0\0", 8),   // 4 GiB
  };
  for (const auto& bytes : cases) {
    Victim v;
    EXPECT_FALSE(v.feed(bytes)) << ::testing::PrintToString(bytes.substr(0, 60));
    EXPECT_EQ(v.server.closed_count, 1);
    EXPECT_TRUE(v.server.submits.empty());
  }
}

TEST(HostilePeer, RequestsBeyondTheWindowCloseTheChannel) {
  Victim v;
  std::string flood = hello();
  for (std::uint64_t i = 1; i <= Submit::kWindow.requests + 1; ++i)
    flood += frame(Type::kSubmit, encode(submit(i)));
  EXPECT_FALSE(v.feed(flood));
  EXPECT_EQ(v.server.submits.size(), Submit::kWindow.requests);
}

TEST(HostilePeer, TheSameRequestTwiceClosesTheChannel) {
  Victim v;
  EXPECT_FALSE(v.feed(hello() + frame(Type::kSubmit, encode(submit(1))) + frame(Type::kSubmit, encode(submit(1)))));
}

TEST(HostilePeer, AnnouncedBytesBeyondTheWindowCloseTheChannel) {
  Victim v;
  EXPECT_FALSE(v.feed(hello() + frame(Type::kSubmit, encode(submit(1, 1))) +
                      frame(Type::kSubmit, encode(submit(2, Submit::kWindow.bytes)))));
}

TEST(HostilePeer, OneThatNeverReadsIsCutOffWithBoundedMemory) {
  Victim v;
  ASSERT_TRUE(v.feed(hello()));
  Intake message;
  message.refusal.text = std::string(mail::Reply::kMaxText, 'x');
  std::size_t most = 0;
  for (int i = 0; i < 400'000 && v.end->channel().open(); ++i) {
    v.end->send(message);
    most = std::max(most, v.end->channel().unsent());
    if (i % 64 == 0) v.loop.run_once(false);
  }
  EXPECT_FALSE(v.end->channel().open());
  EXPECT_LT(most, 80U << 20);
}

TEST(HostilePeer, FramesInAnyPiecesAreTheSame) {
  const auto bytes = hello() + frame(Type::kSubmit, encode(submit(1, 5))) +
                     frame(Type::kSubmitBody, encode(SubmitBody{base::RequestId(1), {"hello"}}));
  Victim v;
  for (const char c : bytes) ASSERT_TRUE(v.feed({&c, 1}));
  EXPECT_EQ(v.server.submits.size(), 1U);
  EXPECT_EQ(v.server.body, "hello");
}

TEST(HostilePeer, DescriptorsThatNobodyAskedForAreClosed) {
  Victim v;
  ASSERT_TRUE(v.feed(hello()));
  for (int i = 0; i < 64 && v.end->channel().open(); ++i) {
    const char byte = 0;
    iovec data{const_cast<char*>(&byte), 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr m{};
    m.msg_iov = &data;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = v.raw.get();
    std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
    (void)::sendmsg(v.raw.get(), &m, MSG_NOSIGNAL);
    v.loop.run_once(false);
  }
  EXPECT_FALSE(v.end->channel().open());
}

TEST(Channel, RepliesWithoutRequestCloseTheReceiver) {
  Pair p;
  auto ends = make_channel_pair();
  auto lone = std::make_unique<ClientEnd>(p.loop, std::move(ends.a), p.client);
  const auto bytes = frame(Type::kHello, encode(Hello{Role::kQueued, shapes_hash()})) +
                     frame(Type::kSubmitted, encode(Submitted{base::RequestId(3), base::MessageId(1), {}}));
  ASSERT_EQ(::send(ends.b.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  p.turn();
  EXPECT_FALSE(lone->channel().open());
  EXPECT_TRUE(p.client.submitted.empty());
}

TEST(Channel, WhatWasSaidBeforeTheEndIsStillRead) {
  Pair p;
  p.client_end->send(submit(1));
  p.turn();
  p.server_end->send(Submitted{base::RequestId(1), base::MessageId(5), {}});
  p.server_end->channel().flush();
  p.server_end.reset();
  p.turn();
  EXPECT_EQ(p.client.submitted.size(), 1U);
  EXPECT_EQ(p.client.closed_count, 1);
}

}  // namespace
}  // namespace postern::ipc
