#include "common/os/socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

namespace postern::os {
namespace {

TEST(SealedMemory, CannotChangeAnyMore) {
  auto fd = sealed_memory("test", "configuration");
  ASSERT_TRUE(fd);
  EXPECT_EQ(read_sealed_memory(fd->get(), 100).value(), "configuration");
  EXPECT_EQ(::pwrite(fd->get(), "x", 1, 0), -1);
  EXPECT_EQ(::ftruncate(fd->get(), 0), -1);
  EXPECT_FALSE(read_sealed_memory(fd->get(), 3));
}

TEST(SealedMemory, WhatIsNotSealedIsNotRead) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  EXPECT_FALSE(read_sealed_memory(fds[0], 100));
  ::close(fds[0]);
  ::close(fds[1]);
}

TEST(UnixListener, ReplacesAStaleSocketButNotALiveOne) {
  const auto path = (std::filesystem::temp_directory_path() / ("postern-" + std::to_string(::getpid()))).string();
  {
    auto first = listen_unix(path, 0600);
    ASSERT_TRUE(first);
    EXPECT_EQ(listen_unix(path, 0600).error().number, EADDRINUSE);
    EXPECT_TRUE(connect_unix(path));
  }
  EXPECT_TRUE(listen_unix(path, 0600));
  std::filesystem::remove(path);
  EXPECT_EQ(listen_unix(std::string(200, 'x'), 0600).error().number, ENAMETOOLONG);
}

TEST(TcpListener, AcceptsAndNamesTheClient) {
  auto listener = listen_tcp(base::parse_endpoint("127.0.0.1:0").value());
  ASSERT_TRUE(listener);
  EXPECT_EQ(accept(listener->get()).error().number, EAGAIN);
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(listener->get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const auto client = base::UniqueFd::adopt(::socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  const auto accepted = accept(listener->get());
  ASSERT_TRUE(accepted);
  EXPECT_EQ(base::to_string(accepted->client.address), "127.0.0.1");
}

}  // namespace
}  // namespace postern::os
