#include "deliverd/relay/socks.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "common/base/check.h"

namespace postern::relay {
namespace {

constexpr char kVersion = 5;
constexpr char kNoLogin = 0;
constexpr char kNoMethod = '\xff';  // none of those that were offered
constexpr char kConnect = 1;
constexpr char kIpv4 = 1, kName = 3, kIpv6 = 4;
constexpr std::size_t kPort = 2;  // bytes

// RFC 1928 6, by their codes.
constexpr std::array<std::string_view, 9> kReplies = {
    "succeeded",         "general SOCKS server failure", "connection not allowed by ruleset",
    "network unreachable", "host unreachable",           "connection refused",
    "TTL expired",       "command not supported",        "address type not supported",
};

void append_port(std::uint16_t port, std::string& out) {
  out += static_cast<char>(port >> 8);
  out += static_cast<char>(port & 0xff);
}

}  // namespace

SocksClient::SocksClient() {
  output_ = {kVersion, 1, kNoLogin};
}

SocksClient::SocksClient(const base::Endpoint& to) : SocksClient() {
  const bool v4 = to.address.family == base::IpFamily::kV4;
  target_ += v4 ? kIpv4 : kIpv6;
  target_.append(reinterpret_cast<const char*>(to.address.bytes.data()), to.address.bits() / 8);
  append_port(to.port, target_);
}

SocksClient::SocksClient(std::string_view name, std::uint16_t port) : SocksClient() {
  CHECK(!name.empty() && name.size() <= kMaxName);
  target_ += kName;
  target_ += static_cast<char>(name.size());
  target_ += name;
  append_port(port, target_);
}

void SocksClient::on_input(std::string_view bytes) {
  CHECK(state_ == State::kTalking && bytes.size() <= wanted());
  have_ += bytes;
  if (wanted() == 0) take(std::exchange(have_, {}));
}

void SocksClient::take(const std::string& bytes) {
  switch (awaits_) {
    case Awaits::kMethod:
      return on_method(bytes);
    case Awaits::kReply:
      return on_reply(bytes);
    case Awaits::kKind:
      return on_kind(bytes[1]);  // behind a reserved byte
    case Awaits::kLength:
      return await(Awaits::kBound, static_cast<unsigned char>(bytes[0]) + kPort);
    case Awaits::kBound:
      state_ = State::kOpen;
      return;
  }
}

void SocksClient::on_method(const std::string& bytes) {
  if (bytes[0] != kVersion) return fail("does not speak SOCKS5");
  if (bytes[1] == kNoMethod) return fail("lets nobody in without a log-in");
  if (bytes[1] != kNoLogin) return fail("chose a log-in that it was not offered");
  output_ += {kVersion, kConnect, 0};
  output_ += target_;
  await(Awaits::kReply, 2);
}

// Judged before the rest is there: some servers end a refusal here.
void SocksClient::on_reply(const std::string& bytes) {
  if (bytes[0] != kVersion) return fail("does not speak SOCKS5");
  const auto reply = static_cast<unsigned char>(bytes[1]);
  if (reply == 0) return await(Awaits::kKind, 2);
  fail(reply < kReplies.size() ? fmt::format("says: {}", kReplies[reply])
                               : fmt::format("says: failure {}", reply));
}

void SocksClient::on_kind(char kind) {
  switch (kind) {
    case kIpv4:
      return await(Awaits::kBound, 4 + kPort);
    case kIpv6:
      return await(Awaits::kBound, 16 + kPort);
    case kName:
      return await(Awaits::kLength, 1);
    default:
      return fail("answered with an unknown kind of address");
  }
}

void SocksClient::await(Awaits what, std::size_t bytes) {
  awaits_ = what;
  need_ = bytes;
}

void SocksClient::fail(std::string why) {
  state_ = State::kFailed;
  trouble_ = std::move(why);
}

}  // namespace postern::relay
