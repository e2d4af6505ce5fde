// Exporter and importer alone, each on a store without threads: what is held when, what is waited for, what
// is left out, and that an import which breaks off anywhere takes each message once.
#include <gtest/gtest.h>

#include <set>

#include "queued/exits.h"
#include "queued/exporter.h"
#include "queued/importer.h"
#include "tests/unit/queued/store_rig.h"

namespace postern::queued {
namespace {

// A queue of which nothing is delivered, unless a test says so.
class StoreHost final : public TransferHost {
 public:
  explicit StoreHost(LocalStore& store) : store_(store) {}

  Store& store() override { return store_; }
  const std::string& hostname() const override { return hostname_; }
  std::uint64_t least_free() const override { return 0; }
  void when_loaded(Done loaded) override { loaded(); }
  void hold(std::vector<base::MessageId> ids, std::string why, Done held) override {
    store_.fetch(ids, [this, ids, why = std::move(why), held = std::move(held)]() mutable noexcept {
      for (const auto id : ids)
        if (store_.find(id) != nullptr) store_.note(HoldRecord{id, why, store_.clock().now()});
      store_.settle(std::move(held));
    });
  }
  void release(std::vector<base::MessageId> ids, Done released) override {
    hold(std::move(ids), {}, std::move(released));
  }
  base::Millis age(const Message& message) const override {
    return store_.clock().now() - message.born - stood_still;
  }
  bool in_delivery(const Message& message) const override { return delivering.contains(message.id); }
  void remove(const std::vector<base::MessageId>&) override {}
  void admit(base::MessageId id) override { admitted.insert(id); }

  std::set<base::MessageId> delivering;
  std::set<base::MessageId> admitted;
  base::Millis stood_still{0};  // the clock of all that is queued

