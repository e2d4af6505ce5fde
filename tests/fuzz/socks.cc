// Whatever a SOCKS server says and in whatever pieces it comes, the client wants a bounded number of bytes, leaves
// what follows them, and comes to the same end. It says its request once it was let in, and nothing else.
#include "deliverd/relay/socks.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"

namespace {

using postern::relay::SocksClient;
using State = SocksClient::State;

constexpr std::string_view kHello("\5\1\0", 3);
constexpr std::string_view kRequest("\5\1\0\3\13far.example\0\31", 18);

struct End {
  State state;
  std::string trouble;
  std::size_t used;
  bool operator==(const End&) const = default;
};

End talk(std::string_view bytes, std::size_t piece) {
  SocksClient client("far.example", 25);
  std::size_t used = 0;
  while (used < bytes.size() && client.state() == State::kTalking) {
    CHECK(client.wanted() > 0 && client.wanted() <= SocksClient::kMaxWanted);
    const auto part = bytes.substr(used, std::min(piece, client.wanted()));
    client.on_input(part);
    used += part.size();
  }
  const std::string_view said = client.output();
  CHECK(said.starts_with(kHello));
  CHECK(said.size() == kHello.size() || said.substr(kHello.size()) == kRequest);
  CHECK(client.state() != State::kOpen || said.size() > kHello.size());
  CHECK((client.state() == State::kFailed) == !client.trouble().empty());
  return {client.state(), client.trouble(), used};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto whole = talk(bytes, SocksClient::kMaxWanted);
  for (const std::size_t piece : {1U, 3U}) CHECK(talk(bytes, piece) == whole);
  return 0;
}
