// What the control tool sees and does, over a real channel: paging, selectors, commands, rights.
#include "queued/listings.h"

#include <gtest/gtest.h>

#include "tests/unit/queued/fake_control.h"

namespace postern::queued {
namespace {

class ListingsTest : public ::testing::Test, protected ControlRig {
 protected:
  void SetUp() override { start(); }
  // All messages, page by page, each once.
  std::set<base::MessageId> list_messages() {
    std::set<base::MessageId> seen;
    ipc::ListMessages ask;
    ask.selector.all = true;
    for (int page = 0; page < 10; ++page) {
      tell(tool, ask);
      for (const auto& row : tool.messages.back().rows) EXPECT_TRUE(seen.insert(row.id).second);
      ask.after = tool.messages.back().next_after;
      if (!tool.messages.back().more) break;
    }
    return seen;
  }
};

TEST_F(ListingsTest, MessagesComeInPagesAndEachOnce) {
  std::set<base::MessageId> all;
  for (int n = 0; n < 600; ++n) all.insert(mail("a@q" + std::to_string(n % 5) + ".example"));
  EXPECT_EQ(list_messages(), all);
  EXPECT_EQ(tool.messages.size(), 3U);
}

TEST_F(ListingsTest, QueuesComeInPages) {
  for (int n = 0; n < 600; ++n) (void)mail("a@q" + std::to_string(n) + ".example");
  std::set<std::string> seen;
  ipc::ListQueues ask;
  for (int page = 0; page < 10; ++page) {
    tell(tool, ask);
    for (const auto& row : tool.queues.back().rows) EXPECT_TRUE(seen.insert(row.queue).second);
    if (!tool.queues.back().more) break;
    ask.after = tool.queues.back().rows.back().queue;
  }
  EXPECT_EQ(seen.size(), 600U);
  EXPECT_EQ(tool.queues.size(), 3U);
  ask = {};
  ask.pattern = "q1.example";
  tell(tool, ask);
  ASSERT_EQ(tool.queues.back().rows.size(), 1U);
  EXPECT_EQ(tool.queues.back().rows[0].messages, 1U);
}

// As many rows as fit: a frame has room for fewer of these.
TEST_F(ListingsTest, LongRowsMakeShortPages) {
  std::set<base::MessageId> all;
  const auto far = std::string(60, 'q') + "." + std::string(60, 'r') + ".example";
  for (int n = 0; n < 300; ++n) all.insert(mail(std::string(60, 'a') + "@" + far));
  ipc::Freeze freeze;
  freeze.queue = far;
  freeze.reason = std::string(250, 'w');
  ASSERT_TRUE(run(freeze).starts_with("0 "));
  EXPECT_EQ(list_messages(), all);
  EXPECT_GT(tool.messages.size(), 2U);
}

TEST_F(ListingsTest, SelectorsSelect) {
  const auto a = mail("Some.One@far.example");
  clock.advance(base::Millis(10'000));
  const auto b = mail("two@near.example", std::string(5000, 'x'), true);
  const auto selected = [&](auto change) {
    ipc::Selector selector;
    change(selector);
    std::vector<base::MessageId> ids;
    for (const auto id : {a, b})
      if (selects(*engine, selector, *look(id))) ids.push_back(id);
    return ids;
  };
  using Ids = std::vector<base::MessageId>;
  EXPECT_EQ(selected([](auto&) {}), Ids{});
  EXPECT_EQ(selected([](auto& s) { s.all = true; }), (Ids{a, b}));
  EXPECT_EQ(selected([](auto& s) { s.to = "some.ONE"; }), Ids{a});
  EXPECT_EQ(selected([](auto& s) { s.from = "ann@"; }), Ids{a});
  EXPECT_EQ(selected([](auto& s) { s.from = "<>"; }), Ids{b});
  EXPECT_EQ(selected([](auto& s) { s.queue = "*.example"; }), (Ids{a, b}));
  EXPECT_EQ(selected([](auto& s) { s.queue = "near.example"; }), Ids{b});
  EXPECT_EQ(selected([](auto& s) { s.larger = 1000; }), Ids{b});
  EXPECT_EQ(selected([](auto& s) { s.smaller = 1000; }), Ids{a});
  EXPECT_EQ(selected([](auto& s) { s.older = base::Millis(5000); }), Ids{a});
  EXPECT_EQ(selected([](auto& s) { s.newer = base::Millis(5000); }), Ids{b});
  EXPECT_EQ(selected([&](auto& s) { s.ids = {b}; }), Ids{b});
  EXPECT_EQ(selected([](auto& s) { s.state = ipc::State::kReady; }), (Ids{a, b}));
  EXPECT_EQ(selected([](auto& s) { s.state = ipc::State::kFrozen; }), Ids{});
  EXPECT_EQ(selected([](auto& s) { s.error = "refused"; }), Ids{});
  EXPECT_EQ(selected([](auto& s) { s.bounces = true; }), Ids{}) << "whoever sent them, they are not ours";
}

// By the hosts that its route names, or to which it leads, by whichever name.
TEST_F(ListingsTest, ASelectorNamesANextHop) {
  config.routes.push_back({.to = {"corp.example"},
                           .via = {{.kind = config::HopKind::kHost, .host = "one.example", .port = 2525},
                                   {.kind = config::HopKind::kHost, .host = "two.example", .port = 25}}});
  engine->configure(config);
  turn();
  const auto routed = mail("a@corp.example");
  const auto found = mail("b@far.example");
  FakeRelay relay;
  connect(relay);  // now its hosts are known
  const auto selected = [&](std::string hop) {
    ipc::Selector selector;
    selector.hop = std::move(hop);
    std::vector<base::MessageId> ids;
    for (const auto id : {routed, found})
      if (selects(*engine, selector, *look(id))) ids.push_back(id);
    return ids;
  };
  using Ids = std::vector<base::MessageId>;
  for (const auto* name : {"one.example", "one.example:2525", "two.example"}) EXPECT_EQ(selected(name), Ids{routed}) << name;
  for (const auto* name : {"far.example", "far.example:25"}) EXPECT_EQ(selected(name), Ids{found}) << name;
  EXPECT_EQ(selected("*.example"), (Ids{routed, found}));
  for (const auto* name : {"corp.example", "one.example:25", "three.example"}) EXPECT_EQ(selected(name), Ids{}) << name;
}

TEST_F(ListingsTest, NoticesOfOursAreSelected) {
  const auto failed = mail("a@far.example");
  (void)mail("b@far.example", "x\r\n", true);
  (void)engine->schedule().take("far.example", failed);
  engine->conclude(failed, {{0, {ipc::Result::kFailed, ipc::FailureClass::kMailbox, {550, 5, 1, 1, "no"}, {}}}}, "", {});
  turn(30);
  ipc::ListMessages ask;
  ask.selector.bounces = true;
  tell(tool, ask);
  ASSERT_EQ(tool.messages.back().rows.size(), 1U);
  EXPECT_TRUE(look(tool.messages.back().rows[0].id)->notice);
}

// As people write it: composed otherwise, in another case, with the domain in U-labels.
TEST_F(ListingsTest, SelectorsFindAddressesBeyondAscii) {
  const auto a = mail("J\xc3\xbcrg@b\xc3\xbc" "cher.example");
  const auto b = mail("jurg@xn--bcher-kva.example");
  const auto selected = [&](const std::string& to) {
    ipc::Selector selector;
    selector.to = to;
    std::vector<base::MessageId> ids;
    for (const auto id : {a, b})
      if (selects(*engine, selector, *look(id))) ids.push_back(id);
    return ids;
  };
  using Ids = std::vector<base::MessageId>;
  for (const auto* to : {"j\xc3\xbcrg", "J\xc3\x9cRG@", "ju\xcc\x88rg@xn--bcher-kva", "j\xc3\xbcrg@b\xc3\xbc" "cher"})
    EXPECT_EQ(selected(to), Ids{a}) << to;
  for (const auto* to : {"@b\xc3\xbc" "cher.example", "XN--BCHER"}) EXPECT_EQ(selected(to), (Ids{a, b})) << to;
  EXPECT_EQ(selected("jurg"), Ids{b});
}

TEST_F(ListingsTest, HeldMailIsListedHeldAndReleased) {
  const auto a = mail("one@far.example");
  const auto b = mail("two@far.example");
  ipc::Hold hold;
  hold.reason = "suspect";
  EXPECT_TRUE(run(hold).starts_with("64 "));
  hold.selector.to = "one@";
  hold.dry_run = true;
  EXPECT_EQ(run(hold), "0 would have held 1 message");
  EXPECT_TRUE(look(a)->held.empty());
  hold.dry_run = false;
  EXPECT_EQ(run(hold), "0 held 1 message");
  EXPECT_EQ(look(a)->held, "by anna: suspect");
  EXPECT_TRUE(look(b)->held.empty());
  ipc::Selector held;
  held.state = ipc::State::kHeld;
  EXPECT_TRUE(selects(*engine, held, *look(a)));
  EXPECT_FALSE(selects(*engine, held, *look(b)));
  // A retry overrides no block.
  ipc::Retry retry;
  retry.selector.all = true;
  (void)run(retry);
  EXPECT_FALSE(look(a)->held.empty());
  // It is durable when it is told.
  end();
  begin();
  serve(tool, ControlLevel::kAdmin);
  EXPECT_EQ(look(a)->held, "by anna: suspect");
  hold = {};
  hold.release = true;
  hold.selector.ids = {b};
  EXPECT_EQ(run(hold), "65 no such message is held");
  hold.selector.ids = {a, a};
  EXPECT_EQ(run(hold), "0 released 1 message; expire within 24h: 1");
  EXPECT_TRUE(look(a)->held.empty());
}

TEST_F(ListingsTest, AStandingHoldTakesWhatComesAndEndsWithItsSelector) {
  const auto here = mail("one@far.example");
  ipc::Hold hold;
  hold.reason = "phish";
  hold.also_new = true;
  hold.selector.all = true;
  EXPECT_TRUE(run(hold).starts_with("64 "));
  hold.selector = {};
  hold.selector.queue = "Far.Example";
  EXPECT_EQ(run(hold), "0 new mail with --queue far.example is held; held 1 message");
  EXPECT_FALSE(look(here)->held.empty());
  FakeSmtpd smtpd;
  connect(smtpd);
  send(smtpd, submit_frame(1, 1, 5, 2), {"bob@example.org", "two@far.example"}, "x\r\n\r\n");
  send(smtpd, submit_frame(2, 2, 5), {"bob@example.org"}, "x\r\n\r\n");
  for (int n = 0; n < 30; ++n) turn(1);
  ASSERT_EQ(smtpd.submitted.size(), 2U);
  const auto held = smtpd.submitted[0].id, free = smtpd.submitted[1].id;
  EXPECT_EQ(look(held)->held, "by anna: phish");
  EXPECT_TRUE(look(free)->held.empty());
  tell(tool, ipc::ListBlocks{});
  ASSERT_EQ(tool.blocks.back().rows.size(), 1U);
  EXPECT_EQ(tool.blocks.back().rows[0].kind, ipc::BlockKind::kHold);
  EXPECT_EQ(tool.blocks.back().rows[0].name, "--queue far.example");
  // It outlives the process.
  end();
  begin();
  serve(tool, ControlLevel::kAdmin);
  EXPECT_EQ(look(held)->held, "by anna: phish");
  ASSERT_EQ(engine->blocks().holds().size(), 1U);
  hold.release = true;
  EXPECT_EQ(run(hold),
            "0 new mail with --queue far.example is not held any more; released 2 messages; expire "
            "within 24h: 2");
  EXPECT_TRUE(engine->blocks().holds().empty());
  EXPECT_TRUE(look(held)->held.empty());
}

TEST_F(ListingsTest, ShowTellsEveryRecipient) {
  auto record = envelope(45);
  const auto id = record.id;
  store->accept(std::move(record), std::make_shared<const std::string>(),
                [this, id](bool) noexcept { engine->admit(id); });
  turn();
  ipc::Show ask;
  ask.id = id;
  std::size_t rows = 0;
  for (int page = 0; page < 5; ++page) {
    tell(tool, ask);
    ASSERT_TRUE(tool.shown.back().found);
    rows += tool.shown.back().recipients.size();
    ask.after = static_cast<std::uint32_t>(rows);
    if (!tool.shown.back().more) break;
  }
  EXPECT_EQ(rows, 45U);
  ask.id = base::MessageId(1);
  tell(tool, ask);
  EXPECT_FALSE(tool.shown.back().found);
}

TEST_F(ListingsTest, WhoMayLookIsToldWhyMailDoesNotMove) {
  const auto id = mail("a@far.example");
  (void)run(ipc::Freeze{.queue = "far.example", .reason = "moving"});
  FakeControl viewer;
  serve(viewer, ControlLevel::kView);
  tell(viewer, ipc::Explain{.id = id});
  ASSERT_EQ(viewer.explained.size(), 1U);
  ASSERT_EQ(viewer.explained[0].explanations.size(), 1U);
  EXPECT_EQ(viewer.explained[0].explanations[0].state, ipc::State::kFrozen);
  EXPECT_EQ(viewer.explained[0].explanations[0].obstacles[0].who, "anna");
  tell(viewer, ipc::ExplainQueue{{}, "far.example"});
  ASSERT_EQ(viewer.queues_explained.size(), 1U);
  EXPECT_EQ(viewer.queues_explained[0].state, ipc::State::kFrozen);
  tell(viewer, ipc::Explain{.id = base::MessageId(1)});
  EXPECT_FALSE(viewer.explained.back().found);
}

TEST_F(ListingsTest, ABodyComesInPages) {
  const std::string text(150'000, 'y');
  const auto id = mail("a@far.example", text);
  ipc::AskBody ask;
  ask.id = id;
  do {
    ask.offset = tool.body.size();
    tell(tool, ask);
    ASSERT_TRUE(tool.parts.back().found);
  } while (tool.body.size() < tool.parts.back().total);
  EXPECT_EQ(tool.body, "Received: by test\r\n" + text);
}

TEST_F(ListingsTest, FreezeWantsAKnownQueueOrFuture) {
  (void)mail("a@far.example");
  EXPECT_EQ(run(ipc::Freeze{.queue = "fat.example", .reason = "why", .future = false}).substr(0, 2),
            "65");
  EXPECT_NE(tool.done.back().text.find("far.example"), std::string::npos);  // near it
  EXPECT_EQ(run(ipc::Freeze{.queue = "fat.example", .reason = "why", .future = true}).substr(0, 2),
            "0 ");
  EXPECT_EQ(
      run(ipc::Freeze{.queue = "FAR.example", .reason = "full", .future = false}).substr(0, 2),
      "0 ");
  EXPECT_EQ(run(ipc::Freeze{.queue = "a*b", .reason = "full", .future = true}).substr(0, 2), "64");
  EXPECT_EQ(engine->blocks().frozen("far.example")->who, "anna");
  tell(tool, ipc::ListBlocks{});
  ASSERT_EQ(tool.blocks.back().rows.size(), 2U);
  tell(tool, ipc::ListQueues{});
  ASSERT_EQ(tool.queues.back().rows.size(), 1U);
  EXPECT_EQ(tool.queues.back().rows[0].state, ipc::State::kFrozen);
  EXPECT_EQ(tool.queues.back().rows[0].why, "full");
  EXPECT_EQ(totals(*engine).frozen, 1U);
  EXPECT_EQ(run(ipc::Unfreeze{.queue = "far.example"}).substr(0, 2), "0 ");
  EXPECT_EQ(run(ipc::Unfreeze{.queue = "far.example"}).substr(0, 2), "65");
  EXPECT_EQ(totals(*engine).ready, 1U);
}

TEST_F(ListingsTest, OutboundOffStopsAndIsTold) {
  (void)mail("a@far.example");
  EXPECT_EQ(run(ipc::SwitchOutbound{.reason = "spam"}).substr(0, 2), "0 ");
  EXPECT_EQ(totals(*engine).off, 1U);
  FakeRelay relay;
  connect(relay);
  EXPECT_TRUE(relay.grants.empty());
  EXPECT_EQ(run(ipc::SwitchOutbound{.enable = true}).substr(0, 2), "0 ");
  turn();
  EXPECT_FALSE(relay.grants.empty());
}

TEST_F(ListingsTest, RetryActsAtOnceAndDryRunOnlyCounts) {
  const auto id = mail("a@far.example");
  (void)engine->schedule().take("far.example", id);
  engine->conclude(id, {{0, {ipc::Result::kDeferred, ipc::FailureClass::kData, {451, 4, 0, 0, "later"}}}},
                   "", {});
  turn();
  EXPECT_EQ(totals(*engine).retry, 1U);
  ipc::Retry retry;
  EXPECT_EQ(run(retry).substr(0, 2), "64");
  retry.selector.error = "LATER";
  retry.dry_run = true;
  EXPECT_EQ(run(retry), "0 would retry 1 message");
  EXPECT_EQ(totals(*engine).retry, 1U);
  retry.dry_run = false;
  EXPECT_EQ(run(retry), "0 retrying 1 message");
  EXPECT_EQ(totals(*engine).ready, 1U);
}

// Its try is going on.
TEST_F(ListingsTest, RetryCountsWhatIsInDeliveryApart) {
  (void)mail("a@far.example");
  FakeRelay relay;
  connect(relay);
  ASSERT_FALSE(relay.grants.empty());
  (void)relay.ask(relay.grants.front());
  turn();
  (void)mail("b@far.example");
  (void)mail("c@far.example");
  ipc::Retry retry;
  retry.selector.all = true;
  retry.reason = "they are back";
  EXPECT_EQ(run(retry), "0 retrying 2 messages, in delivery 1");
}

TEST_F(ListingsTest, WhoMayOnlyLookMayOnlyLook) {
  const auto id = mail("a@far.example", "private\r\n");
  FakeControl viewer;
  serve(viewer, ControlLevel::kView);
  tell(viewer, ipc::ListQueues{});
  EXPECT_EQ(viewer.queues.size(), 1U);
  tell(viewer, ipc::Freeze{.queue = "far.example", .reason = "x", .future = false});
  ASSERT_EQ(viewer.done.size(), 1U);
  EXPECT_EQ(viewer.done[0].exit, 77);
  tell(viewer, ipc::AskBody{{}, id, 0});
  ASSERT_EQ(viewer.parts.size(), 1U);
  EXPECT_FALSE(viewer.parts[0].found);
  FakeControl operater;
  serve(operater, ControlLevel::kOperate);
  tell(operater, ipc::StopServer{});
  EXPECT_EQ(operater.done.back().exit, 77);
  EXPECT_EQ(run(ipc::StopServer{}), "0 stopping");
}

TEST(ControlRights, GroupsDecide) {
  const config::ControlGroups groups{.view = 4, .operate = 5, .admin = 6};
  const auto level = [&](std::uint32_t uid, std::vector<std::uint32_t> in) {
    return level_of({uid, std::move(in)}, groups, 500);
  };
  EXPECT_EQ(level(0, {}), ControlLevel::kAdmin);
  EXPECT_EQ(level(500, {}), ControlLevel::kAdmin);
  EXPECT_EQ(level(1000, {1}), ControlLevel::kNone);
  EXPECT_EQ(level(1000, {1, 4}), ControlLevel::kView);
  EXPECT_EQ(level(1000, {5, 4}), ControlLevel::kOperate);
  EXPECT_EQ(level(1000, {6}), ControlLevel::kAdmin);
  EXPECT_EQ(level_of({1000, {~0U}}, {}, 500), ControlLevel::kNone);  // no such group is nobody's
}

}  // namespace
}  // namespace postern::queued
