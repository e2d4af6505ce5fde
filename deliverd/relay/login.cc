#include "deliverd/relay/login.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/base64.h"
#include "common/base/secret.h"
#include "common/base/text.h"
#include "common/sasl/scram_text.h"
#include "common/tls/digest.h"

namespace postern::relay {
namespace {

using sasl::Mechanism;
using sasl::take_attribute;
using sasl::value_of;

constexpr Mechanism kByStrength[] = {Mechanism::kScramSha256, Mechanism::kPlain, Mechanism::kLogin};
// Without channel binding, as ourselves.
constexpr std::string_view kGs2Header = "n,,";

std::unexpected<std::string> wrong(std::string_view what) {
  return std::unexpected(std::string(what));
}

}  // namespace

HopAccount::~HopAccount() {
  base::wipe(password_);
  base::wipe(keys_.client);
  base::wipe(keys_.server);
}

const sasl::ScramKeys& HopAccount::keys(const std::string& salt, std::uint32_t iterations) {
  if (salt != salt_ || iterations != iterations_) {
    keys_ = sasl::ScramKeys::make(password_, salt, iterations);
    salt_ = salt;
    iterations_ = iterations;
  }
  return keys_;
}

std::optional<std::string> Login::begin(MechanismSet offered) {
  for (const auto mechanism : kByStrength) {
    if (!offered.has(mechanism) || begun_.has(mechanism)) continue;
    begun_.add(mechanism);
    mechanism_ = mechanism;
    auto command = fmt::format("AUTH {}", sasl::name(mechanism));
    if (mechanism == Mechanism::kLogin) {
      state_ = State::kUser;
      return command;
    }
    auto response = base::to_base64(initial());
    if (command.size() + 1 + response.size() > kMaxCommand) {
      response_ = std::move(response);
      state_ = State::kInitial;
      return command;
    }
    command += ' ' + response;
    base::wipe(response);
    state_ = mechanism == Mechanism::kPlain ? State::kEnd : State::kScramFirst;
    return command;
  }
  return std::nullopt;
}

bool Login::has_more(MechanismSet offered) const noexcept {
  return std::ranges::any_of(kByStrength, [&](Mechanism mechanism) {
    return offered.has(mechanism) && !begun_.has(mechanism);
  });
}

std::string Login::initial() {
  if (mechanism_ == Mechanism::kPlain)
    return fmt::format("{0}{1}{0}{2}", '\0', account_->user(), account_->password());
  return fmt::format("{}n={},r={}", kGs2Header, sasl::escaped(account_->user()), nonce_);
}

Login::Answer Login::respond(std::string_view challenge) {
  if (state_ == State::kUser) {  // what it asks in LOGIN is known, and said in many ways
    state_ = State::kPassword;
    return base::to_base64(account_->user());
  }
  if (state_ == State::kPassword) {
    state_ = State::kEnd;
    return base::to_base64(account_->password());
  }
  const auto message = base::parse_base64(base::trim(challenge));
  if (!message) return wrong("its challenge is no base64");
  switch (state_) {
    case State::kInitial:
      if (!message->empty()) return wrong("its challenge comes out of order");
      state_ = mechanism_ == Mechanism::kPlain ? State::kEnd : State::kScramFirst;
      return std::exchange(response_, {});
    case State::kScramFirst:
      return answer_first(*message);
    case State::kScramFinal:
      return check_final(*message);
    case State::kUser:
    case State::kPassword:
    case State::kEnd:
      break;
  }
  return wrong("it has a question too many");
}

// server-first-message: "r=" nonce ",s=" salt ",i=" iterations ["," extensions]
Login::Answer Login::answer_first(const std::string& message) {
  std::string_view rest = message;
  const auto nonce = value_of(take_attribute(rest), 'r');  // "m=" is for extensions that we must refuse
  const auto salt_text = value_of(take_attribute(rest), 's');
  const auto count_text = value_of(take_attribute(rest), 'i');
  const auto salt = salt_text ? base::parse_base64(*salt_text) : std::nullopt;
  const auto count = count_text ? base::parse_number(*count_text) : std::nullopt;
  if (!nonce || !salt || salt->empty() || salt->size() > kMaxSalt || !count)
    return wrong("its first message of SCRAM is malformed");
  if (!nonce->starts_with(nonce_) || nonce->size() == nonce_.size() ||
      !sasl::is_nonce(*nonce, nonce_.size() + sasl::kMaxNonce))
    return wrong("it answers to another nonce");
  if (*count < sasl::ScramVerifier::kLeastIterations || *count > kMostIterations)
    return std::unexpected(fmt::format("it asks for {} iterations, expected from {} to {}", *count,
                                       sasl::ScramVerifier::kLeastIterations, kMostIterations));
  const auto& keys = account_->keys(*salt, static_cast<std::uint32_t>(*count));
  const auto without_proof = fmt::format("c={},r={}", base::to_base64(kGs2Header), *nonce);
  const auto signed_text = fmt::format("n={},r={},{},{}", sasl::escaped(account_->user()), nonce_, message,
                                       without_proof);
  const auto proof = sasl::exclusive_or(keys.client, tls::hmac_sha256(keys.stored, signed_text));
  signature_ = tls::hmac_sha256(keys.server, signed_text);
  state_ = State::kScramFinal;
  return base::to_base64(fmt::format("{},p={}", without_proof, base::to_base64(proof)));
}

// server-final-message: "v=" signature, or "e=" why not. SMTP's 235 carries nothing, so it comes as a
// challenge, and is answered with nothing.
Login::Answer Login::check_final(std::string_view message) {
  const auto attribute = take_attribute(message);
  if (const auto error = value_of(attribute, 'e'))
    return std::unexpected(fmt::format("it refuses: {}", base::printable(*error, 60)));
  const auto value = value_of(attribute, 'v');
  const auto signature = value ? base::parse_base64(*value) : std::nullopt;
  if (!signature || !base::equal_secrets(*signature, signature_))
    return wrong("it does not know the password itself");
  state_ = State::kEnd;
  return std::string();
}

}  // namespace postern::relay
