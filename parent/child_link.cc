#include "parent/child_link.h"

namespace postern::parent {
namespace {

using ipc::Role;

ipc::Descriptors one(base::UniqueFd fd) {
  ipc::Descriptors descriptors;
  if (fd.valid()) descriptors.push_back(std::move(fd));
  return descriptors;
}

template <Role Child>
class Link final : public ChildLink {
 public:
  Link(event::Loop& loop, base::UniqueFd fd, Listener& listener)
      : listener_(listener), connection_(loop, std::move(fd), *this) {}

  void send(const ipc::Boot& boot, ipc::Descriptors d) override {
    connection_.send(boot, std::move(d));
  }
  void send(const ipc::Configure& configure, base::UniqueFd config) override {
    connection_.send(configure, one(std::move(config)));
  }
  void send(const ipc::Peer& peer, base::UniqueFd fd) override {
    connection_.send(peer, one(std::move(fd)));
  }
  void send(const ipc::Listen& listen, base::UniqueFd fd) override {
    route(listen, one(std::move(fd)));
  }
  void send(const ipc::Tally& tally, base::UniqueFd fd) override {
    route(tally, one(std::move(fd)));
  }
  void send(const ipc::Stop& stop) override { connection_.send(stop); }
  void send(const ipc::Socket& socket, base::UniqueFd fd) override {
    route(socket, one(std::move(fd)));
  }
  void send(const ipc::MailboxReady& ready, base::UniqueFd fd) override {
    route(ready, one(std::move(fd)));
  }
  void send(const ipc::Processes& processes) override { route(processes, {}); }
  void send(const ipc::Done& done) override { route(done, {}); }

  void on(const ipc::Ready& ready) { listener_.on_ready(ready); }
  void on(const ipc::Configured& configured) { listener_.on_configured(configured); }
  void on(const ipc::PeerLost& lost) { listener_.on_peer_lost(lost.role); }
  void on(const ipc::AskSocket& ask) { listener_.on_ask_socket(ask); }
  void on(const ipc::AskMailbox& ask) { listener_.on_ask_mailbox(ask); }
  void on(const ipc::DropMailbox& drop) { listener_.on_drop_mailbox(drop); }
  void on(const ipc::Unable& unable) { listener_.on_unable(unable); }
  void on(const ipc::Reload& reload) { listener_.on_reload(reload.request); }
  void on(const ipc::StopServer& stop) { listener_.on_stop_server(stop.request); }
  void closed() noexcept { listener_.on_link_closed(); }

 private:
  // Messages that only some children get; to send one to another child is a bug.
  template <class M>
  void route(const M& message, ipc::Descriptors d) {
    if constexpr (M::kRoute.allows(Role::kParent, Child))
      connection_.send(message, std::move(d));
    else
      CHECK(M::kRoute.allows(Role::kParent, Child));
  }

  Listener& listener_;
  ipc::Connection<Link, Role::kParent, Child> connection_;
};

}  // namespace

std::unique_ptr<ChildLink> make_child_link(event::Loop& loop, Role role, base::UniqueFd fd,
                                           ChildLink::Listener& listener) {
  switch (role) {
    case Role::kSmtpd:
      return std::make_unique<Link<Role::kSmtpd>>(loop, std::move(fd), listener);
    case Role::kQueued:
      return std::make_unique<Link<Role::kQueued>>(loop, std::move(fd), listener);
    case Role::kRelay:
      return std::make_unique<Link<Role::kRelay>>(loop, std::move(fd), listener);
    case Role::kLocal:
      return std::make_unique<Link<Role::kLocal>>(loop, std::move(fd), listener);
    case Role::kKey:
      return std::make_unique<Link<Role::kKey>>(loop, std::move(fd), listener);
    case Role::kAuth:
      return std::make_unique<Link<Role::kAuth>>(loop, std::move(fd), listener);
    case Role::kFetch:
      return std::make_unique<Link<Role::kFetch>>(loop, std::move(fd), listener);
    case Role::kMailbox:
      return std::make_unique<Link<Role::kMailbox>>(loop, std::move(fd), listener);
    case Role::kParent:
    case Role::kControl:
      break;
  }
  CHECK(false);
}

}  // namespace postern::parent
