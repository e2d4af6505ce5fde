#include "ctl/command.h"

#include <fmt/format.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <optional>

#include "common/base/text.h"
#include "common/base/utf8.h"
#include "common/config/names.h"
#include "common/config/units.h"
#include "common/sasl/account.h"

namespace postern::ctl {
namespace {

constexpr std::size_t kMaxWords = 4096;
constexpr std::size_t kMaxIds = 1000;       // of ipc::Selector
constexpr std::size_t kMaxCondition = 512;  // of ipc::Selector: from, to, error

struct VerbName {
  std::string_view name;
  Verb verb;
  bool prefix;  // may be shortened on a terminal
};
constexpr auto kVerbs = std::to_array<VerbName>({
    {"status", Verb::kStatus, true},
    {"queues", Verb::kQueues, true},
    {"messages", Verb::kMessages, true},
    {"show", Verb::kShow, true},
    {"explain", Verb::kExplain, true},
    {"body", Verb::kBody, true},
    {"freeze", Verb::kFreeze, true},
    {"unfreeze", Verb::kUnfreeze, true},
    {"outbound", Verb::kOutbound, false},
    {"intake", Verb::kIntake, false},
    {"blocks", Verb::kBlocks, true},
    {"history", Verb::kHistory, true},
    {"hold", Verb::kHold, true},
    {"release", Verb::kRelease, true},
    {"user", Verb::kUser, true},
    {"retry", Verb::kRetry, true},
    {"check-spool", Verb::kCheckSpool, true},
    {"export", Verb::kExport, true},
    {"import", Verb::kImport, false},
    {"reload", Verb::kReload, true},
    {"stop", Verb::kStop, false},
});

std::string_view verb_name(Verb verb) {
  return std::find_if(kVerbs.begin(), kVerbs.end(),
                      [&](const VerbName& known) { return known.verb == verb; })
      ->name;
}

std::unexpected<Ending> usage(std::string text) {
  return std::unexpected(
      Ending{EX_USAGE, "posternctl: " + std::move(text) + "\nTry: posternctl --help\n"});
}

// The first word that is neither an option nor the value of one.
std::optional<std::size_t> verb_place(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "-c" || words[i] == "--config" || words[i] == "--socket")
      ++i;
    else if (!words[i].starts_with('-'))
      return i;
  }
  return std::nullopt;
}

// The whole verb for what was typed. Verbs that stop something count as candidates, so that "st"
// never grows into "status" by leaving them out, but are never the answer.
std::expected<std::string, Ending> whole_verb(const std::string& typed, bool terminal) {
  std::vector<std::string_view> candidates;
  bool may_shorten = true;
  for (const auto& verb : kVerbs) {
    if (verb.name == typed) return typed;
    if (!verb.name.starts_with(typed)) continue;
    candidates.push_back(verb.name);
    may_shorten = may_shorten && verb.prefix;
  }
  if (!terminal || candidates.empty())
    return usage(fmt::format("there is no verb \"{}\"", base::printable(typed)));
  if (candidates.size() == 1 && may_shorten) return std::string(candidates.front());
  if (candidates.size() == 1)
    return usage(fmt::format("\"{}\" must be written in full", candidates.front()));
  std::string list;
  for (const auto name : candidates) list += (list.empty() ? "" : ", ") + std::string(name);
  return usage(fmt::format("\"{}\" may mean: {}", base::printable(typed), list));
}

// The words as they were typed for what needs a reading of its own.
struct Typed {
  std::vector<std::string> ids;
  std::string id, client, older, newer, larger, smaller, state, sort, what, hop, message_id;
};

