// TlsDesk: what the sessions of a process need for TLS, and how many may shake hands at the same
// time.
#pragma once

#include <memory>
#include <utility>

#include "common/tls/session.h"

namespace postern::smtpd {

class TlsDesk {
 public:
  // At the same time in this process. A handshake holds some 50 KB, and may have a signature made.
  static constexpr std::size_t kMostHandshakes = 1'000;

  // One of them, while it lasts.
  class Place {
   public:
    Place() = default;
    explicit Place(std::size_t& count) : count_(&count) { ++count; }
    Place(Place&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(count_, other.count_);
      other.leave();
      return *this;
    }
    ~Place() { leave(); }

   private:
    void leave() noexcept {
      if (count_ != nullptr) --*std::exchange(count_, nullptr);
    }
    std::size_t* count_ = nullptr;
  };

  // `signer` outlives the sessions.
  explicit TlsDesk(tls::Signer& signer) : signer_(signer) {}

  // From the next handshake on; null: there is no certificate.
  void use(std::shared_ptr<const tls::ServerContext> context) { context_ = std::move(context); }
  // Whether another handshake can begin.
  [[nodiscard]] bool has_room() const noexcept { return context_ && handshakes_ < kMostHandshakes; }
  [[nodiscard]] std::unique_ptr<tls::Session> accept(Place& place) {
    place = Place(handshakes_);
    return tls::Session::accept(context_, signer_);
  }

 private:
  tls::Signer& signer_;
  std::shared_ptr<const tls::ServerContext> context_;
  std::size_t handshakes_ = 0;
};

}  // namespace postern::smtpd
