// The command line of posternctl as one value. Reads no file and asks nobody: what it makes of the
// same words is always the same. The only file that knows CLI11.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/control.h"

namespace postern::ctl {

enum class Verb : std::uint8_t {
  kStatus,
  kQueues,
  kMessages,
  kShow,
  kExplain,
  kBody,
  kFreeze,
  kUnfreeze,
  kOutbound,
  kIntake,
  kBlocks,
  kHold,
  kRelease,
  kHistory,
  kUser,
  kRetry,
  kCheckSpool,
  kExport,
  kImport,
  kReload,
  kStop,
};

// In which order messages are listed.
enum class Order : std::uint8_t { kId, kAge, kSize, kNext };

enum class UserAction : std::uint8_t { kAdd, kPasswd, kRemove, kList, kLock, kUnlock };

struct Command {
  Verb verb = Verb::kStatus;
  bool json = false;
  bool yes = false;        // do not ask
  std::string config;      // -c; empty: the default
  std::string socket;      // --socket; empty: the one of the configuration
  std::string queue;       // queues: a pattern; freeze, unfreeze, explain: a queue, or a next hop
  bool hops = false;       // queues: next hops instead
  Order order = Order::kId;  // messages
  UserAction user = UserAction::kList;
  std::string account;     // user, but for list; in lower case
  std::string reason;      // freeze, outbound disable, intake disable, hold, retry, user lock
  bool hop = false;        // freeze, unfreeze: `queue` is a next hop
  std::string until;       // freeze: as it was typed (until.h)
  bool keep_clock = false;  // freeze
  bool future = false;     // freeze
  bool enable = false;     // outbound, intake
  bool all = false;        // outbound disable: internal routes too
  bool now = false;        // outbound disable: what is in flight is broken off
  bool also_new = false;   // hold: mail that comes from now on, too
  bool dry_run = false;    // hold, release, retry
  std::string file;        // export, import
  bool remove = false;     // export: remove what it wrote
  bool keep = false;       // export: do not hold what it wrote
  bool release = false;    // import: what it took goes out
  bool again = false;      // import: although the file was imported before
  base::MessageId id;      // show, body; explain: 0 for a queue
  ipc::Selector selector;  // messages, history, hold, release, retry; never empty there
};

// Nothing is to be done but to print `text` (stdout if `exit` is 0, else stderr) and to end.
struct Ending {
  int exit = 0;
  std::string text;
};

// `words`: the command line without the program's name. `terminal`: a person types, so unambiguous
// prefixes of verbs are understood, but for those that change much (import, stop, outbound,
// intake).
[[nodiscard]] std::expected<Command, Ending> parse_command(std::vector<std::string> words,
                                                           bool terminal);

// What to ask before `command` is done; empty where nothing is dangerous about it.
[[nodiscard]] std::string question(const Command& command);

}  // namespace postern::ctl
