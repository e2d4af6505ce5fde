#include "common/ipc/codec.h"

namespace postern::ipc {

void Codec<base::IpAddress>::encode(base::Writer& w, const base::IpAddress& value, Limits) {
  w.integer(static_cast<std::uint8_t>(value.family));
  w.bytes(value.bytes);
}

void Codec<base::IpAddress>::decode(base::Reader& r, base::IpAddress& value, Limits) {
  const auto family = r.integer<std::uint8_t>();
  if (family > static_cast<std::uint8_t>(base::IpFamily::kV6)) return r.fail();
  value.family = static_cast<base::IpFamily>(family);
  r.bytes(value.bytes);
  for (std::size_t i = value.bits() / 8; i < value.bytes.size(); ++i)
    if (value.bytes[i] != 0) r.fail();
}

void Codec<base::Network>::encode(base::Writer& w, const base::Network& value, Limits) {
  Codec<base::IpAddress>::encode(w, value.address, {});
  w.integer(value.prefix);
}

void Codec<base::Network>::decode(base::Reader& r, base::Network& value, Limits) {
  Codec<base::IpAddress>::decode(r, value.address, {});
  value.prefix = r.integer<std::uint8_t>();
  if (value.prefix > value.address.bits()) r.fail();
}

void Codec<base::Endpoint>::encode(base::Writer& w, const base::Endpoint& value, Limits) {
  Codec<base::IpAddress>::encode(w, value.address, {});
  w.integer(value.port);
}

void Codec<base::Endpoint>::decode(base::Reader& r, base::Endpoint& value, Limits) {
  Codec<base::IpAddress>::decode(r, value.address, {});
  value.port = r.integer<std::uint16_t>();
}

void Codec<mail::Domain>::encode(base::Writer& w, const mail::Domain& value, Limits) {
  w.blob(value.text());
}

void Codec<mail::Domain>::decode(base::Reader& r, mail::Domain& value, Limits) {
  const auto text = r.blob(mail::Domain::kMaxLength);
  value = {};
  if (r.failed() || text.empty()) return;
  if (auto parsed = mail::Domain::parse(text); parsed && parsed->text() == text)
    value = *std::move(parsed);
  else
    r.fail();
}

void Codec<mail::Address>::encode(base::Writer& w, const mail::Address& value, Limits) {
  w.blob_of([&](std::string& out) { value.append_to(out); });
}

void Codec<mail::Address>::decode(base::Reader& r, mail::Address& value, Limits) {
  const auto text = r.blob(kMaxText);
  if (r.failed()) return;
  if (auto parsed = mail::Address::parse(text))
    value = *std::move(parsed);
  else
    r.fail();
}

void Codec<mail::ReversePath>::encode(base::Writer& w, const mail::ReversePath& value, Limits) {
  w.blob_of([&](std::string& out) {
    if (!value.is_null()) value.address().append_to(out);
  });
}

void Codec<mail::ReversePath>::decode(base::Reader& r, mail::ReversePath& value, Limits) {
  const auto text = r.blob(Codec<mail::Address>::kMaxText);
  value = {};
  if (r.failed() || text.empty()) return;
  if (auto parsed = mail::Address::parse(text))
    value = mail::ReversePath(*std::move(parsed));
  else
    r.fail();
}

void Codec<mail::Notify>::decode(base::Reader& r, mail::Notify& value, Limits) {
  if (const auto read = mail::Notify::from_bits(r.integer<std::uint8_t>()))
    value = *read;
  else
    r.fail();
}

void Codec<mail::EnvelopeId>::decode(base::Reader& r, mail::EnvelopeId& value, Limits) {
  const auto text = r.blob(mail::EnvelopeId::kMaxLength);
  if (r.failed()) return;
  if (auto read = mail::EnvelopeId::from_text(text))
    value = *std::move(read);
  else
    r.fail();
}

void Codec<mail::OriginalRecipient>::decode(base::Reader& r, mail::OriginalRecipient& value,
                                            Limits) {
  const auto text = r.blob(mail::OriginalRecipient::kMaxLength);
  if (r.failed()) return;
  if (auto read = mail::OriginalRecipient::from_text(text))
    value = *std::move(read);
  else
    r.fail();
}

}  // namespace postern::ipc
