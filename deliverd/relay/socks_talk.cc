#include "deliverd/relay/socks_talk.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace postern::relay {

SocksTalk::Step SocksTalk::go(int fd) noexcept {
  std::array<char, SocksClient::kMaxWanted> input;
  while (client_.state() == SocksClient::State::kTalking) {
    auto& output = client_.output();
    const bool sends = !output.empty();
    const auto done = sends ? ::send(fd, output.data(), output.size(), MSG_NOSIGNAL)
                            : ::recv(fd, input.data(), client_.wanted(), 0);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0 && errno == EAGAIN) return sends ? Step::kWrite : Step::kRead;
    if (done < 0) return lost(fmt::format("ended the connection ({})", ::strerrordesc_np(errno)));
    if (sends)
      output.erase(0, static_cast<std::size_t>(done));
    else if (done == 0)
      return lost("ended the connection");
    else
      client_.on_input({input.data(), static_cast<std::size_t>(done)});
  }
  return client_.state() == SocksClient::State::kOpen ? Step::kOpen : lost(client_.trouble());
}

SocksTalk::Step SocksTalk::lost(std::string why) {
  trouble_ = std::move(why);
  return Step::kFailed;
}

}  // namespace postern::relay
