// SocksClient: our side of SOCKS5 (RFC 1928): a server is asked to connect to a host in our place, without
// a log-in. Pure: bytes in, bytes out. It says how many bytes it wants next, and gets no more: behind the
// last byte of the server the next hop's greeting may follow at once, which is not ours to read.
//
//   awaits    what comes                     then
//   kMethod   version 5, no log-in           asks to connect; kReply
//             another version or method      failed
//   kReply    version 5, succeeded           kKind
//             another version or reply       failed
//   kKind     an IPv4 or an IPv6 address     kBound
//             a name                         kLength
//             anything else                  failed
//   kLength   how long the name is           kBound
//   kBound    from where the server connects open; what stands there is of no use to us
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/ip.h"

namespace postern::relay {

class SocksClient {
 public:
  static constexpr std::size_t kMaxName = 255;
  static constexpr std::size_t kMaxWanted = kMaxName + 2;

  enum class State : std::uint8_t { kTalking, kOpen, kFailed };

  explicit SocksClient(const base::Endpoint& to);
  // The server looks the host up. `name` has 1 to kMaxName bytes.
  SocksClient(std::string_view name, std::uint16_t port);

  [[nodiscard]] State state() const noexcept { return state_; }
  // For the server; what was sent is to be taken away.
  [[nodiscard]] std::string& output() noexcept { return output_; }
  // 1 to kMaxWanted; only while it is talking.
  [[nodiscard]] std::size_t wanted() const noexcept { return need_ - have_.size(); }
  // At most as many as are wanted.
  void on_input(std::string_view bytes);
  // What the server did, to stand behind its name: "says: connection refused". Only when it failed.
  [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }

 private:
  enum class Awaits : std::uint8_t { kMethod, kReply, kKind, kLength, kBound };

  SocksClient();
  void take(const std::string& bytes);
  void on_method(const std::string& bytes);
  void on_reply(const std::string& bytes);
  void on_kind(char kind);
  void await(Awaits what, std::size_t bytes);
  void fail(std::string why);

  State state_ = State::kTalking;
  Awaits awaits_ = Awaits::kMethod;
  std::size_t need_ = 2;  // bytes of what it awaits
  std::string have_;      // of them
  std::string output_;
  std::string target_;  // as the request has it: kind, address or name, port
  std::string trouble_;
};

}  // namespace postern::relay
