// However the wire is cut, the reader finds the same replies, bounded and clean.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/mail/reply_reader.h"

namespace {

using postern::mail::ReplyReader;

std::string read(std::string_view wire, std::size_t piece) {
  ReplyReader reader;
  std::string all;
  while (!wire.empty()) {
    auto bytes = wire.substr(0, piece);
    wire.remove_prefix(bytes.size());
    while (!bytes.empty()) {
      const auto left = bytes.size();
      const auto status = reader.feed(bytes);
      CHECK(bytes.size() < left || status == ReplyReader::Status::kMalformed);
      if (status == ReplyReader::Status::kMalformed) return all + "malformed";
      if (status == ReplyReader::Status::kMore) continue;
      const auto reply = reader.take();
      CHECK(reply.code <= 999 && !reply.lines.empty() &&
            reply.lines.size() <= ReplyReader::kMaxLines);
      const auto text = reply.text();
      CHECK(text.size() <= postern::mail::Reply::kMaxText);
      CHECK(std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; }));
      all += text + "|";
    }
  }
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view wire(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = read(wire, wire.size());
  CHECK(read(wire, 1) == whole);
  CHECK(read(wire, 1U + data[0]) == whole);
  return 0;
}
