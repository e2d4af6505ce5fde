#include "smtpd/auth/accounts.h"

#include <utility>

#include "common/base/secret.h"
#include "common/sasl/password_hash.h"
#include "common/tls/digest.h"

namespace postern::smtpd::auth {

bool Accounts::Entry::operator==(const Entry& other) const {
  if (hash != other.hash || verifier.has_value() != other.verifier.has_value()) return false;
  return !verifier || verifier->text() == other.verifier->text();
}

Accounts::Accounts(std::vector<config::AccountEntry> entries) {
  if (!entries.empty())
    key_ = tls::hmac_sha256(entries.front().hash + entries.front().verifier, "Postern: no account");
  bool first_verifier = true;
  for (auto& given : entries) {
    Entry entry;
    if (auto verifier = sasl::ScramVerifier::parse(given.verifier)) {
      if (std::exchange(first_verifier, false)) {
        iterations_ = verifier->iterations;
        salt_size_ = verifier->salt.size();
      }
      entry.verifier = *std::move(verifier);
    }
    entry.hash = std::move(given.hash);
    if (hash_.empty()) hash_ = entry.hash;
    table_.insert_or_assign(std::move(given.name), std::move(entry));
    base::wipe(given.verifier);
  }
}

bool Accounts::Stored::accepts(const std::string& password) const {
  const bool fits =
      verifier ? verifier->accepts(password) : sasl::hash_accepts(hash, password);
  return fits && exists;
}

Accounts::Stored Accounts::stored(const std::string& account) const {
  const auto found = table_.find(account);
  if (found == table_.end()) {
    if (hash_.empty()) return {{}, look_up(account).verifier, false};
    return {hash_, std::nullopt, false};
  }
  const auto& entry = found->second;
  if (entry.hash.empty()) return {{}, entry.verifier, true};
  return {entry.hash, std::nullopt, true};
}

Looked Accounts::look_up(const std::string& account) const {
  const auto found = table_.find(account);
  if (found != table_.end() && found->second.verifier) return {*found->second.verifier, true};
  sasl::ScramVerifier made{.iterations = iterations_};
  for (char i = 'a'; made.salt.size() < salt_size_; ++i) made.salt += tls::hmac_sha256(key_, account + i);
  made.salt.resize(salt_size_);
  made.stored_key = tls::hmac_sha256(key_, account);  // no key is known that has this digest
  made.server_key = made.stored_key;
  return {std::move(made), false};
}

bool Accounts::same(const Accounts& other, const std::string& account) const {
  const auto mine = table_.find(account);
  const auto its = other.table_.find(account);
  return mine != table_.end() && its != other.table_.end() && mine->second == its->second;
}

}  // namespace postern::smtpd::auth
