// ServerContext: what all sessions of a server share for one generation of the configuration: its
// certificates by the name that a client asks for, versions, ciphers, whose client certificates
// count. Immutable; sessions keep the one that they began with.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/tls/tickets.h"
#include "common/tls/version.h"

struct ssl_ctx_st;

namespace postern::tls {

struct ServerSettings {
  struct Certificate {
    std::vector<std::string> names;  // in lower case; "*.example.org" stands for one label
    std::string chain;               // PEM
  };
  std::vector<Certificate> certificates;  // not empty; the first answers clients that name no host
  Version minimum = Version::k12;
  std::string client_ca;  // PEM: ask for certificates that these signed; empty: do not ask
};

class ServerContext {
 public:
  // `tickets` may change while the context is in use; empty: no session is resumed.
  [[nodiscard]] static std::expected<std::shared_ptr<const ServerContext>, std::string> make(
      const ServerSettings& settings, std::shared_ptr<const TicketKeys> tickets);
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

  // For common/tls alone. The context for a name; empty, or one that no certificate has: the first.
  [[nodiscard]] ssl_ctx_st* for_name(std::string_view name) const;
  [[nodiscard]] const TicketKeys& tickets() const noexcept { return *tickets_; }

 private:
  struct Free {
    void operator()(ssl_ctx_st* context) const noexcept;
  };
  using Handle = std::unique_ptr<ssl_ctx_st, Free>;

  explicit ServerContext(std::shared_ptr<const TicketKeys> tickets)
      : tickets_(std::move(tickets)) {}
  std::expected<Handle, std::string> make_one(const ServerSettings& settings) const;

  std::shared_ptr<const TicketKeys> tickets_;
  std::vector<Handle> contexts_;  // one for each set of certificates that share a name
  std::unordered_map<std::string, ssl_ctx_st*> by_name_;
};

}  // namespace postern::tls
