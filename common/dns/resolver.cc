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
  options.sock_state_cb = &Resolver::on_socket;
  options.sock_state_cb_data = resolver.get();
  const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
                   ARES_OPT_EDNSPSZ | ARES_OPT_LOOKUPS | ARES_OPT_RESOLVCONF | ARES_OPT_DOMAINS |
                   ARES_OPT_SORTLIST | ARES_OPT_SOCK_STATE_CB | ARES_OPT_NOROTATE;
  int result = ::ares_init_options(&resolver->channel_, &options, mask);
  if (result == ARES_SUCCESS) result = set_channel_servers(resolver->channel_, servers);
  if (result != ARES_SUCCESS) return std::unexpected(::ares_strerror(result));
  return resolver;
}

Resolver::~Resolver() {
  *alive_ = false;
  // Ends what is under way by on_answer(), which then calls nobody.
  if (channel_ != nullptr) ::ares_destroy(channel_);
}

void Resolver::attach(event::Loop& loop) {
  CHECK(loop_ == nullptr);
  loop_ = &loop;
  timer_ = std::make_unique<event::Timer>(
      loop, [this]() noexcept { process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); });
}

void Resolver::set_servers(std::vector<base::Endpoint> servers, bool trust_ad) {
  CHECK(!servers.empty());
  trust_ad_ = trust_ad;
  next_servers_ = std::move(servers);
  apply_servers();
}

void Resolver::apply_servers() {
  if (next_servers_.empty() || under_way_ > 0) return;
  const int result = set_channel_servers(channel_, std::exchange(next_servers_, {}));
  CHECK(result == ARES_SUCCESS || result == ARES_ENOMEM);
  for (auto& pending : std::exchange(waiting_, {})) send(std::move(pending));
}

// What the servers vouch for is worth what they are.
template <class Answer, class Read, class Done>
auto Resolver::reading(Read read, Done done) {
  return [this, read = std::move(read), done = std::move(done)](
             std::string_view packet, std::string_view trouble) mutable noexcept {
    Answer answer;
    if (trouble.empty())
      answer = read(packet);
    else
      answer.trouble = trouble;
    answer.secure = answer.secure && trust_ad_;
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
  constexpr int kTypeTlsa = 52;  // no header names it
  const auto read = [name](std::string_view packet) { return read_tlsa(packet, name); };
  return ask(name, kTypeTlsa, reading<TlsaAnswer>(read, std::move(done)));
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
  auto pending = std::make_unique<Pending>(this, interest, std::move(name), type, std::move(done));
  if (next_servers_.empty())
    send(std::move(pending));
  else
    waiting_.push_back(std::move(pending));
  return Query(std::move(interest));
}

void Resolver::send(std::unique_ptr<Pending> pending) {
  unsigned char* packet = nullptr;
  int size = 0;
  const auto id = static_cast<unsigned short>(base::random_u64());
  const int result = ::ares_create_query(pending->name.c_str(), ns_c_in, pending->type, id, 1,
                                         &packet, &size, kUdpSize);
  if (result != ARES_SUCCESS)
    return settle(std::move(pending), {},
                  std::string("cannot ask for this name: ") + ::ares_strerror(result));
  // RFC 6840 5.7: whoever sets AD wants to know of it.
  constexpr unsigned char kAuthentic = 0x20;
  packet[3] |= kAuthentic;
  ++under_way_;
  ::ares_send(channel_, packet, size, &Resolver::on_answer, pending.release());
  ::ares_free_string(packet);
  update_timer();
}

void Resolver::on_answer(void* argument, int status, int, unsigned char* packet,
                         int size) noexcept {
  std::unique_ptr<Pending> pending(static_cast<Pending*>(argument));
  auto& self = *pending->self;
  --self.under_way_;
  if (!*self.alive_) return;
  if (status == ARES_SUCCESS && packet != nullptr && size > 0) {
    std::string copy(reinterpret_cast<const char*>(packet), static_cast<std::size_t>(size));
    return self.settle(std::move(pending), std::move(copy), {});
  }
  // c-ares says "could not contact" of every server that refused, failed or answered SERVFAIL.
  self.settle(std::move(pending), {},
              status == ARES_ETIMEOUT ? "no answer from the name servers"
                                      : "the name servers failed or refused");
}

// The continuation runs when c-ares is no longer on the stack.
void Resolver::settle(std::unique_ptr<Pending> pending, std::string packet, std::string trouble) {
  loop_->defer([this, alive = alive_, pending = std::move(pending), packet = std::move(packet),
                trouble = std::move(trouble)]() noexcept {
    if (!pending->interest.expired()) pending->done(packet, trouble);
    if (*alive) apply_servers();
  });
}

void Resolver::process(int readable, int writable) noexcept {
  ::ares_process_fd(channel_, readable, writable);
  update_timer();
}

void Resolver::update_timer() noexcept {
  timeval wait{};
  if (::ares_timeout(channel_, nullptr, &wait) == nullptr) return timer_->cancel();
  // Rounded up: a timer that fires early would find nothing to do, and spin.
  timer_->start(base::Millis(wait.tv_sec * 1000 + wait.tv_usec / 1000 + 1));
}

// c-ares opened, wants or closes a socket.
void Resolver::on_socket(void* argument, int fd, int readable, int writable) noexcept {
  auto& self = *static_cast<Resolver*>(argument);
  if (!*self.alive_) {
    self.sockets_.erase(fd);
    return;
  }
  if (readable == 0 && writable == 0) {
    auto gone = self.sockets_.extract(fd);
    if (gone.empty()) return;
    gone.mapped()->watch(false, false);
    // It may be this event that is being served.
    self.loop_->defer([event = std::move(gone.mapped())]() noexcept {});
    return;
  }
  auto& socket = self.sockets_[fd];
  if (!socket) {
    socket =
        std::make_unique<event::FdEvent>(*self.loop_, fd, [&self, fd](bool r, bool w) noexcept {
          self.process(r ? fd : ARES_SOCKET_BAD, w ? fd : ARES_SOCKET_BAD);
        });
  }
  socket->watch(readable != 0, writable != 0);
}

}  // namespace postern::dns
