// Checker: whoever knows whether a password is right: our own file (Hasher), or Dovecot.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/base/ip.h"

namespace postern::smtpd::auth {

struct Verdict {
  enum class Result : std::uint8_t { kRight, kWrong, kUnavailable };
  Result result = Result::kWrong;
  std::string account;  // kRight: as whom; Dovecot may know it by another name
};

class Checker {
 public:
  using Checked = std::move_only_function<void(Verdict) noexcept>;
  virtual ~Checker() = default;
  // Answers later, on the loop.
  virtual void check(const std::string& account, std::string password,
                     const base::IpAddress& client, Checked checked) = 0;
};

}  // namespace postern::smtpd::auth
