// A dialogue: a plain text file that says what a client sends and what the server must answer.
//
//   settings, one a line, see dialogue.cc     service: mx
//   an empty line, then
//   C: text       the client sends the line and CR LF
//   X: text       it sends exactly this; \r \n \t \0 \\ \xHH and \(1000*text) (a repetition) are
//   read S: text       the server answers this line; `...` at its end stands for anything !shutdown
//   the server is stopped; !timeout: the timer runs out; !tls: the handshake is done; !locked:
//   the account may not be used any more  M: text       (at the end) a message was
//   taken: protocol, hello, <from> -> <to> ... "body" closed        (at the end) the server closed;
//   otherwise it must be open # text        a comment
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/base/ip.h"
#include "common/config/rights.h"
#include "common/mail/reply.h"
#include "smtpd/protocol.h"

namespace postern::smtpd::test {

struct Step {
  enum class Kind { kSend, kExpect, kShutdown, kTimeout, kTls, kLocked };
  Kind kind;
  std::string text;  // kSend: the bytes; kExpect: the line
  unsigned line;     // of the file
};

struct Dialogue {
  std::string name;
  config::Rights rights;
  Service service;  // without rights
  std::optional<base::IpAddress> client;
  std::optional<base::IpAddress> proxied;  // whom the PROXY header of `client` named
  config::Policy policy;
  ClientName name_of_client = ClientName::kUnclear;  // of the client's address
  std::size_t most_messages = ~std::size_t{0};
  std::size_t most_introductions = ~std::size_t{0};
  std::optional<mail::Reply> intake;
  std::optional<mail::Reply> result;
  std::vector<std::string> known;
  std::optional<mail::Reply> unknown;
  std::vector<Step> steps;
  std::vector<std::string> messages;
  bool closed = false;
  bool tls_busy = false;   // no TLS can begin now
  bool auth_down = false;   // nobody can check a password
  std::string certificate;  // of the client
  bool binds = false;      // a login can be bound to its TLS
  // However the wire is cut, the outcome is the same; or so it is byte by byte alone, or in one piece alone.
  enum class Cut { kAnyhow, kBytes, kWhole } cut = Cut::kAnyhow;
};

// Ends the test program with a sentence where the file is malformed.
[[nodiscard]] Dialogue read_dialogue(const std::string& path);

// `text` equals `expected`, or begins with it where that ends with "...".
[[nodiscard]] bool matches(const std::string& expected, const std::string& text);

}  // namespace postern::smtpd::test
