#include "common/dns/resolver.h"

#include <utility>

#include "common/base/check.h"
#include "common/dns/wire.h"

namespace postern::dns {

Resolver::Resolver(event::Loop& loop, std::vector<base::Endpoint> servers,
                   Exchange::Options options)
    : loop_(loop), servers_(std::move(servers)), options_(options) {
  CHECK(!servers_.empty());
}

Resolver::~Resolver() = default;

void Resolver::set_servers(std::vector<base::Endpoint> servers) {
  CHECK(!servers.empty());
  servers_ = std::move(servers);
}

Query Resolver::mx(const mail::Domain& name, OnMx done) {
  return ask(name, kTypeMx,
             [name, done = std::move(done)](std::string_view packet,
                                            std::string_view trouble) mutable noexcept {
               if (trouble.empty()) return done(read_mx(packet, name));
               MxAnswer answer;
               answer.trouble = trouble;
               done(std::move(answer));
             });
}

Query Resolver::addresses(const mail::Domain& name, base::IpFamily family, OnAddresses done) {
  return ask(name, family == base::IpFamily::kV4 ? kTypeA : kTypeAaaa,
             [name, family, done = std::move(done)](std::string_view packet,
                                                    std::string_view trouble) mutable noexcept {
               if (trouble.empty()) return done(read_addresses(packet, name, family));
               AddressAnswer answer;
               answer.trouble = trouble;
               done(std::move(answer));
             });
}

Query Resolver::ask(const mail::Domain& name, std::uint16_t type, OnResponse done) {
  CHECK(!name.empty() && !name.is_literal());
  auto interest = std::make_shared<char>();
  waiting_.push_back({interest, name.text(), type, std::move(done)});
  begin_next();
  return Query(std::move(interest));
}

void Resolver::begin_next() {
  while (!waiting_.empty() && under_way_.size() < kMaxUnderWay) {
    auto pending = std::move(waiting_.front());
    waiting_.pop_front();
    if (pending.interest.expired()) continue;
    const auto number = ++last_;
    under_way_[number] = std::make_unique<Exchange>(
        loop_, servers_, options_, std::move(pending.name), pending.type,
        [this, number, interest = std::move(pending.interest), done = std::move(pending.done)](
            std::string response, std::string trouble) mutable noexcept {
          under_way_.erase(number);
          begin_next();
          if (!interest.expired()) done(response, trouble);  // last: it may destroy the resolver
        });
  }
}

}  // namespace postern::dns