// What both the queue and the history can be asked for.
void add_conditions(CLI::App& verb, Command& command, Typed& typed) {
  verb.add_option("ID", typed.ids, "messages by their ids");
  verb.add_flag("--all", command.selector.all, "every message");
  verb.add_option("--queue", command.selector.queue, "of this queue, or of those of a pattern");
  verb.add_option("--from", command.selector.from,
                  "whose sender contains this; <> is the null sender");
  verb.add_option("--to", command.selector.to, "with a recipient that contains this");
  verb.add_option("--client", typed.client, "that came from this address or network: 10.0.0.0/8");
  verb.add_option("--older", typed.older, "older than this: 30m, 4h, 2d");
  verb.add_option("--newer", typed.newer, "newer than this");
  verb.add_option("--larger", typed.larger, "larger than this: 100KiB, 5MiB");
  verb.add_option("--smaller", typed.smaller, "smaller than this");
  verb.add_option("--error", command.selector.error, "with a last reply that contains this");
}

void add_selector(CLI::App& verb, Command& command, Typed& typed) {
  add_conditions(verb, command, typed);
  verb.add_option("--hop", command.selector.hop, "that goes to this next hop, or may: a host, or a pattern of hosts");
  verb.add_flag("--bounces", command.selector.bounces, "notices of our own");
  verb.add_option("--message-id", typed.message_id, "with this Message-ID in its header, as a whole; reads headers");
  verb.add_option("--state", typed.state, "ready, retry, frozen, off, delivering, held or uncalled");
}

void describe_blocks(CLI::App& app, Command& command, Typed& typed) {
  auto* const freeze =
      app.add_subcommand("freeze", "stop delivery to a queue or a next hop, durably");
  freeze->add_option("QUEUE", command.queue, "a queue, or a pattern like *.example.org");
  freeze->add_option("--hop", typed.hop, "a next hop instead: a host, or a pattern of hosts");
  freeze->add_option("--reason", command.reason, "why; others will read it")->required();
  freeze->add_option("--until", command.until,
                     "it ends by itself: 18:00, \"2026-12-24 18:00\", +2h, 90m");
  freeze->add_flag("--keep-clock", command.keep_clock,
                   "mail expires, and senders hear of the delay, all the same");
  freeze->add_flag("--future", command.future, "also what does not exist yet");
  auto* const unfreeze = app.add_subcommand(
      "unfreeze", "resume delivery; of a member of a pattern, as an exception to it");
  unfreeze->add_option("QUEUE", command.queue, "as it was frozen, or a member of a pattern");
  unfreeze->add_option("--hop", typed.hop, "a next hop instead");
  const auto add_what = [&](CLI::App* verb) {
    verb->add_option("WHAT", typed.what, "disable or enable")
        ->required()
        ->check(CLI::IsMember({"disable", "enable"}));
    verb->add_option("--reason", command.reason, "why; disable needs one");
  };
  auto* const outbound = app.add_subcommand("outbound", "stop or resume all outbound delivery");
  add_what(outbound);
  outbound->add_flag("--all", command.all, "disable: internal routes too");
  outbound->add_flag("--now", command.now,
                     "disable: break off what is in flight; some of it may arrive twice");
  add_what(app.add_subcommand("intake", "stop or resume taking mail: clients are answered 421"));
}

