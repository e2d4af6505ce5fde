#include "parent/background.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace postern::parent {
namespace {

// What the caller exits with and says, when its server does `serve`.
template <class Serve>
std::pair<int, std::string> caller_of(Serve serve) {
  Background background;
  if (background.detach() == Background::Side::kServer) {
    serve(background);
    ::_exit(0);
  }
  ::testing::internal::CaptureStderr();
  const int status = background.wait_for_start();
  auto said = ::testing::internal::GetCapturedStderr();
  ::wait(nullptr);
  return {status, std::move(said)};
}
using Answer = std::pair<int, std::string>;

TEST(Background, TheCallerEndsWellOnceTheServerServes) {
  EXPECT_EQ(caller_of([](Background& b) { b.report({}); }), Answer(0, ""));
}

TEST(Background, TheCallerSaysWhyTheServerFailed) {
  EXPECT_EQ(caller_of([](Background& b) { b.report("the port is taken"); }),
            Answer(71, "postern: the port is taken\n"));
  const auto [status, said] = caller_of([](Background& b) { b.report(std::string(10'000, 'x')); });
  EXPECT_EQ(status, 71);
  EXPECT_LT(said.size(), 5'000U);
}

TEST(Background, AServerThatEndsWithoutAWordHasFailed) {
  EXPECT_EQ(caller_of([](Background&) {}).first, 71);
}

TEST(Background, InTheForegroundAFailureIsSaidAtOnce) {
  Background background;
  ::testing::internal::CaptureStderr();
  background.report({});
  background.report("no spool");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "postern: no spool\n");
}

}  // namespace
}  // namespace postern::parent
