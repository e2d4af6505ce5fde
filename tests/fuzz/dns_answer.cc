// Any bytes are an answer, a failure or a deferral; what is read of them is bounded and clean.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/dns/answer.h"
#include "common/dns/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern;
  const std::string_view packet(reinterpret_cast<const char*>(data), size);
  static const auto name = mail::Domain::parse("example.org").value();
  const auto mx = dns::read_mx(packet, name);
  CHECK((mx.status == dns::Status::kRecords) == (!mx.records.empty() || mx.unusable));
  CHECK((mx.status == dns::Status::kTemporary) == !mx.trouble.empty());
  CHECK(mx.records.size() <= dns::kMaxMx);
  for (const auto& record : mx.records)
    CHECK(record.host.empty() || mail::Domain::parse(record.host.text()) == record.host);
  for (const auto family : {base::IpFamily::kV4, base::IpFamily::kV6}) {
    const auto answer = dns::read_addresses(packet, name, family);
    CHECK((answer.status == dns::Status::kRecords) == !answer.addresses.empty());
    CHECK(answer.addresses.size() <= dns::kMaxAddresses);
  }
  for (std::size_t at = 0; at < packet.size(); ++at) {
    auto end = at;
    if (const auto text = dns::read_name(packet, end)) CHECK(end > at && text->size() <= 4 * 255);
  }
  static const auto query = dns::make_query("example.org", dns::kTypeMx, 0x1234, true).value();
  if (dns::judge(query, packet).answers) CHECK(packet.substr(0, 2) == query.substr(0, 2));
  return 0;
}
