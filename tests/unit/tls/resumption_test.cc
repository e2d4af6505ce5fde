// That sessions are resumed, and when not, is seen in tests/unit/deliverd/tls_test.cc; here, that they stay few.
#include "common/tls/resumption.h"

#include <gtest/gtest.h>

namespace postern::tls {
namespace {

TEST(Resumption, KeepsOnlySoMany) {
  Resumption kept;
  for (std::size_t i = 0; i < Resumption::kMost + 5; ++i) kept.put(std::to_string(i), nullptr);
  EXPECT_EQ(kept.size(), Resumption::kMost);
  kept.put(std::to_string(Resumption::kMost), nullptr);  // in place of the one that is there
  EXPECT_EQ(kept.size(), Resumption::kMost);
  EXPECT_EQ(kept.take("4"), nullptr);
  kept.forget("4");  // gone as one of the oldest
  EXPECT_EQ(kept.size(), Resumption::kMost);
  kept.forget("5");
  EXPECT_EQ(kept.size(), Resumption::kMost - 1);
}

}  // namespace
}  // namespace postern::tls
