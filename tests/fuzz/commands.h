// What holds of a client whatever its server says.
#pragma once

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/check.h"
#include "tests/unit/deliverd/player.h"

namespace postern::fuzz {

// All that it said is commands and bodies, each with its end.
inline void check_commands(relay::Player& player) {
  static constexpr std::string_view kSaid[] = {"EHLO us.example",
                                               "LHLO us.example",
                                               "HELO us.example",
                                               "EHLO hello.example",
                                               "LHLO hello.example",
                                               "HELO hello.example",
                                               "XCLIENT ",
                                               "XFORWARD ",
                                               "MAIL FROM:<a@us.example>",
                                               "RCPT TO:<r",
                                               "DATA",
                                               "BDAT 22 LAST",
                                               "RSET",
                                               "QUIT",
                                               "STARTTLS",
                                               "<tls>",
                                               ".",
                                               "<body>",
                                               "<chunk>"};
  while (!player.unread().empty()) {
    CHECK(player.unread().ends_with("\r\n"));
    const auto line = player.next_line();
    CHECK(std::any_of(std::begin(kSaid), std::end(kSaid),
                      [&](auto said) { return line.starts_with(said); }));
    CHECK(line.size() < 200 && line.find_first_of("\r\n") == std::string::npos);
    CHECK(!line.ends_with(" REQUIRETLS") || player.client().in_tls());
  }
}

// The session is over: every message that was begun has a verdict for each recipient.
inline void check_verdicts(const relay::Player& player, const std::vector<relay::Envelope>& list) {
  CHECK(player.over() && player.ended().size() == player.begun());
  for (std::size_t i = 0; i < player.ended().size(); ++i) {
    const auto& verdicts = player.ended()[i];
    CHECK(verdicts.size() == list[i].recipients.size());
    // What goes back untried never goes alone, or the message would come round for ever.
    CHECK(std::any_of(verdicts.begin(), verdicts.end(),
                      [](const auto& v) { return v.result != ipc::Result::kReturned; }));
  }
}

}  // namespace postern::fuzz
