#include "common/tls/tickets.h"

#include <gtest/gtest.h>

namespace postern::tls::test {
namespace {

std::string_view name(const TicketKey& key) {
  return {reinterpret_cast<const char*>(key.name.data()), key.name.size()};
}

TEST(TicketKeys, TheNewestSealsAndFormerOnesOpen) {
  TicketKeys keys;
  EXPECT_EQ(keys.newest(), nullptr);
  const auto a = random_ticket_key(), b = random_ticket_key(), c = random_ticket_key();
  EXPECT_NE(a, b);
  keys.replace({a});
  EXPECT_EQ(*keys.newest(), a);
  keys.replace({b, a});
  EXPECT_EQ(*keys.newest(), b);
  EXPECT_EQ(*keys.named(name(a)), a);
  // From a maker that has lost what it made: its siblings have not.
  keys.replace({c});
  EXPECT_EQ(*keys.newest(), c);
  EXPECT_EQ(*keys.named(name(b)), b);
  EXPECT_EQ(*keys.named(name(a)), a);
  keys.replace({random_ticket_key()});
  EXPECT_EQ(keys.named(name(a)), nullptr) << "room for so many";
  EXPECT_EQ(keys.named("short"), nullptr);
}

}  // namespace
}  // namespace postern::tls::test
