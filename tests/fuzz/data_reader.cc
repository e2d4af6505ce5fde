// However the wire is cut, the scanner says the same, and the same as a search for CR LF "." CR LF.
#include "common/mail/data_reader.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/mail/unstuffer.h"

namespace {

using postern::mail::DataReader;

struct Result {
  std::string body;
  std::size_t consumed = 0;
  bool end = false;
  bool bare = false;
  std::uint64_t size = 0;
  std::uint32_t received = 0;
  bool operator==(const Result&) const = default;
};

Result scan(std::string_view wire, std::size_t piece) {
  DataReader reader;
  Result result;
  while (result.consumed < wire.size() && !result.end) {
    const auto begin = result.consumed;
    const auto size = std::min(piece, wire.size() - begin);
    while (result.consumed < begin + size && !result.end) {
      const auto step = reader.scan(wire.substr(result.consumed, begin + size - result.consumed));
      CHECK(step.consumed > 0 || !step.body.empty());
      result.body += step.body;
      result.end = step.end;
      result.consumed += step.consumed;
    }
  }
  CHECK(reader.wire_size() == result.body.size());
  result.bare = reader.bare();
  result.size = reader.size();
  result.received = reader.received();
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view wire(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = scan(wire, wire.size());
  CHECK(scan(wire, 1) == whole);
  CHECK(scan(wire, 1U + data[0]) == whole);

  const auto end = ("\r\n" + std::string(wire)).find("\r\n.\r\n");
  CHECK(whole.end == (end != std::string::npos));
  if (!whole.end) return 0;
  CHECK(whole.consumed == end + 3);
  CHECK(whole.body == wire.substr(0, end));

  std::string lines, pieces;
  postern::mail::Unstuffer at_once(postern::mail::LineEnd::kCrLf);
  at_once.feed(whole.body, lines);
  at_once.finish(lines);
  postern::mail::Unstuffer by_byte(postern::mail::LineEnd::kCrLf);
  for (const char c : whole.body) by_byte.feed({&c, 1}, pieces);
  by_byte.finish(pieces);
  CHECK(lines == pieces);
  if (!whole.bare) CHECK(lines.size() == whole.size);
  return 0;
}
