// Login: how we log in at a next hop (RFC 4954): the client's side of one SASL exchange as a pure machine,
// by SCRAM-SHA-256 (RFC 5802, 7677), PLAIN (RFC 4616) or LOGIN, the first of these that is offered. Base64
// in, base64 out. It neither knows nor asks who listens: its owner calls it in verified TLS alone.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/sasl/mechanism.h"
#include "common/sasl/scram_verifier.h"

namespace postern::relay {

// The mechanisms that a next hop offers.
class MechanismSet {
 public:
  void add(sasl::Mechanism mechanism) noexcept { bits_ |= bit(mechanism); }
  void remove(sasl::Mechanism mechanism) noexcept { bits_ &= ~bit(mechanism); }
  [[nodiscard]] bool has(sasl::Mechanism mechanism) const noexcept { return (bits_ & bit(mechanism)) != 0; }
  [[nodiscard]] bool empty() const noexcept { return bits_ == 0; }

 private:
  static constexpr unsigned bit(sasl::Mechanism mechanism) noexcept {
    return 1U << static_cast<unsigned>(mechanism);
  }
  unsigned bits_ = 0;
};

// Who we are at a host. The connections there share it.
class HopAccount {
 public:
  HopAccount(std::string user, std::string password)
      : user_(std::move(user)), password_(std::move(password)) {}
  ~HopAccount();
  HopAccount(const HopAccount&) = delete;
  HopAccount& operator=(const HopAccount&) = delete;

  [[nodiscard]] const std::string& user() const noexcept { return user_; }
  [[nodiscard]] const std::string& password() const noexcept { return password_; }
  // Kept until others are asked for: a host says the same salt each time, and making them takes long.
  [[nodiscard]] const sasl::ScramKeys& keys(const std::string& salt, std::uint32_t iterations);

 private:
  std::string user_, password_;
  std::string salt_;
  std::uint32_t iterations_ = 0;
  sasl::ScramKeys keys_;
};

class Login {
 public:
  static constexpr std::size_t kMaxCommand = 510;  // of AUTH with an initial response, RFC 4954 4
  // So that a next hop cannot keep this process busy: half a second.
  static constexpr std::uint32_t kMostIterations = 1'000'000;
  static constexpr std::size_t kMaxSalt = 256;

  // `nonce`: printable ASCII without commas, never the same again.
  Login(std::shared_ptr<HopAccount> account, std::string nonce)
      : account_(std::move(account)), nonce_(std::move(nonce)) {}

  // The command of the strongest mechanism that is offered and was not begun before; nothing: there is none.
  [[nodiscard]] std::optional<std::string> begin(MechanismSet offered);
  [[nodiscard]] bool has_more(MechanismSet offered) const noexcept;
  // The answer to a challenge; the error says why the next hop gets none.
  [[nodiscard]] std::expected<std::string, std::string> respond(std::string_view challenge);
  // The next hop did what the mechanism wants of it, so its "yes" counts.
  [[nodiscard]] bool satisfied() const noexcept { return state_ == State::kEnd; }
  [[nodiscard]] sasl::Mechanism mechanism() const noexcept { return mechanism_; }
  [[nodiscard]] const std::string& user() const noexcept { return account_->user(); }

 private:
  enum class State : std::uint8_t {
    kInitial,     // the initial response was too long for the command
    kUser,        // LOGIN: the first question
    kPassword,    // LOGIN: the second
    kScramFirst,  // the server's first message
    kScramFinal,  // its last: the proof that it knows the password
    kEnd,
  };
  using Answer = std::expected<std::string, std::string>;

  [[nodiscard]] std::string initial();
  [[nodiscard]] Answer answer_first(const std::string& message);
  [[nodiscard]] Answer check_final(std::string_view message);

  std::shared_ptr<HopAccount> account_;
  std::string nonce_;
  MechanismSet begun_;
  sasl::Mechanism mechanism_ = sasl::Mechanism::kPlain;
  State state_ = State::kInitial;
  std::string response_;          // in kInitial
  std::string signature_;         // in kScramFinal: what its last message must hold
};

}  // namespace postern::relay
