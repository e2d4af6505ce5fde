// The scripted receivers of tests/receivers: whatever a next hop says, the client says the right
// thing, and each recipient of each message gets the right outcome.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "player.h"
#include "receiver.h"

namespace postern::relay {
namespace {

const std::vector<Receiver>& receivers() {
  static const auto all = [] {
    std::vector<std::string> paths;
    for (const auto& entry : std::filesystem::directory_iterator(POSTERN_RECEIVERS))
      if (entry.path().extension() == ".txt") paths.push_back(entry.path().string());
    std::sort(paths.begin(), paths.end());
    std::vector<Receiver> list;
    for (const auto& path : paths) list.push_back(read_receiver(path));
    return list;
  }();
  return all;
}

enum class Pieces { kWhole, kBytes, kBareLf };

class Play {
 public:
  // `cut`: what is said at once comes in two pieces, this many bytes first.
  Play(const Receiver& receiver, Pieces pieces, std::size_t cut = 0)
      : receiver_(receiver),
        pieces_(pieces),
        cut_(cut),
        player_(receiver.messages, receiver.tls, receiver.dialect, receiver.account, receiver.pass) {}

  void run() {
    SCOPED_TRACE(receiver_.name);
    for (const auto& s : receiver_.steps) step(s);
    say();
    EXPECT_EQ(player_.outcomes(), receiver_.outcomes);
    EXPECT_EQ(player_.unread(), "") << "said too much";
    EXPECT_TRUE(player_.over());
    EXPECT_EQ(player_.client().state(), ClientState::kOver);
    if (!receiver_.end.empty()) {
      EXPECT_EQ(text(player_.client().trouble()), receiver_.end);
    }
    if (receiver_.took >= base::Millis(0)) {
      EXPECT_EQ(player_.now(), receiver_.took);
    }
  }
  // Of what was said at once, in bytes.
  [[nodiscard]] std::size_t longest() const { return longest_; }

 private:
  void step(const ReceiverStep& s) {
    using Kind = ReceiverStep::Kind;
    if (s.kind == Kind::kSay) {
      block_ += s.text;
      if (s.line) block_ += pieces_ == Pieces::kBareLf ? "\n" : "\r\n";
      return;
    }
    say();
    if (s.kind == Kind::kExpect) {
      EXPECT_EQ(player_.next_line(), s.text) << "line " << s.at;
    }
    if (s.kind == Kind::kTls || s.kind == Kind::kNoTls) player_.agree(s.kind == Kind::kTls);
    if (s.kind == Kind::kWait) player_.wait(s.time);
    if (s.kind == Kind::kDrip) drip_ = s.time;
    if (s.kind == Kind::kSilence) player_.silence();
    if (s.kind == Kind::kClose) player_.lost();
  }
  void say() {
    longest_ = std::max(longest_, block_.size());
    if (pieces_ == Pieces::kBytes || drip_ > base::Millis(0)) {
      for (const char& c : block_) {
        player_.wait(drip_);
        player_.feed(std::string_view(&c, 1));
      }
    } else {
      const std::string_view all = block_;
      const auto first = std::min(cut_, all.size());
      player_.feed(all.substr(0, first));
      player_.feed(all.substr(first));
    }
    block_.clear();
  }

  const Receiver& receiver_;
  const Pieces pieces_;
  const std::size_t cut_;
  std::size_t longest_ = 0;
  Player player_;
  std::string block_;
  base::Millis drip_{0};
};

TEST(Receivers, AreMany) {
  EXPECT_GE(receivers().size(), 150U);
}

TEST(Receivers, AreFollowed) {
  for (const auto& receiver : receivers()) Play(receiver, Pieces::kWhole).run();
}

TEST(Receivers, AreFollowedByteByByte) {
  for (const auto& receiver : receivers())
    if (!receiver.whole) Play(receiver, Pieces::kBytes).run();
}

TEST(Receivers, MayEndTheirLinesWithBareLf) {
  for (const auto& receiver : receivers()) Play(receiver, Pieces::kBareLf).run();
}

std::string all_replies(const Receiver& receiver) {
  constexpr std::size_t kEnough = 4'000;  // of a monster; the client is long gone
  std::string replies;
  for (const auto& step : receiver.steps)
    if (step.kind == ReceiverStep::Kind::kSay)
      replies += step.text.substr(0, kEnough) + (step.line ? "\r\n" : "");
  return replies;
}

// Wherever the connection ends, each recipient of each message that was begun has one verdict; what
// is unknown is so because its end was sent and not answered.
TEST(Receivers, MayCloseAtEveryByte) {
  for (const auto& receiver : receivers()) {
    SCOPED_TRACE(receiver.name);
    const auto replies = all_replies(receiver);
    for (std::size_t cut = 0; cut <= replies.size(); ++cut) {
      Player player(receiver.messages, receiver.tls, receiver.dialect, receiver.account, receiver.pass);
      player.feed(std::string_view(replies).substr(0, cut));
      const bool was_over = player.over();
      const bool awaits_end = player.client().state() == ClientState::kDot;
      player.lost();
      ASSERT_EQ(player.ended().size(), player.begun()) << cut;
      for (std::size_t i = 0; i < player.ended().size(); ++i)
        ASSERT_EQ(player.ended()[i].size(), receiver.messages[i].recipients.size());
      if (player.ended().empty() || was_over) continue;
      bool unknown = false;
      for (const auto& verdict : player.ended().back())
        unknown |= verdict.result == ipc::Result::kUnknown;
      ASSERT_EQ(unknown, awaits_end) << cut;
    }
  }
}

// Where a piece ends says nothing.
TEST(Receivers, MayCutTheirRepliesAtEveryByte) {
  constexpr std::size_t kFarthest = 300;  // of a monster
  for (const auto& receiver : receivers()) {
    if (receiver.whole) continue;
    Play last(receiver, Pieces::kWhole);
    last.run();
    for (std::size_t cut = 1; cut < std::min(last.longest(), kFarthest); ++cut)
      Play(receiver, Pieces::kWhole, cut).run();
  }
}

TEST(Receivers, StandInTheIndex) {
  std::ifstream file(std::string(POSTERN_RECEIVERS) + "/INDEX.md");
  const std::string index{std::istreambuf_iterator<char>(file), {}};
  std::set<std::string> names;
  for (const auto& receiver : receivers()) {
    names.insert(receiver.name);
    EXPECT_NE(index.find("`" + receiver.name + "`"), std::string::npos) << receiver.name;
  }
  for (std::size_t at = 0; (at = index.find("- `", at)) != std::string::npos;) {
    at += 3;
    const auto name = index.substr(at, index.find('`', at) - at);
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

}  // namespace
}  // namespace postern::relay
