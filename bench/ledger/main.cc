// postern-ledger: compares what clients were told with what arrived.
#include <sysexits.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "bench/ledger/book.h"
#include "bench/ledger/options.h"
#include "bench/ledger/report.h"
#include "bench/ledger/sources.h"

namespace postern::bench {
namespace {

// Ledgers of load generators first: what arrived is looked up in them.
os::Result<void> sort(std::vector<std::string>& ledgers) {
  std::vector<std::string> first, others;
  for (auto& path : ledgers) {
    const auto load = is_load_ledger(path);
    if (!load) return std::unexpected(load.error());
    (*load ? first : others).push_back(std::move(path));
  }
  ledgers = std::move(first);
  for (auto& path : others) ledgers.push_back(std::move(path));
  return {};
}

os::Result<Verdict> compare(LedgerOptions options) {
  Book::Options rules;
  rules.any_recipient = options.any_recipient;
  if (!options.queue.empty()) {
    auto queued = read_queue(options.queue);
    if (!queued) return std::unexpected(queued.error());
    rules.queued = *std::move(queued);
  }
  if (const auto sorted = sort(options.ledgers); !sorted) return std::unexpected(sorted.error());
  Book book(std::move(rules));
  for (const auto& path : options.ledgers)
    if (auto read = read_lines(path, [&](std::string_view line) { book.add(line); }); !read)
      return std::unexpected(read.error());
  for (const auto& root : options.mailboxes) {
    const auto read = read_mailboxes(
        root, [&](const Evidence& evidence, std::optional<std::string_view> recipient) {
          book.add_found(evidence, recipient);
        });
    if (!read) return std::unexpected(read.error());
  }
  return book.decide();
}

int run(int argc, char** argv) {
  const auto options = parse_ledger_options({argv + (argc > 0 ? 1 : 0), argv + argc});
  if (!options) return print(options.error());
  const auto verdict = compare(*options);
  if (!verdict) return print({EX_NOINPUT, "postern-ledger: " + verdict.error().text() + "\n"});
  std::fputs((options->json ? json(*verdict) : human(*verdict)).c_str(), stdout);
  const bool repeats =
      options->most_duplicates && verdict->duplicate.count > *options->most_duplicates;
  return verdict->good() && !repeats ? 0 : 1;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
  return postern::bench::run(argc, argv);
}
