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
  explicit TlsRig(event::Loop& loop);
  ~TlsRig();

  // Sessions from now on: nothing of earlier ones is known.
  void use(tls::Version minimum = tls::Version::k12);

  // Usage, selector, matching type and data, and the flags of their answer (0x81a0: vouched for).
  void tlsa(std::string name, std::string record, unsigned flags = 0x81a0);

 private:
  std::optional<std::string> answer(const std::string& query);

  std::map<std::string, std::vector<std::pair<std::string, unsigned>>> records_;
  dns::FakeServer names_;
  std::unique_ptr<dns::Resolver> resolver_;
  TlsaBook book_;

 public:
  TlsDesk desk;
};

}  // namespace postern::relay
