// postern-sink: takes mail by SMTP or LMTP, checks it, and writes down what came.
#include <sys/resource.h>
#include <sysexits.h>

#include <csignal>
#include <cstdio>
#include <utility>

#include "bench/sink/options.h"
#include "bench/sink/sink.h"
#include "common/event/loop.h"

namespace postern::bench {
namespace {

int complain(const std::string& trouble, int exit) {
  return print({exit, "postern-sink: " + trouble + "\n"});
}

int run(int argc, char** argv) {
  auto options = parse_sink_options({argv + (argc > 0 ? 1 : 0), argv + argc});
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
  std::unique_ptr<Certificate> certificate;
  if (options->server.starttls) {
    auto read = Certificate::read(loop, options->chain, options->key);
    if (!read) return complain(read.error(), EX_NOINPUT);
    certificate = *std::move(read);
  }
  Sink sink(loop, *std::move(options), std::move(ledger), std::move(certificate));
  const event::Signal terminated(loop, SIGTERM, [&]() noexcept { loop.stop(); });
  const event::Signal interrupted(loop, SIGINT, [&]() noexcept { loop.stop(); });
  const event::Signal hung_up(loop, SIGHUP, [&]() noexcept {
    if (const auto mistake = sink.reload(); !mistake.empty()) complain(mistake, EX_CONFIG);
  });
  if (const auto started = sink.start(); !started)
    return complain(started.error().text(), EX_UNAVAILABLE);
  loop.run();
  std::fputs(sink.summary().c_str(), stdout);
  std::fflush(stdout);
  return sink.trouble().empty() ? 0 : complain(sink.trouble(), EX_IOERR);
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
  return postern::bench::run(argc, argv);
}
