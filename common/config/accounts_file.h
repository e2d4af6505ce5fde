// The section [auth] and the password file that it names. One account on a line:
//
//   name:HASH                  a hash of crypt(3): PLAIN and LOGIN
//   name:HASH:VERIFIER         and a SCRAM verifier (RFC 5803) of the same password
//   name:VERIFIER              the verifier alone: PLAIN and LOGIN are held against it too
//
// Empty lines and lines that begin with # are left alone. Names are in lower case.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "common/config/report.h"
#include "common/config/section.h"

namespace postern::config {

inline constexpr std::size_t kMaxAccountsFile = 256U << 20;  // bytes
inline constexpr std::size_t kMaxAccountLine = 1024;

struct AccountMistake {
  std::size_t at = 0;  // in the line
  std::string text;
};
// One line of the file that is neither empty nor a comment.
[[nodiscard]] std::expected<AccountEntry, AccountMistake> parse_account(std::string_view line);
[[nodiscard]] std::string account_line(const AccountEntry& entry);
// It holds no account.
[[nodiscard]] bool is_account_comment(std::string_view line) noexcept;

void read_auth(const Section& top, Config& config, Report& report);

}  // namespace postern::config
