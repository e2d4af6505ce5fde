// postern: checks the configuration (-n), or starts the server, in the foreground (-f) or behind.
#include <fcntl.h>
#include <fmt/format.h>
#include <getopt.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>

#include "common/config/parse.h"
#include "common/config/summary.h"
#include "common/log/log.h"
#include "common/os/process.h"
#include "parent/background.h"
#include "parent/server.h"
#include "parent/site.h"

namespace postern {
namespace {

constexpr int kUsage = 64, kOsError = 71, kConfig = 78;  // sysexits(3)

constexpr const char* kHelp =
    "usage: postern [-c FILE] [-f] [-n] [--version]\n"
    "  -c FILE    configuration (default " POSTERN_DEFAULT_CONFIG
    ")\n"
    "  -f         stay in the foreground and log to stderr\n"
    "  -n         check the configuration, say who may send where, and exit (0, or 78)\n"
    "SIGHUP reloads, SIGTERM stops in order, SIGUSR1 opens the log file again.\n";

struct Options {
  std::string config = POSTERN_DEFAULT_CONFIG;
  bool foreground = false;
  bool check = false;
};

// An exit status where there is nothing more to do.
std::optional<int> parse(int argc, char** argv, Options& options) {
  static constexpr option kLong[] = {
      {"version", no_argument, nullptr, 'V'}, {"help", no_argument, nullptr, 'h'}, {}};
  for (int c; (c = ::getopt_long(argc, argv, "c:fnh", kLong, nullptr)) != -1;) {
    switch (c) {
      case 'c':
        options.config = optarg;
        break;
      case 'f':
        options.foreground = true;
        break;
      case 'n':
        options.check = true;
        break;
      case 'V':
        std::puts("postern " POSTERN_VERSION);
        return 0;
      case 'h':
        std::fputs(kHelp, stdout);
        return 0;
      default:
        std::fputs(kHelp, stderr);
        return kUsage;
    }
  }
  if (optind == argc) return std::nullopt;
  std::fputs(kHelp, stderr);
  return kUsage;
}

// Whatever we open later must not become somebody's stdin, stdout or stderr.
void fill_standard_descriptors() {
  int fd = 0;
  while (fd >= 0 && fd <= STDERR_FILENO) fd = ::open("/dev/null", O_RDWR);
  if (fd > STDERR_FILENO) ::close(fd);
}

// Each listener and each child costs some, and to run out of them would end us.
void raise_descriptor_limit() {
  rlimit limits{};
  if (::getrlimit(RLIMIT_NOFILE, &limits) != 0) return;
  limits.rlim_cur = limits.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limits);
}

int serve(config::Config config, parent::MailboxUsers users, bool foreground) {
  if (foreground) config.log.file.clear();
  parent::Background background;
  if (!foreground && background.detach() == parent::Background::Side::kCaller)
    return background.wait_for_start();
  event::Loop loop;
  parent::Server server(loop, std::move(config), std::move(users));
  event::Signal terminate(loop, SIGTERM, [&]() noexcept { server.stop(); });
  event::Signal interrupt(loop, SIGINT, [&]() noexcept { server.stop(); });
  event::Signal hang_up(loop, SIGHUP, [&]() noexcept { server.reload(); });
  event::Signal reopen(loop, SIGUSR1, [&]() noexcept { server.reopen_log(); });
  server.on_started([&](std::string error) noexcept { background.report(error); });
  if (auto started = server.start(); !started) {
    background.report(started.error());
    log::flush();
    return kOsError;
  }
  loop.run();
  log::flush();
  return server.exit_status();
}

int tell(const std::vector<config::Mistake>& mistakes) {
  for (const auto& mistake : mistakes)
    std::fprintf(stderr, "%s\n", config::to_string(mistake).c_str());
  return kConfig;
}

int run(int argc, char** argv) {
  fill_standard_descriptors();
  Options options;
  if (const auto status = parse(argc, argv, options)) return *status;
  // Mistakes are told with the path as it was given; a reload must not depend on a directory.
  auto config = config::load(options.config);
  if (!config) return tell(config.error());
  auto users = parent::MailboxUsers::find_all(*config, parent::MailboxUsers::of_this_host);
  if (!users) return tell(users.error());
  if (options.check) {
    const auto own = parent::gather_facts(*config).own_addresses;
    std::fputs(config::rights_summary(*config, own).c_str(), stdout);
    return 0;
  }
  std::error_code error;
  config->file = std::filesystem::absolute(options.config, error).string();
  raise_descriptor_limit();
  ::signal(SIGPIPE, SIG_IGN);
  ::setenv("TZ", "UTC", 1);
  os::save_title_area(argc, argv);
  os::set_title("postern: parent, " + config->file);
  return serve(*std::move(config), *std::move(users), options.foreground);
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
  return postern::run(argc, argv);
}
