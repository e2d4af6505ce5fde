// posternctl: shows and steers a running server over its control socket. It never opens the queue;
// where it must be opened without a server, postern-queued does it.
#include <sys/ioctl.h>
#include <sysexits.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <string>

#include "common/log/log.h"
#include "ctl/accounts.h"
#include "ctl/client.h"
#include "ctl/command.h"
#include "ctl/offline.h"
#include "ctl/screens.h"
#include "ctl/socket_path.h"
#include "ctl/user_verb.h"
#include "ctl/verbs.h"

namespace postern::ctl {
namespace {

int end(const Ending& ending) {
  std::fputs(ending.text.c_str(), ending.exit == 0 ? stdout : stderr);
  return ending.exit;
}

// A script said what it wants; a person is asked once more before something large.
bool agreed(const Command& command) {
  const auto text = question(command);
  if (text.empty() || command.yes || ::isatty(STDIN_FILENO) == 0) return true;
  std::fprintf(stderr, "%s\nGo on? [y/N] ", text.c_str());
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : value;
}

Output standard_output() {
  Output output;
  output.terminal = ::isatty(STDOUT_FILENO) != 0;
  output.ascii = output.terminal &&
                 !shows_utf8(variable("LC_ALL"), variable("LC_CTYPE"), variable("LANG"));
  winsize size{};
  if (output.terminal && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) output.width = size.ws_col;
  return output;
}

int run(int argc, char** argv) {
  ::tzset();
  log::set_level(log::Format::kText, log::Level::kError);  // troubles are told by sentences instead
  const auto command = parse_command({argv + (argc > 0 ? 1 : 0), argv + argc},
                                     ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0);
  if (!command) return end(command.error());
  if (edits_accounts(*command)) {
    auto output = standard_output();
    const auto exit = edit_users(*command, output);
    output.flush();
    return exit ? *exit : end(exit.error());
  }
  const auto path = socket_path(*command);
  if (!path) return end(path.error());
  const auto connected = Client::connect(*path);
  std::unique_ptr<OfflineQueued> offline;
  if (!connected) {
    if (!works_offline(command->verb) || connected.error().exit != EX_UNAVAILABLE)
      return end(connected.error());
    if (!agreed(*command)) return end({1, "posternctl: nothing was done\n"});
    auto started = OfflineQueued::start(*command);
    if (!started) return end(started.error());
    offline = *std::move(started);
  } else if (!agreed(*command)) {
    return end({1, "posternctl: nothing was done\n"});
  }
  auto& client = offline ? offline->client() : **connected;
  if (works_offline(command->verb)) client.be_patient();
  auto output = standard_output();
  const auto exit = perform(*command, client, output);
  output.flush();
  offline.reset();
  if (!exit) return end(exit.error());
  if (output.failed())
    return end({EX_IOERR, "posternctl: the output could not be written in full\n"});
  return *exit;
}

}  // namespace
}  // namespace postern::ctl

int main(int argc, char** argv) {
  return postern::ctl::run(argc, argv);
}
