// What clients say in a login: the machines of all mechanisms, and Dovecot's answers. The first byte
// chooses which; lines are the client's responses. Nobody gets in who did not know the password.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/base64.h"
#include "common/base/check.h"
#include "smtpd/auth/dovecot.h"
#include "smtpd/auth/exchange.h"

namespace {

using namespace postern;
using namespace postern::smtpd;

constexpr int kMostLines = 8;

auth::ExchangeContext context(bool plus_offered) {
  static const auto verifier = sasl::ScramVerifier::make("pencil", "0123456789abcdef", 4096);
  auth::ExchangeContext made;
  made.plus_offered = plus_offered;
  made.binding = {"exported", "unique"};
  made.nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
  made.look_up = [](const std::string& account) {
    CHECK(account.size() <= auth::Exchange::kMaxField);
    return auth::Looked{verifier, account == "user"};
  };
  return made;
}

void exchange(sasl::Mechanism mechanism, bool plus_offered, std::string_view lines) {
  auto machine = auth::make_exchange(mechanism, context(plus_offered));
  auth::Step step = machine->begin(std::nullopt);
  for (int i = 0; i < kMostLines; ++i) {
    const auto* const challenge = std::get_if<auth::Challenge>(&step);
    const auto* const convinced = std::get_if<auth::Convinced>(&step);
    if (challenge == nullptr && convinced == nullptr) break;
    if (convinced != nullptr) CHECK(convinced->account == "user");
    const auto& bytes = challenge != nullptr ? challenge->bytes : convinced->bytes;
    CHECK(base::parse_base64(base::to_base64(bytes)) == bytes);
    const auto line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    step = machine->respond(line);
  }
  if (const auto* const check = std::get_if<auth::CheckPassword>(&step))
    CHECK(!check->account.empty() && !check->password.empty());
  if (const auto* const proven = std::get_if<auth::Proven>(&step)) CHECK(proven->account == "user");
}

void dovecot(std::string_view bytes, std::size_t piece) {
  auth::Dovecot machine(1);
  std::size_t asked = 0, answered = 0;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    if (!machine.input(bytes.substr(0, piece))) {
      CHECK(!machine.trouble().empty());
      break;
    }
    if (machine.ready() && machine.has_room() && asked < 3) {
      (void)machine.ask("bob", "secret", base::IpAddress{});
      ++asked;
    }
    answered += machine.take_answers().size();
  }
  CHECK(answered <= asked);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  (void)base::parse_base64(rest);
  if ((data[0] & 8) != 0)
    dovecot(rest, 1U + (data[0] >> 4));
  else
    exchange(static_cast<sasl::Mechanism>(data[0] & 3), (data[0] & 4) != 0, rest);
  return 0;
}
