#include "common/role/parent_link.h"

#include "common/os/process.h"

namespace postern::role {
namespace {

using ipc::Role;

template <Role Self>
class Link final : public ParentLink {
 public:
  Link(event::Loop& loop, Listener& listener)
      : listener_(listener),
        connection_(loop, base::UniqueFd::adopt(os::kInheritedChannel), *this) {}

  void send(const ipc::Ready& ready) override { connection_.send(ready); }
  void send(const ipc::Configured& configured) override { connection_.send(configured); }
  void send(const ipc::PeerLost& lost) override { route(lost); }
  void send(const ipc::AskSocket& ask) override { route(ask); }
  void send(const ipc::AskMailbox& ask) override { route(ask); }
  void send(const ipc::DropMailbox& drop) override { route(drop); }
  void send(const ipc::Unable& unable) override { route(unable); }
  void send(const ipc::Reload& reload) override { route(reload); }
  void send(const ipc::StopServer& stop) override { route(stop); }

  void on(const ipc::Boot& boot, ipc::Descriptors d) { listener_.on_boot(boot, std::move(d)); }
  void on(const ipc::Configure& configure, ipc::Descriptors d) {
    listener_.on_configure(configure, only(std::move(d)));
  }
  void on(const ipc::Peer& peer, ipc::Descriptors d) {
    listener_.on_peer(peer, only(std::move(d)));
  }
  void on(const ipc::Listen& listen, ipc::Descriptors d) {
    listener_.on_listen(listen, only(std::move(d)));
  }
  void on(const ipc::Tally& tally, ipc::Descriptors d) {
    listener_.on_tally(tally, only(std::move(d)));
  }
  void on(const ipc::Socket& socket, ipc::Descriptors d) {
    listener_.on_socket(socket, only(std::move(d)));
  }
  void on(const ipc::MailboxReady& ready, ipc::Descriptors d) {
    listener_.on_mailbox_ready(ready, only(std::move(d)));
  }
  void on(const ipc::Stop& stop) { listener_.on_stop(stop); }
  void on(const ipc::Processes& processes) { listener_.on_processes(processes); }
  void on(const ipc::Done& done) { listener_.on_done(done); }
  void closed() noexcept { listener_.on_parent_gone(); }

 private:
  // Messages that only some children send; to send one as another child is a bug.
  template <class M>
  void route(const M& message) {
    if constexpr (M::kRoute.allows(Self, Role::kParent))
      connection_.send(message);
    else
      CHECK(M::kRoute.allows(Self, Role::kParent));
  }
  static base::UniqueFd only(ipc::Descriptors d) {
    return d.empty() ? base::UniqueFd() : std::move(d.front());
  }

  Listener& listener_;
  ipc::Connection<Link, Self, Role::kParent> connection_;
};

}  // namespace

std::unique_ptr<ParentLink> make_parent_link(event::Loop& loop, Role self,
                                             ParentLink::Listener& listener) {
  switch (self) {
    case Role::kSmtpd:
      return std::make_unique<Link<Role::kSmtpd>>(loop, listener);
    case Role::kQueued:
      return std::make_unique<Link<Role::kQueued>>(loop, listener);
    case Role::kRelay:
      return std::make_unique<Link<Role::kRelay>>(loop, listener);
    case Role::kLocal:
      return std::make_unique<Link<Role::kLocal>>(loop, listener);
    case Role::kKey:
      return std::make_unique<Link<Role::kKey>>(loop, listener);
    case Role::kAuth:
      return std::make_unique<Link<Role::kAuth>>(loop, listener);
    case Role::kFetch:
      return std::make_unique<Link<Role::kFetch>>(loop, listener);
    case Role::kMailbox:
      return std::make_unique<Link<Role::kMailbox>>(loop, listener);
    case Role::kParent:
    case Role::kControl:
      break;
  }
  CHECK(false);
}

}  // namespace postern::role
