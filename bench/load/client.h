// Client: the load generator's side of SMTP as a pure machine: replies in, commands out, and an
// event where its owner has to act. A message has one fate.
//
//   state      sent                 2yz             3yz       4yz, 5yz
//   greeting   -                    EHLO            over      over
//   ehlo       EHLO                 ready           over      over (HELO after 5yz)
//   helo       HELO                 ready           over      over
//   rset       RSET                 -> mail         over      over
//   mail       MAIL                 -> rcpt         over      refused
//   rcpt       RCPT, each           -> next, data   over      this one refused; all: refused
//   data       DATA                 over            body      refused
//   body       (body in flight)     over            over      over
//   dot        body and "."         acknowledged    over      refused
//   empty dot  "."                  refused (by what was refused before)
//   quit       QUIT                 over
//
// With pipelining [RSET] MAIL RCPT... DATA is one write, and replies to what is pointless by then
// are read and ignored; a 354 without a recipient is answered with a lone dot. 421 is the reply
// that it is, and then the session is over. Over in "dot" without a reply means unknown, before it
// unsent.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/ledger/lines.h"
#include "common/mail/reply_reader.h"

namespace postern::bench {

struct Envelope {
  std::string from;
  std::vector<std::string> recipients;  // at least one
  std::uint64_t size = 0;
  bool eight_bit = false;
};

struct Outcome {
  Fate fate = Fate::kUnsent;
  std::string text;  // reply or reason, printable
  struct Refused {
    std::size_t index;
    std::string reply;
  };
  std::vector<Refused> refused;  // recipients, where others were taken
};

class Client {
 public:
  enum class Event : std::uint8_t {
    kNone,      // wait for more
    kReady,     // the session stands
    kBody,      // send the body and the final dot now, then call body_sent()
    kFinished,  // outcome() is complete; begin(), quit(), or go if it is over()
    kOver,      // the session ended; in a transaction outcome() is complete
  };
  struct Step {
    std::size_t used;
    Event event;
  };
  struct Options {
    std::string hello;
    bool pipelining = true;
    bool eight_bit = true;
  };

  explicit Client(Options options) : options_(std::move(options)) {}

  // Reads until an event or the end of `bytes`; commands are appended to `out`.
  [[nodiscard]] Step on_input(std::string_view bytes, std::string& out);
  void begin(Envelope envelope, std::string& out);
  void body_sent() noexcept;
  void quit(std::string& out);
  // The connection is gone, or will be; `dot_left`: all of the final dot may have been sent.
  void lost(std::string_view why, bool dot_left);

  // 8-bit bytes may be sent: offered, and wanted.
  [[nodiscard]] bool eight_bit() const noexcept { return eight_bit_; }
  [[nodiscard]] bool in_transaction() const noexcept { return in_transaction_; }
  [[nodiscard]] bool over() const noexcept { return state_ == State::kOver; }
  [[nodiscard]] bool awaits_dot() const noexcept { return state_ == State::kDot; }
  // Of the last transaction.
  [[nodiscard]] const Outcome& outcome() const noexcept { return outcome_; }

 private:
  enum class State : std::uint8_t {
    kGreeting,
    kEhlo,
    kHelo,
    kReady,
    kReset,
    kMail,
    kRcpt,
    kData,
    kBody,
    kDot,
    kEmptyDot,
    kQuit,
    kOver,
  };

  Event on_reply(const mail::Reply& reply, std::string& out);
  Event on_hello(const mail::Reply& reply, std::string& out);
  Event on_mail(const mail::Reply& reply, std::string& out);
  Event on_rcpt(const mail::Reply& reply, std::string& out);
  Event on_data(const mail::Reply& reply, std::string& out);
  Event on_dot(const mail::Reply& reply);
  void send_mail(std::string& out) const;
  void send_rcpt(std::size_t index, std::string& out) const;
  Event finish(State next);
  Event over(std::string_view why);
  void refuse(const mail::Reply& reply);

  Options options_;
  mail::ReplyReader reader_;
  State state_ = State::kGreeting;
  bool pipelining_ = false;  // offered, and wanted
  bool eight_bit_ = false;
  bool size_ = false;
  bool in_transaction_ = false;
  bool refused_ = false;  // the message as a whole
  bool dirty_ = false;    // the server may still have a sender of ours: RSET first
  std::size_t next_recipient_ = 0;
  Envelope envelope_;
  Outcome outcome_;
};

}  // namespace postern::bench
