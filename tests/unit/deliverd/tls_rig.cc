#include "tls_rig.h"

namespace postern::relay {

TlsRig::TlsRig(event::Loop& loop)
    : names_([this](const std::string& query, bool) { return answer(query); }),
      resolver_(dns::Resolver::make({names_.endpoint()}, {base::Millis(200), 1, true}).value()),
      book_(loop, *resolver_, base::system_clock()),
      desk(&book_) {
  resolver_->attach(loop);
  use();
}

TlsRig::~TlsRig() = default;

void TlsRig::use(tls::Version minimum) {
  desk.use(TlsDesk::context_for(tls::test::Authority::instance().root(), minimum).value());
}

void TlsRig::tlsa(std::string name, std::string record, unsigned flags) {
  records_[std::move(name)].push_back({std::move(record), flags});
}

std::optional<std::string> TlsRig::answer(const std::string& query) {
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

}  // namespace postern::relay
