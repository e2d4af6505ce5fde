// posternctl's verbs against a queued of the test's own, over a real socket.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "common/os/socket.h"
#include "ctl/verbs.h"

namespace postern::ctl {
namespace {

// Answers as queued would, a fixed story: 90 queues in pages of 40, one message with 45 recipients
// and a body in slices, and an answer for every command.
class FakeQueued {
 public:
  static constexpr std::string_view kPrefix = "Received: from a\r\n\tby b\r\n";
  static constexpr std::string_view kStored = "..\r\n..dot\r\n\x1b.\r\n";

  FakeQueued(event::Loop& loop, base::UniqueFd fd) : connection_(loop, std::move(fd), *this) {}

  void on(const ipc::AskStatus& m) {
    ipc::Status status;
    status.request = m.request;
    status.version = "0.1.0";
    status.attention = {"outbound off"};
    connection_.send(status);
  }
  void on(const ipc::ListQueues& m) {
    ipc::QueueRows answer;
    answer.request = m.request;
    int first = m.after.empty() ? 0 : std::stoi(m.after.substr(1)) - 100 + 1;
    for (int i = first; i < std::min(first + 40, 90); ++i)
      EXPECT_TRUE(answer.rows.add({.queue = "q" + std::to_string(100 + i)}));
    answer.more = first + 40 < 90;
    connection_.send(answer);
  }
  void on(const ipc::ListMessages& m) {
    ipc::MessageRows answer;  // a page may be empty and yet not the last
    answer.request = m.request;
    answer.more = m.after.value < 3;
    answer.next_after = m.after.next();
    if (m.selector.queue == "four.example") {
      EXPECT_TRUE(answer.rows.add(one_of_four(m.after.value)));
    } else if (m.after.value == 2 && m.selector.state != ipc::State::kHeld) {
      EXPECT_TRUE(answer.rows.add({.id = base::MessageId(7)}));
    }
    connection_.send(answer);
  }
  void on(const ipc::Show& m) {
    ipc::Shown answer;
    answer.request = m.request;
    answer.found = m.id.value == 7;
    for (std::uint32_t i = m.after; answer.found && i < std::min(m.after + 20, 45U); ++i)
      answer.recipients.emplace_back().address =
          mail::Address::parse("u" + std::to_string(i) + "@example.net").value();
    answer.more = answer.found && m.after + 20 < 45;
    connection_.send(answer);
  }
  // 7: 90 recipients in pages of 50, two of them elsewhere, one ended. 9: finished.
  void on(const ipc::Explain& m) {
    ipc::Explained answer;
    answer.request = m.request;
    answer.found = m.id.value == 7;
    answer.ended = 1;
    const std::uint32_t ends[] = {50, 52, 90};
    for (const auto end : ends) {
      if (!answer.found || m.after >= end) continue;
      auto& one = answer.explanations.emplace_back();
      one.queue = end == 52 ? "other.example" : "far.example";
      for (auto i = m.after; i < end; ++i)
        one.recipients.push_back(
            mail::Address::parse("u" + std::to_string(i) + "@" + one.queue).value());
      answer.next_after = end;
      answer.more = end < 90;
      break;
    }
    connection_.send(answer);
  }
  void on(const ipc::ExplainQueue& m) {
    ipc::QueueExplained answer;
    answer.request = m.request;
    answer.found = m.name == "far.example";
    answer.name = m.name;
    answer.near = {"far.example"};
    connection_.send(answer);
  }
  void on(const ipc::AskBody& m) {
    const auto whole = std::string(kPrefix) + std::string(kStored);
    ipc::BodyPart answer;
    answer.request = m.request;
    answer.found = m.id.value == 7;
    answer.total = whole.size();
    answer.prefix_size = kPrefix.size();
    answer.bytes.bytes = std::string_view(whole).substr(m.offset, 3);  // parts every CR LF and dot
    connection_.send(answer);
  }
  void on(const ipc::ListBlocks& m) {
    ipc::BlockRows answer;
    answer.request = m.request;
    connection_.send(answer);
  }
  // Five pages of one row each.
  void on(const ipc::ListHistory& m) {
    ipc::HistoryRows answer;
    answer.request = m.request;
    if (m.selector.ids == std::vector{base::MessageId(8)}) return connection_.send(answer);
    if (m.selector.from == "broken") answer.error = "read history/x: Input/output error";
    answer.next_after.offset = m.after.offset + 1;
    answer.more = answer.next_after.offset < 5;
    answer.rows.emplace_back().to = "u" + std::to_string(m.after.offset) + "@example.net";
    connection_.send(answer);
  }
  void on(const ipc::Freeze& m) {
    if (m.queue == "busy.example") return stopped(m.request, "busy.example is frozen");
    done(m.request, 65, "no queue " + m.queue + ", " + m.reason);
  }
  void on(const ipc::LockAccount& m) {
    done(m.request, 0, (m.unlock ? "unlock " : "lock ") + m.account + m.reason);
  }
  void on(const ipc::SwitchIntake& m) { done(m.request, 0, m.enable ? "on" : "off: " + m.reason); }
  // Two are in flight, then one, then none, and one of them may have arrived.
  void on(const ipc::AwaitQuiet& m) {
    ipc::Quiet answer{.request = m.request, .in_flight = --in_flight_};
    if (in_flight_ == 0) answer.may_repeat = {base::MessageId(7)};
    answer.may_repeat_count = answer.may_repeat.size();
    connection_.send(answer);
  }
  void on(const ipc::Unfreeze& m) { done(m.request, 0, "unfrozen " + m.queue); }
  void on(const ipc::SwitchOutbound& m) {
    done(m.request, 0, m.enable ? "on" : "off: " + m.reason);
  }
  void on(const ipc::Hold& m) {
    done(m.request, 0, (m.release ? "released" : m.also_new ? "standing: " : "held: ") + m.reason);
  }
  void on(const ipc::Retry& m) {
    if (m.selector.queue == "forbidden.example") return done(m.request, 77, "you may not");
    done(m.request, 0, m.dry_run ? "dry" : "wet");
  }
  void on(const ipc::Reload&) { connection_.channel().close(); }
  void on(const ipc::StopServer& m) { done(m.request, 0, "stopping"); }
  void on(const ipc::CheckSpool& m) {
    ipc::SpoolFindings answer{.request = m.request};
    answer.findings = {m.begin ? "the index is damaged" : "a body is damaged"};
    answer.more = m.begin;
    answer.summary = "checked 2 messages";
    connection_.send(answer);
  }
  void on(const ipc::ExportSpool& m) {
    connection_.send(ipc::ExportPart{.request = m.request, .exit = 77, .error = "you may not"});
  }
  void on(const ipc::RemoveExported& m) { connection_.send(ipc::SpoolDone{.request = m.request}); }
  void on(const ipc::ImportSpool& m) { connection_.send(ipc::SpoolDone{.request = m.request}); }
  void closed() noexcept {}

