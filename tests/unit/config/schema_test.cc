// The table of keys, and every key and value whose subject comes with a later release.
#include "common/config/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "common/config/toml_file.h"
#include "tests/unit/config/temp_dir.h"

namespace postern::config {
namespace {

void collect(const Value& table, const std::string& prefix, std::vector<std::string>& paths) {
  for (const auto& child : table.children) {
    const auto path = prefix.empty() ? child.key : prefix + '.' + child.key;
    paths.push_back(path);
    const auto* const key = find_key(path);
    if (key != nullptr && key->shape == Shape::kTable) continue;  // its names are not ours
    if (child.type == Type::kTable) collect(child, path, paths);
    if (child.type == Type::kArray)
      for (const auto& element : child.children) collect(element, path, paths);
  }
}

TEST(Schema, KnowsEveryKeyOfTheSurface) {
  const auto file = std::string(POSTERN_SOURCE_ROOT) + "/tests/unit/config/surface.toml";
  const auto tree = parse_toml(read_whole(file), file, 0);
  ASSERT_TRUE(tree) << to_string(tree.error());
  std::vector<std::string> paths;
  collect(*tree, "", paths);
  EXPECT_GT(paths.size(), 100U);
  for (const auto& path : paths) EXPECT_NE(find_key(path), nullptr) << path;
  // And names none beside it, but for the few that the surface mentions in words or that were
  // added.
  const std::set<std::string_view> others{
      "account.atrn",     "account.atrn_wait",
      "include",          "account.messages", "account.etrn",          "auth.dovecot",
      "listen.etrn_from", "delivery.forbid",  "delivery.ca",           "delivery.mta_sts",
      "space.segment",    "mailbox.folders",  "delivery.mta_sts_port", "policy.reverse",
      "retry.spread",     "retry.rule.expire", "retry.rule.notify",     "limits.data_rate",
      "domain.pass_client", "delivery.tls_minimum", "route.second_path",
      "collect",          "collect.from",     "collect.login",    "collect.password_file", "collect.domains",
      "collect.every",    "collect.wait",     "collect.source",        "collect.socks"};
  for (const auto& key : schema())
    EXPECT_TRUE(others.contains(key.path) ||
                std::find(paths.begin(), paths.end(), key.path) != paths.end())
        << key.path;
}

TEST(Schema, IsConsistent) {
  std::set<std::string_view> seen;
  for (const auto& key : schema()) {
    EXPECT_TRUE(seen.insert(key.path).second) << key.path;
    EXPECT_TRUE(key.nothing.empty() || !key.later.empty()) << key.path;
    if (const auto dot = key.path.rfind('.'); dot != std::string_view::npos) {
      EXPECT_TRUE(seen.contains(key.path.substr(0, dot))) << key.path;
    }
  }
  for (const auto& later : later_values()) {
    ASSERT_NE(find_key(later.path), nullptr) << later.path;
    EXPECT_TRUE(find_key(later.path)->later.empty()) << later.path;
  }
}

TEST(Schema, NearestKeys) {
  EXPECT_EQ(nearest_key("", "hostnam"), "hostname");
  EXPECT_EQ(nearest_key("listen", "adress"), "listen.address");
  EXPECT_EQ(nearest_key("listen", "hello"), "");
  EXPECT_EQ(nearest_key("", "relay_from"), "listen.relay_from");
  EXPECT_EQ(nearest_key("log", "x"), "");
  EXPECT_EQ(nearest_key("log", std::string(10'000, 'l')), "");
}

class Later : public ConfigTest {
 protected:
  static std::string asking_value(const Key& key) {
    switch (key.shape) {
      case Shape::kString:
        return "\"something\"";
      case Shape::kStrings:
        return "[\"something\"]";
      case Shape::kInteger:
        return "5";
      case Shape::kBoolean:
        return "true";
      case Shape::kSize:
        return "\"5MiB\"";
      case Shape::kDuration:
        return "\"5m\"";
      case Shape::kDurations:
        return "[\"5m\"]";
      case Shape::kTable:
        return "{\"a.example\" = \"b.example\"}";
      case Shape::kSection:
      case Shape::kSections:
        break;
    }
    return {};
  }

  // A good configuration in which this one line stands too, and the number of that line.
  static std::pair<std::string, std::size_t> with(std::string_view path, const std::string& value) {
    const auto dot = path.rfind('.');
    const std::string section(path.substr(0, dot));
    const std::string name(path.substr(dot + 1));
    std::string text = kGood;
    const auto* const home = find_key(section);
    if (section == "listen") {
      text += "[[listen]]\naddress = \"127.0.0.1:2526\"\n";
    } else if (section == "domain") {
      text += "[[domain]]\nname = [\"b.example\"]\nrecipients = \"any\"\n";
    } else if (section == "route") {
      text += "[[route]]\nto = [\"*\"]\nvia = [\"mx\"]\n";
    } else if (home->shape == Shape::kSections) {
      text += "[[" + section + "]]\n";
    } else {
      text += "[" + section + "]\n";
    }
    text += name + " = " + value + '\n';
    return {text, static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'))};
  }
};

TEST_F(Later, EveryLaterKeyIsRefusedWithItsSentence) {
  std::size_t count = 0;
  for (const auto& key : schema()) {
    const auto dot = key.path.rfind('.');
    if (key.later.empty() || dot == std::string_view::npos) continue;
    const auto value = asking_value(key);
    const auto [text, line] = with(key.path, value);
    const auto set = key.nothing.empty() ? "" : fmt::format(" or set {}", key.nothing);
    EXPECT_EQ(mistakes(text), fmt::format("postern.toml:{}:1: {} = {}: {} with a later release of "
                                          "Postern; leave the key out{}\n",
                                          line, key.path, value, key.later, set));
    ++count;
  }
  EXPECT_EQ(count, 3U);
}

TEST_F(Later, WhatAsksForNothingIsAccepted) {
  for (const auto& key : schema()) {
    if (key.nothing.empty()) continue;
    EXPECT_EQ(mistakes(with(key.path, std::string(key.nothing)).first), "") << key.path;
    if (key.nothing == "\"0\"") {  // a number is as good
      EXPECT_EQ(mistakes(with(key.path, "0").first), "") << key.path;
    }
  }
}

TEST_F(Later, EmptySectionsAskForNothing) {
  EXPECT_EQ(mistakes(std::string(kGood) +
                     "[tls]\n[auth]\n[policy]\n[pickup]\n[history]\n[metrics]\n[retry]\n"),
            "");
}

TEST_F(Later, LaterValues) {
  for (const auto& later : later_values()) {
    const auto* const key = find_key(later.path);
    const auto value = fmt::format("\"{}{}\"", later.value, later.value.ends_with(':') ? "x" : "");
    const bool array = key->shape == Shape::kStrings;
    auto [text, line] = with(later.path, array ? "[" + value + "]" : value);
    // The line stands once, so what the section had of that name goes.
    const std::string name(later.path.substr(later.path.rfind('.') + 1));
    const auto first = text.rfind('\n' + name + " = ", text.rfind('\n' + name + " = ") - 1);
    if (first != std::string::npos && first > std::string_view(kGood).size() - 1) {
      text.erase(first + 1, text.find('\n', first + 1) - first);
      --line;
    }
    const auto column = name.size() + 4 + (array ? 1 : 0);
    EXPECT_EQ(mistakes(text),
              fmt::format("postern.toml:{}:{}: {} = {}: {} with a later release of "
                          "Postern; {}\n",
                          line, column, later.path, value, later.later, later.advice));
  }
}

TEST_F(Later, TheSentenceOfTheManual) {
  EXPECT_EQ(
      mistakes(with("pickup.directory", "\"in\"").first),
      "postern.toml:12:1: pickup.directory = \"in\": the pickup directory comes with a later release of "
      "Postern; leave the key out or set \"\"\n");
}

TEST_F(Later, WaysOfARoute) {
  const auto via = [&](const std::string& hops) {
    return mistakes(std::string(kGood) + "[[route]]\nto = [\"*\"]\nvia = [" + hops + "]\n");
  };
  EXPECT_EQ(via("\"smtp://a\", \"mx\""), "");
  EXPECT_EQ(via("\"smtp://a\", \"smtp://a:25\""),
            "postern.toml:13:20: route.via = \"smtp://a:25\": this next hop is named before\n");
  EXPECT_EQ(via("\"smtp://a\", \"refuse\""),
            "postern.toml:13:20: route.via = \"refuse\": this stands alone: mail would end where it "
            "could wait\n");
}

}  // namespace
}  // namespace postern::config
