// One line of the history: what became of some recipients of a message on one occasion. A line is a line
// whatever is in it, and one that was cut is none. Pure.
//
//   ended id arrived size client from  then for each recipient: end tries queue remote reply to  then .
//
// Fields are separated by single spaces; times are milliseconds since 1970; bytes that are not printable
// ASCII, spaces and % stand as %XX; an empty field is -, the null reverse-path <>.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/control.h"

namespace postern::queued {

inline constexpr std::string_view kHistoryHeader = "postern history 1\n";  // a file's first line
inline constexpr std::size_t kHistoryRecipients = 40;                      // of one line
inline constexpr std::size_t kMaxHistoryLine = 128 * 1024;  // encode_history() stays below it

struct HistoryRecipient {
  ipc::HistoryEnd end = ipc::HistoryEnd::kDelivered;
  std::uint32_t tries = 0;
  std::string queue;
  std::string remote;
  std::string reply;
  std::string to;
};

struct HistoryLine {
  base::WallTime ended;
  base::MessageId id;
  base::WallTime arrived;
  std::uint64_t size = 0;
  base::IpAddress client;
  mail::ReversePath from;
  std::vector<HistoryRecipient> recipients;  // 1 to kHistoryRecipients
};

// With its line feed.
[[nodiscard]] std::string encode_history(const HistoryLine& line);
// Without it; nullopt for whatever encode_history() did not write.
[[nodiscard]] std::optional<HistoryLine> decode_history(std::string_view line);

}  // namespace postern::queued
