#include "common/config/users_file.h"

#include <fmt/format.h>

#include <algorithm>

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

// Empty, or what is wrong with the entry.
std::string add_entry(std::string_view entry, DomainSection& domain) {
  const bool whole = entry.back() != '"' && entry.find('@') != std::string_view::npos;
  const auto address = parse_address(
      whole ? std::string(entry) : std::string(entry) + '@' + domain.names.front().text());
  if (!address) return address.error();
  const auto& names = domain.names;
  if (std::find(names.begin(), names.end(), address->domain()) == names.end())
    return fmt::format("expected an address in {}: {} is no name of this [[domain]]",
                       names.front().text(), address->domain().text());
  const auto local_part = base::folded(address->local_part());
  if (domain.deliver.kind == HopKind::kMailbox && !names_a_directory(local_part))
    return "a name with a slash or a leading dot cannot be the name of a mailbox";
  if (whole)
    domain.addresses.push_back(local_part + '@' + address->domain().text());
  else
    domain.users.push_back(local_part);
  return {};
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
  std::string_view rest = *content;
  std::size_t bad = 0;
  for (std::uint32_t number = 1; !rest.empty(); ++number) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    auto entry =
        base::trim(without_comment(line.ends_with('\r') ? line.substr(0, line.size() - 1) : line));
    if (entry.empty()) continue;
    auto wrong = add_entry(entry, domain);
    if (wrong.empty() || ++bad > kMaxBadLines) continue;
    const auto column = static_cast<std::uint32_t>(entry.data() - line.data()) + 1;
    report.add(Mistake{
        path, number, column, {}, '"' + base::printable(entry, 60) + '"', std::move(wrong)});
  }
  if (bad > kMaxBadLines)
    report.add(Where{path}, {}, fmt::format("{} more bad lines", bad - kMaxBadLines));
  sort_and_thin(domain.users);
  sort_and_thin(domain.addresses);
  if (domain.users.size() > kMaxUsers || domain.addresses.size() > kMaxUsers)
    report.add(Where{path}, {}, fmt::format("expected at most {} entries", kMaxUsers));
}

}  // namespace postern::config
