#include "smtpd/signer_link.h"

#include <cstring>
#include <utility>

#include "common/log/log.h"

namespace postern::smtpd {
namespace {

template <std::size_t N>
bool copy(const std::string& from, std::array<std::uint8_t, N>& to) {
  if (from.size() != N) return false;
  std::memcpy(to.data(), from.data(), N);
  return true;
}

}  // namespace

SignerLink::SignerLink(event::Loop& loop, std::shared_ptr<tls::TicketKeys> tickets,
                       event::Callback lost)
    : loop_(loop), lost_(std::move(lost)), tickets_(std::move(tickets)) {}

void SignerLink::connect(base::UniqueFd fd) {
  drop_channel();
  connection_ = std::make_unique<Connection>(loop_, std::move(fd), *this);
}

void SignerLink::closed() noexcept {
  drop_channel();
  lost_();
}

void SignerLink::drop_channel() noexcept {
  connection_.reset();
  for (auto& [request, done] : std::exchange(asked_, {})) done(std::nullopt);
}

void SignerLink::sign(tls::SignRequest request, Signed done) {
  if (!connection_ || !connection_->channel().has_credit<ipc::Sign>()) {
    (void)log::warning("tls.no_signature")
        .field("reason", connection_ ? "too many are asked for" : "the key process is not there");
    loop_.defer([done = std::move(done)]() mutable noexcept { done(std::nullopt); });
    return;
  }
  last_request_ = last_request_.next();
  ipc::Sign message;
  message.request = last_request_;
  message.key.assign(reinterpret_cast<const char*>(request.key.data()), request.key.size());
  message.algorithm = request.scheme.algorithm;
  message.digest = request.scheme.digest;
  message.bytes = std::move(request.bytes);
  asked_.emplace(last_request_.value, std::move(done));
  connection_->send(message);
}

void SignerLink::on(const ipc::Signed& message) {
  const auto at = asked_.find(message.request.value);
  if (at == asked_.end()) return;
  auto done = std::move(at->second);
  asked_.erase(at);
  if (message.signature.empty()) return done(std::nullopt);
  done(message.signature);
}

void SignerLink::on(const ipc::TicketKeys& message) {
  std::vector<tls::TicketKey> keys;
  for (const auto& given : message.keys) {
    auto& key = keys.emplace_back();
    if (!copy(given.name, key.name) || !copy(given.cipher, key.cipher) || !copy(given.mac, key.mac))
      return (void)log::warning("tls.bad_ticket_keys");
  }
  tickets_->replace(std::move(keys));
}

}  // namespace postern::smtpd
