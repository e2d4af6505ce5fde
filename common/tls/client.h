// ClientContext: what all sessions of a client share: whose certificates it believes, and the least
// version.
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "common/tls/version.h"

struct ssl_ctx_st;

namespace postern::tls {

struct ClientSettings {
  Version minimum = Version::k12;
  // PEM: the server must prove the name that is wanted by a certificate of these. Empty: any server
  // will do, and the session keeps out listeners only.
  std::string roots;
};

class ClientContext {
 public:
  [[nodiscard]] static std::expected<std::shared_ptr<const ClientContext>, std::string> make(
      const ClientSettings& settings);
  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;

  // For common/tls alone.
  [[nodiscard]] ssl_ctx_st* raw() const noexcept { return context_.get(); }
  [[nodiscard]] bool verifies() const noexcept { return verifies_; }

 private:
  ClientContext() = default;
  struct Free {
    void operator()(ssl_ctx_st* context) const noexcept;
  };
  std::unique_ptr<ssl_ctx_st, Free> context_;
  bool verifies_ = false;
};

}  // namespace postern::tls
