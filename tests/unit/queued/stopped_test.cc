// What is stopped stays as it is, whatever was under way with it: no mail of it ends, enters or leaves once it
// was said to be stopped.
#include <gtest/gtest.h>

#include "tests/unit/queued/fake_control.h"

namespace postern::queued {
namespace {

class StoppedTest : public ::testing::Test, protected ControlRig {
 protected:
  void SetUp() override { start(); }
  void freeze(const std::string& name, bool hop = false) {
    change([this, name, hop](Blocks& blocks) noexcept {
      return blocks.freeze({.queue = name,
                            .reason = "moving",
                            .who = "anna",
                            .since = clock.wall(),
                            .from = engine->now(),
                            .hop = hop});
    });
  }
  // Of the blocks, at once but for the disk.
  void change(Engine::Change change) {
    engine->change_blocks(std::move(change), [this](Blocks::Said said) noexcept { in_force = said.has_value(); });
  }
  std::vector<Message> notices() {
    auto all = messages();
    std::erase_if(all, [](const Message& message) { return !message.notice; });
    return all;
  }
  void take(base::MessageId id) { (void)engine->schedule().take("far.example", id); }
  static Attempt refused() { return {ipc::Result::kFailed, {}, {550, 5, 1, 1, "no such user"}, {}}; }
  bool in_force = false;
};

TEST_F(StoppedTest, OldMailOfADeadHopThatIsFrozenWhileItEnds) {
  constexpr std::size_t kMany = 200;  // four slices
  for (std::size_t n = 0; n < kMany; ++n) (void)mail("x@far.example");
  clock.advance(base::Millis(2'000'000));
  engine->hop_failed({"far.example", "far.example"}, ipc::FailureClass::kConnect, {0, 4, 4, 1, "dead"}, "");
  // The slices have their turns behind this.
  freeze("far.example");
  for (int n = 0; n < 100 && !in_force; ++n) store->pump();
  ASSERT_TRUE(in_force);
  turn(100);
  ASSERT_NE(engine->schedule().find("far.example"), nullptr);
  EXPECT_EQ(engine->schedule().find("far.example")->messages(), kMany);
  EXPECT_TRUE(notices().empty());
}

// By the new route it has not been tried yet. With several of them the slices of one have time until all is placed anew.
TEST_F(StoppedTest, OldMailOfDeadHopsThatAReloadLeadsElsewhereWhileItEnds) {
  constexpr std::size_t kHops = 8, kMany = 120;  // three slices each
  const auto name = [](std::size_t hop) { return "far" + std::to_string(hop) + ".example"; };
  for (std::size_t n = 0; n < kHops * kMany; ++n) (void)mail("x@" + name(n % kHops));
  clock.advance(base::Millis(2'000'000));
  for (std::size_t hop = 0; hop < kHops; ++hop)
    engine->hop_failed({name(hop), name(hop)}, ipc::FailureClass::kConnect, {0, 4, 4, 1, "dead"}, "");
  const auto left = [&] {
    std::size_t sum = 0;
    for (std::size_t hop = 0; hop < kHops; ++hop)
      if (const auto* queue = engine->schedule().find(name(hop))) sum += queue->messages();
    return sum;
  };
  auto changed = config;
  changed.routes.push_back({.to = {"*"}, .via = {{config::HopKind::kHost, "smart.example", 25}}});
  std::size_t before = 0;
  event::Timer reload(*loop, [&]() noexcept {  // between two slices
    before = left();
    before == kHops * kMany ? reload.start(base::Millis(0)) : engine->configure(changed);
  });
  reload.start(base::Millis(0));
  turn(200);
  ASSERT_LT(before, kHops * kMany);
  ASSERT_GT(before, 0U) << "all ended at once: there is nothing to see";
  EXPECT_EQ(left(), before);
}

TEST_F(StoppedTest, WhatARouteWouldEndAfterAReload) {
  const auto stays = mail("x@far.example");
  const auto goes = mail("x@near.example");
  freeze("far.example");
  freeze("local");
  turn();
  const auto bob = mail("bob@example.org");
  auto changed = config;
  changed.routes.push_back({.to = {"*"}, .via = {{.kind = config::HopKind::kRefuse}}});
  changed.rights.domains[0].users = {"ann"};
  engine->configure(changed);
  turn(50);
  EXPECT_NE(look(stays), nullptr);
  EXPECT_NE(look(bob), nullptr);
  EXPECT_EQ(look(goes), nullptr) << "what nobody stopped goes by the new route";
}

TEST_F(StoppedTest, FailuresThatWaitForOthersAreToldOfAtOnce) {
  std::vector<std::string> to;
  for (int n = 0; n < 72; ++n) to.push_back("u" + std::to_string(n) + "@far.example");
  const auto id = mail(to);
  FakeRelay relay;
  connect(relay);
  (void)relay.ask(relay.grants.front());
  turn();
  ASSERT_EQ(relay.leases.size(), 1U);
  relay.answer(relay.leases[0], ipc::Result::kFailed, 550, "no");
  turn();
  EXPECT_TRUE(notices().empty()) << "they wait for the other half";
  EXPECT_FALSE(engine->idle());
  EXPECT_EQ(run(ipc::Freeze{.queue = "far.example", .reason = "full"}), "0 far.example is frozen");
  turn(50);
  EXPECT_TRUE(engine->idle());
  ASSERT_EQ(notices().size(), 1U) << "nothing more of it is to come";
  EXPECT_EQ(look(id)->open, 36U);
}

TEST_F(StoppedTest, FailuresThatWaitAreInFlight) {
  const auto id = mail(std::vector<std::string>{"a@far.example", "b@far.example"});
  take(id);
  engine->schedule().add("far.example", engine->router().route(address("b@far.example")).destination,
                         {id, 1, 100, 0, engine->now(), false}, engine->now());
  freeze("elsewhere.example");
  turn();
  engine->conclude(id, {{0, refused()}}, "", {});
  turn();
  EXPECT_EQ(engine->concluding(id), 1U);
  const auto all = [](const LeaseInfo&, const Schedule::Queue&) noexcept { return true; };
  const auto none = [](const LeaseInfo&, const Schedule::Queue&) noexcept { return false; };
  EXPECT_EQ(engine->concluding(all), 1U);
  EXPECT_EQ(engine->concluding(none), 0U);
  engine->tell_gathered();
  turn(50);
  EXPECT_EQ(engine->concluding(all), 0U);
}

TEST_F(StoppedTest, ALargeMessageThatIsSealedWhileTheIntakeIsDisabled) {
  FakeSmtpd smtpd;
  connect(smtpd);
  smtpd.connection->send(ipc::OpenLarge{base::RequestId(1)});
  turn();
  ASSERT_EQ(smtpd.large.size(), 1U);
  const auto id = smtpd.large[0].large;
  const auto path = "large/" + base::to_string(id);
  disk.content(path) = "a large body\r\n";
  auto frame = submit_frame(2, 9, 14);
  frame.large = id;
  // Both are under way to the store's threads; the switch is in force before the file is sealed.
  change([this](Blocks& blocks) noexcept {
    return blocks.disable_intake({.disabled = true, .reason = "full", .who = "anna", .since = clock.wall()});
  });
  send(smtpd, frame, {"a@far.example"}, "");
  loop->run_once(false);
  ASSERT_FALSE(in_force);
  turn(50);
  ASSERT_TRUE(in_force);
  ASSERT_EQ(smtpd.submitted.size(), 1U);
  EXPECT_EQ(smtpd.submitted[0].id.value, 0U);
  EXPECT_EQ(smtpd.submitted[0].refusal.code, 421);
  EXPECT_FALSE(disk.has(path));
}

TEST_F(StoppedTest, ANoticeOfOursMeetsStandingHoldsAsAllMailDoes) {
  EXPECT_EQ(run(ipc::Hold{.selector = {.from = "<>"}, .also_new = true, .reason = "a storm of bounces"}).front(), '0');
  const auto id = mail("a@far.example");
  take(id);
  engine->conclude(id, {{0, refused()}}, "", {});
  turn(50);
  ASSERT_EQ(notices().size(), 1U);
  EXPECT_NE(notices()[0].held.find("a storm of bounces"), std::string::npos);
  EXPECT_TRUE(engine->schedule().held("local", notices()[0].id));
}

}  // namespace
}  // namespace postern::queued
