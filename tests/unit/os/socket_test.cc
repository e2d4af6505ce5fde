#include "common/os/socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

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

TEST(UnixListener, HasTheModeThatItWasGivenAndFollowsNoLink) {
  const auto path =
      (std::filesystem::temp_directory_path() / ("postern-mode-" + std::to_string(::getpid()))).string();
  const auto mask = ::umask(077);
  ASSERT_TRUE(listen_unix(path, 0666));
  EXPECT_EQ(::umask(mask), 077U);
  struct stat there {};
  ASSERT_EQ(::lstat(path.c_str(), &there), 0);
  EXPECT_EQ(there.st_mode & 07777U, 0666U);
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/no/such", path);
  EXPECT_FALSE(listen_unix(path, 0666));
  EXPECT_TRUE(std::filesystem::is_symlink(path));
  std::filesystem::remove(path);
}

TEST(UnixListener, LeavesALiveSocketOfAnotherKindAlone) {
  const auto path =
      (std::filesystem::temp_directory_path() / ("postern-dgram-" + std::to_string(::getpid()))).string();
  const auto other = base::UniqueFd::adopt(::socket(AF_UNIX, SOCK_DGRAM, 0));
  sockaddr_un own{AF_UNIX, {}};
  path.copy(own.sun_path, sizeof own.sun_path - 1);
  ASSERT_EQ(::bind(other.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own), 0);
  EXPECT_EQ(listen_unix(path, 0600).error().number, EPROTOTYPE);
  EXPECT_TRUE(std::filesystem::exists(path));
  std::filesystem::remove(path);
}

TEST(UnixListener, ReplacesNothingButASocket) {
  const auto path =
      (std::filesystem::temp_directory_path() / ("postern-file-" + std::to_string(::getpid()))).string();
  std::ofstream(path) << "dear";
  EXPECT_EQ(listen_unix(path, 0600).error().number, EEXIST);
  EXPECT_EQ(remove_unix(path).error().number, EEXIST);
  EXPECT_EQ(std::filesystem::file_size(path), 4U);
  std::filesystem::remove(path);
  EXPECT_TRUE(remove_unix(path));
}

// Only the kernel's word counts: what a process could pass off as somebody's connection is none.
TEST(ConnectedUser, IsToldOfAConnectionToANamedSocketAlone) {
  const auto path =
      (std::filesystem::temp_directory_path() / ("postern-user-" + std::to_string(::getpid()))).string();
  auto listener = listen_unix(path, 0600);
  ASSERT_TRUE(listener);
  const auto client = connect_unix(path);
  const auto accepted = accept(listener->get());
  ASSERT_TRUE(client && accepted);
  EXPECT_EQ(connected_user(accepted->fd.get()).value(), ::getuid());
  EXPECT_EQ(connected_user(listener->get()).error().number, EINVAL);
  // Of the connecting end the kernel names who listens, whether or not it has a name of its own.
  EXPECT_EQ(connected_user(client->get()).error().number, EINVAL);
  const auto named = base::UniqueFd::adopt(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un own{AF_UNIX, {}};
  path.copy(own.sun_path, sizeof own.sun_path - 3);
  std::strcat(own.sun_path, "-c");
  ASSERT_EQ(::bind(named.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own), 0);
  sockaddr_un there{AF_UNIX, {}};
  path.copy(there.sun_path, sizeof there.sun_path - 1);
  ASSERT_EQ(::connect(named.get(), reinterpret_cast<const sockaddr*>(&there), sizeof there), 0);
  EXPECT_EQ(connected_user(named.get()).error().number, EINVAL);
  const auto of_named = accept(listener->get());
  ASSERT_TRUE(of_named);
  EXPECT_EQ(connected_user(of_named->fd.get()).error().number, EINVAL);
  std::filesystem::remove(path + "-c");
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  EXPECT_EQ(connected_user(pair[0]).error().number, EINVAL);
  EXPECT_EQ(connected_user(-1).error().number, EINVAL);
  const auto tcp = listen_tcp(base::parse_endpoint("127.0.0.1:0").value());
  ASSERT_TRUE(tcp);
  EXPECT_EQ(connected_user(tcp->get()).error().number, EINVAL);
  ::close(pair[0]);
  ::close(pair[1]);
  std::filesystem::remove(path);
}

TEST(SocketPair, IsConnectedAndDoesNotBlock) {
  const auto pair = socket_pair();
  ASSERT_TRUE(pair);
  char byte = 0;
  EXPECT_EQ(::read(pair->first.get(), &byte, 1), -1);
  EXPECT_EQ(errno, EAGAIN);
  ASSERT_EQ(::write(pair->second.get(), "x", 1), 1);
  EXPECT_EQ(::read(pair->first.get(), &byte, 1), 1);
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