 private:
  static ipc::MessageRow one_of_four(std::size_t i) {
    using ipc::State;
    ipc::MessageRow row;
    row.id = base::MessageId(32 + i);
    row.arrived = base::WallTime{std::array{30, 20, 10, 40}.at(i)};
    row.size = std::array{300U, 100U, 200U, 400U}.at(i);
    row.state = std::array{State::kRetry, State::kReady, State::kHeld, State::kRetry}.at(i);
    row.next_try = base::WallTime{std::array{60, 0, 0, 50}.at(i)};
    return row;
  }
  void done(base::RequestId request, std::uint8_t exit, std::string text) {
    connection_.send(ipc::Done{request, exit, std::move(text), {}});
  }
  void stopped(base::RequestId request, std::string text) {
    connection_.send(ipc::Done{request, 0, std::move(text), in_flight_ = 2});
  }
  std::uint64_t in_flight_ = 0;
  ipc::Connection<FakeQueued, ipc::Role::kQueued, ipc::Role::kControl> connection_;
};

class Conversation : public testing::Test {
 protected:
  void SetUp() override {
    auto pair = ipc::make_channel_pair();
    client_ = std::make_unique<Client>(std::move(pair.a), "/run/test.sock");
    server_ = std::thread([this, fd = std::move(pair.b)]() mutable {
      event::Loop loop;
      FakeQueued queued(loop, std::move(fd));
      event::Timer often(loop, []() noexcept {});
      while (!stop_) {
        often.start(base::Millis(5));
        loop.run_once(true);
      }
    });
  }
  void TearDown() override {
    stop_ = true;
    server_.join();
  }

