#include "smtpd/acceptor.h"

#include "common/log/log.h"

namespace postern::smtpd {
namespace {
constexpr int kPerTurn = 16;  // connections, so that sessions get their turn too
constexpr base::Millis kRest{100};
}  // namespace

Acceptor::Acceptor(event::Loop& loop, base::UniqueFd listener, OnConnection on_connection)
    : fd_(std::move(listener)),
      on_connection_(std::move(on_connection)),
      event_(loop, fd_.get(), [this](bool, bool) noexcept { accept_some(); }),
      rest_(loop, [this]() noexcept { event_.watch(true, false); }) {
  event_.watch(true, false);
}

void Acceptor::accept_some() noexcept {
  for (int i = 0; i < kPerTurn; ++i) {
    auto accepted = os::accept(fd_.get());
    if (accepted) {
      on_connection_(*std::move(accepted));
      continue;
    }
    switch (accepted.error().number) {
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        (void)log::warning("accept.failed").field("reason", accepted.error().text());
        event_.watch(false, false);
        rest_.start(kRest);
        return;
      case EAGAIN:
        return;
      default:
        continue;  // this connection went away again
    }
  }
}

}  // namespace postern::smtpd
