// What BDAT counted is stored so that taking the dots off gives it again, can end nowhere as the body of DATA, and
// does not depend on how it was cut into chunks and pieces; nor does what the session hears. The first byte
// chooses settings and the second the size of the pieces; the third says how many chunks there are, and so many
// bytes how long each is.
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/check.h"
#include "common/mail/data_reader.h"
#include "common/mail/unstuffer.h"
#include "tests/unit/smtpd/harness.h"

namespace {

using namespace postern;
using smtpd::test::Connection;

struct Outcome {
  std::string output;
  std::string body;
  bool binary = false;
  std::uint64_t size = 0;
  bool operator==(const Outcome&) const = default;
};

Outcome run(const smtpd::Service& service, std::string_view wire, std::size_t piece, bool pause) {
  Connection connection(service, base::parse_ip("10.0.0.1"));
  connection.sink.pause_always = pause;
  for (; !wire.empty(); wire.remove_prefix(std::min(piece, wire.size())))
    connection.feed(wire.substr(0, piece));
  CHECK(!connection.closed());
  Outcome outcome{connection.output, {}, false, 0};
  CHECK(connection.sink.messages.size() <= 1);
  for (const auto& message : connection.sink.messages) {
    CHECK(message.facts.wire_size == message.body.size());
    outcome.body = message.body;
    outcome.binary = message.facts.binary;
    outcome.size = message.facts.size;
  }
  return outcome;
}

std::string unstuffed(std::string_view stuffed) {
  mail::Unstuffer unstuffer(mail::LineEnd::kCrLf);
  std::string out;
  unstuffer.feed(stuffed, out);
  unstuffer.finish(out);
  return out;
}

// As a next hop reads what leaves by DATA.
void check_as_data(const std::string& stored) {
  mail::DataReader reader;
  for (std::string_view rest = stored; !rest.empty();) {
    const auto step = reader.scan(rest);
    CHECK(!step.end);
    rest.remove_prefix(step.consumed);
  }
  CHECK(!reader.bare());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3 || size < 3U + data[2] % 8U) return 0;
  static const config::RightsIndex rights(smtpd::test::sample_rights());
  const auto service = smtpd::test::sample_service(rights);
  const bool any_bytes = (data[0] & 1) != 0;
  const bool pipelined = (data[0] & 2) != 0;
  const std::size_t count = data[2] % 8U;
  std::string_view text(reinterpret_cast<const char*>(data) + 3 + count, size - 3 - count);
  const std::string whole(text);

  std::string wire = fmt::format("EHLO a\r\nMAIL FROM:<a@a.example>{}\r\nRCPT TO:<bob@example.org>\r\n",
                                 any_bytes ? " BODY=BINARYMIME" : "");
  for (std::size_t i = 0; i < count; ++i) {
    const auto chunk = text.substr(0, data[3 + i]);
    wire += fmt::format("BDAT {}\r\n", chunk.size()) + std::string(chunk);
    text.remove_prefix(chunk.size());
  }
  wire += fmt::format("BDAT {} LAST\r\n", text.size()) + std::string(text);
  if (pipelined) wire += "NOOP\r\n";

  const auto outcome = run(service, wire, wire.size(), false);
  CHECK(run(service, wire, 1, false) == outcome);
  CHECK(run(service, wire, 1U + data[1], (data[0] & 4) != 0) == outcome);
  const auto taken = outcome.output.find(" queued as ") != std::string::npos;
  if (!taken) {
    CHECK(outcome.body.empty());
    return 0;
  }
  CHECK(outcome.size == whole.size());
  CHECK(unstuffed(outcome.body) == whole);
  if (!outcome.binary) check_as_data(outcome.body);
  CHECK(!outcome.binary || any_bytes);
  return 0;
}