  struct Said {
    int exit = 0;
    std::string out, error;
  };
  Said say(std::vector<std::string> words, bool terminal = false) {
    const auto command = parse_command(std::move(words), false);
    if (!command) return {command.error().exit, "", command.error().text};
    Output output;
    output.terminal = terminal;
    testing::internal::CaptureStdout();
    const auto exit = perform(*command, *client_, output);
    output.flush();
    auto out = testing::internal::GetCapturedStdout();
    if (!exit) return {exit.error().exit, std::move(out), exit.error().text};
    return {*exit, std::move(out), ""};
  }

  std::unique_ptr<Client> client_;
  std::thread server_;
  std::atomic<bool> stop_ = false;
};

TEST_F(Conversation, StatusExitsWithOneWhileSomethingNeedsAttention) {
  const auto said = say({"status"});
  EXPECT_EQ(said.exit, 1);
  EXPECT_NE(said.out.find("ATTENTION outbound off"), std::string::npos);
  EXPECT_EQ(say({"status", "--json"}).exit, 1);
}

TEST_F(Conversation, ListingsGoThroughAllPages) {
  const auto queues = say({"queues", "--json"}).out;
  EXPECT_EQ(std::count(queues.begin(), queues.end(), '\n'), 90);
  EXPECT_NE(queues.find("\"q189\""), std::string::npos);
  const auto table = say({"queues"}).out;
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 91);  // one line of titles
  const auto messages = say({"messages"}).out;
  EXPECT_NE(messages.find("0000000000007"), std::string::npos);
  EXPECT_EQ(say({"blocks"}).out, "nothing is blocked\n");
  EXPECT_EQ(say({"blocks", "--json"}).out, "");
}

// Over all pages.
TEST_F(Conversation, MessagesComeInTheOrderThatIsAskedFor) {
  const auto order = [this](const char* sort) {
    const auto out = say({"messages", "--queue", "four.example", "--sort", sort, "--json"}).out;
    std::string ids;
    for (auto at = out.find("000000000001"); at != std::string::npos; at = out.find("000000000001", at + 1))
      ids += out[at + 12];
    return ids;
  };
  EXPECT_EQ(order("age"), "2103");
  EXPECT_EQ(order("size"), "3021");
  EXPECT_EQ(order("next"), "1302") << "ready, the nearer of two, and what does not move by itself";
  const auto table = say({"messages", "--queue", "four.example", "--sort", "age"}).out;
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 5) << table;
}

TEST_F(Conversation, HistoryGoesThroughAllPagesAndTellsWhatWentWrong) {
  const auto rows = say({"history", "--json"}).out;
  EXPECT_EQ(std::count(rows.begin(), rows.end(), '\n'), 5);
  EXPECT_NE(rows.find("\"to\":\"u4@example.net\""), std::string::npos);
  EXPECT_NE(say({"history"}).out.find("u0@example.net"), std::string::npos);
  const auto broken = say({"history", "--from", "broken"});
  EXPECT_EQ(broken.exit, 74);
  EXPECT_NE(broken.error.find("history/x"), std::string::npos);
  EXPECT_EQ(say({"history", "--state", "ready"}).exit, 64);
}

TEST_F(Conversation, ShowGathersTheRecipientsOfAllPages) {
  const auto said = say({"show", "0000000000007"});
  EXPECT_EQ(said.exit, 0);
  std::size_t at = 0;
  for (int i = 0; i < 45; ++i) {  // each once, in order
    at = said.out.find("@example.net", at);
    ASSERT_NE(at, std::string::npos);
    const auto user = "u" + std::to_string(i);
    EXPECT_EQ(said.out.substr(at - user.size(), user.size()), user);
    ++at;
  }
  EXPECT_EQ(said.out.find("@example.net", at), std::string::npos);
  const auto none = say({"show", "0000000000008"});
  EXPECT_EQ(none.exit, 65);
  EXPECT_NE(none.error.find("there is no message 0000000000008"), std::string::npos);
}

