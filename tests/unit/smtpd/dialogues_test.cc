// Every dialogue of tests/dialogues: step by step against what it expects, then cut otherwise (at
// once, byte by byte, at random, with a sink that always pauses), with the same outcome. And their index.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "common/base/text.h"
#include "tests/unit/smtpd/dialogue.h"
#include "tests/unit/smtpd/harness.h"

namespace postern::smtpd::test {
namespace {

std::vector<std::string> all_dialogues() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(POSTERN_DIALOGUES))
    if (entry.path().extension() == ".txt") paths.push_back(entry.path().string());
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string_view name(mail::WithProtocol with) {
  switch (with) {
    case mail::WithProtocol::kSmtp:
      return "SMTP";
    case mail::WithProtocol::kEsmtp:
      return "ESMTP";
    case mail::WithProtocol::kUtf8Smtp:
      return "UTF8SMTP";
  }
  return "";
}

std::string text_of(const Message& message) {
  std::string text(name(message.envelope.with));
  if (!message.envelope.tls.empty()) text += " over TLS";
  if (message.envelope.require_tls) text += " throughout";
  if (!message.envelope.account.empty()) text += " by " + message.envelope.account;
  if (!message.envelope.tls_peer.empty()) text += " as " + message.envelope.tls_peer;
  if (!message.envelope.client_name.empty()) text += " of " + message.envelope.client_name;
  if (!message.envelope.forwarded.empty()) text += " for " + message.envelope.forwarded + ';';
  if (message.facts.binary) text += " binary";
  text += ' ';
  text += message.envelope.hello + " <" + message.envelope.reverse_path.text() + "> ->";
  for (const auto& recipient : message.envelope.recipients)
    text += " <" + recipient.address.text() + '>';
  return text + " \"" + base::printable(message.body, 1'000'000) + '"';
}

struct Outcome {
  std::string output;
  std::vector<std::string> messages;
  bool closed = false;
  bool operator==(const Outcome&) const = default;
};

class Player {
 public:
  explicit Player(const Dialogue& dialogue)
      : rights_(dialogue.rights),
        policy_(dialogue.policy),
        service_(with_rights(dialogue.service, rights_, policy_)),
        connection_(service_, dialogue.client, dialogue.proxied) {
    connection_.sink.name_of_client = dialogue.name_of_client;
    connection_.sink.most_messages = dialogue.most_messages;
    connection_.sink.most_introductions = dialogue.most_introductions;
    connection_.sink.intake = dialogue.intake;
    connection_.result = dialogue.result;
    connection_.known = dialogue.known;
    if (dialogue.unknown) connection_.unknown = *dialogue.unknown;
    connection_.tls_busy = dialogue.tls_busy;
    connection_.sink.unavailable = dialogue.auth_down;
    facts_ = Connection::sample_tls();
    facts_.peer = dialogue.certificate;
    facts_.binds = dialogue.binds;
  }
  void send(std::string_view bytes) { connection_.feed(bytes); }
  void act(Step::Kind kind) {
    if (kind == Step::Kind::kShutdown) connection_.protocol.shutdown();
    if (kind == Step::Kind::kLocked) connection_.protocol.end_login();
    if (kind == Step::Kind::kTls) connection_.secure(facts_);
    if (kind == Step::Kind::kTimeout) connection_.protocol.timed_out();
    connection_.take_output();
  }
  Connection& connection() { return connection_; }
  [[nodiscard]] Outcome outcome() const {
    Outcome outcome{connection_.output, {}, connection_.closed()};
    for (const auto& message : connection_.sink.messages)
      outcome.messages.push_back(text_of(message));
    return outcome;
  }

