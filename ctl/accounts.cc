#include "ctl/accounts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "common/base/random.h"
#include "common/base/text.h"
#include "common/base/unique_fd.h"
#include "common/config/accounts_file.h"
#include "common/config/document.h"
#include "common/config/toml_file.h"
#include "common/sasl/password_hash.h"
#include "common/sasl/scram_verifier.h"

namespace postern::ctl {
namespace {

constexpr std::size_t kSalt = 16;
constexpr mode_t kFreshMode = 0600;

struct Free {
  void operator()(char* text) const noexcept { std::free(text); }
};

std::unexpected<Ending> fail(int exit, std::string text) {
  return std::unexpected(Ending{exit, "posternctl: " + std::move(text) + '\n'});
}

std::unexpected<Ending> os_trouble(std::string_view what, const std::string& path) {
  const int number = errno;
  return fail(number == EACCES || number == EPERM ? EX_NOPERM : EX_IOERR,
              fmt::format("cannot {} {}: {}", what, base::printable(path), std::strerror(number)));
}

// The file that [auth] accounts names. The rest of the configuration may have mistakes.
std::expected<std::string, Ending> accounts_path(const Command& command) {
  const std::string file = command.config.empty() ? POSTERN_DEFAULT_CONFIG : command.config;
  config::Document document;
  config::Report report(document);
  (void)config::read_document(file, document, report);
  const auto* const auth = document.root.find("auth");
  const auto* const accounts = auth == nullptr ? nullptr : auth->find("accounts");
  if (accounts == nullptr || accounts->type != config::Type::kString || accounts->text.empty())
    return fail(EX_CONFIG, fmt::format("{} names no password file: expected accounts = \"FILE\" in [auth]",
                                       base::printable(file)));
  const auto path = config::resolve(accounts->text, document.files[accounts->place.file]);
  // What a link leads to is replaced, not the link.
  const std::unique_ptr<char, Free> real(::realpath(path.c_str(), nullptr));
  return real ? std::string(real.get()) : path;
}

struct Lines {
  std::vector<std::string> lines;

