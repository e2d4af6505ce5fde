// The skeleton of every child's main(): receive Boot from the parent on descriptor 3, prepare,
// enter the sandbox, then run the loop. The order stands in role.cc, on one screen and nowhere
// else.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "common/event/loop.h"
#include "common/ipc/channel.h"
#include "common/os/error.h"

namespace postern::role {

inline constexpr std::uint64_t kOpenFiles = 65536;  // of a child, where its hard limit allows it

// What a child may open files below; none of the second kind for most.
struct Directories {
  base::UniqueFd root;
  base::UniqueFd badmail;  // queued, where it is not in the spool
  base::UniqueFd policies;  // fetch: no directory, but the file of its policies
};

// One child process's own part. All calls come on the loop, none before its sandbox but those that
// say so.
class Daemon {
 public:
  virtual ~Daemon() = default;

  // Before the sandbox: decode `config` (this role's own struct), open what only now can be opened
  // below these, initialise libraries. An error ends the process with this sentence.
  virtual os::Result<void> prepare(std::string config, Directories directories,
                                   const ipc::Boot& boot) = 0;
  // Behind that: where it connects to by TCP, if its sandbox knows of ports (fetch only).
  [[nodiscard]] virtual std::vector<std::uint16_t> ports() const { return {}; }
  // Behind that, too: the directory, below the one that it was given, that is all of it from now on (mailbox
  // only); -1: the one that it was given.
  [[nodiscard]] virtual int root() const { return -1; }
  // In the sandbox: start serving; threads are made here.
  virtual void start(event::Loop& loop) = 0;
  // A new generation; an error refuses it, and the old one stays.
  virtual std::expected<void, std::string> configure(std::string config,
                                                     base::Generation generation) = 0;
  // A fresh channel to a sibling; one of the same role and index replaces the earlier one. To
  // queued also without a channel: the listeners of that smtpd have changed, and its channel stays.
  virtual void peer(const ipc::Peer& peer, base::UniqueFd fd) = 0;
  // A listening socket (smtpd: a listener's; none: it is no longer served. queued: the control
  // socket).
  virtual void listen(base::ListenerIndex listener, base::UniqueFd fd) = 0;
  // Memory to count clients in, its own or a sibling's (smtpd only).
  virtual void tally(const ipc::Tally&, base::UniqueFd) {}
  // What the parent tells of the other processes (queued only).
  virtual void processes(const ipc::Processes& processes) = 0;
  // Finish what has begun, then call done(). The process exits after `seconds` in any case.
  virtual void stop(event::Callback done) = 0;
};

// What a daemon may ask of its skeleton while it runs.
class Host {
 public:
  virtual ~Host() = default;
  // The text that ps shows behind "postern: ROLE".
  virtual void set_state(std::string_view state) = 0;
  // The channel to a sibling of this role broke. If the sibling died, its next life brings a fresh
  // one through peer(); if it lives, the parent is asked for one until it comes.
  virtual void peer_lost(ipc::Role role) = 0;
  // Asks the parent to reload or to stop; `answer` gets its Done. queued only.
  using Answer = std::move_only_function<void(const ipc::Done&) noexcept>;
  virtual void ask_reload(Answer answer) = 0;
  virtual void ask_stop(Answer answer) = 0;
  // Asks the parent for a connection to a socket that this role is configured to talk to, by its place in
  // the configuration; `connected` gets it, or why there is none. auth and local.
  using Connected = std::move_only_function<void(std::expected<base::UniqueFd, std::string>) noexcept>;
  virtual void ask_socket(std::uint32_t, Connected) {}
  // Asks the parent for a process that files into this mailbox as its user; `connected` gets the channel to it, or
  // why there is none. local only.
  virtual base::RequestId ask_mailbox(const std::string& /*user*/, const std::string& /*domain*/, Connected) {
    return {};
  }
  // What that brought, or is to bring, is needed no more.
  virtual void drop_mailbox(base::RequestId) {}
  // Ends the process now, for a fatal trouble of the environment; logged and told by the sentence.
  [[noreturn]] virtual void fatal(const std::string& why) = 0;
};

// The whole main() of a child. `make` builds the daemon for the role that Boot names.
int run(int argc, char** argv,
        std::move_only_function<std::unique_ptr<Daemon>(ipc::Role role, Host& host)> make);

}  // namespace postern::role
