// A receiver: a plain text file that says what a next hop says, what the client must say, and what
// becomes of each message (tests/receivers). tests/receivers/INDEX.md lists them by what they are
// for.
//
//   # text                                     a comment; the first says what it is about
//   message: r1 r2 8bit utf8 binary size=5000 reports file probe client    recipients and traits of a message to send,
//   one a line;
//                                              a recipient without @ is at example.org; it came from a `client`, from
//                                              a `long-client` with names of 255 bytes, or is `ours`; also
//                                              `requiretls`, `doubtful`: the next hop may not be who it should be,
//                                              `nobody`: it is from <>
//   tls: if offered                            or always, from start; else never
//   protocol: lmtp                             it speaks LMTP, not SMTP
//   pass_client: xforward                      or xclient: how it is told of them; else it is not
//   login: user pencil                         log in there as `user`, with this password
//   pieces: whole                              it depends on what comes in one piece
//   an empty line, then
//   S: text       the receiver says this line
//   X: text       it says exactly this; \r \n \t \0 \\ \xHH and \(1000*text), a repetition, are
//   read C: text       the client must have said this line; <body>: a message with its dot;
//   <chunk>: one
//                 behind BDAT
//   !tls          the handshake that the client began (<tls>) succeeds
//   !no tls       it fails
//   !silence      nothing more comes until the client gives up
//   !wait 10s     nothing comes for so long
//   !drip 10s     from here on, each byte comes so long after the one before
//   !close        the connection ends
//   M: text       (at the end) what became of each message that was begun, see Player::outcomes()
//   E: text       (at the end) why the session was over, as in M
//   T: 300s       (at the end) so long it took
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "deliverd/relay/protocol.h"

namespace postern::relay {

struct ReceiverStep {
  enum class Kind { kSay, kExpect, kTls, kNoTls, kWait, kDrip, kSilence, kClose };
  Kind kind;
  std::string text;   // kSay: the bytes; kExpect: the line
  bool line = false;  // kSay: ends with CR LF
  base::Millis time{0};
  unsigned at = 0;  // line of the file
};

struct Receiver {
  std::string name;
  std::vector<Envelope> messages;
  TlsUse tls = TlsUse::kNever;
  Dialect dialect = Dialect::kSmtp;
  std::shared_ptr<HopAccount> account;
  config::PassClient pass = config::PassClient::kNone;
  bool whole = false;
  std::vector<ReceiverStep> steps;
  std::vector<std::string> outcomes;
  std::string end;  // empty: not said
  base::Millis took{-1};  // -1: not said
};

// Ends the test program with a sentence where the file is malformed.
[[nodiscard]] Receiver read_receiver(const std::string& path);

}  // namespace postern::relay