 private:
  static Service with_rights(Service service, const config::RightsIndex& rights,
                             const config::PolicyIndex& policy) {
    service.rights = &rights;
    service.policy = &policy;
    return service;
  }
  config::RightsIndex rights_;
  config::PolicyIndex policy_;
  Service service_;
  Connection connection_;
  TlsFacts facts_;
};

class DialogueTest : public testing::TestWithParam<std::string> {};

// Answers must come exactly where the file has them.
Outcome play_step_by_step(const Dialogue& dialogue, const std::string& path) {
  Player player(dialogue);
  std::size_t read = 0;
  const auto& output = player.connection().output;
  for (const auto& step : dialogue.steps) {
    if (step.kind == Step::Kind::kExpect) {
      const auto end = output.find("\r\n", read);
      EXPECT_NE(end, std::string::npos)
          << path << ':' << step.line << ": no answer to match " << step.text;
      if (end == std::string::npos) break;
      const auto line = output.substr(read, end - read);
      EXPECT_TRUE(matches(step.text, line)) << path << ':' << step.line << ": got " << line;
      read = end + 2;
      continue;
    }
    EXPECT_EQ(output.substr(read), "")
        << path << ':' << step.line << ": answered too much before this";
    if (step.kind == Step::Kind::kSend)
      player.send(step.text);
    else
      player.act(step.kind);
  }
  EXPECT_EQ(output.substr(read), "") << path << ": unexpected answers at the end";
  return player.outcome();
}

template <class Send>
Outcome play(const Dialogue& dialogue, bool pause, Send send) {
  Player player(dialogue);
  player.connection().sink.pause_always = pause;
  std::string gathered;
  const auto flush = [&] {
    if (!gathered.empty()) send(player, std::string_view(gathered));
    gathered.clear();
  };
  for (const auto& step : dialogue.steps) {
    if (step.kind == Step::Kind::kSend) {
      gathered += step.text;
    } else if (step.kind != Step::Kind::kExpect) {
      flush();
      player.act(step.kind);
    }
  }
  flush();
  return player.outcome();
}

TEST_P(DialogueTest, Holds) {
  const auto dialogue = read_dialogue(GetParam());
  const auto expected = play_step_by_step(dialogue, GetParam());
  EXPECT_EQ(expected.closed, dialogue.closed);
  ASSERT_EQ(expected.messages.size(), dialogue.messages.size())
      << testing::PrintToString(expected.messages);
  for (std::size_t i = 0; i < dialogue.messages.size(); ++i)
    EXPECT_TRUE(matches(dialogue.messages[i], expected.messages[i])) << expected.messages[i];

  using Cut = Dialogue::Cut;
  const auto whole = [](Player& player, std::string_view bytes) { player.send(bytes); };
  const auto by_byte = [](Player& player, std::string_view bytes) {
    for (const char c : bytes) player.send({&c, 1});
  };
  for (const bool pause : {false, true}) {
    if (dialogue.cut != Cut::kBytes) EXPECT_EQ(play(dialogue, pause, whole), expected);
    if (dialogue.cut != Cut::kWhole) EXPECT_EQ(play(dialogue, pause, by_byte), expected);
  }
  if (dialogue.cut != Cut::kAnyhow) return;
  std::mt19937 random(20261123);
  for (const std::size_t most : {2U, 3U, 7U, 40U, 3000U}) {
    const auto at_random = [&](Player& player, std::string_view bytes) {
      in_random_pieces(bytes, most, random, [&](std::string_view piece) { player.send(piece); });
    };
    for (int round = 0; round < 3; ++round)
      EXPECT_EQ(play(dialogue, false, at_random), expected) << "pieces up to " << most;
  }
}

INSTANTIATE_TEST_SUITE_P(All, DialogueTest, testing::ValuesIn(all_dialogues()),
                         [](const auto& parameter) {
                           auto name = std::filesystem::path(parameter.param).stem().string();
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); },
                               '_');
                           return name;
                         });

TEST(Dialogues, AreManyEnough) {
  EXPECT_GE(all_dialogues().size(), 275U);
}

// "| a requirement | `files` | `files` |"
std::vector<std::string> cells_of(std::string_view row) {
  std::vector<std::string> cells;
  row.remove_prefix(1);
  for (std::size_t end = 0; (end = row.find('|')) != std::string_view::npos; row.remove_prefix(end + 1))
    cells.emplace_back(base::trim(row.substr(0, end)));
  return cells;
}

// What stands between backquotes.
std::vector<std::string> names_in(std::string_view cell) {
  std::vector<std::string> names;
  for (std::size_t start = 0; (start = cell.find('`')) != std::string_view::npos;) {
    cell.remove_prefix(start + 1);
    const auto end = std::min(cell.find('`'), cell.size());
    names.emplace_back(cell.substr(0, end));
    cell.remove_prefix(std::min(end + 1, cell.size()));
  }
  return names;
}

bool is_reason(std::string_view cell) {
  constexpr std::size_t kShortest = 15;
  return cell.size() >= kShortest && cell.starts_with("- (") && cell.ends_with(')');
}

// Each file stands in it, each name is a file, and each requirement is shown from both sides or says why not.
TEST(Dialogues, StandInTheIndex) {
  std::set<std::string> files;
  for (const auto& path : all_dialogues())
    files.insert(std::filesystem::path(path).stem().string());
  std::set<std::string> named;
  std::size_t rows = 0;
  std::ifstream index(std::string(POSTERN_DIALOGUES) + "/INDEX.md");
  for (std::string row; std::getline(index, row);) {
    if (!row.starts_with("| ") || row == "| requirement | positive | negative |") continue;
    ++rows;
    const auto cells = cells_of(row);
    ASSERT_EQ(cells.size(), 3U) << row;
    for (const auto& side : {cells[1], cells[2]}) {
      const auto names = names_in(side);
      EXPECT_TRUE(!names.empty() || is_reason(side)) << "a side without a reason: " << row;
      for (const auto& name : names) EXPECT_TRUE(files.contains(name)) << "no file " << name << ": " << row;
      named.insert(names.begin(), names.end());
    }
  }
  EXPECT_GE(rows, 100U);
  for (const auto& file : files) EXPECT_TRUE(named.contains(file)) << "not in the index: " << file;
}

}  // namespace
}  // namespace postern::smtpd::test
