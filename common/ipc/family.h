// Between the parent and its children: how they are set up, wired, and stopped.
#pragma once

#include "common/ipc/types.h"

namespace postern::ipc {

// All that a child needs before its sandbox. Descriptors: configuration (memfd), log, root directory;
// for queued also the directory of badmail, if it is not in the spool; for fetch the file of its policies.
struct Boot {
  static constexpr Type kType = Type::kBoot;
  static constexpr Route kRoute{roles(Role::kParent), kChildren};
  static constexpr std::size_t kDescriptors = 4;
  Role role = Role::kParent;
  std::uint32_t index = 0;   // among the processes of this role
  bool drop_rights = false;  // root: chroot into the root directory and become uid, gid
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  base::Generation generation;
  static constexpr auto fields() {
    return fields_of(field("role", &Boot::role), field("index", &Boot::index),
                      field("drop_rights", &Boot::drop_rights), field("uid", &Boot::uid),
                      field("gid", &Boot::gid), field("generation", &Boot::generation));
  }
};

// A new generation of the configuration. Descriptor: memfd.
struct Configure {
  static constexpr Type kType = Type::kConfigure;
  static constexpr Route kRoute{roles(Role::kParent), kChildren};
  static constexpr Window kWindow{1};
  static constexpr std::size_t kDescriptors = 1;
  base::RequestId request;
  base::Generation generation;
  static constexpr auto fields() {
    return fields_of(field("request", &Configure::request),
                      field("generation", &Configure::generation));
  }
};

struct Configured {
  static constexpr Type kType = Type::kConfigured;
  static constexpr Route kRoute{kChildren, roles(Role::kParent)};
  using ReplyTo = Replies<Configure>;
  base::RequestId request;
  bool accepted = false;
  std::string error;  // why not
  static constexpr auto fields() {
    return fields_of(field("request", &Configured::request), field("accepted", &Configured::accepted),
                      field("error", &Configured::error, kMaxText));
  }
};

// A fresh channel to a sibling. Descriptor: its end; none (to queued, of an smtpd): the channel stays, its
// listeners have changed.
struct Peer {
  static constexpr Type kType = Type::kPeer;
  static constexpr Route kRoute{roles(Role::kParent), kChildren};
  static constexpr std::size_t kDescriptors = 1;
  Role role = Role::kParent;
  std::uint32_t index = 0;
  std::vector<base::ListenerIndex> listeners;  // to queued, of an smtpd: those that it serves
  static constexpr auto fields() {
    return fields_of(field("role", &Peer::role), field("index", &Peer::index),
                      field("listeners", &Peer::listeners, 1000));
  }
};

// The channel to a sibling broke, and no other has come for a second: the sibling lives, and both need a
// fresh one.
struct PeerLost {
  static constexpr Type kType = Type::kPeerLost;
  static constexpr Route kRoute{roles(Role::kSmtpd, Role::kRelay, Role::kLocal, Role::kAuth), roles(Role::kParent)};
  Role role = Role::kParent;
  static constexpr auto fields() { return fields_of(field("role", &PeerLost::role)); }
};

// A listening socket: of SMTP for smtpd, the control socket for queued. Descriptor: the socket; none:
// smtpd no longer serves this listener.
struct Listen {
  static constexpr Type kType = Type::kListen;
  static constexpr Route kRoute{roles(Role::kParent), roles(Role::kSmtpd, Role::kQueued)};
  static constexpr std::size_t kDescriptors = 1;
  base::ListenerIndex listener;
  static constexpr auto fields() { return fields_of(field("listener", &Listen::listener)); }
};

// Memory in which an smtpd counts its clients (base::Tally). Descriptor: to write, of its own; to read
// alone, of its siblings. Before the first Listen.
struct Tally {
  static constexpr Type kType = Type::kTally;
  static constexpr Route kRoute{roles(Role::kParent), roles(Role::kSmtpd)};
  static constexpr std::size_t kDescriptors = 1;
  std::uint32_t index = 0;  // among the smtpds
  bool own = false;
  static constexpr auto fields() {
    return fields_of(field("index", &Tally::index), field("own", &Tally::own));
  }
};

// The child stands in its sandbox and serves.
struct Ready {
  static constexpr Type kType = Type::kReady;
  static constexpr Route kRoute{kChildren, roles(Role::kParent)};
  std::uint32_t pid = 0;
  static constexpr auto fields() { return fields_of(field("pid", &Ready::pid)); }
};

// Finish what has begun, then exit.
struct Stop {
  static constexpr Type kType = Type::kStop;
  static constexpr Route kRoute{roles(Role::kParent), kChildren};
  std::uint32_t seconds = 5;  // at most
  static constexpr auto fields() { return fields_of(field("seconds", &Stop::seconds)); }
};

struct ProcessRow {
  Role role = Role::kParent;
  std::uint32_t running = 0;
  std::uint32_t wanted = 0;
  std::uint32_t deaths = 0;  // since the parent's start
  static constexpr auto fields() {
    return fields_of(field("role", &ProcessRow::role), field("running", &ProcessRow::running),
                      field("wanted", &ProcessRow::wanted), field("deaths", &ProcessRow::deaths));
  }
};

// What the parent knows of its children, whenever it changes.
struct Processes {
  static constexpr Type kType = Type::kProcesses;
  static constexpr Route kRoute{roles(Role::kParent), roles(Role::kQueued)};
  std::vector<ProcessRow> rows;
  static constexpr auto fields() { return fields_of(field("rows", &Processes::rows, 16)); }
};

// auth needs a connection to Dovecot's authentication socket, or local one to a socket that speaks LMTP.
struct AskSocket {
  static constexpr Type kType = Type::kAskSocket;
  static constexpr Route kRoute{roles(Role::kAuth, Role::kLocal), roles(Role::kParent)};
  static constexpr Window kWindow{.requests = 256};
  base::RequestId request;
  base::Generation generation;  // of the configuration that the number is of
  std::uint32_t socket = 0;     // its place in LocalConfig::sockets; auth has one
  static constexpr auto fields() {
    return fields_of(field("request", &AskSocket::request),
                      field("generation", &AskSocket::generation),
                      field("socket", &AskSocket::socket));
  }
};

// Descriptor: the connected socket; none where nobody answers there.
struct Socket {
  static constexpr Type kType = Type::kSocket;
  static constexpr Route kRoute{roles(Role::kParent), roles(Role::kAuth, Role::kLocal)};
  using ReplyTo = Replies<AskSocket>;
  static constexpr std::size_t kDescriptors = 1;
  base::RequestId request;
  std::string error;  // why there is none
  static constexpr auto fields() {
    return fields_of(field("request", &Socket::request), field("error", &Socket::error, kMaxText));
  }
};

// local needs a process that files into this mailbox, as its user. Whose that is the parent knows, from the
// configuration of this generation, and starts none for a mailbox that this does not name.
struct AskMailbox {
  static constexpr Type kType = Type::kAskMailbox;
  static constexpr Route kRoute{roles(Role::kLocal), roles(Role::kParent)};
  static constexpr Window kWindow{.requests = 256};
  base::RequestId request;
  base::Generation generation;
  std::string user;
  std::string domain;
  static constexpr auto fields() {
    return fields_of(field("request", &AskMailbox::request),
                      field("generation", &AskMailbox::generation),
                      field("user", &AskMailbox::user, 255),
                      field("domain", &AskMailbox::domain, 255));
  }
};

// Descriptor: a channel to the process, which stands in its sandbox; none where there is no process.
struct MailboxReady {
  static constexpr Type kType = Type::kMailboxReady;
  static constexpr Route kRoute{roles(Role::kParent), roles(Role::kLocal)};
  using ReplyTo = Replies<AskMailbox>;
  static constexpr std::size_t kDescriptors = 1;
  base::RequestId request;
  std::string error;  // why there is none
  static constexpr auto fields() {
    return fields_of(field("request", &MailboxReady::request),
                      field("error", &MailboxReady::error, kMaxText));
  }
};

// The process that this request brought, or is to bring, is needed no more: it is stopped.
struct DropMailbox {
  static constexpr Type kType = Type::kDropMailbox;
  static constexpr Route kRoute{roles(Role::kLocal), roles(Role::kParent)};
  base::RequestId request;
  static constexpr auto fields() { return fields_of(field("request", &DropMailbox::request)); }
};

// In place of Ready: its mailbox cannot be opened, so the process ends.
struct Unable {
  static constexpr Type kType = Type::kUnable;
  static constexpr Route kRoute{roles(Role::kMailbox), roles(Role::kParent)};
  std::string error;  // why
  static constexpr auto fields() { return fields_of(field("error", &Unable::error, kMaxText)); }
};

}  // namespace postern::ipc
