#include "common/dns/resolver.h"

#include <ares.h>
#include <arpa/nameser.h>

#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "common/base/random.h"

namespace postern::dns {
namespace {

constexpr int kUdpSize = 1232;  // fits every path without fragments (DNS flag day 2020)

std::expected<void, std::string> library_initialised() {
  static const int result = ::ares_library_init(ARES_LIB_INIT_ALL);
  if (result != ARES_SUCCESS) return std::unexpected(::ares_strerror(result));
  return {};
}

int set_channel_servers(ares_channel channel, const std::vector<base::Endpoint>& servers) {
  std::vector<ares_addr_port_node> nodes(servers.size());
  for (std::size_t i = 0; i < servers.size(); ++i) {
    auto& node = nodes[i];
    const auto& address = servers[i].address;
    const bool v4 = address.family == base::IpFamily::kV4;
    node.next = i + 1 < nodes.size() ? &nodes[i + 1] : nullptr;
    node.family = v4 ? AF_INET : AF_INET6;
    std::memcpy(&node.addr, address.bytes.data(), v4 ? 4 : 16);
    node.udp_port = node.tcp_port = servers[i].port;
  }
  return ::ares_set_servers_ports(channel, nodes.data());
}

}  // namespace

struct Resolver::Pending {
  Resolver* self;
  std::weak_ptr<void> interest;
  std::string name;
  int type;
  OnResponse done;
  std::uint16_t id = 0;
  bool edns = true;
};

std::expected<std::unique_ptr<Resolver>, std::string> Resolver::make(
    const std::vector<base::Endpoint>& servers, Options wanted) {
  CHECK(!servers.empty());
  if (auto ready = library_initialised(); !ready) return std::unexpected(ready.error());
  std::unique_ptr<Resolver> resolver(new Resolver);  // the constructor is private
  resolver->trust_ad_ = wanted.trust_ad;
  // Everything is said here, so that nothing is taken from the system's files.
  char lookups[] = "b";
  char no_file[] = "/dev/null";
  ares_options options{};
  options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS;
  options.timeout = static_cast<int>(wanted.timeout.count());
  options.tries = wanted.tries;
  options.ndots = 0;
  options.ednspsz = kUdpSize;
  options.lookups = lookups;
  options.resolvconf_path = no_file;
  int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_EDNSPSZ |
             ARES_OPT_LOOKUPS | ARES_OPT_RESOLVCONF | ARES_OPT_DOMAINS | ARES_OPT_SORTLIST | ARES_OPT_NOROTATE;
  resolver->sockets_.add_to(options, mask);
  int result = ::ares_init_options(&resolver->channel_, &options, mask);
  if (result == ARES_SUCCESS) result = set_channel_servers(resolver->channel_, servers);
  if (result != ARES_SUCCESS) return std::unexpected(::ares_strerror(result));
  resolver->sockets_.serve(resolver->channel_);
  return resolver;
}

Resolver::~Resolver() {
  *alive_ = false;
  sockets_.close_all();
  // Ends what is under way by on_answer(), which then calls nobody.
  if (channel_ != nullptr) ::ares_destroy(channel_);
}

void Resolver::attach(event::Loop& loop) {
  CHECK(loop_ == nullptr);
  loop_ = &loop;
  sockets_.attach(loop);
  timer_ = std::make_unique<event::Timer>(
      loop, [this]() noexcept { process(ARES_SOCKET_BAD, false, false); });
}

void Resolver::set_servers(std::vector<base::Endpoint> servers, bool trust_ad) {
  CHECK(!servers.empty());
  next_servers_ = {std::move(servers), trust_ad};
  send_next();
}

// What the servers vouch for is worth what they are.
template <class Answer, class Read, class Done>
auto Resolver::reading(Read read, Done done) {
  return [read = std::move(read), done = std::move(done)](
             std::string_view packet, std::string_view trouble, bool trusted) mutable noexcept {
    Answer answer;
    if (trouble.empty())
      answer = read(packet);
    else
      answer.trouble = trouble;
    answer.secure = answer.secure && trusted;
    done(std::move(answer));
  };
}

Query Resolver::mx(const mail::Domain& name, OnMx done) {
  CHECK(!name.empty() && !name.is_literal());
  const auto read = [name](std::string_view packet) { return read_mx(packet, name); };
  return ask(name.text(), ns_t_mx, reading<MxAnswer>(read, std::move(done)));
}

Query Resolver::addresses(const mail::Domain& name, base::IpFamily family, OnAddresses done) {
  CHECK(!name.empty() && !name.is_literal());
  const auto read = [name, family](std::string_view packet) {
    return read_addresses(packet, name, family);
  };
  return ask(name.text(), family == base::IpFamily::kV4 ? ns_t_a : ns_t_aaaa,
             reading<AddressAnswer>(read, std::move(done)));
}

Query Resolver::tlsa(const std::string& name, OnTlsa done) {
  constexpr int kTlsa = 52;  // no header names it
  const auto read = [name](std::string_view packet) { return read_tlsa(packet, name); };
  return ask(name, kTlsa, reading<TlsaAnswer>(read, std::move(done)));
}

Query Resolver::names(const base::IpAddress& address, OnNames done) {
  auto name = reverse_name(address);
  const auto read = [name](std::string_view packet) { return read_names(packet, name); };
  return ask(std::move(name), ns_t_ptr, reading<NamesAnswer>(read, std::move(done)));
}

Query Resolver::txt(const std::string& name, OnTxt done) {
  const auto read = [name](std::string_view packet) { return read_txt(packet, name); };
  return ask(name, ns_t_txt, reading<TxtAnswer>(read, std::move(done)));
}

Query Resolver::ask(std::string name, int type, OnResponse done) {
  CHECK(loop_ != nullptr);
  auto interest = std::make_shared<char>();
  waiting_.push_back(std::make_unique<Pending>(this, interest, std::move(name), type, std::move(done)));
  send_next();
  return Query(std::move(interest));
}

// Sends what there is room for, once the servers are those that shall be asked.
void Resolver::send_next() {
  if (!next_servers_.endpoints.empty()) {
    if (!under_way_.empty()) return;
    const auto servers = std::exchange(next_servers_, {});
    const int result = set_channel_servers(channel_, servers.endpoints);
    CHECK(result == ARES_SUCCESS || result == ARES_ENOMEM);
    trust_ad_ = servers.trust_ad;
  }
  while (!waiting_.empty() && under_way_.size() < kMaxUnderWay) {
    auto pending = std::move(waiting_.front());
    waiting_.pop_front();
    if (!pending->interest.expired()) send(std::move(pending));
  }
}

void Resolver::send(std::unique_ptr<Pending> pending) {
  unsigned char* packet = nullptr;
  int size = 0;
  do {
    pending->id = static_cast<std::uint16_t>(base::random_u64());
  } while (under_way_.contains(pending->id));
  const int result = ::ares_create_query(pending->name.c_str(), ns_c_in, pending->type, pending->id,
                                         1, &packet, &size, pending->edns ? kUdpSize : 0);
  if (result != ARES_SUCCESS)
    return settle(std::move(pending), {},
                  std::string("cannot ask for this name: ") + ::ares_strerror(result));
  // RFC 6840 5.7: whoever sets AD wants to know of it.
  constexpr unsigned char kAuthentic = 0x20;
  packet[3] |= kAuthentic;
  under_way_.insert(pending->id);
  ::ares_send(channel_, packet, size, &Resolver::on_answer, pending.release());
  ::ares_free_string(packet);
  update_timer();
}

void Resolver::on_answer(void* argument, int status, int, unsigned char* packet,
                         int size) noexcept {
  std::unique_ptr<Pending> pending(static_cast<Pending*>(argument));
  auto& self = *pending->self;
  if (!*self.alive_) return;
  self.under_way_.erase(pending->id);
  self.sockets_.close_query(pending->id);
  if (status == ARES_SUCCESS && packet != nullptr && size >= NS_HFIXEDSZ) {
    // RFC 6891 7: an old server. c-ares notices that once; what it is asked later is ours to ask again.
    if ((packet[3] & 0xf) == ns_r_formerr && std::exchange(pending->edns, false))
      return self.send_again(std::move(pending));
    std::string copy(reinterpret_cast<const char*>(packet), static_cast<std::size_t>(size));
    return self.settle(std::move(pending), std::move(copy), {});
  }
  // c-ares says "could not contact" of every server that refused, failed or answered SERVFAIL.
  self.settle(std::move(pending), {},
              status == ARES_ETIMEOUT ? "no answer from the name servers"
                                      : "the name servers failed or refused");
}

// First in line, when c-ares is no longer on the stack.
void Resolver::send_again(std::unique_ptr<Pending> pending) {
  waiting_.push_front(std::move(pending));
  loop_->defer([this, alive = alive_]() noexcept {
    if (*alive) send_next();
  });
}

// The continuation runs when c-ares is no longer on the stack; it may destroy the resolver.
void Resolver::settle(std::unique_ptr<Pending> pending, std::string packet, std::string trouble) {
  loop_->defer([this, alive = alive_, pending = std::move(pending), packet = std::move(packet),
                trouble = std::move(trouble), trusted = trust_ad_]() noexcept {
    if (*alive && !pending->interest.expired()) pending->done(packet, trouble, trusted);
    if (*alive) send_next();
  });
}

// Something came, may be sent, or is late.
void Resolver::process(int number, bool readable, bool writable) noexcept {
  ::ares_process_fd(channel_, readable ? number : ARES_SOCKET_BAD, writable ? number : ARES_SOCKET_BAD);
  update_timer();
}

void Resolver::update_timer() noexcept {
  timeval wait{};
  if (::ares_timeout(channel_, nullptr, &wait) == nullptr) return timer_->cancel();
  // Rounded up: a timer that fires early would find nothing to do, and spin.
  timer_->start(base::Millis(wait.tv_sec * 1000 + wait.tv_usec / 1000 + 1));
}

}  // namespace postern::dns
