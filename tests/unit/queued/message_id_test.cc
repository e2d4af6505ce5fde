// Messages by the Message-ID of their headers: what counts as one, and that it is found wherever a body lies.
#include "queued/message_id.h"

#include <gtest/gtest.h>

#include "tests/unit/queued/fake_control.h"

namespace postern::queued {
namespace {

using Ids = std::vector<base::MessageId>;

TEST(MessageIdField, IsFoundInTheHeaderAlone) {
  using enum MessageIdField;
  const auto find = [](std::string_view head) { return find_message_id(head, "a@b"); };
  EXPECT_EQ(find("Subject: x\r\nMessage-ID: <a@b>\r\n\r\nhello\r\n"), kSame);
  EXPECT_EQ(find("message-id:<a@b>\r\n"), kSame);
  EXPECT_EQ(find("MESSAGE-ID : <a@b> (a comment)\r\n\r\n"), kSame);
  EXPECT_EQ(find("Message-ID:\r\n\t<a@b>\r\n\r\n"), kSame);
  EXPECT_EQ(find("Message-ID: a@b\r\n\r\n"), kSame);
  EXPECT_EQ(find("Message-ID: <a@b>\n\n"), kSame);
  EXPECT_EQ(find("Message-ID: <c@d>\r\nMessage-ID: <a@b>\r\n\r\n"), kSame);
  EXPECT_EQ(find("Message-ID: <a@b"), kSame);
  EXPECT_EQ(find("Message-ID: <A@b>\r\n\r\n"), kOther);
  EXPECT_EQ(find("Message-ID: <xa@b>\r\n\r\n"), kOther);
  EXPECT_EQ(find("Message-ID: <a@b.example>\r\n\r\n"), kOther);
  EXPECT_EQ(find("Message-ID:\r\n\r\n"), kOther);
  EXPECT_EQ(find("Subject: x\r\n\r\nMessage-ID: <a@b>\r\n"), kNone);
  EXPECT_EQ(find("Subject: x\r\n Message-ID: <a@b>\r\n\r\n"), kNone);
  EXPECT_EQ(find("References: <a@b>\r\nResent-Message-ID: <a@b>\r\n\r\n"), kNone);
  EXPECT_EQ(find("no field\r\n\r\n"), kNone);
  EXPECT_EQ(find(""), kNone);
}

class MessageIdTest : public ::testing::Test, protected ControlRig {
 protected:
  void SetUp() override { start(); }
  static std::string text(const std::string& id) { return "Subject: x\r\nMessage-ID: <" + id + ">\r\n\r\nhello\r\n"; }
  // Those that a listing has on all its pages.
  Ids list(ipc::Selector selector) {
    Ids all;
    ipc::ListMessages ask;
    ask.selector = std::move(selector);
    for (pages = 1; pages < 20; ++pages) {
      const auto before = tool.messages.size();
      tell(tool, ask);
      for (int n = 0; n < 500 && tool.messages.size() == before; ++n) turn(1);
      EXPECT_EQ(tool.messages.size(), before + 1);
      for (const auto& row : tool.messages.back().rows) all.push_back(row.id);
      if (!tool.messages.back().more) break;
      ask.after = tool.messages.back().next_after;
    }
    return all;
  }
  int pages = 0;
};

TEST_F(MessageIdTest, SelectsWithAllOtherConditions) {
  const auto one = mail("a@far.example", text("one@x"));
  const auto two = mail("a@near.example", text("two@x"));
  const auto again = mail("a@near.example", text("one@x"));
  EXPECT_EQ(list({.message_id = "one@x"}), (Ids{one, again}));
  EXPECT_EQ(list({.message_id = "two@x"}), (Ids{two}));
  EXPECT_EQ(list({.message_id = "three@x"}), Ids());
  EXPECT_EQ(list({.queue = "near.example", .message_id = "one@x"}), (Ids{again}));
  EXPECT_EQ(list({.ids = {two, one}, .message_id = "one@x"}), (Ids{one}));
  EXPECT_EQ(list({.ids = {two}, .message_id = "one@x"}), Ids());
  EXPECT_EQ(list({.ids = {base::MessageId(1)}, .message_id = "one@x"}), Ids());
}

TEST_F(MessageIdTest, IsFoundAmongManyAndOnFurtherPages) {
  for (int n = 0; n < 300; ++n) (void)mail("a@far.example", text("many" + std::to_string(n) + "@x"));
  const auto last = mail("a@far.example", text("last@x"));
  EXPECT_EQ(list({.message_id = "last@x"}), (Ids{last}));
  EXPECT_GT(pages, 1);
  EXPECT_EQ(list({.message_id = "many17@x"}).size(), 1U);
}

// A large body is not read as a whole for it.
TEST_F(MessageIdTest, OfALargeBodyTheBeginningIsRead) {
  const auto large = accept_large_body(text("large@x") + std::string(200'000, 'x') + "\r\n");
  const auto deep = accept_large_body("Subject: " + std::string(kMaxSearchedHead, 'x') + "\r\nMessage-ID: <deep@x>\r\n\r\n");
  EXPECT_EQ(list({.message_id = "large@x"}), (Ids{large}));
  ASSERT_NE(look(large), nullptr);
  EXPECT_FALSE(look(large)->checked);
  EXPECT_EQ(list({.message_id = "deep@x"}), Ids());  // behind the limit
  ASSERT_NE(look(deep), nullptr);
}

TEST_F(MessageIdTest, VerbsActOnNoOther) {
  Ids ids;
  for (int n = 0; n < 40; ++n) ids.push_back(mail("a@far.example", text(n % 2 == 0 ? "even@x" : "odd@x")));
  EXPECT_EQ(run(ipc::Hold{.selector = {.message_id = "odd@x"}, .dry_run = true, .reason = "x"}),
            "0 would have held 20 messages");
  EXPECT_EQ(run(ipc::Hold{.selector = {.message_id = "odd@x"}, .reason = "x"}), "0 held 20 messages");
  for (int n = 0; n < 40; ++n) EXPECT_EQ(look(ids[static_cast<std::size_t>(n)])->held.empty(), n % 2 == 0);
  EXPECT_EQ(run(ipc::Retry{.selector = {.message_id = "even@x"}}), "0 retrying 20 messages");
  EXPECT_EQ(run(ipc::Retry{.selector = {.message_id = "none@x"}}), "0 retrying 0 messages");
  EXPECT_EQ(run(ipc::Hold{.selector = {.message_id = "odd@x"}, .release = true}),
            "0 released 20 messages; expire within 24h: 20");
}

TEST_F(MessageIdTest, NoStandingHoldAndNoHistoryKnowsOfIt) {
  EXPECT_EQ(run(ipc::Hold{.selector = {.message_id = "a@x"}, .also_new = true, .reason = "x"}).substr(0, 3), "64 ");
  EXPECT_TRUE(engine->blocks().holds().empty());
  EXPECT_FALSE(can_stand({.from = "a", .message_id = "a@x"}));
}

}  // namespace
}  // namespace postern::queued
