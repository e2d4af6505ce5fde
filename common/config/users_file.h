// Users files: who the recipients of a [[domain]] are. One entry on a line: a local part, valid in
// every name of the section, or a whole address in one of its names. `#` at the start of a line or
// behind a space begins a comment. Case does not matter; an entry that stands twice counts once.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "common/config/report.h"

namespace postern::config {

inline constexpr std::size_t kMaxUsersFile = 256U << 20;  // bytes
inline constexpr std::size_t kMaxUsers = 10'000'000;      // entries, as in DomainRights
inline constexpr std::size_t kMaxBadLines = 100;          // reported of one file

// Fills users and addresses of `domain` (its names and delivery are set already). `where` is where
// the configuration names the file, for the mistake that it cannot be read.
void read_users_file(const std::string& path, const Where& where, DomainSection& domain,
                     Report& report);

// The names of the section's mailboxes, which all are entries of its users file; sorted.
[[nodiscard]] std::vector<std::string> mailboxes_of(const DomainSection& domain);
// Where the users file has them, each once; for what is wrong with one.
[[nodiscard]] std::vector<std::pair<std::string, Where>> places_of_mailboxes(const DomainSection& domain);

}  // namespace postern::config
