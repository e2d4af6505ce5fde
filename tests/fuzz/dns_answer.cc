// Any bytes are an answer, a failure or a deferral, whatever was asked; what is read of them is bounded and clean.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/dns/answer.h"

namespace {

using namespace postern;
using dns::Status;

constexpr std::string_view kName = "example.org";
constexpr auto kMaxTtl = std::chrono::hours(7 * 24);

bool is_printable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

bool is_host(const mail::Domain& host) {
  return !host.is_literal() && is_printable(host.text()) && mail::Domain::parse(host.text()) == host;
}

// What holds of each kind of answer.
template <class Answer>
void check(const Answer& answer, bool has_records) {
  CHECK((answer.status == Status::kRecords) == has_records);
  CHECK((answer.status == Status::kTemporary) == !answer.trouble.empty());
  CHECK(answer.status != Status::kTemporary || !answer.secure);
  CHECK(answer.ttl >= base::Millis(0) && answer.ttl <= kMaxTtl);
  CHECK(is_printable(answer.trouble));
}

void read_mx(std::string_view packet, const mail::Domain& name) {
  const auto mx = dns::read_mx(packet, name);
  check(mx, !mx.records.empty() || mx.unusable);
  CHECK(mx.records.size() <= dns::kMaxMx && std::is_sorted(mx.records.begin(), mx.records.end()));
  for (const auto& record : mx.records) CHECK(record.host.empty() || is_host(record.host));
}

void read_addresses(std::string_view packet, const mail::Domain& name, base::IpFamily family) {
  const auto answer = dns::read_addresses(packet, name, family);
  check(answer, !answer.addresses.empty());
  CHECK(answer.addresses.size() <= dns::kMaxAddresses && is_printable(answer.alias_of));
}

void read_names(std::string_view packet) {
  const auto answer = dns::read_names(packet, kName);
  check(answer, !answer.names.empty());
  CHECK(answer.names.size() <= dns::kMaxNames);
  for (const auto& name : answer.names) CHECK(is_host(name));
}

void read_tlsa(std::string_view packet) {
  const auto answer = dns::read_tlsa(packet, kName);
  check(answer, !answer.records.empty());
  CHECK(answer.records.size() <= dns::kMaxTlsa);
  for (const auto& record : answer.records) CHECK(record.data.size() < packet.size());
}

void read_txt(std::string_view packet) {
  const auto answer = dns::read_txt(packet, kName);
  check(answer, !answer.texts.empty());
  CHECK(answer.texts.size() <= dns::kMaxTxt);
  for (const auto& text : answer.texts) CHECK(text.size() < packet.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view packet(reinterpret_cast<const char*>(data), size);
  static const auto name = mail::Domain::parse(kName).value();
  read_mx(packet, name);
  read_addresses(packet, name, base::IpFamily::kV4);
  read_addresses(packet, name, base::IpFamily::kV6);
  read_names(packet);
  read_tlsa(packet);
  read_txt(packet);
  return 0;
}
