// Chain: a certificate with those that lead from it towards a root, as read from PEM, for questions
// about it.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/tls/signer.h"

struct x509_st;

namespace postern::tls {

class Chain {
 public:
  // The server's own certificate comes first. On failure what is wrong.
  [[nodiscard]] static std::expected<Chain, std::string> parse(std::string_view pem);
  Chain(Chain&&) noexcept;
  Chain& operator=(Chain&&) noexcept;
  ~Chain();

  // Of the first certificate:
  [[nodiscard]] const KeyId& key() const noexcept { return key_; }
  [[nodiscard]] const std::string& kind() const noexcept {
    return kind_;
  }  // of its key, "RSA 2048"
  [[nodiscard]] base::WallTime not_before() const noexcept { return not_before_; }
  [[nodiscard]] base::WallTime not_after() const noexcept { return not_after_; }
  // The DNS names of its subjectAltName, in lower case.
  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return names_; }
  // Whether a client that wants `name` takes it; a wildcard stands for one label.
  [[nodiscard]] bool covers(const std::string& name) const;

  [[nodiscard]] x509_st* leaf() const noexcept { return certificates_.front().get(); }
  [[nodiscard]] std::vector<x509_st*> issuers() const;

 private:
  Chain() = default;
  struct Free {
    void operator()(x509_st* certificate) const noexcept;
  };
  std::vector<std::unique_ptr<x509_st, Free>> certificates_;
  KeyId key_{};
  std::string kind_;
  std::vector<std::string> names_;
  base::WallTime not_before_, not_after_;
};

// Of a file with the certificates of authorities, in PEM; empty: nothing.
[[nodiscard]] std::string wrong_with_authorities(std::string_view pem);

}  // namespace postern::tls
