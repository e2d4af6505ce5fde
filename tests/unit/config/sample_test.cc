// The installed sample is good as it stands, also with every commented line in force; and whatever
// is done to it, load() answers.
#include <fmt/format.h>

#include <random>

#include "common/config/cut.h"
#include "common/config/summary.h"
#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

const std::string kConf = std::string(POSTERN_SOURCE_ROOT) + "/conf/";

TEST(Sample, IsAccepted) {
  const auto loaded = load(kConf + "postern.toml");
  ASSERT_TRUE(loaded) << to_string(loaded.error().front());
  EXPECT_TRUE(warnings(*loaded).empty()) << warnings(*loaded).front();
}

TEST(Sample, IsAcceptedWithEveryLineInForce) {
  TempDir dir;
  std::istringstream lines(read_whole(kConf + "postern.toml"));
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    const bool key = line.starts_with('#') && line.size() > 1 && line[1] != ' ';
    text += (key ? line.substr(1) : line) + '\n';
  }
  dir.write("users", read_whole(kConf + "users"));
  dir.write("aliases", "");
  dir.write("odmr.password", "open sesame\n");
  const auto loaded = load(dir.write("postern.toml", text));
  ASSERT_TRUE(loaded) << to_string(loaded.error().front());
  // What stands in the comments is the default, but for the route, the call, the rule and the resolvers.
  const auto plain = load(kConf + "postern.toml");
  ASSERT_TRUE(plain);
  auto all = cut_queued(*loaded, {});
  EXPECT_EQ(all.routes.size(), 1U);
  all.routes.clear();
  EXPECT_EQ(all.collects.size(), 1U);
  all.collects.clear();
  EXPECT_EQ(all.retry.rules.size(), 1U);
  all.retry.rules.clear();
  all.retry.line = 0;
  all.retry.file.clear();
  all.start_place = {};
  EXPECT_EQ(ipc::encode(all), ipc::encode(cut_queued(*plain, {})));
  EXPECT_EQ(ipc::encode(cut_smtpd(*loaded)), ipc::encode(cut_smtpd(*plain)));
  auto relay = cut_relay(*loaded, {});
  EXPECT_EQ(relay.logins.size(), 1U);
  relay.logins.clear();
  EXPECT_EQ(ipc::encode(relay), ipc::encode(cut_relay(*plain, {})));
  EXPECT_EQ(loaded->runtime, plain->runtime);
  EXPECT_EQ(loaded->log.file, plain->log.file);
}

class Mutations : public testing::Test {
 protected:
  // One change at random: bytes, lines, or a piece of one file put into another place.
  std::string mutated(std::string text) {
    static const std::vector<std::string> kPieces{"\"",
                                                  "[",
                                                  "]",
                                                  "[[",
                                                  "]]",
                                                  "{",
                                                  "}",
                                                  "=",
                                                  ",",
                                                  ".",
                                                  "\n",
                                                  "#",
                                                  "\\",
                                                  "\\u0000",
                                                  "0",
                                                  "-1",
                                                  "99999999999999999999",
                                                  "1e400",
                                                  "nan",
                                                  "true",
                                                  "1979-05-27T07:32:00Z",
                                                  "\xff",
                                                  "\xc3\xa4",
                                                  "'''",
                                                  "\"\"\"",
                                                  "[[listen]]\n",
                                                  "[listen]\n",
                                                  "include = [\"*.toml\"]\n",
                                                  "{user}",
                                                  "*."};
    if (text.empty()) return kPieces[pick(kPieces.size())];
    const auto at = pick(text.size());
    switch (pick(6)) {
      case 0:
        text[at] = static_cast<char>(pick(256));
        break;
      case 1:
        text.erase(at, 1 + pick(20));
        break;
      case 2:
        text.insert(at, kPieces[pick(kPieces.size())]);
        break;
      case 3:
        text.insert(at, text.substr(pick(text.size()), pick(80)));
        break;
      case 4:
        text.resize(at);
        break;
      default: {
        const auto end = text.find('\n', at);
        text.insert(at, text.substr(at, end == std::string::npos ? end : end - at));
        break;
      }
    }
    return text;
  }
  std::size_t pick(std::size_t below) { return random_() % below; }

  std::mt19937 random_{20'261'123};  // the same run each time
};

TEST_F(Mutations, LoadAlwaysAnswers) {
  TempDir dir;
  const std::vector<std::string> seeds{
      read_whole(kConf + "postern.toml"),
      read_whole(std::string(POSTERN_SOURCE_ROOT) + "/tests/unit/config/surface.toml")};
  const auto users = read_whole(kConf + "users");
  std::size_t good = 0;
  std::size_t bad = 0;
  for (int round = 0; round < 1'500; ++round) {
    auto text = seeds[pick(seeds.size())];
    for (auto changes = pick(4); changes > 0; --changes) text = mutated(text);
    dir.write("users", round % 4 == 0 ? mutated(users) : users);
    const auto loaded = load(dir.write("postern.toml", text));
    if (loaded) {
      // What was accepted can be shown, cut and encoded.
      EXPECT_FALSE(rights_summary(*loaded).empty());
      const Facts facts{.resolvers = {}, .own_addresses = {}};
      EXPECT_TRUE(ipc::decode<SmtpdConfig>(ipc::encode(cut_smtpd(*loaded)))) << text;
      EXPECT_TRUE(ipc::decode<QueuedConfig>(ipc::encode(cut_queued(*loaded, facts)))) << text;
      EXPECT_TRUE(ipc::decode<RelayConfig>(ipc::encode(cut_relay(*loaded, facts)))) << text;
      EXPECT_TRUE(ipc::decode<LocalConfig>(ipc::encode(cut_local(*loaded)))) << text;
      ++good;
    } else {
      ASSERT_FALSE(loaded.error().empty());
      for (const auto& mistake : loaded.error()) {
        EXPECT_FALSE(mistake.text.empty());
        EXPECT_EQ(to_string(mistake).find('\n'), std::string::npos);
      }
      ++bad;
    }
  }
  EXPECT_GT(good, 100U);
  EXPECT_GT(bad, 500U);
}

}  // namespace
}  // namespace postern::config
