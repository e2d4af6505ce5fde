// Server: the sink's side of SMTP, or LMTP (RFC 2033), as a pure machine: bytes of the client in,
// replies out, and an event where its owner has to act. It takes everything that its moods let
// through, and believes nothing but syntax.
//
//   state     MAIL      RCPT      DATA           the rest
//   start     503       503       503            HELO, EHLO, LHLO -> ready
//   ready     -> mail   503       503            RSET, NOOP, VRFY, QUIT anywhere; STARTTLS -> start
//   mail      503       -> rcpt   503
//   rcpt      503       -> rcpt   354 -> body
//   body      (lines of the body up to the final dot, then -> ready)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/ledger/content.h"
#include "bench/sink/moods.h"
#include "common/mail/command.h"
#include "common/mail/data_reader.h"
#include "common/mail/unstuffer.h"

namespace postern::bench {

class Server {
 public:
  static constexpr std::size_t kMaxCommand = 4096;  // bytes of a line
  static constexpr std::size_t kMaxRecipients = 10'000;

  struct Options {
    bool lmtp = false;
    std::uint64_t limit = 0;  // messages for each connection, then 421; 0: none
    bool pipelining = true, eight_bit = true, size = true;  // offered
    bool starttls = false;                                  // likewise, until it is spoken
  };
  enum class Event : std::uint8_t {
    kNone,   // all was read
    kTaken,  // evidence() and taken_by() tell of a message: to be written down before `out` leaves
    kDelay,  // `out` may leave after delay(); then input goes on
    kTls,    // `out` leaves in clear text, and what follows is TLS; then secured()
    kStall,  // nothing will ever be said any more
    kClose,  // close when `out` has left
    kCut,    // close now
  };
  struct Step {
    std::size_t used;
    Event event;
  };

  // `moods` may be changed by its owner, and outlives the machine.
  Server(const Options& options, Moods& moods) noexcept : options_(options), moods_(moods) {}

  // The greeting; `client` is the address that connects.
  [[nodiscard]] Event greet(std::string_view client, std::string& out);
  // Reads until an event or the end of `bytes`; what is not used has to come again. Replies are
  // appended to `out`.
  [[nodiscard]] Step on_input(std::string_view bytes, std::string& out);

  [[nodiscard]] const Evidence& evidence() const noexcept { return evidence_; }
  // The recipients that the message of kTaken is for.
  [[nodiscard]] const std::vector<std::string>& taken_by() const noexcept { return taken_by_; }
  // All that comes from now on came by TLS; the client begins anew.
  void secured() noexcept;
  [[nodiscard]] bool secure() const noexcept { return secure_; }
  // The event that follows kTaken, or kNone.
  [[nodiscard]] Event after_taken() noexcept;
  [[nodiscard]] base::Millis delay() const noexcept { return delay_; }

 private:
  enum class State : std::uint8_t { kStart, kReady, kMail, kRcpt, kBody };

  Event on_line(std::string_view line, std::string& out);
  Event on_hello(std::string_view keyword, std::string& out);
  Event on_starttls(std::string& out);
  Event on_mail(const mail::Command& command, std::string& out);
  Event on_rcpt(const mail::Command& command, std::string& out);
  Event on_data(std::string& out);
  Event on_dot(std::string& out);
  Event answer_dot(std::string& out);
  // What the decision makes of the reply: appends either, sets the delay.
  Event reply(const Decision& decision, std::string_view accepted, std::string& out);
  void reset() noexcept;

  Options options_;
  Moods& moods_;
  State state_ = State::kStart;
  bool secure_ = false;
  std::uint64_t messages_ = 0;
  std::string sender_;
  std::vector<std::string> recipients_, taken_by_;
  std::optional<mail::DataReader> reader_;
  mail::Unstuffer unstuffer_{mail::LineEnd::kCrLf};
  std::string plain_;
  Content content_;
  Evidence evidence_;
  Event after_taken_ = Event::kNone;
  base::Millis delay_{0};
};

}  // namespace postern::bench
