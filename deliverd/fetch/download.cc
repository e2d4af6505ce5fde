#include "deliverd/fetch/download.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "deliverd/relay/next_hop.h"

namespace postern::fetch {

Download::Download(event::Loop& loop, dns::Resolver& resolver, Settings settings, const std::string& domain,
                   Done done)
    : loop_(loop),
      settings_(std::move(settings)),
      host_("mta-sts." + domain),
      done_(std::move(done)),
      deadline_(loop, [this]() noexcept { fail("no whole answer in time"); }) {
  deadline_.start(kDeadline);
  const auto name = mail::Domain::parse(host_);
  if (!name || name->is_literal()) {
    fail("not a host: " + host_);
    return;
  }
  for (const auto family : {base::IpFamily::kV4, base::IpFamily::kV6})
    queries_.push_back(resolver.addresses(*name, family, [this, family](dns::AddressAnswer answer) noexcept {
      on_addresses(family, std::move(answer));
    }));
}

void Download::on_addresses(base::IpFamily family, dns::AddressAnswer answer) {
  (family == base::IpFamily::kV4 ? v4_ : v6_) = std::move(answer);
  if (--open_queries_ == 0 && !over_) connect();
}

// IPv6 first, and the families in turn.
void Download::connect() {
  std::vector<base::Endpoint> endpoints;
  relay::Bounds bounds;  // no host of ours is meant
  bounds.forbidden = settings_.forbidden;
  const auto add = [&](const dns::AddressAnswer& answer, std::size_t i) {
    if (i >= answer.addresses.size() || endpoints.size() == kMaxAddresses) return;
    const auto target = relay::target_of_address(answer.addresses[i], settings_.port, bounds);
    if (target) endpoints.push_back(target->front().endpoint);
  };
  for (std::size_t i = 0; i < std::max(v4_.addresses.size(), v6_.addresses.size()); ++i) {
    add(v6_, i);
    add(v4_, i);
  }
  if (!endpoints.empty()) {
    race_ = std::make_unique<relay::Race>(loop_, std::move(endpoints), *this, relay::Dial{.socks = settings_.socks});
    return;
  }
  for (const auto* answer : {&v4_, &v6_})
    if (answer->status == dns::Status::kTemporary)
      return fail(fmt::format("looking up {}: {}", host_, answer->trouble));
  if (v4_.addresses.empty() && v6_.addresses.empty()) return fail(host_ + " has no address");
  fail(host_ + " is at addresses to which this server sends nothing");
}

void Download::on_attempt_failed(std::size_t, std::string_view why) noexcept {
  trouble_ = fmt::format("connecting to {}: {}", host_, why);
}

void Download::on_nobody() noexcept {
  fail(trouble_);
}

void Download::on_connected(std::size_t, base::UniqueFd fd) noexcept {
  race_.reset();
  if (over_) return;
  stream_ = std::make_unique<event::Stream>(loop_, std::move(fd), *this);
  auto session = tls::Session::connect(settings_.context, {.host = host_, .proof = tls::Proof::kName});
  if (!session) return fail("TLS cannot be begun with " + host_);
  session_ = session.get();
  stream_->put(std::move(session));
  stream_->flush();
}

void Download::on_filter_open() noexcept {
  stream_->output() += policy_request(host_, settings_.port);
  stream_->flush();
}

std::size_t Download::on_input(std::string_view bytes) noexcept {
  look_at_answer(reader_.feed(bytes));
  return bytes.size();
}

void Download::on_closed(event::CloseReason reason) noexcept {
  if (over_) return;
  if (reason == event::CloseReason::kEndOfStream)
    return look_at_answer(reader_.ended(session_->state() == event::Filter::State::kEnded));
  if (stream_->error() == 0) return fail(fmt::format("TLS with {}: {}", host_, session_->trouble()));
  fail(fmt::format("connection with {} lost: {}", host_, ::strerrordesc_np(stream_->error())));
}

void Download::look_at_answer(HttpReader::State state) {
  if (over_ || state == HttpReader::State::kReading) return;
  if (state == HttpReader::State::kFailed) return fail(fmt::format("{}: {}", host_, reader_.trouble()));
  finish(reader_.body());
}

void Download::fail(std::string why) {
  finish(std::unexpected(std::move(why)));
}

// The stream, the race or a query may be on the stack.
void Download::finish(std::expected<std::string, std::string> result) {
  if (std::exchange(over_, true)) return;
  deadline_.cancel();
  loop_.defer([this, alive = alive_, result = std::move(result)]() mutable noexcept {
    if (!*alive) return;
    race_.reset();
    stream_.reset();
    auto done = std::move(done_);  // in which we may be destroyed
    done(std::move(result));
  });
}

}  // namespace postern::fetch
