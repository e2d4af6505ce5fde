// A directory of its own for one test, and the mistakes of a configuration in it as short lines.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "common/config/parse.h"

namespace postern::config {

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "postern-config-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TempDir() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  std::string write(const std::string& name, const std::string& text) const {
    const auto file = std::filesystem::path(path_) / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return file.string();
  }
  // Without the directory's own name, so that a line reads like in a shell there.
  [[nodiscard]] std::string shortened(std::string text) const {
    for (auto at = text.find(path_ + '/'); at != std::string::npos; at = text.find(path_ + '/'))
      text.erase(at, path_.size() + 1);
    return text;
  }

 private:
  std::string path_;
};

inline std::string read_whole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

class ConfigTest : public testing::Test {
 protected:
  // The rest of a configuration without a mistake; the first line that may follow is number 11.
  static constexpr const char* kGood = R"(hostname = "mx.example.org"
postmaster = "it@example.org"
spool = "spool"

[[listen]]
address = "127.0.0.1:2525"

[[domain]]
name = ["example.org"]
recipients = "file:users"
)";

  ConfigTest() { dir_.write("users", "it\nalice\n"); }

  std::expected<Config, std::vector<Mistake>> load_text(const std::string& text) const {
    return load(dir_.write("postern.toml", text));
  }
  // "" for a good configuration, else one mistake on each line.
  std::string mistakes(const std::string& text) const {
    std::string lines;
    if (const auto config = load_text(text); !config)
      for (const auto& mistake : config.error()) lines += dir_.shortened(to_string(mistake)) + '\n';
    return lines;
  }

  TempDir dir_;
};

}  // namespace postern::config
