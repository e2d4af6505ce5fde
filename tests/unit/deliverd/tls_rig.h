// TlsRig: a relay's TLS desk for tests of connections: it believes the tests' authority, and asks a name
// server that answers as the test says (by default: there is no such name).
#pragma once

#include <functional>
#include <map>
#include <string>

#include "deliverd/relay/tls_desk.h"
#include "tests/unit/dns/fake_server.h"
#include "tests/unit/dns/packet.h"
#include "tests/unit/tls/certificates.h"

namespace postern::relay {

class TlsRig {
 public:
  explicit TlsRig(event::Loop& loop)
      : names_([this](const std::string& query, bool) { return answer(query); }),
        resolver_(dns::Resolver::make({names_.endpoint()}, {base::Millis(200), 1, true}).value()),
        book_(loop, *resolver_, base::system_clock()),
        desk(&book_) {
    resolver_->attach(loop);
    use();
  }

  // Sessions from now on: nothing of earlier ones is known.
  void use(tls::Version minimum = tls::Version::k12) {
    desk.use(TlsDesk::context_for(tls::test::Authority::instance().root(), minimum).value());
  }

  // Usage, selector, matching type and data, and the flags of their answer (0x81a0: vouched for).
  void tlsa(std::string name, std::string record, unsigned flags = 0x81a0) {
    records_[std::move(name)].push_back({std::move(record), flags});
  }

 private:
  std::optional<std::string> answer(const std::string& query) {
    std::string name;
    for (std::size_t at = 12; query[at] != '\0';) {
      const auto size = static_cast<std::size_t>(query[at]);
      name += (name.empty() ? "" : ".") + query.substr(at + 1, size);
      at += size + 1;
    }
    const auto found = records_.find(name);
    if (found == records_.end())
      return dns::FakeServer::as_answer(query, dns::Packet(name, dns::kTlsa, 0x81a3).bytes());
    dns::Packet packet(name, dns::kTlsa, found->second.front().second);
    for (const auto& [record, flags] : found->second)
      if ((flags & 0xf) == 0) packet.record(name, dns::kTlsa, 300, record);
    return dns::FakeServer::as_answer(query, packet.bytes());
  }

  std::map<std::string, std::vector<std::pair<std::string, unsigned>>> records_;
  dns::FakeServer names_;
  std::unique_ptr<dns::Resolver> resolver_;
  TlsaBook book_;

 public:
  TlsDesk desk;
};

}  // namespace postern::relay
