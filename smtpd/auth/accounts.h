// Accounts: the password table of one generation of the configuration, as the mechanisms ask it. For
// a name that it does not hold it answers too, with what takes the same time and fits nothing.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "common/config/roles.h"
#include "smtpd/auth/exchange.h"

namespace postern::smtpd::auth {

class Accounts {
 public:
  explicit Accounts(std::vector<config::AccountEntry> entries);

  // What a password is held against. Exactly one of the two is there.
  struct Stored {
    std::string hash;                               // of crypt(3)
    std::optional<sasl::ScramVerifier> verifier;
    bool exists = false;
    // Takes long; in a thread that may.
    [[nodiscard]] bool accepts(const std::string& password) const;
  };
  [[nodiscard]] Stored stored(const std::string& account) const;
  [[nodiscard]] Looked look_up(const std::string& account) const;
  [[nodiscard]] bool holds(const std::string& account) const { return table_.contains(account); }
  [[nodiscard]] std::size_t size() const noexcept { return table_.size(); }
  // The two have the same secrets.
  [[nodiscard]] bool same(const Accounts& other, const std::string& account) const;

 private:
  struct Entry {
    std::string hash;
    std::optional<sasl::ScramVerifier> verifier;
    bool operator==(const Entry& other) const;
  };
  std::unordered_map<std::string, Entry> table_;
  // For names that are not there: a hash as the first account's, and a salt made of the name and a key that
  // outlives a restart, or restarts would tell who is there.
  std::string hash_;
  std::string key_;
  std::uint32_t iterations_ = sasl::ScramVerifier::kOurIterations;
  std::size_t salt_size_ = 16;
};

}  // namespace postern::smtpd::auth
