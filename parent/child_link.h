// ChildLink: the parent's end of its channel to one child, for any role.
#pragma once

#include <memory>

#include "common/event/loop.h"
#include "common/ipc/channel.h"

namespace postern::parent {

class ChildLink {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_ready(const ipc::Ready& ready) = 0;
    virtual void on_configured(const ipc::Configured& configured) = 0;
    virtual void on_peer_lost(ipc::Role role) = 0;             // all but queued
    virtual void on_ask_socket(const ipc::AskSocket& ask) = 0;  // auth, local
    virtual void on_ask_mailbox(const ipc::AskMailbox& ask) = 0;     // local only
    virtual void on_drop_mailbox(const ipc::DropMailbox& drop) = 0;  // local only
    virtual void on_unable(const ipc::Unable& unable) = 0;           // a mailbox's process only
    virtual void on_reload(base::RequestId request) = 0;       // queued only
    virtual void on_stop_server(base::RequestId request) = 0;  // queued only
    virtual void on_link_closed() = 0;
  };

  virtual ~ChildLink() = default;
  virtual void send(const ipc::Boot& boot, ipc::Descriptors descriptors) = 0;
  virtual void send(const ipc::Configure& configure, base::UniqueFd config) = 0;
  virtual void send(const ipc::Peer& peer, base::UniqueFd fd) = 0;
  virtual void send(const ipc::Listen& listen,
                    base::UniqueFd fd) = 0;  // smtpd, queued; fd may be none
  virtual void send(const ipc::Tally& tally, base::UniqueFd fd) = 0;  // smtpd only
  virtual void send(const ipc::Stop& stop) = 0;
  virtual void send(const ipc::Socket& socket, base::UniqueFd fd) = 0;  // auth, local; fd may be none
  virtual void send(const ipc::MailboxReady& ready, base::UniqueFd fd) = 0;  // local; fd may be none
  virtual void send(const ipc::Processes& processes) = 0;  // queued only
  virtual void send(const ipc::Done& done) = 0;            // queued only
};

[[nodiscard]] std::unique_ptr<ChildLink> make_child_link(event::Loop& loop, ipc::Role role,
                                                         base::UniqueFd fd,
                                                         ChildLink::Listener& listener);

}  // namespace postern::parent
