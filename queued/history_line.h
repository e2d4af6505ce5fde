// One line of the history: what became of some recipients of a message on one occasion. A line is a line
// whatever is in it, and one that was cut is none. Pure.
//
//   ended id arrived size client from tls  then for each recipient: end tries queue remote reply to  then .
//
// Fields are separated by single spaces; times are milliseconds since 1970; bytes that are not printable
// ASCII, spaces and % stand as %XX; an empty field is -, the null reverse-path <>. Lines of version 1 have
// no tls.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/control.h"

namespace postern::queued {

inline constexpr std::string_view kHistoryMagic = "postern history ";
inline constexpr std::string_view kHistoryHeader = "postern history 2\n";  // a file's first line
inline constexpr std::uint32_t kHistoryVersion = 2;                        // that it says; all before are read
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
  std::string tls;                           // an ipc::TlsNote; empty: nothing is known of it
  std::vector<HistoryRecipient> recipients;  // 1 to kHistoryRecipients
};

// With its line feed.
[[nodiscard]] std::string encode_history(const HistoryLine& line);
// Without it; nullopt for whatever encode_history() did not write, in that version.
[[nodiscard]] std::optional<HistoryLine> decode_history(std::string_view line,
                                                        std::uint32_t version = kHistoryVersion);
// What a file says of itself in its beginning; nullopt: it is none that is read.
[[nodiscard]] std::optional<std::uint32_t> history_version(std::string_view beginning);

}  // namespace postern::queued
