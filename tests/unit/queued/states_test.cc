// STATES.md and the code name the same states: its tables "Names in the code" list every enumerator of
// the enumerations that they are headed with, and no other.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace postern::queued {
namespace {

std::string read(const std::string& path) {
  std::ifstream file(std::string(POSTERN_SOURCE_ROOT) + "/" + path);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::set<std::string> enumerators(const std::string& header, const std::string& name) {
  const auto text = read(header);
  std::smatch found;
  const std::regex body("enum class " + name + R"( [^{;]*\{([^}]*)\})");
  EXPECT_TRUE(std::regex_search(text, found, body)) << name << " in " << header;
  const auto list = std::regex_replace(found[1].str(), std::regex("//[^\n]*"), "");
  std::set<std::string> names;
  const std::regex one("k[A-Za-z]+");
  for (std::sregex_iterator at(list.begin(), list.end(), one), end; at != end; ++at)
    names.insert(at->str());
  return names;
}

// The first column of each table of the last section, by the table's heading.
std::map<std::string, std::set<std::string>> tables() {
  const auto text = read("queued/STATES.md");
  const auto section = text.find("## Names in the code");
  EXPECT_NE(section, std::string::npos);
  std::istringstream lines(text.substr(section));
  std::map<std::string, std::set<std::string>> found;
  std::string heading;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("| ")) {
      if (!line.starts_with("|-")) heading.clear();
      continue;
    }
    const auto cell = line.substr(2, line.find(" |") - 2);
    if (heading.empty())
      heading = cell;
    else
      EXPECT_TRUE(found[heading].insert(cell).second) << cell << " stands twice";
  }
  return found;
}

TEST(States, TheDocumentNamesWhatTheCodeNames) {
  const std::map<std::string, std::string> headers{
      {"RecordType", "queued/record.h"},          {"Fate", "queued/record.h"},
      {"RecipientEnd", "common/ipc/control.h"},   {"State", "common/ipc/control.h"},
      {"Blocked", "queued/schedule.h"},           {"Blocker", "common/ipc/explain.h"},
      {"Stage", "queued/backlog.h"},              {"Result", "common/ipc/delivery.h"},
      {"GrantEnd", "common/ipc/delivery.h"},
  };
  const auto listed = tables();
  EXPECT_EQ(listed.size(), headers.size());
  for (const auto& [name, header] : headers) {
    ASSERT_TRUE(listed.contains(name)) << name;
    EXPECT_EQ(listed.at(name), enumerators(header, name)) << name;
  }
}

}  // namespace
}  // namespace postern::queued