void describe(CLI::App& app, Command& command, Typed& typed) {
  app.set_version_flag("--version", "posternctl " POSTERN_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("-c,--config", command.config, "the server's configuration")->type_name("FILE");
  app.add_option("--socket", command.socket, "the server's control socket")->type_name("PATH");
  app.add_flag("--json", command.json, "one JSON object per line");
  app.add_flag("--yes", command.yes, "do not ask");

  app.add_subcommand("status", "the server on one screen; exit 1 while something needs attention");
  auto* const queues = app.add_subcommand("queues", "a row for each destination");
  queues->add_option("PATTERN", command.queue, "a queue, or a pattern like *.example.org");
  queues->add_flag("--hops", command.hops, "a row for each next hop instead");
  auto* const messages = app.add_subcommand("messages", "a row for each message");
  add_selector(*messages, command, typed);
  messages->add_option("--sort", typed.sort, "age: the oldest first; size: the largest; next: what is tried next")
      ->check(CLI::IsMember({"age", "size", "next"}));
  app.add_subcommand("show", "one message's envelope and the state of each recipient")
      ->add_option("ID", typed.id)
      ->required();
  app.add_subcommand("explain", "why a message, or a queue, is still here, and what happens next")
      ->add_option("WHAT", typed.id, "a message by its id, a queue, or a next hop like mx.example.org:25")
      ->required();
  app.add_subcommand("body", "one message as it will be sent")
      ->add_option("ID", typed.id)
      ->required();
  describe_blocks(app, command, typed);
  app.add_subcommand("blocks", "everything that was stopped by hand: what, who, why, since when");
  auto* const history = app.add_subcommand("history", "a row for each recipient that ended, oldest first");
  add_conditions(*history, command, typed);
  history->add_option("--message-id", typed.message_id)->group("");  // refused with the reason
  auto* const hold = app.add_subcommand("hold", "keep messages back, durably");
  add_selector(*hold, command, typed);
  hold->add_option("--reason", command.reason, "why; others will read it")->required();
  hold->add_flag("--also-new", command.also_new, "also what comes from now on");
  hold->add_flag("--dry-run", command.dry_run, "only list and count them");
  auto* const release =
      app.add_subcommand("release", "let held messages go; ends the standing hold of this selector");
  add_selector(*release, command, typed);
  release->add_flag("--dry-run", command.dry_run, "only list and count them");
  auto* const retry = app.add_subcommand("retry", "try messages now; a block stays a block");
  add_selector(*retry, command, typed);
  retry->add_flag("--dry-run", command.dry_run, "only list and count them");
  retry->add_option("--reason", command.reason, "why; the log keeps it");
  auto* const user = app.add_subcommand("user", "the accounts of the password file, and their locks");
  user->add_option("WHAT", typed.what, "add, passwd, remove, list, lock or unlock")
      ->required()
      ->check(CLI::IsMember({"add", "passwd", "remove", "list", "lock", "unlock"}));
  user->add_option("NAME", command.account, "the account");
  user->add_option("--reason", command.reason, "why; lock needs one");
  app.add_subcommand("check-spool",
                     "read all that is stored and compare it; changes nothing; with the server stopped too");
  auto* const written = app.add_subcommand("export", "write the queue to a file, and hold it here");
  written->add_option("FILE", command.file, "the new file")->required();
  auto* const remove = written->add_flag("--remove", command.remove,
                                         "remove what is safely in the file; goes on with a file that is there");
  written->add_flag("--keep", command.keep, "do not hold it: imported elsewhere, it may arrive twice")
      ->excludes(remove);
  auto* const taken = app.add_subcommand("import", "take the messages of an exported file, and hold them");
  taken->add_option("FILE", command.file, "what export wrote")->required();
  taken->add_flag("--release", command.release, "do not hold them: they go out");
  taken->add_flag("--again", command.again, "even if this file was imported whole before");
  app.add_subcommand("reload", "read the configuration again");
  app.add_subcommand("stop", "end the server in an orderly way");
}

using Checked = std::expected<void, Ending>;

Checked check_length(std::string_view what, const std::string& value, std::size_t limit) {
  if (value.size() <= limit) return {};
  return usage(fmt::format("{} is longer than {} bytes", what, limit));
}

Checked read_span(std::string_view what, const std::string& typed,
                  std::optional<base::Millis>& to) {
  if (typed.empty()) return {};
  to = config::parse_duration(typed);
  if (to) return {};
  return usage(fmt::format("{} {}: expected a number and its unit, like 30m, 4h or 2d", what,
                           base::printable(typed)));
}

Checked read_size(std::string_view what, const std::string& typed,
                  std::optional<std::uint64_t>& to) {
  if (typed.empty()) return {};
  to = config::parse_size(typed);
  if (!to) to = base::parse_number(typed);
  if (to) return {};
  return usage(fmt::format("{} {}: expected bytes or a number and its unit, like 100KiB or 5MiB",
                           what, base::printable(typed)));
}

Checked read_state(const std::string& typed, std::optional<ipc::State>& to) {
  if (typed.empty()) return {};
  for (std::uint8_t i = 0; i <= static_cast<std::uint8_t>(ipc::kLastEnumerator<ipc::State>); ++i)
    if (ipc::name(static_cast<ipc::State>(i)) == typed) to = static_cast<ipc::State>(i);
  if (to) return {};
  return usage(fmt::format("--state {}: expected ready, retry, frozen, off, delivering, held or uncalled",
                           base::printable(typed)));
}

Checked read_network(const std::string& typed, std::optional<base::Network>& to) {
  if (typed.empty()) return {};
  to = base::parse_network(typed);
  if (to) return {};
  return usage(fmt::format("--client {}: expected an address or a network, like 10.0.0.0/8",
                           base::printable(typed)));
}

std::expected<base::MessageId, Ending> read_id(const std::string& typed) {
  if (const auto id = base::parse_message_id(typed)) return *id;
  return usage(fmt::format("\"{}\" is not a message's id, which has {} letters and digits",
                           base::printable(typed), base::kMessageIdLength));
}

// Queues go by their A-labels; people may type U-labels.
Checked read_queue(std::string_view what, std::string& name) {
  if (base::is_ascii(name)) return {};
  auto pattern = config::parse_pattern(name);
  if (!pattern) return usage(fmt::format("{}: {}", what, pattern.error()));
  name = *std::move(pattern);
  return {};
}

Checked read_message_id(const std::string& typed, std::string& to) {
  if (typed.empty()) return {};
  auto id = base::trim(typed);
  if (id.starts_with('<') && id.ends_with('>')) id = id.substr(1, id.size() - 2);
  if (id.empty()) return usage("--message-id: expected one like <4711@mail.example.org>");
  to = id;
  return check_length("--message-id", to, ipc::kMaxMessageIdField);
}

Checked read_selector(const Typed& typed, Command& command) {
  auto& selector = command.selector;
  const bool acts = command.verb == Verb::kRetry || command.verb == Verb::kHold ||
                    command.verb == Verb::kRelease;
  if (typed.ids.size() > kMaxIds) return usage(fmt::format("more than {} ids", kMaxIds));
  for (const auto& text : typed.ids) {
    auto id = read_id(text);
    if (!id) return std::unexpected(std::move(id.error()));
    selector.ids.push_back(*id);
  }
  for (const auto& checked : {read_queue("--queue", selector.queue),
                              check_length("--queue", selector.queue, ipc::kMaxQueueName),
                              check_length("--from", selector.from, kMaxCondition),
                              check_length("--to", selector.to, kMaxCondition),
                              check_length("--error", selector.error, kMaxCondition),
                              read_queue("--hop", selector.hop),
                              check_length("--hop", selector.hop, ipc::kMaxHopName),
                              read_span("--older", typed.older, selector.older),
                              read_span("--newer", typed.newer, selector.newer),
                              read_size("--larger", typed.larger, selector.larger),
                              read_size("--smaller", typed.smaller, selector.smaller),
                              read_state(typed.state, selector.state),
                              read_message_id(typed.message_id, selector.message_id),
                              read_network(typed.client, selector.client)})
    if (!checked) return checked;
  selector.queue = base::to_lower(selector.queue);
  selector.hop = base::to_lower(selector.hop);
  if (selector.empty() && acts)
    return usage(fmt::format("{} needs ids, conditions or --all", verb_name(command.verb)));
  if (selector.empty()) selector.all = true;  // a listing without conditions lists all
  return {};
}

// Only what is known of a message when it comes.
Checked check_also_new(const Command& command) {
  const auto& s = command.selector;
  const bool other = !s.ids.empty() || s.all || !s.error.empty() || s.older || s.newer || s.state ||
                     !s.hop.empty() || s.bounces || !s.message_id.empty();
  if (!command.also_new || !other) return {};
  return usage("hold --also-new takes --from, --to, --client, --queue, --larger and --smaller only");
}

Order read_order(const std::string& typed) {
  if (typed == "age") return Order::kAge;
  if (typed == "size") return Order::kSize;
  return typed == "next" ? Order::kNext : Order::kId;
}

Checked read_switch(const Typed& typed, Command& command) {
  const auto verb = verb_name(command.verb);
  command.enable = typed.what == "enable";
  if (command.enable && (command.all || command.now || !command.reason.empty()))
    return usage(fmt::format("{} enable takes no options of its own", verb));
  if (!command.enable && command.reason.empty())
    return usage(fmt::format("{} disable needs --reason TEXT: others will ask why", verb));
  return {};
}

Checked read_user(const Typed& typed, Command& command) {
  static constexpr std::pair<std::string_view, UserAction> kActions[] = {
      {"add", UserAction::kAdd},   {"passwd", UserAction::kPasswd}, {"remove", UserAction::kRemove},
      {"list", UserAction::kList}, {"lock", UserAction::kLock},     {"unlock", UserAction::kUnlock}};
  for (const auto& [name, action] : kActions)
    if (name == typed.what) command.user = action;
  if (command.user == UserAction::kLock && command.reason.empty())
    return usage("user lock needs --reason TEXT: others will ask why");
  if (command.user != UserAction::kLock && !command.reason.empty())
    return usage(fmt::format("user {} takes no reason", typed.what));
  if (command.user == UserAction::kList) {
    if (!command.account.empty()) return usage("user list takes no name");
    return {};
  }
  command.account = base::to_lower(command.account);
  if (const auto wrong = sasl::wrong_with_account(command.account); !wrong.empty())
    return usage(fmt::format("user {}: {}", typed.what, wrong));
  return {};
}

Checked read_frozen(const Typed& typed, Command& command) {
  const auto verb = verb_name(command.verb);
  if (command.queue.empty() == typed.hop.empty())
    return usage(fmt::format("{} needs a QUEUE or --hop HOST, and not both", verb));
  command.hop = !typed.hop.empty();
  if (command.hop) command.queue = typed.hop;
  if (auto read = read_queue("the name", command.queue); !read) return read;
  if (command.verb == Verb::kFreeze && command.reason.empty())
    return usage("freeze needs a reason: others will ask why");
  return check_length("the name", command.queue, ipc::kMaxQueueName);
}

Checked check_file(const std::string& file) {
  if (!file.empty()) return {};
  return usage("the file's name is empty");
}

Checked finish(const Typed& typed, Command& command) {
  for (const auto& checked : {read_queue("the queue's name", command.queue),
                              check_length("the queue's name", command.queue, ipc::kMaxQueueName),
                              check_length("the reason", command.reason, ipc::kMaxReason)})
    if (!checked) return checked;
  switch (command.verb) {
    case Verb::kMessages:
      command.order = read_order(typed.sort);
      return read_selector(typed, command);
    case Verb::kHistory:
      if (!typed.message_id.empty())
        return usage("the history keeps no Message-ID; look for --from, --to, --client, --older or --newer");
      return read_selector(typed, command);
    case Verb::kRetry:
    case Verb::kRelease:
      return read_selector(typed, command);
    case Verb::kHold:
      if (command.reason.empty()) return usage("hold needs a reason: others will ask why");
      if (auto read = read_selector(typed, command); !read) return read;
      return check_also_new(command);
    case Verb::kShow:
    case Verb::kBody: {
      auto id = read_id(typed.id);
      if (!id) return std::unexpected(std::move(id.error()));
      command.id = *id;
      return {};
    }
    case Verb::kExplain:
      if (typed.id.empty()) return usage("explain needs an id, or the name of a queue or a next hop");
      if (const auto id = base::parse_message_id(typed.id)) {
        command.id = *id;  // what is shaped like one is one
        return {};
      }
      command.queue = typed.id;
      if (auto read = read_queue("the queue's name", command.queue); !read) return read;
      return check_length("the queue's name", command.queue, ipc::kMaxHopName);
    case Verb::kOutbound:
    case Verb::kIntake:
      return read_switch(typed, command);
    case Verb::kFreeze:
    case Verb::kUnfreeze:
      return read_frozen(typed, command);
    case Verb::kUser:
      return read_user(typed, command);
    case Verb::kStatus:
    case Verb::kQueues:
    case Verb::kBlocks:
    case Verb::kCheckSpool:
    case Verb::kReload:
    case Verb::kStop:
      return {};
    case Verb::kExport:
    case Verb::kImport:
      return check_file(command.file);
  }
  CHECK(false);
}

// CLI11 throws; here its exceptions become an ending.
std::optional<Ending> run(CLI::App& app, std::vector<std::string> words) {
  std::reverse(words.begin(), words.end());  // CLI11 reads from the back
  try {
    app.parse(std::move(words));
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, err;
    const bool good = app.exit(error, out, err) == 0;
    if (good) return Ending{0, out.str()};
    return Ending{EX_USAGE,
                  "posternctl: " + base::printable(error.what()) + "\nTry: posternctl --help\n"};
  }
}

}  // namespace

