#include "deliverd/relay/tls_desk.h"

#include <fmt/format.h>

#include <utility>

namespace postern::relay {
namespace {

// A question for the records at each base in turn, until one has some.
struct Search {
  config::HopSpec hop;
  Target target;
  std::vector<std::string> bases;
  std::size_t at = 0;
  TlsDesk::Done done;
  dns::Query query;
};

void ask(TlsaBook& book, const std::shared_ptr<Search>& search) {
  const auto& base = search->bases[search->at];
  search->query = book.find(
      tlsa_name(base, search->target.endpoint.port),
      [&book, weak = std::weak_ptr<Search>(search)](dns::TlsaAnswer answer) noexcept {
        const auto found = weak.lock();
        if (!found) return;
        const bool none = answer.status != dns::Status::kTemporary && answer.records.empty();
        const auto& asked = found->bases[found->at];
        if (!none || found->at + 1 == found->bases.size())
          return found->done(plan_for(found->hop, found->target, answer, asked));
        ++found->at;
        ask(book, found);
      });
}

// All that is demanded of a session, so that it is not resumed where more or other is. The name, since it
// was told or proved; the port, as another server may stand there.
std::string resume_key(const Plan& plan, const Target& target) {
  auto key = fmt::format("{}:{} {} {}", target.host, target.endpoint.port,
                         static_cast<int>(plan.need), plan.name);
  for (const auto& name : plan.also) key += ' ' + name;
  for (const auto& record : plan.records) {
    key += fmt::format(" {}{}{} {} ", record.usage, record.selector, record.matching,
                       record.data.size());
    key += record.data;
  }
  return key;
}

tls::Proof proof_of(Need need) {
  switch (need) {
    case Need::kVerify:
      return tls::Proof::kName;
    case Need::kDane:
      return tls::Proof::kRecords;
    case Need::kClear:
    case Need::kTry:
    case Need::kEncrypt:
      break;
  }
  return tls::Proof::kNothing;
}

std::string cut(std::string text) {
  if (text.size() > ipc::TlsNote::kMost) text.resize(ipc::TlsNote::kMost);
  return text;
}

}  // namespace

std::expected<std::shared_ptr<tls::ClientContext>, std::string> TlsDesk::context_for(
    const std::string& roots, tls::Version minimum) {
  return tls::ClientContext::make({.minimum = minimum, .roots = roots});
}

dns::Query TlsDesk::plan(const config::HopSpec& hop, const Target& target, Done done) {
  auto bases = tlsa_bases(hop, target);
  if (bases.empty()) {
    done(plan_for(hop, target, {}, {}));
    return {};
  }
  auto search = std::make_shared<Search>(hop, target, std::move(bases), 0, std::move(done),
                                         dns::Query());
  ask(*book_, search);
  return dns::Query(std::move(search));
}

std::unique_ptr<tls::Session> TlsDesk::begin(const Plan& plan, const Target& target) const {
  tls::Wish wish{plan.name, proof_of(plan.need), {}, plan.also, resume_key(plan, target)};
  for (const auto& record : plan.records)
    wish.associations.push_back({record.usage, record.selector, record.matching, record.data});
  return tls::Session::connect(context_, wish);
}

ipc::TlsNote note_of(const Plan& plan, const tls::Facts& facts) {
  ipc::TlsNote note{fmt::format("{} {}{}", facts.version, facts.cipher, facts.resumed ? " resumed" : ""),
                    {},
                    cut(plan.why)};
  if (!facts.doubt.empty())
    note.verified = cut("no: " + facts.doubt);
  else
    note.verified = cut((plan.need == Need::kDane                   ? "dane: "
                         : plan.policy && plan.policy->enforced ? "mta-sts: "
                                                                : "yes: ") +
                        facts.peer);
  return note;
}

ipc::TlsNote note_of_clear(const Plan& plan, const std::string& why) {
  return {cut("none: " + why), {}, cut(plan.why)};
}

}  // namespace postern::relay
