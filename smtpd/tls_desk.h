// TlsDesk: what the sessions of a process need for TLS, and how many may shake hands at the same
// time. Where these are too many, whoever has had long enough makes room for who comes: a crowd that
// begins handshakes and goes on with none of them keeps nobody out.
#pragma once

#include <iterator>
#include <list>
#include <memory>
#include <utility>

#include "common/base/clock.h"
#include "common/event/loop.h"
#include "common/tls/session.h"

namespace postern::smtpd {

class TlsDesk {
 public:
  // At the same time in this process. A handshake holds some 50 KB, and may have a signature made.
  static constexpr std::size_t kMostHandshakes = 1'000;
  // Which each has for itself, however many wait: several journeys to the other side of the earth.
  static constexpr base::Millis kOwnTime{5'000};

 private:
  struct Handshake {
    base::SteadyTime began;
    event::Callback cut;
  };
  using Handshakes = std::list<Handshake>;  // the oldest first

 public:
  // One of them, while it lasts.
  class Place {
   public:
    Place() = default;
    Place(Handshakes& all, Handshakes::iterator own) : all_(&all), own_(own) {}
    Place(Place&& other) noexcept : all_(std::exchange(other.all_, nullptr)), own_(other.own_) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(all_, other.all_);
      std::swap(own_, other.own_);
      other.leave();
      return *this;
    }
    ~Place() { leave(); }

   private:
    void leave() noexcept {
      if (all_ != nullptr) std::exchange(all_, nullptr)->erase(own_);
    }
    Handshakes* all_ = nullptr;
    Handshakes::iterator own_;
  };

  // `signer` outlives the sessions.
  explicit TlsDesk(tls::Signer& signer) : signer_(signer) {}

  // From the next handshake on; null: there is no certificate.
  void use(std::shared_ptr<const tls::ServerContext> context) { context_ = std::move(context); }
  [[nodiscard]] bool has_room() const noexcept { return context_ && handshakes_.size() < kMostHandshakes; }
  // Whether another handshake can begin; ends the oldest one where it may and must.
  [[nodiscard]] bool make_room(base::SteadyTime now) noexcept {
    if (!context_ || has_room() || now - handshakes_.front().began < kOwnTime) return has_room();
    auto cut = std::move(handshakes_.front().cut);
    cut();
    return has_room();
  }
  // `cut` is to end the handshake, and with it its place, at once.
  [[nodiscard]] std::unique_ptr<tls::Session> accept(Place& place, base::SteadyTime now, event::Callback cut) {
    handshakes_.push_back({now, std::move(cut)});
    place = Place(handshakes_, std::prev(handshakes_.end()));
    return tls::Session::accept(context_, signer_);
  }

 private:
  tls::Signer& signer_;
  std::shared_ptr<const tls::ServerContext> context_;
  Handshakes handshakes_;
};

}  // namespace postern::smtpd
