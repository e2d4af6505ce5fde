// Download: one policy, from "https://mta-sts.DOMAIN/.well-known/mta-sts.txt": finds the host, connects to the
// first of its addresses that answers, demands a certificate for its name, and reads the answer. One question
// on one connection; no redirect is followed (RFC 8461 3.3). Where there is a SOCKS server, that one connects to the
// addresses, which our own DNS still finds, as it does for MX hosts (race.h).
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/dns/resolver.h"
#include "common/event/stream.h"
#include "common/tls/session.h"
#include "deliverd/fetch/http.h"
#include "deliverd/fetch/sts.h"
#include "deliverd/relay/race.h"

namespace postern::fetch {

class Download final : public event::StreamOwner, public relay::RaceOwner {
 public:
  static constexpr base::Millis kDeadline{30'000};  // of all of it
  static constexpr std::size_t kMaxAddresses = 6;

  struct Settings {
    std::uint16_t port = 443;
    std::vector<base::Network> forbidden;         // where no host of a domain is believed to be
    std::shared_ptr<tls::ClientContext> context;  // whom it believes
    std::optional<base::Endpoint> socks = {};     // the SOCKS server; none: nobody stands in between
  };
  using Done = std::move_only_function<void(std::expected<std::string, std::string>) noexcept>;

  // `done` is called once, at the end of a turn, and may destroy the download.
  Download(event::Loop& loop, dns::Resolver& resolver, Settings settings, const std::string& domain,
           Done done);
  ~Download() override { *alive_ = false; }
  Download(const Download&) = delete;
  Download& operator=(const Download&) = delete;

  // For the race.
  void on_attempt_failed(std::size_t number, std::string_view why) noexcept override;
  void on_connected(std::size_t number, base::UniqueFd fd) noexcept override;
  void on_nobody() noexcept override;
  // For the stream.
  std::size_t on_input(std::string_view bytes) noexcept override;
  void on_closed(event::CloseReason reason) noexcept override;
  void on_filter_open() noexcept override;

 private:
  void on_addresses(base::IpFamily family, dns::AddressAnswer answer);
  void connect();
  void look_at_answer(HttpReader::State state);
  void fail(std::string why);
  void finish(std::expected<std::string, std::string> result);

  event::Loop& loop_;
  const Settings settings_;
  const std::string host_;
  Done done_;
  event::Timer deadline_;
  std::vector<dns::Query> queries_;
  std::size_t open_queries_ = 2;
  dns::AddressAnswer v4_, v6_;
  std::unique_ptr<relay::Race> race_;
  std::string trouble_;  // of the last attempt to connect
  std::unique_ptr<event::Stream> stream_;
  tls::Session* session_ = nullptr;  // the stream's
  HttpReader reader_{kMaxStsPolicy};
  bool over_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::fetch
