#include "bench/ledger/sources.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "bench/ledger/lines.h"
#include "bench/ledger/writer.h"
#include "common/base/crc32c.h"

namespace postern::bench {
namespace {

class SourcesTest : public testing::Test {
 protected:
  SourcesTest() {
    std::string name = testing::TempDir() + "ledger.XXXXXX";
    directory_ = ::mkdtemp(name.data());
  }
  ~SourcesTest() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::string path(std::string_view name) const {
    return directory_ + "/" + std::string(name);
  }
  void write(std::string_view name, std::string_view text) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary | std::ios::app) << text;
  }
  [[nodiscard]] std::vector<std::string> lines(std::string_view name) const {
    std::vector<std::string> all;
    EXPECT_TRUE(read_lines(path(name), [&](std::string_view line) { all.emplace_back(line); }));
    return all;
  }
  std::string directory_;
};

TEST_F(SourcesTest, WriterAppendsWholeLines) {
  for (const char* const line : {"one\n", "two\n"}) {
    auto writer = LedgerWriter::open(path("l"));
    ASSERT_TRUE(writer);
    writer->lines() += line;
    EXPECT_TRUE(writer->flush());
    EXPECT_TRUE(writer->lines().empty());
  }
  EXPECT_EQ(lines("l"), (std::vector<std::string>{"one", "two"}));
}

TEST_F(SourcesTest, WhatAKilledWriterLeftOfALineCountsAsNothing) {
  const std::string torn(10'000, 'x');
  for (const auto& left : {std::string("begun 1"), torn}) {
    write("l", "one\n" + left);
    EXPECT_EQ(lines("l").back(), "one");
    auto writer = LedgerWriter::open(path("l"));
    ASSERT_TRUE(writer);
    writer->lines() += "two\n";
    EXPECT_TRUE(writer->flush());
    EXPECT_EQ(lines("l"), (std::vector<std::string>{"one", "two"}));
    std::filesystem::remove(path("l"));
  }
}

TEST_F(SourcesTest, ReadsLinesOverBlocks) {
  std::string text;
  for (int i = 0; i < 300'000; ++i) text += std::to_string(i) + " line\n";
  write("l", text);
  const auto all = lines("l");
  ASSERT_EQ(all.size(), 300'000U);
  EXPECT_EQ(all[199'999], "199999 line");
}

TEST_F(SourcesTest, KnowsWhoseLedgerItIs) {
  write("load", "postern-ledger 1 load run s r\n");
  write("sink", "postern-ledger 1 sink\n");
  write("other", "something else\n");
  EXPECT_TRUE(*is_load_ledger(path("load")));
  EXPECT_FALSE(*is_load_ledger(path("sink")));
  EXPECT_FALSE(is_load_ledger(path("other")));
  EXPECT_FALSE(is_load_ledger(path("missing")));
}

TEST_F(SourcesTest, ReadsMaildirsAndDropFolders) {
  const std::string below = "Subject: x\r\n\r\nbody\r\n";
  const auto name = load_field({{"run", 3}, base::crc32c(below), below.size()});
  const auto with_lf = [](std::string text) {
    std::erase(text, '\r');
    return text;
  };
  write("mail/x/bob/new/1", with_lf("Return-Path: <>\r\nDelivered-To: bob@x\r\n" + name + below));
  write("mail/x/bob/tmp/2", with_lf(name + below));
  write("mail/x/bob/cur/3:2,S", with_lf(name + below + "more\r\n"));
  write("mail/drop/4.eml", "X-Receiver: ann@x\r\n" + name + below);
  write("mail/drop/.5.eml", name + below);
  std::vector<std::string> found;
  const auto read = read_mailboxes(path("mail"), [&](const Evidence& e, auto recipient) {
    found.push_back(std::string(recipient.value_or("-")) +
                    (e.kind == Evidence::Kind::kWhole ? "" : " changed"));
  });
  ASSERT_TRUE(read);
  std::ranges::sort(found);
  EXPECT_EQ(found, (std::vector<std::string>{"- changed", "ann@x", "bob@x"}));
  EXPECT_FALSE(read_mailboxes(path("missing"), [](const Evidence&, auto) {}));
}

TEST_F(SourcesTest, ReadsAQueuesListing) {
  write("q", "{\"v\":1,\"id\":\"ABC\"}\n{\"v\":1,\"id\":\"DEF\"}\n");
  EXPECT_EQ(*read_queue(path("q")), (std::unordered_set<std::string>{"ABC", "DEF"}));
  write("bad", "ABC\n");
  EXPECT_FALSE(read_queue(path("bad")));
}

}  // namespace
}  // namespace postern::bench