 private:
  LocalStore& store_;
  std::string hostname_ = "old.example.org";
};

// One host with its store.
struct Side : StoreRig {
  Side() {
    segment_size = 1 << 20;
    EXPECT_TRUE(open());
    host = std::make_unique<StoreHost>(*store);
  }
  std::unique_ptr<StoreHost> host;
};

class TransferTest : public ::testing::Test {
 protected:
  struct Part {
    std::string bytes;
    std::vector<std::string> notes;
    bool more = true;
  };
  // Asks for the next part; nullopt while there is none.
  std::optional<Part> ask(Exporter& exporter) {
    auto got = std::make_shared<std::optional<Part>>();
    exporter.next([got](const ipc::ExportPart& part) noexcept {
      *got = Part{std::string(part.bytes.bytes), part.notes, part.more};
    });
    from.store->pump();
    return *got;
  }
  std::string export_all(bool keep = false) {
    Exporter exporter(*from.loop, *from.host, keep);
    std::string file;
    for (;;) {
      const auto part = ask(exporter);
      if (!part) {
        ADD_FAILURE() << "no part came";
        return file;
      }
      file += part->bytes;
      notes.insert(notes.end(), part->notes.begin(), part->notes.end());
      if (!part->more) return file;
    }
  }
  // In pieces of `step` bytes, the first `size` of them.
  ipc::SpoolDone take_in(Side& into, std::string_view file, std::size_t step = 50'000,
                        ImportWish wish = {}, bool whole = true) {
    Importer importer(*into.host, wish);
    ipc::SpoolDone last;
    bool answered = true;
    for (std::size_t at = 0; answered && !last.over && at < file.size(); at += step) {
      answered = false;
      importer.next(file.substr(at, step), whole && at + step >= file.size(),
                    [&](const ipc::SpoolDone& done) noexcept {
                      last = done;
                      answered = true;
                    });
      into.store->pump();
    }
    EXPECT_TRUE(answered);
    return last;
  }
  static std::map<base::MessageId, Message> by_origin(Side& side) {
    std::map<base::MessageId, Message> found;
    for (auto& message : side.messages()) {
      const auto origin = message.origin;
      EXPECT_TRUE(found.emplace(origin, std::move(message)).second) << "taken twice";
    }
    return found;
  }
  Side from, to;
  std::vector<std::string> notes;
};

TEST_F(TransferTest, WhatIsWrittenIsWhatIsRead) {
  const ipc::FirstClient client{base::parse_ip("192.0.2.7"), "4321", "client.example", "hello", "ESMTP"};
  from.smtputf8 = true;
  from.tls_wish = mail::TlsWish::kRequired;
  from.first_client = client;
  const auto plain = from.accept("a body\r\n", 3);
  from.smtputf8 = false;
  from.tls_wish = mail::TlsWish::kUnsaid;
  from.first_client.reset();
  const auto empty = from.accept("");
  const auto large = from.accept_large_body(std::string(400'000, 'L'));
  from.conclude(plain, Fate::kDelivered, 0);
  auto deferred = from.outcome(plain, Fate::kDeferred, 1);
  deferred.tls = "TLSv1.3 x; dane: mx; dane: 1 TLSA record";
  from.store->outcome(deferred, nullptr, {}, {});
  (void)from.look(empty);
  from.store->note(HoldRecord{empty, "by anna: look", from.store->clock().now()});
  from.clock.advance(base::Millis(60'000));
  from.store->pump();
  const auto file = export_all();
  EXPECT_TRUE(notes.empty());
  const auto done = take_in(to, file);
  EXPECT_EQ(done.exit, 0) << done.text;
  EXPECT_EQ(done.done, 3U);
  EXPECT_TRUE(done.over);

  auto found = by_origin(to);
  ASSERT_EQ(found.size(), 3U);
  const auto& message = found.at(plain);
  EXPECT_EQ(message.token, from.look(plain)->token);
  EXPECT_TRUE(message.smtputf8);
  EXPECT_FALSE(found.at(empty).smtputf8);
  EXPECT_EQ(message.tls_wish, mail::TlsWish::kRequired);
  EXPECT_EQ(found.at(empty).tls_wish, mail::TlsWish::kUnsaid);
  ASSERT_NE(message.first, nullptr);
  EXPECT_EQ(*message.first, client);
  EXPECT_EQ(found.at(empty).first, nullptr);
  EXPECT_EQ(message.arrived.ms, from.look(plain)->arrived.ms);
  EXPECT_EQ(to.store->clock().now() - message.born, base::Millis(60'000)) << "it goes on ageing";
  ASSERT_EQ(message.recipients.size(), 2U) << "of three, one has ended";
  EXPECT_EQ(message.recipients[0].number, 1U);
  EXPECT_EQ(message.recipients[0].tries, 1U);
  EXPECT_EQ(message.recipients[0].trouble->reply.text, "as it was");
  EXPECT_EQ(message.recipients[0].trouble->tls, "TLSv1.3 x; dane: mx; dane: 1 TLSA record");
  EXPECT_EQ(message.held, kImported);
  EXPECT_EQ(found.at(empty).held, "by anna: look");
  EXPECT_EQ(to.body(message.id), "a body\r\n");
  EXPECT_EQ(to.body(found.at(empty).id), "");
  EXPECT_EQ(to.body(found.at(large).id), std::string(400'000, 'L'));
  EXPECT_TRUE(found.at(large).large);
  EXPECT_EQ(to.host->admitted.size(), 3U);
}

TEST_F(TransferTest, AMessageIsHeldDurablyBeforeItIsWritten) {
  const auto id = from.accept("a body that is looked for\r\n");
  Exporter exporter(*from.loop, *from.host, false);
  std::string file;
  exporter.next([&](const ipc::ExportPart& part) noexcept { file = part.bytes.bytes; });
  from.store->pump_reads();
  from.loop->run_once(false);
  EXPECT_EQ(file, "") << "its hold is not flushed yet";
  from.store->pump();
  EXPECT_NE(file.find("a body that is looked for"), std::string::npos);
  EXPECT_TRUE(from.look(id)->held.starts_with("exported "));
  from.kill();
  ASSERT_TRUE(from.open());
  EXPECT_TRUE(from.look(id)->held.starts_with("exported "));
}

// What the operator held is held on the other host as well, whatever is released there, also if an earlier
// export of it was broken off.
TEST_F(TransferTest, WhatPeopleHeldStaysHeldForTheirReason) {
  const auto held = from.accept("held\r\n");
  const auto free = from.accept("free\r\n");
  (void)from.look(held);
  from.store->note(HoldRecord{held, "by anna: account stolen", from.store->clock().now()});
  from.store->pump();
  (void)export_all();
  const auto file = export_all();
  EXPECT_NE(from.look(held)->held.find("by anna: account stolen"), std::string::npos);
  EXPECT_EQ(from.look(free)->held.find("before"), std::string::npos);
  EXPECT_EQ(take_in(to, file, 50'000, {.release = true}).done, 2U);
  const auto found = by_origin(to);
  EXPECT_EQ(found.at(held).held, "by anna: account stolen");
  EXPECT_EQ(found.at(free).held, "");
}

TEST_F(TransferTest, KeepHoldsNothingAndWaitsForNothing) {
  const auto id = from.accept("x\r\n");
  from.host->delivering.insert(id);
  const auto file = export_all(true);
  EXPECT_EQ(from.look(id)->held, "");
  EXPECT_EQ(take_in(to, file).done, 1U);
}

TEST_F(TransferTest, TimeThatDidNotCountHereDoesNotCountThere) {
  (void)from.accept("x\r\n");
  from.clock.advance(base::Millis(600'000));
  from.host->stood_still = base::Millis(590'000);
  const auto file = export_all();
  ASSERT_EQ(take_in(to, file).done, 1U);
  const auto taken = to.messages().front();
  EXPECT_EQ(to.store->clock().now() - taken.born, base::Millis(10'000));
}

TEST_F(TransferTest, ANoticeIsKnownWhereItCameFrom) {
  auto notice = from.envelope();
  notice.token = {};  // it came by no transaction
  notice.notice = true;
  notice.body_size = 3;
  from.store->accept(notice, std::make_shared<const std::string>("x\r\n"), [](bool) noexcept {});
  from.store->pump();
  const auto file = export_all();
  EXPECT_EQ(take_in(from, file).done, 0U);
  EXPECT_EQ(from.store->count(), 1U);
}

TEST_F(TransferTest, WhatIsInDeliveryIsWaitedFor) {
  const auto id = from.accept("x\r\n");
  from.host->delivering.insert(id);
  Exporter exporter(*from.loop, *from.host, false);
  std::optional<Part> part;
  const auto ask_and_wait = [&] {
    part.reset();
    exporter.next([&part](const ipc::ExportPart& got) noexcept {
      part = Part{std::string(got.bytes.bytes), got.notes, got.more};
    });
    from.store->pump();
    EXPECT_FALSE(part && from.host->delivering.contains(id)) << "it was not waited for";
    from.clock.advance(Exporter::kPatience + base::Millis(1));
    for (int turns = 0; turns < 1000 && !part; ++turns) {
      from.loop->run_once(true);
      from.store->pump();
    }
    return part.has_value();
  };
  // After a while a part without it says that it still waits.
  ASSERT_TRUE(ask_and_wait());
  EXPECT_TRUE(part->more);
  EXPECT_EQ(part->bytes.find("x\r\n"), std::string::npos);
  // It is deferred meanwhile: so it is written, as it stands now.
  from.conclude(id, Fate::kDeferred);
  from.host->delivering.clear();
  ASSERT_TRUE(ask_and_wait());
  EXPECT_NE(part->bytes.find("as it was"), std::string::npos);
}

TEST_F(TransferTest, WhatCannotBeReadIsLeftOutAndNamed) {
  const auto good = from.accept("good\r\n");
  const auto bad = from.accept_large_body(std::string(300'000, 'L'));
  const auto gone = from.accept_large_body(std::string(300'000, 'M'));
  from.disk.content("large/" + base::to_string(bad))[250'000] = 'X';
  (void)from.disk.unlink("large/" + base::to_string(gone));
  const auto file = export_all();
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_NE(notes[0].find(base::to_string(bad)), std::string::npos) << notes[0];
  EXPECT_NE(notes[1].find(base::to_string(gone)), std::string::npos) << notes[1];
  const auto done = take_in(to, file);
  EXPECT_EQ(done.exit, 0) << done.text;
  EXPECT_EQ(done.done, 1U);
  EXPECT_TRUE(by_origin(to).contains(good));
  EXPECT_TRUE(to.disk.files("large").empty());
}

TEST_F(TransferTest, AnImportThatBreaksOffTakesEachMessageOnce) {
  for (int n = 0; n < 6; ++n) (void)from.accept("body " + std::to_string(n) + std::string(900, 'x'));
  (void)from.accept_large_body(std::string(300'000, 'L'));
  const auto file = export_all();
  for (std::size_t cut = 1; cut < file.size(); cut += 4099) {
    Side fresh;
    const auto first = take_in(fresh, std::string_view(file).substr(0, cut), 1000, {}, false);
    EXPECT_EQ(first.exit, 0) << cut;
    // What it took is held until the whole file is in.
    for (const auto& message : fresh.messages())
      EXPECT_TRUE(message.held.starts_with("being imported ")) << message.held;
    const auto second = take_in(fresh, file, 50'000, {.release = true});
    EXPECT_EQ(second.exit, 0) << cut << " " << second.text;
    EXPECT_EQ(second.done + second.left, 7U) << cut;
    const auto found = by_origin(fresh);
    EXPECT_EQ(found.size(), 7U) << cut;
    for (const auto& [origin, message] : found) EXPECT_EQ(message.held, "") << cut;
    EXPECT_EQ(fresh.disk.files("large").size(), 1U) << cut;
  }
}

TEST_F(TransferTest, AFileIsImportedOnceUnlessOneInsists) {
  (void)from.accept("x\r\n");
  const auto file = export_all();
  EXPECT_EQ(take_in(to, file).done, 1U);
  const auto again = take_in(to, file);
  EXPECT_EQ(again.exit, 0);
  EXPECT_NE(again.text.find("imported whole before"), std::string::npos);
  // The message has left since then.
  to.conclude(to.messages().front().id, Fate::kDelivered);
  to.store->pump();
  EXPECT_EQ(take_in(to, file).done, 0U);
  EXPECT_EQ(take_in(to, file, 50'000, {.again = true}).done, 1U);
}

TEST_F(TransferTest, AFileThatIsCutOrChangedIsNeverTakenForWhole) {
  (void)from.accept(std::string(3000, 'x'));
  const auto file = export_all();
  const auto cut = take_in(to, std::string_view(file).substr(0, file.size() - 1));
  EXPECT_EQ(cut.exit, kDataError);
  EXPECT_NE(cut.text.find("is cut off"), std::string::npos) << cut.text;
  for (std::size_t at = 0; at < file.size(); at += 97) {
    Side fresh;
    auto wrong = file;
    wrong[at] = static_cast<char>(wrong[at] ^ 16);
    const auto done = take_in(fresh, wrong);
    EXPECT_EQ(done.exit, kDataError) << at;
    EXPECT_LE(fresh.store->count(), 1U);
  }
}

TEST_F(TransferTest, WithoutRoomNothingIsLost) {
  for (int n = 0; n < 3; ++n) (void)from.accept("x\r\n");
  (void)from.accept_large_body(std::string(300'000, 'L'));
  const auto file = export_all();
  to.disk.full = true;
  to.store->tick();
  to.store->pump();
  const auto refused = take_in(to, file);
  EXPECT_EQ(refused.exit, kTemporary);
  EXPECT_NE(refused.text.find("there is no room"), std::string::npos) << refused.text;
  to.disk.full = false;
  to.clock.advance(base::Millis(1000));
  to.store->tick();
  to.store->pump();
  const auto done = take_in(to, file);
  EXPECT_EQ(done.exit, 0) << done.text;
  EXPECT_EQ(by_origin(to).size(), 4U);
}

TEST_F(TransferTest, OneImportAtATime) {
  (void)from.accept("x\r\n");
  const auto file = export_all();
  auto first = std::make_unique<Importer>(*to.host, ImportWish{});
  const auto refused = take_in(to, file);
  EXPECT_EQ(refused.exit, kTemporary);
  EXPECT_NE(refused.text.find("another import"), std::string::npos);
  first.reset();
  EXPECT_EQ(take_in(to, file).done, 1U);
}

}  // namespace
}  // namespace postern::queued
