#include "bench/ledger/options.h"

#include "bench/ledger/command_line.h"

namespace postern::bench {

std::expected<LedgerOptions, Ending> parse_ledger_options(std::vector<std::string> words) {
  LedgerOptions options;
  CLI::App app(
      "Decides what was lost, delivered twice, changed, or delivered without having been accepted.",
      "postern-ledger");
  app.require_subcommand(1);
  app.fallthrough();
  auto* const compare = app.add_subcommand("compare",
                                           "what the clients were told against what arrived; exit "
                                           "1 if anything is lost, phantom or changed");
  compare->add_option("LEDGER", options.ledgers, "of postern-load and of postern-sink")->required();
  compare
      ->add_option("--mailbox", options.mailboxes,
                   "directory with Maildirs or .eml files, at any depth")
      ->type_name("DIRECTORY");
  compare
      ->add_option("--queued", options.queue,
                   "what `posternctl messages --json` says is still queued: not lost")
      ->type_name("FILE");
  compare->add_flag("--any-recipient", options.any_recipient,
                    "recipients were rewritten on the way: only their number counts");
  compare->add_option("--duplicates", options.most_duplicates, "exit 1 as well if there are more");
  compare->add_flag("--json", options.json, "one JSON object");
  if (auto ending = read(app, std::move(words))) return std::unexpected(*std::move(ending));
  return options;
}

}  // namespace postern::bench
