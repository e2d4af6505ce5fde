#include "bench/ledger/template.h"

#include <gtest/gtest.h>

namespace postern::bench {
namespace {

TEST(Template, FillsNumbers) {
  struct Case {
    const char* text;
    std::uint64_t number, index;
    const char* address;
  };
  const Case cases[] = {
      {"r@d.test", 7, 1, "r@d.test"},
      {"r{n}@d.test", 7, 1, "r7@d.test"},
      {"r{n}.{i}@d{n%10}.test", 123, 4, "r123.4@d3.test"},
      {"r@d{n/100%10}.test", 4567, 0, "r@d5.test"},
      {"{i%2}{i/2}@d.test", 1, 5, "12@d.test"},
  };
  for (const auto& c : cases) {
    const auto made = Template::parse(c.text);
    ASSERT_TRUE(made) << c.text;
    EXPECT_EQ(made->fill(c.number, c.index), c.address);
    EXPECT_EQ(made->text(), c.text);
  }
}

TEST(Template, SaysWhatIsWrong) {
  for (const char* const text :
       {"", "a b@c", "r{n@d", "r{x}@d", "r{n%0}@d", "r{n%}@d", "r{n5}@d", "r{}@d"})
    EXPECT_FALSE(Template::parse(text)) << text;
}

TEST(Template, KnowsWhetherRecipientsDiffer) {
  EXPECT_FALSE(Template::parse("r{n}@d.test")->uses_index());
  EXPECT_TRUE(Template::parse("r{i%3}@d.test")->uses_index());
}

}  // namespace
}  // namespace postern::bench
