#include "smtpd/body_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "tests/unit/smtpd/rig.h"

namespace postern::smtpd::test {
namespace {

struct StoreRig : LinkRig {
  explicit StoreRig(bool connected = true) {
    if (connected) connect();
  }
  // Adds in pieces, as they come from a socket, and waits with the file where one is needed.
  void add(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto piece = bytes.substr(0, 50'000);
      bytes.remove_prefix(piece.size());
      if (store.add(piece) == Flow::kMore) continue;
      const int before = resumed;
      turn();
      if (queued && !queued->large_asked.empty())
        queued->open_large(queued->large_asked.size() - 1, 500);
      turn();
      ASSERT_EQ(resumed, before + 1);
    }
  }
  int resumed = 0;
  BodyStore store{link, budget, [this]() noexcept { ++resumed; }};
};

TEST(BodyStore, KeepsASmallBodyInMemoryWithItsShareOfTheBudget) {
  StoreRig rig;
  const auto body = lines(ipc::kMaxInlineBody);
  rig.add(body);
  EXPECT_FALSE(rig.store.failure());
  EXPECT_TRUE(rig.queued->large_asked.empty());
  const auto left = BodyBudget::kBytes - ipc::kMaxInlineBody;
  EXPECT_EQ(rig.budget.left(), left);
  {
    Submission submission;
    rig.store.move_to(submission);
    EXPECT_EQ(submission.body, body);
    EXPECT_EQ(submission.body_size, body.size());
    EXPECT_EQ(submission.large.value, 0U);
    EXPECT_EQ(rig.budget.left(), left) << "the submission still holds it";
  }
  EXPECT_EQ(rig.budget.left(), BodyBudget::kBytes);
}

TEST(BodyStore, MovesALargeBodyIntoAFileByteForByte) {
  StoreRig rig;
  const auto body = lines(ipc::kMaxInlineBody + 300'000);
  rig.add(body);
  EXPECT_EQ(rig.resumed, 1);
  EXPECT_EQ(rig.budget.left(), BodyBudget::kBytes);
  Submission submission;
  rig.store.move_to(submission);
  EXPECT_EQ(submission.large, base::MessageId(500));
  EXPECT_TRUE(submission.body.empty());
  EXPECT_EQ(submission.body_size, body.size());
  EXPECT_EQ(rig.queued->file_content(), body);
  rig.store.clear();
  rig.turn();
  EXPECT_TRUE(rig.queued->abandoned.empty()) << "it was submitted";
}

// RFC 6152 3: who sends it on has to say so, and shall not have to read it for that.
TEST(BodyStore, NotesEightBitsInAFile) {
  StoreRig rig;
  const auto body = lines(ipc::kMaxInlineBody + 300'000);
  for (const std::size_t at : {std::size_t{1}, body.size() - 3, std::string::npos}) {
    auto wide = body;
    if (at != std::string::npos) wide[at] = '\xfc';
    rig.add(wide);
    Submission submission;
    rig.store.move_to(submission);
    EXPECT_EQ(submission.envelope.eight_bit, at != std::string::npos) << at;
    rig.turn();
  }
}

TEST(BodyStore, MovesASmallBodyIntoAFileWhenTheBudgetIsUsedUp) {
  LinkRig rig;
  rig.connect();
  BodyBudget small(2 * BodyShare::kStep);
  BodyStore first(rig.link, small, []() noexcept {});
  BodyStore second(rig.link, small, []() noexcept {});
  EXPECT_EQ(first.add(std::string(20'000, 'a')), Flow::kMore);
  EXPECT_EQ(second.add("b"), Flow::kPause);
  rig.turn();
  EXPECT_EQ(rig.queued->large_asked.size(), 1U);
  first.clear();
  EXPECT_EQ(small.left(), 2 * BodyShare::kStep);
  EXPECT_EQ(first.add("c"), Flow::kMore);
}

TEST(BodyStore, AbandonsAFileExactlyOnce) {
  StoreRig rig;
  rig.add(lines(ipc::kMaxInlineBody + 1'000));
  rig.store.clear();
  rig.store.clear();
  rig.turn();
  EXPECT_EQ(rig.queued->abandoned, std::vector<base::MessageId>{base::MessageId(500)});
}

TEST(BodyStore, AbandonsAFileThatComesTooLateAndNotTheNextOne) {
  StoreRig rig;
  EXPECT_EQ(rig.store.add(std::string(ipc::kMaxInlineBody + 1, 'x')), Flow::kPause);
  rig.turn();
  rig.store.clear();  // the client went away, or sends another message
  EXPECT_EQ(rig.store.add(std::string(ipc::kMaxInlineBody + 1, 'y')), Flow::kPause);
  rig.turn();
  ASSERT_EQ(rig.queued->large_asked.size(), 2U);
  rig.queued->open_large(0, 600);
  rig.turn();
  EXPECT_EQ(rig.resumed, 0);
  EXPECT_EQ(rig.queued->abandoned, std::vector<base::MessageId>{base::MessageId(600)});
  rig.queued->open_large(1, 601);
  rig.turn();
  EXPECT_EQ(rig.resumed, 1);
  EXPECT_EQ(rig.queued->file_content(), std::string(ipc::kMaxInlineBody + 1, 'y'));
  EXPECT_EQ(rig.queued->abandoned.size(), 1U);
}

TEST(BodyStore, AFileAskedForByAStoreThatIsGoneIsAbandoned) {
  LinkRig rig;
  rig.connect();
  {
    BodyStore store(rig.link, rig.budget, []() noexcept { ADD_FAILURE() << "nobody is there"; });
    EXPECT_EQ(store.add(std::string(ipc::kMaxInlineBody + 1, 'x')), Flow::kPause);
    rig.turn();
  }
  rig.queued->open_large(0, 700);
  rig.turn();
  EXPECT_EQ(rig.queued->abandoned, std::vector<base::MessageId>{base::MessageId(700)});
  EXPECT_EQ(rig.budget.left(), BodyBudget::kBytes);
}

TEST(BodyStore, SwallowsABodyForWhichThereIsNoFile) {
  StoreRig rig;
  EXPECT_EQ(rig.store.add(std::string(ipc::kMaxInlineBody + 1, 'x')), Flow::kPause);
  rig.turn();
  rig.queued->refuse_large(0);
  rig.turn();
  EXPECT_EQ(rig.resumed, 1);
  EXPECT_EQ(rig.store.add("more"), Flow::kMore);
  ASSERT_TRUE(rig.store.failure());
  EXPECT_EQ(rig.store.failure()->code, 452);
  EXPECT_EQ(rig.budget.left(), BodyBudget::kBytes);
  rig.store.clear();
  EXPECT_FALSE(rig.store.failure());
}

TEST(BodyStore, AFailedWriteFailsTheBodyAndGivesTheFileBack) {
  StoreRig rig;
  EXPECT_EQ(rig.store.add(std::string(ipc::kMaxInlineBody + 1, 'x')), Flow::kPause);
  rig.turn();
  const auto full = base::UniqueFd::adopt(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(full.valid());
  rig.queued->open_large_as(0, 800, full.get());
  rig.turn();
  ASSERT_TRUE(rig.store.failure());
  EXPECT_EQ(rig.store.failure()->code, 452);
  EXPECT_EQ(rig.store.add("more"), Flow::kMore);
  rig.store.clear();
  rig.turn();
  EXPECT_EQ(rig.queued->abandoned, std::vector<base::MessageId>{base::MessageId(800)});
}

TEST(BodyStore, AFileIsLostWithItsQueued) {
  StoreRig rig;
  rig.add(lines(ipc::kMaxInlineBody + 1'000));
  EXPECT_FALSE(rig.store.failure());
  rig.break_channel();
  ASSERT_TRUE(rig.store.failure());
  EXPECT_EQ(rig.store.failure()->code, 451);
  rig.connect();
  EXPECT_TRUE(rig.store.failure());
  rig.store.clear();
  rig.turn();
  EXPECT_TRUE(rig.queued->abandoned.empty());
}

}  // namespace
}  // namespace postern::smtpd::test
