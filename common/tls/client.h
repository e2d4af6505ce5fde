// ClientContext: what all sessions of a client share: whose certificates it believes, the least
// version, and the sessions that it may resume. What one session demands of its server is a Wish.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "common/tls/resumption.h"
#include "common/tls/version.h"

struct ssl_ctx_st;

namespace postern::tls {

struct ClientSettings {
  Version minimum = Version::k12;
  std::string roots;  // PEM; what in it is no certificate is passed over. Empty: nobody is believed
};

// What a server must prove for the handshake to succeed.
enum class Proof : std::uint8_t {
  kNothing,  // the session keeps out listeners only
  kName,     // the host's name, or address, by a certificate that the roots lead to (RFC 9525)
  kRecords,  // that its certificate is one which the DNS names (RFC 7672)
};

// A TLSA record (RFC 6698 2.1).
struct Association {
  std::uint8_t usage = 0;
  std::uint8_t selector = 0;
  std::uint8_t matching = 0;
  std::string data;
};

struct Wish {
  std::string host;  // a name, which the server is told (RFC 6066 3), or an address
  Proof proof = Proof::kNothing;
  std::vector<Association> associations = {};  // kRecords: at least one that is usable
  std::vector<std::string> also = {};          // kRecords: names that count as well as the host's
  // Sessions of the same key may be resumed: it must say all that was demanded. Empty: none is.
  std::string resume_key = {};
};

class ClientContext {
 public:
  [[nodiscard]] static std::expected<std::shared_ptr<ClientContext>, std::string> make(
      const ClientSettings& settings);
  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;

  // For common/tls alone.
  [[nodiscard]] ssl_ctx_st* raw() const noexcept { return context_.get(); }
  [[nodiscard]] Resumption& resumption() noexcept { return resumption_; }

 private:
  ClientContext() = default;
  struct Free {
    void operator()(ssl_ctx_st* context) const noexcept;
  };
  std::unique_ptr<ssl_ctx_st, Free> context_;
  Resumption resumption_;
};

}  // namespace postern::tls
