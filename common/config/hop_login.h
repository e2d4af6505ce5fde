// `login` and `password_file` of a [[route]] or a [[collect]]: as whom we log in at the hosts that it names.
#pragma once

#include "common/config/report.h"
#include "common/config/section.h"

namespace postern::config {

inline constexpr std::size_t kMaxPasswordFile = 4'096;  // bytes

// After the hops of `route` and what is demanded of them. An MX host gets no password, whatever it
// offers: whose it is the DNS says.
void read_hop_login(const Section& section, Route& route);
// One account of a host has one password, in whichever section.
void check_hop_logins(const Config& config, Report& report);
// What the relays have to know: each account of each host once.
[[nodiscard]] std::vector<RelayLogin> hop_logins(const Config& config);

}  // namespace postern::config
