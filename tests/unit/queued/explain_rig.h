// A server whose mail does not move, for one reason after the other.
#pragma once

#include <gtest/gtest.h>

#include <ranges>

#include "queued/explain.h"
#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {

using ipc::Blocker;

inline constexpr std::string_view kHop = "10.9.0.1:2525";
inline constexpr std::string_view kBody = "Subject: the one that waits\r\n\r\nhello\r\n";
inline constexpr base::Millis kInterval{30'000};  // of a route with a rate
inline constexpr std::uint64_t kIntervalMicros = 30'000'000;

class ExplainTest : public ::testing::Test, protected EngineRig {
 protected:
  ExplainTest() {
    // One connection for two queues.
    config.routes.push_back({.to = {"far.example", "near.example"},
                             .via = {{config::HopKind::kHost, "10.9.0.1", 2525}},
                             .connections = 1,
                             .line = 46,
                             .file = "conf.d/routes.toml"});
    config.retry.line = 67;
    config.retry.file = "postern.toml";
    config.start_place = {12, "postern.toml"};
  }
  // A message that may go, and a relay that has not opened its connection yet.
  void prepare(const std::string& to = "a@far.example") {
    begin();
    prepare_mail(to);
  }
  // The engine has not taken up the store's mail yet.
  void begin_unread() {
    segment_size = 1 << 20;
    ASSERT_TRUE(open()) << fatal;
    engine = std::make_unique<Engine>(*loop, *store, config);
    delivery = std::make_unique<Delivery>(*loop, *engine);
  }
  void prepare_mail(const std::string& to) {
    main = mail(to, std::string(kBody));
    queue = to.substr(2);
    connect(relay);
  }
  // As it stood when it was looked at, without a turn of the loop.
  std::vector<Blocker> blockers_now() {
    std::vector<Blocker> found;
    for (const auto& obstacle : obstacles(*engine, copy, copy.recipients.front()))
      found.push_back(obstacle.blocker);
    return found;
  }
  std::vector<Blocker> blockers() {
    copy = *look(main);
    return blockers_now();
  }
  ipc::Explanation explained() {
    const Message* message = look(main);
    return explanation(*engine, *message, message->recipients.front());
  }
  void change(Engine::Change change) {
    engine->change_blocks(std::move(change), [](Blocks::Said said) noexcept { EXPECT_TRUE(said); });
    for (int n = 0; n < 20; ++n) turn(1);
  }
  // While the message cannot go, so that another one does.
  void aside(const std::function<void()>& what) {
    const bool was_held = !look(main)->held.empty();
    if (!was_held) engine->hold(main, "aside");
    turn();
    what();
    turn();
    if (!was_held) engine->end_hold(main);
    turn();
  }
  void defer() {
    (void)engine->schedule().take(queue, main);
    engine->conclude(
        main,
        {{0, {ipc::Result::kDeferred, ipc::FailureClass::kMailbox, {451, 4, 2, 1, "later"}, {}}}},
        "mx[192.0.2.9]:25", {}, {"TLSv1.3 x", "yes: mx", "opportunistic: no policy"});
    turn();
  }
  void fail_hop() {
    engine->hop_failed({queue, std::string(kHop)}, ipc::FailureClass::kConnect,
                       {0, 4, 4, 1, "connect timed out"}, "");
    turn();
  }
  // Another message for the same next hop is handed out on its first connection.
  void send_other() {
    aside([this] {
      if (!other) other = mail("b@near.example");
      used = relay.grants.front().grant;
      (void)relay.ask(relay.grants.front());
    });
    ASSERT_EQ(relay.leases.size(), 1U);
    other_lease = relay.leases.back();
  }
  void end_other() {
    relay.answer(other_lease, ipc::Result::kDelivered, 250, "ok");
    relay.connection->send(ipc::GrantEnded{used, {}, {}, {}, ""});
    turn();
  }
  // Its body rots on disk, which is found when its segment's survivors are copied.
  void rot() {
    for (const auto& file : disk.files("journal"))
      if (auto& bytes = disk.content(file); bytes.contains(kBody))
        bytes.replace(bytes.find(kBody), 3, "rot");
    for (int n = 0; n < 200 && !look(main)->damaged; ++n) {
      conclude(accept(std::string(100'000, 'x')), Fate::kDelivered);
      turn(1);
    }
  }
  // The connection of the last lease.
  base::GrantId last_used() {
    const auto& lease = relay.leases.back();
    return engine->schedule().leases().at({lease.epoch, lease.lease}).grant;
  }
  // Other queues have taken all connections that there may be.
  void fill_slots() {
    const auto room = [this] { return engine->schedule().room(false); };
    auto grants = std::exchange(relay.grants, {});
    for (std::uint32_t n = 0; room().used < room().slots; ++n) {
      ASSERT_LT(n, room().slots);
      (void)mail("a@q" + std::to_string(n) + ".example");
    }
    for (const auto& grant : relay.grants) (void)relay.ask(grant);
    turn(20);
    relay.grants = std::move(grants);
  }
  // As many as there may be, each with a message; their number.
  std::uint32_t use_all_connections() {
    const auto slots = engine->schedule().room(false).slots;
    for (std::uint32_t n = 0; n < slots; ++n) (void)mail("a@q" + std::to_string(n) + ".example");
    connect(relay);
    for (int n = 0; n < 50 && relay.leases.size() < slots; ++n) {
      for (const auto& grant : std::exchange(relay.grants, {})) (void)relay.ask(grant);
      turn(20);
    }
    EXPECT_EQ(relay.leases.size(), slots);
    return slots;
  }
  void set_up(Blocker blocker);
  void lift(Blocker blocker);

  base::MessageId main;
  std::string queue;
  FakeRelay relay;
  Message copy;
  std::optional<base::MessageId> other;
  base::GrantId used;  // by the other
  ipc::Lease other_lease;
};

}  // namespace postern::queued