std::expected<Command, Ending> parse_command(std::vector<std::string> words, bool terminal) {
  if (words.size() > kMaxWords) return usage(fmt::format("more than {} words", kMaxWords));
  const auto place = verb_place(words);
  if (place) {
    auto whole = whole_verb(words[*place], terminal);
    if (!whole) return std::unexpected(std::move(whole.error()));
    words[*place] = *std::move(whole);
  }
  Command command;
  Typed typed;
  CLI::App app("Shows and steers a running Postern.", "posternctl");
  describe(app, command, typed);
  const auto verb = place ? words[*place] : std::string();
  if (auto ending = run(app, std::move(words))) return std::unexpected(*std::move(ending));
  command.verb = std::find_if(kVerbs.begin(), kVerbs.end(), [&](const VerbName& known) {
                   return known.name == verb;
                 })->verb;
  if (auto finished = finish(typed, command); !finished)
    return std::unexpected(std::move(finished.error()));
  return command;
}

std::string question(const Command& command) {
  switch (command.verb) {
    case Verb::kOutbound: {
      if (command.enable)
        return "Outbound delivery resumes at once, for every queue that is not frozen.";
      std::string text =
          command.all ? "No mail will leave to any other host, internal ones included, until "
                        "\"posternctl outbound enable\"."
                      : "No mail will leave to any other host but by internal routes, until "
                        "\"posternctl outbound enable\".";
      if (command.now)
        text += " Deliveries under way are broken off: some of them may arrive twice.";
      return text;
    }
    case Verb::kIntake:
      return command.enable
                 ? "Mail is accepted again at once."
                 : "No mail is accepted from anybody until \"posternctl intake enable\".";
    case Verb::kRetry:
      if (command.selector.all && !command.dry_run)
        return "Every message in the queue is tried now.";
      return {};
    case Verb::kHold:
      if (command.selector.all && !command.dry_run)
        return "Every message in the queue is held until it is released.";
      return {};
    case Verb::kRelease:
      if (command.selector.all && !command.dry_run)
        return "Every held message goes out, whoever held it and why.";
      return {};
    case Verb::kImport:
      return command.release
                 ? "Every message of the file that is not here yet is taken, and goes out at once."
                 : "Every message of the file that is not here yet is taken, and held.";
    case Verb::kStop:
      return "The server ends; no mail is accepted until it is started again.";
    case Verb::kStatus:
    case Verb::kQueues:
    case Verb::kMessages:
    case Verb::kShow:
    case Verb::kExplain:
    case Verb::kBody:
    case Verb::kFreeze:
    case Verb::kUnfreeze:
    case Verb::kBlocks:
    case Verb::kHistory:
    case Verb::kUser:
    case Verb::kCheckSpool:
    case Verb::kExport:
    case Verb::kReload:
      return {};
  }
  CHECK(false);
}

}  // namespace postern::ctl
