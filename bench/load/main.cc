// postern-load: sends mail over many SMTP sessions and writes down what became of each message.
#include <sys/resource.h>
#include <sysexits.h>

#include <csignal>
#include <cstdio>

#include "bench/load/options.h"
#include "bench/load/run.h"
#include "common/event/loop.h"

namespace postern::bench {
namespace {

int complain(const std::string& trouble, int exit) {
  return print({exit, "postern-load: " + trouble + "\n"});
}

int run(int argc, char** argv) {
  const auto options = parse_load_options({argv + (argc > 0 ? 1 : 0), argv + argc});
  if (!options) return print(options.error());
  LedgerWriter ledger;
  if (!options->ledger.empty()) {
    auto opened = LedgerWriter::open(options->ledger);
    if (!opened) return complain(opened.error().text(), EX_CANTCREAT);
    ledger = *std::move(opened);
  }
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  event::Loop loop;
  Run load(loop, *options, std::move(ledger));
  const event::Signal terminated(loop, SIGTERM, [&]() noexcept { load.end(); });
  const event::Signal interrupted(loop, SIGINT, [&]() noexcept { load.end(); });
  load.start();
  loop.run();
  std::fputs(load.summary().c_str(), stdout);
  std::fflush(stdout);
  return load.trouble().empty() ? 0 : complain(load.trouble(), EX_TEMPFAIL);
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
  return postern::bench::run(argc, argv);
}
