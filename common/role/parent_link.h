// ParentLink: a child's end of its channel to the parent, for any role. It knows the conversation
// and nothing of what a role does with it.
#pragma once

#include <memory>

#include "common/event/loop.h"
#include "common/ipc/channel.h"

namespace postern::role {

class ParentLink {
 public:
  // What the parent says; each call comes on the loop.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_boot(const ipc::Boot& boot, ipc::Descriptors descriptors) = 0;
    virtual void on_configure(const ipc::Configure& configure, base::UniqueFd config) = 0;
    virtual void on_peer(const ipc::Peer& peer, base::UniqueFd fd) = 0;
    virtual void on_listen(const ipc::Listen& listen, base::UniqueFd fd) = 0;
    virtual void on_tally(const ipc::Tally& tally, base::UniqueFd fd) = 0;
    virtual void on_socket(const ipc::Socket& socket, base::UniqueFd fd) = 0;
    virtual void on_mailbox_ready(const ipc::MailboxReady& ready, base::UniqueFd fd) = 0;
    virtual void on_stop(const ipc::Stop& stop) = 0;
    virtual void on_processes(const ipc::Processes& processes) = 0;
    virtual void on_done(const ipc::Done& done) = 0;
    virtual void on_parent_gone() = 0;
  };

  virtual ~ParentLink() = default;
  virtual void send(const ipc::Ready& ready) = 0;
  virtual void send(const ipc::Configured& configured) = 0;
  // All but queued.
  virtual void send(const ipc::PeerLost& lost) = 0;
  // auth and local.
  virtual void send(const ipc::AskSocket& ask) = 0;
  // local only.
  virtual void send(const ipc::AskMailbox& ask) = 0;
  virtual void send(const ipc::DropMailbox& drop) = 0;
  // A mailbox's process only.
  virtual void send(const ipc::Unable& unable) = 0;
  // queued only.
  virtual void send(const ipc::Reload& reload) = 0;
  virtual void send(const ipc::StopServer& stop) = 0;
};

// The link of a child of `self`'s role on the inherited descriptor. `listener` outlives it.
[[nodiscard]] std::unique_ptr<ParentLink> make_parent_link(event::Loop& loop, ipc::Role self,
                                                           ParentLink::Listener& listener);

}  // namespace postern::role
