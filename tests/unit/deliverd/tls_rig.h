// TlsRig: a relay's TLS desk for tests of connections: it believes the tests' authority, and asks a name
// server that answers as the test says (by default: there is no such name). PromptSigner: of the hosts there.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "deliverd/relay/tls_desk.h"
#include "tests/unit/dns/fake_server.h"
#include "tests/unit/dns/packet.h"
#include "tests/unit/tls/certificates.h"
#include "tests/unit/tls/pair.h"

namespace postern::relay {

class PromptSigner final : public tls::Signer {
 public:
  PromptSigner(event::Loop& loop, const std::string& key) : loop_(loop), signer_({key}) {}
  void sign(tls::SignRequest request, Signed done) override {
    signer_.sign(std::move(request), std::move(done));
    loop_.defer([this]() noexcept { signer_.answer(refuses); });
  }
  bool refuses = false;  // so that no handshake succeeds

 private:
  event::Loop& loop_;
  tls::test::TestSigner signer_;
};

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
