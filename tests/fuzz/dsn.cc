// What reports a sender wants: what parses is clean, and said or kept it parses back to itself.
#include "common/mail/dsn.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/base/utf8.h"

using postern::mail::EnvelopeId;
using postern::mail::OriginalRecipient;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto original = OriginalRecipient::parse(text)) {
    CHECK(postern::base::is_harmless(original->text()));
    CHECK(OriginalRecipient::from_text(original->text()) == original);
    for (const bool smtputf8 : {false, true}) {
      const auto said = original->parameter(smtputf8);
      CHECK(said.find(' ') == std::string::npos && postern::base::is_harmless(said));
      CHECK(smtputf8 || postern::base::is_ascii(said));
      CHECK(said.empty() || OriginalRecipient::parse(said) == original);
      CHECK(postern::base::is_harmless(original->field(smtputf8)));
    }
    CHECK(postern::base::is_ascii(original->field(false)));
  }
  if (const auto id = EnvelopeId::parse(text)) CHECK(EnvelopeId::parse(id->xtext()) == id);
  return 0;
}