TEST_F(Conversation, ExplainGathersAlikeRecipientsOfAllPages) {
  const auto said = say({"explain", "0000000000007"});
  EXPECT_EQ(said.exit, 0);
  EXPECT_NE(said.out.find("u0@far.example, u1@far.example, u2@far.example and 85 more: READY"),
            std::string::npos) << said.out;
  EXPECT_NE(said.out.find("u50@other.example, u51@other.example: READY"), std::string::npos);
  EXPECT_NE(said.out.find("u4@example.net: DELIVERED"), std::string::npos);  // by the history
  const auto json = say({"explain", "0000000000007", "--json"}).out;
  EXPECT_EQ(std::count(json.begin(), json.end(), '\n'), 1);
  EXPECT_NE(json.find("\"u89@far.example\""), std::string::npos);
}

TEST_F(Conversation, ExplainTellsOfWhatIsFinishedByTheHistory) {
  const auto said = say({"explain", "0000000000009"});
  EXPECT_EQ(said.exit, 0);
  EXPECT_NE(said.out.find("finished"), std::string::npos) << said.out;
  EXPECT_NE(said.out.find("u0@example.net: DELIVERED"), std::string::npos);
  const auto none = say({"explain", "0000000000008"});
  EXPECT_EQ(none.exit, 65);
  EXPECT_NE(none.error.find("the history does not know it either"), std::string::npos);
}

TEST_F(Conversation, ExplainTellsOfQueues) {
  EXPECT_EQ(say({"explain", "far.example"}).exit, 0);
  const auto none = say({"explain", "fat.example"});
  EXPECT_EQ(none.exit, 65);
  EXPECT_NE(none.error.find("near it: far.example"), std::string::npos);
  EXPECT_EQ(say({"explain"}).exit, 64);
}

TEST_F(Conversation, BodyIsUnstuffedAndByteForByte) {
  EXPECT_EQ(say({"body", "0000000000007"}).out,
            std::string(FakeQueued::kPrefix) + ".\r\n.dot\r\n\x1b.\r\n");
  EXPECT_EQ(say({"body", "0000000000007"}, true).out,
            "Received: from a\n\tby b\n.\n.dot\n\\x1b.\n");
  EXPECT_EQ(say({"body", "0000000000008"}).exit, 65);
}

TEST_F(Conversation, CommandsPassOnExitAndText) {
  const auto refused = say({"freeze", "example.net", "--reason", "why"});
  EXPECT_EQ(refused.exit, 65);
  EXPECT_EQ(refused.error, "posternctl: no queue example.net, why\n");
  EXPECT_EQ(refused.out, "");
  const auto as_json = say({"freeze", "example.net", "--reason", "why", "--json"});
  EXPECT_EQ(as_json.exit, 65);
  EXPECT_EQ(as_json.out, "{\"v\":1,\"exit\":65,\"text\":\"no queue example.net, why\"}\n");
  EXPECT_EQ(say({"unfreeze", "example.net"}).out, "unfrozen example.net\n");
  EXPECT_EQ(say({"outbound", "disable", "--reason", "spam"}).out, "off: spam\n");
  EXPECT_EQ(say({"outbound", "enable"}).out, "on\n");
  EXPECT_EQ(say({"intake", "disable", "--reason", "moving"}).out, "off: moving\n");
  EXPECT_EQ(say({"intake", "enable"}).out, "on\n");
  EXPECT_EQ(say({"hold", "--all", "--reason", "why"}).out, "held: why\n");
  EXPECT_EQ(say({"hold", "--to", "x", "--also-new", "--reason", "why"}).out, "standing: why\n");
  EXPECT_EQ(say({"release", "--all"}).out, "released\n");
  EXPECT_EQ(say({"retry", "--all"}).out, "wet\n");
  EXPECT_EQ(say({"stop"}).out, "stopping\n");
}

