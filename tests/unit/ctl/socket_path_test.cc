#include "ctl/socket_path.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace postern::ctl {
namespace {

class SocketPath : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/postern-ctl-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::expected<std::string, Ending> with(const std::string& text) {
    std::ofstream(directory_ + "/postern.toml") << text;
    Command command;
    command.config = directory_ + "/postern.toml";
    return socket_path(command);
  }
  std::string directory_;
};

TEST_F(SocketPath, FromTheConfigurationRelativeToIt) {
  EXPECT_EQ(with("runtime = \"run\"\n").value(), directory_ + "/run/control.sock");
  EXPECT_EQ(with("runtime = \"/run/elsewhere\"\n").value(), "/run/elsewhere/control.sock");
  EXPECT_EQ(with("hostname = \"x\"\n").value(), "/run/postern/control.sock");
}

TEST_F(SocketPath, AHalfEditedFileDoesNotShutTheToolOut) {
  EXPECT_EQ(with("runtime = \"run\"\nhostnaem = 7\n[[domain]]\n").value(),
            directory_ + "/run/control.sock");
}

TEST_F(SocketPath, WhatCannotBeReadIsNamed) {
  const auto broken = with("runtime = \n");
  ASSERT_FALSE(broken.has_value());
  EXPECT_EQ(broken.error().exit, 78);
  EXPECT_NE(broken.error().text.find("postern.toml:1"), std::string::npos) << broken.error().text;
  EXPECT_NE(broken.error().text.find("--socket"), std::string::npos);
  EXPECT_FALSE(with("runtime = 7\n").has_value());
}

TEST_F(SocketPath, TheOptionWinsAndIsLimited) {
  Command command;
  command.socket = "/run/s";
  EXPECT_EQ(socket_path(command).value(), "/run/s");
  command.socket = "/" + std::string(200, 'x');
  EXPECT_EQ(socket_path(command).error().exit, 64);
}

}  // namespace
}  // namespace postern::ctl
