#include "smtpd/auth/scram.h"

#include <fmt/format.h>

#include "common/base/base64.h"
#include "common/base/secret.h"
#include "common/sasl/scram_text.h"
#include "common/tls/digest.h"
#include "smtpd/auth/plain.h"

namespace postern::smtpd::auth {

using sasl::is_nonce;
using sasl::take_attribute;
using sasl::unescaped;
using sasl::value_of;

Scram::Scram(bool plus, ExchangeContext context) : plus_(plus), context_(std::move(context)) {}

Step Scram::begin(std::optional<std::string_view> initial) {
  if (initial) return respond(*initial);
  return Challenge{};
}

Step Scram::respond(std::string_view response) {
  switch (state_) {
    case State::kFirst:
      return first(response);
    case State::kProof:
      return proof(response);
    case State::kEnd:
      if (!response.empty()) return reject("something behind the server's last word");
      return Proven{account_};
  }
  return reject("out of order");
}

std::string_view Scram::read_flag(std::string_view flag) {
  if (flag == "n") return plus_ ? "no channel binding in a -PLUS mechanism" : "";
  // It could bind and believes that we cannot: somebody took -PLUS out of what we offer.
  if (flag == "y") return plus_ || context_.plus_offered ? "channel binding was taken out" : "";
  const auto name = value_of(flag, 'p');
  if (!name || !plus_) return "malformed channel binding flag";
  if (*name == "tls-exporter") binding_ = context_.binding.exporter;
  if (*name == "tls-unique") binding_ = context_.binding.unique;
  return binding_.empty() ? "a channel binding that is not there" : "";
}

// client-first-message: gs2-cbind-flag "," [authzid] "," "n=" name "," "r=" nonce ["," extensions]
Step Scram::first(std::string_view response) {
  const auto whole = response;
  if (const auto wrong = read_flag(take_attribute(response)); !wrong.empty()) return reject(wrong);
  const auto acting = take_attribute(response);
  header_ = whole.substr(0, whole.size() - response.size());
  const auto bare = response;
  const auto name = value_of(take_attribute(response), 'n');  // "m=" is for extensions that we must refuse
  const auto nonce = value_of(take_attribute(response), 'r');
  if (!name || !nonce || !is_nonce(*nonce) || !header_.ends_with(',') || name->size() > kMaxField)
    return reject("malformed first message");
  const auto said = unescaped(*name);
  if (!said || said->empty()) return reject("malformed name");
  account_ = account_name(*said);
  if (!acting.empty()) {
    const auto other = value_of(acting, 'a');
    const auto acts_for = other ? unescaped(*other) : std::nullopt;
    if (!acts_for || account_name(*acts_for) != account_)
      return reject("wants to act for another account");
  }
  looked_ = context_.look_up(account_);
  nonce_ = std::string(*nonce) + context_.nonce;
  auto server_first = fmt::format("r={},s={},i={}", nonce_, base::to_base64(looked_.verifier.salt),
                                  looked_.verifier.iterations);
  messages_ = fmt::format("{},{}", bare, server_first);
  state_ = State::kProof;
  return Challenge{std::move(server_first)};
}

// client-final-message: "c=" base64(gs2-header binding) "," "r=" nonce ["," extensions] "," "p=" proof
Step Scram::proof(std::string_view response) {
  const auto last = response.rfind(',');
  if (last == std::string_view::npos) return reject("malformed last message");
  const auto without_proof = response.substr(0, last);
  const auto said = value_of(response.substr(last + 1), 'p');
  const auto client_proof = said ? base::parse_base64(*said) : std::nullopt;
  auto rest = without_proof;
  const auto bound = value_of(take_attribute(rest), 'c');
  const auto binding = bound ? base::parse_base64(*bound) : std::nullopt;
  const auto nonce = value_of(take_attribute(rest), 'r');
  if (!client_proof || client_proof->size() != tls::kSha256Size || !binding || !nonce)
    return reject("malformed last message");
  if (*nonce != nonce_) return reject("another nonce");
  if (!base::equal_secrets(*binding, header_ + binding_)) return reject("another channel");

  const auto message = fmt::format("{},{}", messages_, without_proof);
  const auto signature = tls::hmac_sha256(looked_.verifier.stored_key, message);
  auto client_key = sasl::exclusive_or(*client_proof, signature);
  const bool fits = base::equal_secrets(tls::sha256(client_key), looked_.verifier.stored_key);
  base::wipe(client_key);
  if (!fits || !looked_.exists)
    return reject(looked_.exists ? "wrong password" : "no such account for SCRAM");
  state_ = State::kEnd;
  return Convinced{account_, "v=" + base::to_base64(tls::hmac_sha256(looked_.verifier.server_key, message))};
}

std::unique_ptr<Exchange> make_exchange(sasl::Mechanism mechanism, ExchangeContext context) {
  switch (mechanism) {
    case sasl::Mechanism::kPlain:
      return std::make_unique<Plain>();
    case sasl::Mechanism::kLogin:
      return std::make_unique<Login>();
    case sasl::Mechanism::kScramSha256:
      return std::make_unique<Scram>(false, std::move(context));
    case sasl::Mechanism::kScramSha256Plus:
      return std::make_unique<Scram>(true, std::move(context));
  }
  return nullptr;
}

}  // namespace postern::smtpd::auth
