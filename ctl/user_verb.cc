#include "ctl/user_verb.h"

#include <fmt/format.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "common/base/secret.h"
#include "common/base/text.h"
#include "ctl/accounts.h"
#include "ctl/json.h"
#include "ctl/socket_path.h"
#include "ctl/table.h"

namespace postern::ctl {
namespace {

// Nothing that is typed shows on the terminal meanwhile.
class Unseen {
 public:
  Unseen() {
    if (::tcgetattr(STDIN_FILENO, &before_) != 0) return;
    auto without = before_;
    without.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    changed_ = ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &without) == 0;
  }
  ~Unseen() {
    if (changed_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  }
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;

 private:
  termios before_{};
  bool changed_ = false;
};

std::string typed(const char* prompt) {
  const Unseen unseen;
  std::fputs(prompt, stderr);
  std::string line;
  std::getline(std::cin, line);
  std::fputs("\n", stderr);
  return line;
}

// From a terminal twice, from a script its first line.
std::expected<std::string, Ending> ask_password() {
  if (::isatty(STDIN_FILENO) == 0) {
    std::string line;
    std::getline(std::cin, line);
    return line;
  }
  auto first = typed("Password: ");
  auto second = typed("Again: ");
  const bool same = base::equal_secrets(first, second);
  base::wipe(second);
  if (!same) return std::unexpected(Ending{EX_DATAERR, "posternctl: these are two passwords\n"});
  return first;
}

std::expected<int, Ending> list(const Command& command, Output& output) {
  const auto rows = list_accounts(command);
  if (!rows) return std::unexpected(rows.error());
  Table table({{"ACCOUNT"}, {"HASH"}, {"SCRAM"}}, output.width);
  for (const auto& row : *rows) {
    if (command.json)
      output.write(to_json(row));
    else
      table.add({base::printable(row.account), row.hash.empty() ? "-" : row.hash, row.scram ? "yes" : "-"});
  }
  if (!command.json) output.write(rows->empty() ? "there is no account\n" : table.take());
  return 0;
}

// What is in the file counts when the server has read it.
std::expected<ipc::Done, Ending> reload(const Command& command) {
  const auto path = socket_path(command);
  if (!path) return std::unexpected(path.error());
  const auto client = Client::connect(*path);
  if (!client && client.error().exit == EX_UNAVAILABLE)
    return ipc::Done{{}, 0, "no server runs; it counts when one starts", {}};
  if (!client) return std::unexpected(client.error());
  return (*client)->ask<ipc::Done>(ipc::Reload{});
}

}  // namespace

std::expected<int, Ending> edit_users(const Command& command, Output& output) {
  if (command.user == UserAction::kList) return list(command, output);
  std::string password;
  if (command.user != UserAction::kRemove) {
    auto asked = ask_password();
    if (!asked) return std::unexpected(std::move(asked.error()));
    password = *std::move(asked);
  }
  const auto said = edit_accounts(command, password);
  base::wipe(password);
  if (!said) return std::unexpected(said.error());
  auto done = reload(command);
  if (!done || done->exit != 0) {
    const auto exit = done ? done->exit : done.error().exit;
    const auto why = done ? "posternctl: " + base::printable(done->text) + '\n' : done.error().text;
    return std::unexpected(Ending{
        exit, fmt::format("{}posternctl: {} in the file, but the server has not read it; \"posternctl reload\" "
                          "makes it count\n", why, *said)});
  }
  done->text = fmt::format("{}; {}", *said, done->text);
  output.write(command.json ? to_json(*done) : base::printable(done->text) + '\n');
  return 0;
}

}  // namespace postern::ctl
