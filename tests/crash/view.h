// View: what a recovered store says it holds, as plain data.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "queued/store.h"
#include "tests/crash/image.h"

namespace postern::crash {

struct SeenRecipient {
  std::string address;
  std::uint32_t tries = 0;
  std::int64_t last_try = 0;
  std::int64_t next_try = 0;
  friend bool operator==(const SeenRecipient&, const SeenRecipient&) = default;
};

struct SeenMessage {
  base::MessageId id;
  base::Token token;
  std::string from, prefix, held;
  bool notice = false;
  bool readable = false;
  std::string body;
  std::map<std::uint32_t, SeenRecipient> open;  // by number
  friend bool operator==(const SeenMessage&, const SeenMessage&) = default;
};

struct View {
  std::vector<SeenMessage> messages;           // by id
  std::map<std::string, std::uint32_t> waits;  // failures, by queue
  std::optional<std::string> blocks;
  std::vector<std::string> damage;
  friend bool operator==(const View&, const View&) = default;
};

}  // namespace postern::crash
