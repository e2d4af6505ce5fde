// The file that `domain.aliases` names, as aliases(5) has it: names of a [[domain]], each with whom it stands for.
//
//   # a comment; also behind a space
//   postmaster-team: ann, bob@example.net, "Carol Jones" <carol@example.com>,
//       \dave, "first last"
//   news: :include:lists/news
//   owner-news: ann
//
// A line that begins with a space goes on with the one before. A name without a domain is one of the section; with
// a backslash before it no alias is looked up for it. What an included file lists counts as if it stood there; its
// path is seen from the file that names it. Programs ("|...") and files ("/...") are refused: no part of Postern may
// run the one or write the other.
#pragma once

#include <string>
#include <vector>

#include "common/config/config.h"
#include "common/config/report.h"

namespace postern::config {

inline constexpr std::size_t kMaxAliasesFile = 64U << 20;  // bytes, of an included one too
inline constexpr std::size_t kMaxIncluded = 1'000;         // files that all names of one file include
inline constexpr std::size_t kMaxIncludeDepth = 8;
inline constexpr std::size_t kMaxListed = 2'000'000;       // addresses that one file and what it includes list

// Fills the lines of `domain` (its names are set already). `where` is where the configuration names the file.
void read_aliases_file(const std::string& path, const Where& where, DomainSection& domain, Report& report);

}  // namespace postern::config