TEST_F(Conversation, ADryRunListsAndThenCounts) {
  const auto said = say({"retry", "--all", "--dry-run"});
  EXPECT_EQ(said.exit, 0);
  EXPECT_TRUE(said.out.starts_with("ID ")) << said.out;
  EXPECT_NE(said.out.find("\n0000000000007  "), std::string::npos) << said.out;
  EXPECT_TRUE(said.out.ends_with("\ndry\n")) << said.out;
  const auto json = say({"retry", "--all", "--dry-run", "--json"}).out;
  EXPECT_EQ(std::count(json.begin(), json.end(), '\n'), 2);
  EXPECT_LT(json.find("\"id\":\"0000000000007\""), json.find("\"text\":\"dry\""));
  EXPECT_NE(say({"hold", "--all", "--reason", "why", "--dry-run"}).out.find("\n0000000000007  "), std::string::npos);
  // Only what is held can be released.
  EXPECT_EQ(say({"release", "--all", "--dry-run"}).out.find("0000000000007"), std::string::npos);
  EXPECT_NE(say({"release", "--state", "ready", "--to", "x", "--dry-run"}).out.find("0000000000007"), std::string::npos);
}

TEST_F(Conversation, WhatMayNotBeDoneIsNotListedEither) {
  const auto said = say({"retry", "--queue", "forbidden.example", "--dry-run"});
  EXPECT_EQ(said.exit, 77);
  EXPECT_EQ(said.out, "");
  EXPECT_EQ(said.error, "posternctl: you may not\n");
}

TEST_F(Conversation, WhatIsStoppedIsToldAtOnceAndAgainWhenItIsQuiet) {
  const std::vector<std::string> words{"freeze", "busy.example", "--reason", "why"};
  EXPECT_EQ(say(words).out,
            "busy.example is frozen, 2 in flight\n1 in flight\n0 in flight\n"
            "1 message may arrive twice, for the final dot had been sent:\n0000000000007\n");
  EXPECT_NE(say(words, true).out.find("2 in flight\nwaiting until nothing is in flight; Ctrl-C"),
            std::string::npos);
  auto as_json = words;
  as_json.push_back("--json");
  EXPECT_EQ(
      say(as_json).out,
      "{\"v\":1,\"exit\":0,\"text\":\"busy.example is frozen\",\"in_flight\":2}\n"
      "{\"v\":1,\"in_flight\":1,\"may_repeat\":[],\"may_repeat_count\":0}\n"
      "{\"v\":1,\"in_flight\":0,\"may_repeat\":[\"0000000000007\"],\"may_repeat_count\":1}\n");
  auto over = words;
  over.insert(over.end(), {"--until", "1999-12-31"});
  EXPECT_EQ(say(over).exit, 64);
  EXPECT_EQ(say(over).error, "posternctl: --until 1999-12-31 is over already\n");
}

TEST_F(Conversation, AServerThatClosesIsSaidToHaveClosed) {
  const auto said = say({"reload"});
  EXPECT_EQ(said.exit, 69);
  EXPECT_NE(said.error.find("closed the connection without an answer"), std::string::npos);
}

TEST(Connect, NobodyThereAndAnotherBuild) {
  const auto nobody = Client::connect("/nonexistent/control.sock");
  ASSERT_FALSE(nobody.has_value());
  EXPECT_EQ(nobody.error().exit, 69);
  EXPECT_NE(nobody.error().text.find("/nonexistent/control.sock"), std::string::npos);

  auto pair = ipc::make_channel_pair();
  std::string hello;  // a frame as queued sends it, but for its hash
  const auto payload = ipc::encode(ipc::Hello{ipc::Role::kQueued, ipc::shapes_hash() + 1});
  base::Writer writer(hello);
  writer.integer(static_cast<std::uint32_t>(payload.size()));
  writer.integer(static_cast<std::uint16_t>(ipc::Type::kHello));
  writer.integer(std::uint16_t{0});
  writer.raw(payload);
  ASSERT_EQ(::write(pair.b.get(), hello.data(), hello.size()), static_cast<ssize_t>(hello.size()));
  Client client(std::move(pair.a), "/run/test.sock");
  const auto answer = client.ask<ipc::Status>(ipc::AskStatus{});
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().exit, 76);
  EXPECT_NE(answer.error().text.find("another build"), std::string::npos) << answer.error().text;
}

}  // namespace
}  // namespace postern::ctl
