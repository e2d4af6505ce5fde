#include "common/config/users_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "common/base/text.h"
#include "common/base/utf8.h"
#include "common/config/names.h"
#include "common/config/toml_file.h"

namespace postern::config {
namespace {

std::string_view without_comment(std::string_view line) {
  for (auto at = line.find('#'); at != std::string_view::npos; at = line.find('#', at + 1))
    if (at == 0 || line[at - 1] == ' ' || line[at - 1] == '\t') return line.substr(0, at);
  return line;
}

// A recipient's mailbox is a directory of that name.
bool names_a_directory(const std::string& name) {
  return name.front() != '.' && name.find('/') == std::string::npos;
}

struct Entry {
  std::string name;    // folded: a local part, or the whole address
  bool whole = false;
};

// Or what is wrong with it.
std::expected<Entry, std::string> parse_entry(std::string_view text, const DomainSection& domain) {
  const bool whole = text.back() != '"' && text.find('@') != std::string_view::npos;
  const auto address = parse_address(
      whole ? std::string(text) : std::string(text) + '@' + domain.names.front().text());
  if (!address) return std::unexpected(address.error());
  const auto& names = domain.names;
  if (std::find(names.begin(), names.end(), address->domain()) == names.end())
    return std::unexpected(fmt::format("expected an address in {}: {} is no name of this [[domain]]",
                                       names.front().text(), address->domain().text()));
  auto local_part = base::folded(address->local_part());
  if (domain.deliver.kind == HopKind::kMailbox && !names_a_directory(local_part))
    return std::unexpected("a name with a slash or a leading dot cannot be the name of a mailbox");
  if (whole) return Entry{local_part + '@' + address->domain().text(), true};
  return Entry{std::move(local_part), false};
}

// Calls `each` for every entry, with the number of its line and its column.
template <class Each>
void for_each_entry(std::string_view rest, Each each) {
  for (std::uint32_t number = 1; !rest.empty(); ++number) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const auto entry =
        base::trim(without_comment(line.ends_with('\r') ? line.substr(0, line.size() - 1) : line));
    if (!entry.empty()) each(entry, number, static_cast<std::uint32_t>(entry.data() - line.data()) + 1);
  }
}

// RightsIndex names it alike.
std::string mailbox_of_address(const std::string& address, const DomainSection& domain) {
  const auto at = address.rfind('@');
  return address.substr(at + 1) == domain.names.front().text() ? address.substr(0, at) : address;
}

void sort_and_thin(std::vector<std::string>& entries) {
  std::sort(entries.begin(), entries.end());
  entries.erase(std::unique(entries.begin(), entries.end()), entries.end());
}

}  // namespace

void read_users_file(const std::string& path, const Where& where, DomainSection& domain,
                     Report& report) {
  const auto content = read_file(path, kMaxUsersFile);
  if (!content) {
    report.add(where, "domain.recipients", fmt::format("the file {} {}", path, content.error()));
    return;
  }
  std::size_t bad = 0;
  for_each_entry(*content, [&](std::string_view text, std::uint32_t line, std::uint32_t column) {
    auto entry = parse_entry(text, domain);
    if (entry) return (entry->whole ? domain.addresses : domain.users).push_back(std::move(entry->name));
    if (++bad <= kMaxBadLines)
      report.add(Mistake{path, line, column, {}, '"' + base::printable(text, 60) + '"', std::move(entry.error())});
  });
  if (bad > kMaxBadLines)
    report.add(Where{path}, {}, fmt::format("{} more bad lines", bad - kMaxBadLines));
  sort_and_thin(domain.users);
  sort_and_thin(domain.addresses);
  if (domain.users.size() > kMaxUsers || domain.addresses.size() > kMaxUsers)
    report.add(Where{path}, {}, fmt::format("expected at most {} entries", kMaxUsers));
}

std::vector<std::string> mailboxes_of(const DomainSection& domain) {
  auto mailboxes = domain.users;
  for (const auto& address : domain.addresses) mailboxes.push_back(mailbox_of_address(address, domain));
  sort_and_thin(mailboxes);
  return mailboxes;
}

std::vector<std::pair<std::string, Where>> places_of_mailboxes(const DomainSection& domain) {
  std::vector<std::pair<std::string, Where>> places;
  const auto content = read_file(domain.users_file, kMaxUsersFile);
  std::set<std::string> seen;
  for_each_entry(content ? std::string_view(*content) : std::string_view(),
                 [&](std::string_view text, std::uint32_t line, std::uint32_t column) {
                   auto entry = parse_entry(text, domain);
                   if (!entry) return;
                   auto mailbox = entry->whole ? mailbox_of_address(entry->name, domain) : std::move(entry->name);
                   if (seen.insert(mailbox).second)
                     places.emplace_back(std::move(mailbox), Where{domain.users_file, line, column});
                 });
  return places;
}

}  // namespace postern::config
