// A session of any bytes: replies are well formed, and neither they nor the messages depend on how
// the wire was cut. The first byte chooses settings, the second the size of the pieces.
#include "smtpd/protocol.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "tests/fuzz/replies.h"
#include "tests/unit/smtpd/harness.h"

namespace {

using namespace postern;
using smtpd::test::Connection;

const std::vector<base::Network> kInsiders{*base::parse_network("10.0.0.0/8")};

config::Rights rights_with_xclient() {
  auto rights = smtpd::test::sample_rights();
  rights.listeners.front().xclient_from = kInsiders;
  return rights;
}

struct Outcome {
  std::string output;
  std::string bodies;
  std::size_t messages = 0;
  bool closed = false;
  bool operator==(const Outcome&) const = default;
};

Outcome run(const smtpd::Service& service, std::string_view wire, std::size_t piece, bool pause) {
  Connection connection(service, base::parse_ip("10.0.0.1"));
  connection.sink.pause_always = pause;
  for (; !wire.empty(); wire.remove_prefix(std::min(piece, wire.size())))
    connection.feed(wire.substr(0, piece));
  Outcome outcome{connection.output, {}, connection.sink.messages.size(), connection.closed()};
  for (const auto& message : connection.sink.messages) {
    CHECK(!message.envelope.recipients.empty());
    CHECK(message.facts.wire_size == message.body.size());
    outcome.bodies += message.body + "|";
  }
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  static const config::RightsIndex rights(smtpd::test::sample_rights());
  static const config::RightsIndex with_xclient(rights_with_xclient());
  const bool introduces = (data[0] & 128) != 0;
  auto service = smtpd::test::sample_service(introduces ? with_xclient : rights);
  if (introduces) service.xforward_from = config::NetworkSet(kInsiders);
  service.require_hello = (data[0] & 1) == 0;
  if ((data[0] & 2) != 0) service.default_domain = mail::Domain::parse("example.org").value();
  if ((data[0] & 4) != 0) service.limits.message_size = 50;
  if ((data[0] & 8) != 0) service.limits.session_size = 100;
  if ((data[0] & 16) != 0) service.limits.recipients = 2;
  if ((data[0] & 32) != 0) service.limits.messages_per_session = 1;
  const std::string_view wire(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto whole = run(service, wire, wire.size(), false);
  fuzz::check_replies(whole.output, wire);
  CHECK(run(service, wire, 1, false) == whole);
  CHECK(run(service, wire, 1U + data[1], (data[0] & 64) != 0) == whole);
  return 0;
}
