// Whatever a next hop says, the client says whole commands and no more than it was given, and every
// message that was begun ends with a verdict for each recipient. The first byte chooses the
// messages, the second the size of the pieces, whether TLS and LMTP are spoken, and how clients are told of.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "deliverd/relay/protocol.h"
#include "tests/fuzz/commands.h"
#include "tests/unit/deliverd/player.h"

namespace {

using namespace postern;

std::vector<relay::Envelope> messages(unsigned choice, bool introduced) {
  std::vector<relay::Envelope> list;
  for (unsigned i = 0; i <= (choice & 3); ++i) {
    auto& message = list.emplace_back();
    message.from = "a@us.example";
    message.size = (choice & 4) != 0 ? 5000 : 100;
    message.eight_bit = (choice & 8) != 0;
    message.utf8_header = message.eight_bit && i == 1;
    message.in_memory = (choice & 16) != 0;
    message.require_tls = i == 2;
    if (introduced)
      message.introduction = {ipc::FirstClient{{}, "4321", "client.example", "hello.example", "ESMTP"}, "id"};
    for (unsigned n = 0; n <= choice >> 5; ++n)
      message.recipients.push_back(
          {"r" + std::to_string(n) + "@d" + std::to_string(n % 3) + ".example", {}, {}});
  }
  return list;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const auto list = messages(data[0], (data[1] & 8) != 0);
  std::string_view wire(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto tls = (data[1] & 2) != 0 ? relay::TlsUse::kIfOffered : relay::TlsUse::kNever;
  const auto dialect = (data[1] & 4) != 0 ? relay::Dialect::kLmtp : relay::Dialect::kSmtp;
  const auto pass = (data[1] & 16) != 0 ? config::PassClient::kXclient : config::PassClient::kXforward;
  relay::Player player(list, tls, dialect, nullptr, pass);
  for (const std::size_t piece = 1U + data[1]; !wire.empty();
       wire.remove_prefix(std::min(piece, wire.size()))) {
    player.feed(wire.substr(0, piece));
    fuzz::check_commands(player);
    if (player.client().state() == relay::ClientState::kTls) player.agree(piece > 10);
  }
  if ((data[1] & 1) != 0)
    player.lost();
  else
    player.silence();
  fuzz::check_verdicts(player, list);
  return 0;
}