  // The line of that account; end() where there is none.
  auto find(const std::string& account) {
    return std::find_if(lines.begin(), lines.end(), [&](const std::string& line) {
      return !config::is_account_comment(line) && line.substr(0, line.find(':')) == account;
    });
  }
  [[nodiscard]] std::string text() const {
    std::string all;
    for (const auto& line : lines) (all += line) += '\n';
    return all;
  }
};

std::expected<Lines, Ending> read_lines(const std::string& path, bool may_be_missing) {
  if (may_be_missing && ::access(path.c_str(), F_OK) != 0 && errno == ENOENT) return Lines{};
  const auto content = config::read_file(path, config::kMaxAccountsFile);
  if (!content)
    return fail(EX_NOINPUT, fmt::format("the file {} {}", base::printable(path), content.error()));
  Lines lines;
  for (std::string_view rest = *content; !rest.empty();) {
    const auto line = rest.substr(0, rest.find('\n'));
    lines.lines.emplace_back(line);
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  }
  return lines;
}

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

// Replaces the file whole: it is the old or the new one at any moment, also when power fails. Owner
// and mode stay.
std::expected<void, Ending> replace(const std::string& path, int directory, const std::string& text) {
  auto fresh = path + ".XXXXXX";
  auto fd = base::UniqueFd::adopt(::mkostemp(fresh.data(), O_CLOEXEC));
  if (!fd.valid()) return os_trouble("write beside", path);
  struct stat old {};
  const bool exists = ::stat(path.c_str(), &old) == 0;
  const bool kept = !exists || (old.st_uid == ::geteuid() && old.st_gid == ::getegid()) ||
                    ::fchown(fd.get(), old.st_uid, old.st_gid) == 0;
  const bool done = kept && ::fchmod(fd.get(), exists ? old.st_mode & 07777 : kFreshMode) == 0 &&
                    write_all(fd.get(), text) && ::fsync(fd.get()) == 0 &&
                    ::rename(fresh.c_str(), path.c_str()) == 0 && ::fsync(directory) == 0;
  if (done) return {};
  auto trouble = os_trouble("replace", path);
  ::unlink(fresh.c_str());
  return trouble;
}

std::expected<config::AccountEntry, Ending> entry_for(const std::string& account,
                                                      const std::string& password) {
  if (auto wrong = sasl::wrong_with_password(password); !wrong.empty())
    return fail(EX_DATAERR, std::move(wrong));
  config::AccountEntry entry;
  entry.name = account;
  entry.hash = sasl::make_hash(password);
  if (entry.hash.empty()) return fail(EX_OSERR, "cannot make a hash of the password");
  std::string salt(kSalt, '\0');
  base::random_bytes(salt.data(), salt.size());
  entry.verifier = sasl::ScramVerifier::make(password, std::move(salt)).text();
  return entry;
}

std::string kind_of(const std::string& hash) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kKinds{
      {{"$y$", "yescrypt"}, {"$gy$", "gost-yescrypt"}, {"$7$", "scrypt"}, {"$6$", "sha512"},
       {"$5$", "sha256"}, {"$2b$", "bcrypt"}}};
  for (const auto& [prefix, name] : kKinds)
    if (hash.starts_with(prefix)) return std::string(name);
  return {};
}

// The change itself; what was done.
std::expected<std::string, Ending> change(Lines& lines, const Command& command,
                                          const std::string& password) {
  const auto& account = command.account;
  const auto at = lines.find(account);
  const bool there = at != lines.lines.end();
  if (command.user == UserAction::kAdd && there)
    return fail(EX_DATAERR, fmt::format("there is an account {} already; \"user passwd {}\" changes its "
                                        "password", account, account));
  if (command.user != UserAction::kAdd && !there)
    return fail(EX_DATAERR, fmt::format("there is no account {}", account));
  if (command.user == UserAction::kRemove) {
    lines.lines.erase(at);
    return fmt::format("account {} is removed", account);
  }
  auto entry = entry_for(account, password);
  if (!entry) return std::unexpected(std::move(entry.error()));
  if (there)
    *at = config::account_line(*entry);
  else
    lines.lines.push_back(config::account_line(*entry));
  return fmt::format("account {} {}", account, there ? "has a new password" : "is added");
}

}  // namespace

bool edits_accounts(const Command& command) {
  if (command.verb != Verb::kUser) return false;
  return command.user != UserAction::kLock && command.user != UserAction::kUnlock;
}

std::expected<std::vector<AccountRow>, Ending> list_accounts(const Command& command) {
  const auto path = accounts_path(command);
  if (!path) return std::unexpected(path.error());
  const auto lines = read_lines(*path, false);
  if (!lines) return std::unexpected(lines.error());
  std::vector<AccountRow> rows;
  for (std::size_t i = 0; i < lines->lines.size(); ++i) {
    const auto& line = lines->lines[i];
    if (config::is_account_comment(line)) continue;
    const auto entry = config::parse_account(line);
    if (!entry)
      return fail(EX_DATAERR, fmt::format("{}:{}:{}: {}", base::printable(*path), i + 1,
                                          entry.error().at + 1, entry.error().text));
    rows.push_back({entry->name, kind_of(entry->hash), !entry->verifier.empty()});
  }
  return rows;
}

std::expected<std::string, Ending> edit_accounts(const Command& command, const std::string& password) {
  const auto path = accounts_path(command);
  if (!path) return std::unexpected(path.error());
  const auto directory = base::UniqueFd::adopt(
      ::open(directory_of(*path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // The file itself is replaced, so who waits for a lock on it would wait for a file that is gone.
  if (!directory.valid() || ::flock(directory.get(), LOCK_EX) != 0)
    return os_trouble("lock the directory of", *path);
  auto lines = read_lines(*path, command.user == UserAction::kAdd);
  if (!lines) return std::unexpected(std::move(lines.error()));
  auto said = change(*lines, command, password);
  if (!said) return said;
  if (auto done = replace(*path, directory.get(), lines->text()); !done)
    return std::unexpected(std::move(done.error()));
  return said;
}

}  // namespace postern::ctl
