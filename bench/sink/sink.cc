#include "bench/sink/sink.h"

#include <fmt/format.h>

#include <cstdio>
#include <utility>

#include "bench/ledger/lines.h"
#include "common/base/clock.h"
#include "common/os/socket.h"

namespace postern::bench {
namespace {

constexpr int kAcceptsInTurn = 64;
constexpr base::Millis kWithoutDescriptors{100};

}  // namespace

Sink::Sink(event::Loop& loop, SinkOptions options, LedgerWriter ledger,
           std::unique_ptr<Certificate> certificate)
    : loop_(loop),
      options_(std::move(options)),
      ledger_(std::move(ledger)),
      certificate_(std::move(certificate)),
      progress_(loop, [this]() noexcept { show(); }),
      listen_again_(loop, [this]() noexcept { listen_again(); }) {}

os::Result<void> Sink::start() {
  append_sink_run(ledger_.lines());
  if (auto written = ledger_.flush(); !written) return written;
  for (const auto& endpoint : options_.listen) {
    auto fd = os::listen_tcp(endpoint);
    if (!fd) return std::unexpected(fd.error());
    auto listener = std::make_unique<Listener>();
    listener->fd = *std::move(fd);
    listener->event = std::make_unique<event::FdEvent>(
        loop_, listener->fd.get(),
        [this, which = listener.get()](bool, bool) noexcept { accept_some(*which); });
    listener->event->watch(true, false);
    listeners_.push_back(std::move(listener));
  }
  if (options_.progress.count() > 0) progress_.start(options_.progress);
  return {};
}

void Sink::accept_some(Listener& listener) noexcept {
  for (int i = 0; i < kAcceptsInTurn; ++i) {
    auto accepted = os::accept(listener.fd.get());
    if (!accepted && accepted.error().number == EAGAIN) return;
    if (!accepted) {  // no descriptor is left: those who wait may wait on
      listener.event->watch(false, false);
      return listen_again_.start(kWithoutDescriptors);
    }
    ++counts_.connections;
    auto connection = std::make_unique<Connection>(loop_, std::move(accepted->fd), options_.server,
                                                   options_.moods, certificate_.get(), *this);
    auto* const raw = connection.get();
    connections_.emplace(raw, std::move(connection));
    raw->start(accepted->client);
  }
}

void Sink::listen_again() noexcept {
  for (const auto& listener : listeners_) listener->event->watch(true, false);
}

void Sink::taken(const Evidence& evidence, const std::vector<std::string>& recipients,
                 bool secure) noexcept {
  ++counts_.messages;
  counts_.recipients += recipients.size();
  counts_.changed += evidence.kind == Evidence::Kind::kChanged;
  counts_.notices += evidence.kind == Evidence::Kind::kNotice;
  counts_.strange += evidence.kind == Evidence::Kind::kStrange;
  counts_.encrypted += secure;
  if (ledger_.on())
    append_taken(ledger_.lines(), evidence, base::system_clock().wall(), recipients);
}

bool Sink::settle() noexcept {
  if (!ledger_.on()) return true;
  const auto written = ledger_.flush();
  if (written) return true;
  if (trouble_.empty()) trouble_ = written.error().text();
  loop_.stop();
  return false;
}

void Sink::gone(Connection& connection) noexcept {
  loop_.defer([this, which = &connection]() noexcept { connections_.erase(which); });
}

std::string Sink::reload() noexcept {
  auto moods = read_moods(options_);
  if (!moods) return moods.error();
  options_.moods = *std::move(moods);
  return {};
}

void Sink::show() noexcept {
  if (shown_ != counts_) {
    shown_ = counts_;
    std::printf(
        "%s\n",
        fmt::format(
            "messages={} recipients={} changed={} notices={} strange={} encrypted={} connections={}",
            counts_.messages, counts_.recipients, counts_.changed, counts_.notices,
            counts_.strange, counts_.encrypted, counts_.connections)
            .c_str());
    std::fflush(stdout);
  }
  progress_.start(options_.progress);
}

std::string Sink::summary() const {
  if (options_.json)
    return fmt::format(
        "{{\"v\":1,\"messages\":{},\"recipients\":{},\"changed\":{},\"notices\":{},\"strange\":{},"
        "\"encrypted\":{},\"connections\":{}}}\n",
        counts_.messages, counts_.recipients, counts_.changed, counts_.notices, counts_.strange,
        counts_.encrypted, counts_.connections);
  return fmt::format(
      "{} messages for {} recipients over {} connections; {} changed, {} notices, {} strange, {} by TLS\n",
      counts_.messages, counts_.recipients, counts_.connections, counts_.changed, counts_.notices,
      counts_.strange, counts_.encrypted);
}

}  // namespace postern::bench
