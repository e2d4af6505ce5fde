// Protocol: the server's side of one SMTP session (RFC 5321, with PIPELINING, SIZE, 8BITMIME, SMTPUTF8, DSN,
// CHUNKING, BINARYMIME, LIMITS, STARTTLS, REQUIRETLS, AUTH, ETRN, ATRN and ENHANCEDSTATUSCODES) as a pure machine: bytes in,
// replies and sink calls out. It does no I/O, reads no clock and knows no socket, so a session, a test and a fuzzer
// drive it alike.
//
// How an owner drives it:
//   protocol.start();                      // the greeting is in output()
//   loop:
//     n = protocol.input(unread bytes);    // as often as there are bytes and want() is kInput
//     drop n bytes; write and clear output() once for the whole group (RFC 2920)
//     act on want(); arm the timer that timeout() names
// Bytes that input() did not consume are offered again with more behind them. They are an
// incomplete command line (then fewer than kMaxLine bytes), or they wait for an answer. How the
// wire is cut into pieces never changes replies, sink calls or the message.
//
// Each command gets exactly one reply. The only replies without a command are the greeting and the
// 421s of shutdown() and timed_out().
//
// States, and what a command does in each. A session begins in kStart, or in kReady where no hello
// is required.
//
//             | kStart | kReady (hello) | kMail (reverse-path) | kRcpt (a recipient) | kChunks  | kSpoiled
//   HELO EHLO |  -> kReady in every state; an open transaction is dropped
//   MAIL      |  503   |  -> kMail      |  503                 |  503                |  503     |  503
//   RCPT      |  503   |  503           |  -> kRcpt            |  kRcpt              |  503     |  503
//   DATA      |  503   |  503           |  554                 |  -> kBody *         |  503     |  503
//   BDAT      |  503   |  503           |  554                 |  -> kChunk          | -> kChunk|  503
//   RSET      |  250   |  250           |  -> kReady           |  -> kReady          | -> kReady| -> kReady
//   STARTTLS  |  503   |  -> kTls       |  503                 |  503                |  503     |  503
//   AUTH      |  503   |  -> kLogin     |  503                 |  503                |  503     |  503
//   XCLIENT   |  -> kStart, or kReady with HELO=     |  503    |  503                |  503     |  503
//   XFORWARD  |  250   |  250           |  503                 |  503                |  503     |  503
//   ETRN      |  503   |  250 253 459   |  503                 |  503                |  503     |  503
//   ATRN      |  503   |  -> kTurn      |  503                 |  503                |  503     |  503
//   NOOP HELP VRFY EXPN QUIT: in every state; others 500                            |
//   * 503 where BODY=BINARYMIME was said (RFC 3030 3). BDAT is 503 after HELO.
//   XCLIENT and XFORWARD get 550 from who may not say them. A client that is not served at all is
//   greeted with 554, and gets 503 for everything but QUIT; if it may name another, with 220, and may say a hello,
//   STARTTLS and XCLIENT. XCLIENT ends a login.
//   Where TLS is off, or there is none to be had, STARTTLS gets 502; within TLS 503. Where it is
//   required, all but NOOP, EHLO, STARTTLS, QUIT, XCLIENT and XFORWARD get 530 until then (BDAT 503, unknown words 500).
//
//   REQUIRETLS is offered within TLS alone; elsewhere MAIL with it gets 555.
//
//   Where nobody can log in, AUTH gets 502, without TLS 538 (unless passwords go in clear text too, or all gets 530),
//   and 503 after a login. Where a login is required, MAIL gets 530 until then.
//
//   An address that is not written in ASCII gets 553 where MAIL has not said SMTPUTF8; where it has, a reply may
//   repeat that address, and all other replies are ASCII.
//
//   A RCPT whose recipient the sink is asked for has no reply, and nothing more is read, until
//   answered(). Likewise ETRN, until started(); from who may not say it, it gets 502.
//
//   ATRN (RFC 2645) is for who has logged in, others hear 530; and 502 where no account takes mail by it.
//
//   kTurn    nothing is read until start_turn(), then until turned() -> kReady, or for good: the session is turned
//            round, and what the client says then is no command
//   kTls     nothing is read until start_tls(), then until secured() -> the state of the beginning,
//            with all forgotten that was said before
//   kLogin   nothing is read until login_answered(); after a challenge the next line is the client's
//            answer to it, until the exchange ends -> kReady
//   kBody    the body goes to the sink; at its end -> kResult, or refused -> kReady (kClosed)
//   kChunk   the bytes that BDAT counted go to the sink, or nowhere if it is refused, which is said behind
//            them -> kChunks, in which a chunk was taken and another is waited for; behind the last one as
//            at the end of kBody. A refused one before the last spoils the message -> kSpoiled. A BDAT that
//            cannot be read closes: what follows it is no command, whatever it looks like
//   kResult  nothing is read until accepted() or refused() -> kReady
//   kClosed  output() is the last; further input is swallowed
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"
#include "common/base/ip.h"
#include "common/config/network_set.h"
#include "common/config/policy.h"
#include "common/config/rights.h"
#include "common/config/roles.h"
#include "common/mail/chunk_reader.h"
#include "common/mail/command.h"
#include "common/mail/data_reader.h"
#include "common/mail/domain.h"
#include "common/mail/reply.h"
#include "smtpd/client_attributes.h"
#include "smtpd/envelope.h"

namespace postern::smtpd {

// What all sessions of a listener share, for one generation of the configuration.
struct Service {
  std::string hostname;
  std::string banner = "ESMTP Postern";  // behind the hostname in the greeting
  base::ListenerIndex listener;
  const config::RightsIndex* rights = nullptr;  // never null in use; outlives the service
  config::SmtpLimits limits;
  std::uint32_t expanded = 0;  // most recipients of a message once its aliases are replaced; 0: no limit
  bool require_hello = true;
  config::TlsMode tls = config::TlsMode::kOff;
  mail::Domain default_domain;  // stamped on bare addresses of clients that may relay; empty: none
  std::vector<sasl::Mechanism> mechanisms;  // by which clients may log in; empty: they cannot
  bool plaintext_logins = false;            // without TLS too
  bool login_required = false;              // MAIL is refused without
  bool atrn = false;                        // some account may take mail by ATRN
  bool local = false;                       // a Unix socket: its clients are users of this host, logged in
  const config::PolicyIndex* policy = nullptr;  // outlives the service; null: everybody is served
  config::NetworkSet xforward_from;             // who may say XFORWARD
};

enum class Flow : std::uint8_t { kMore, kPause };

// A command or message that was refused, for the log. The views end with the call.
struct Refusal {
  mail::Verb verb = mail::Verb::kUnknown;  // kData: after the final dot, kBdat: after the chunk
  std::string_view address;                // MAIL, RCPT: what it named, if it was an address
  std::string_view reply;                  // as sent, without CR LF
};

// AUTH came. The view ends with the call.
struct LoginStart {
  sasl::Mechanism mechanism = sasl::Mechanism::kPlain;
  bool plus_offered = false;                // SCRAM-SHA-256-PLUS
  std::optional<std::string_view> initial;  // the initial response, without base64
};

// What came of a step of a login.
struct LoginStep {
  enum class Result : std::uint8_t { kChallenge, kAccepted, kRefused, kUnavailable };
  Result result = Result::kRefused;
  std::string text;  // kChallenge: the challenge, kAccepted: the account
};

// Of the client's address: it has a name that leads back to it, it has none, or nobody could say yet.
enum class ClientName : std::uint8_t { kConfirmed, kNone, kUnclear };

// Where messages go. Calls come in the order begin, body*, then end or abort, and only from within
// input(), resume(), timed_out(), shutdown(), secured() and end_login(); ask() comes before begin().
// None may call back into the machine.
class MessageSink {
 public:
  virtual ~MessageSink() = default;
  // Asked at each MAIL: null while messages are taken, else the reply that MAIL gets (452 4.3.1, or
  // 421, which also closes). Stays valid during the call of input().
  [[nodiscard]] virtual const mail::Reply* intake_refusal() = 0;
  virtual void begin(const Envelope& envelope) = 0;
  // The next bytes of the body in wire form. kPause: nothing more is consumed until resume().
  [[nodiscard]] virtual Flow body(std::string_view stuffed) = 0;
  // The body is complete and within the limits. The owner now owes accepted() or refused(), or
  // closes the connection without a reply where the outcome is unknown.
  virtual void end(Envelope&& envelope, const BodyFacts& facts) = 0;
  // Is there such a recipient? The owner now owes answered().
  virtual void ask(const mail::Address& recipient) = 0;
  // ETRN: what waits in this queue is to be tried. The owner now owes started().
  virtual void start_queue(const mail::Domain& queue) = 0;
  // ATRN: the client takes the mail of these queues, or of all that it may. The owner now owes turned().
  virtual void turn_session(std::vector<std::string> queues) = 0;
  // Asked at a MAIL that nothing else is against: may its client send another message now?
  [[nodiscard]] virtual bool may_send(const base::IpAddress&) { return true; }
  // Asked at RCPT where it matters: what is known by now of the name of its client's address?
  [[nodiscard]] virtual ClientName client_name(const base::IpAddress&) { return ClientName::kUnclear; }
  // XCLIENT named another client. False: that one has as many connections as it may, and hears 421.
  [[nodiscard]] virtual bool introduced(const ClientAttributes&) { return true; }
  // The message is given up; nothing of it is wanted.
  virtual void abort() = 0;
  // A login, step by step: the owner now owes login_answered(), unless log_out() comes before.
  virtual void log_in(const LoginStart& start) = 0;
  virtual void login_response(std::string_view response) = 0;
  // The exchange is given up, or the login counts no longer.
  virtual void log_out() = 0;
  virtual void refused(const Refusal&) {}
};

enum class Want : std::uint8_t {
  kInput,   // bytes from the client
  kResume,  // the sink paused: resume()
  kResult,  // accepted() or refused()
  kAnswer,  // answered(), started() or turned()
  kLogin,   // login_answered()
  kTls,     // STARTTLS came: start_tls(); then TLS, and secured() when it stands
  kTurn,    // ATRN came: start_turn()
  kTurned,  // write output(); from then on the client is the server of the session, and no more is read here
  kClose,   // write output(), then close
};

// Restarted after each reply, for kData after each piece, and never by a line that does not end.
enum class TimeoutKind : std::uint8_t {
  kNone,     // the machine waits for its owner, not for the client
  kIdle,     // for a command, with no transaction open
  kCommand,  // for a command within a transaction, or for the hello
  kData,     // for more of a body, or of a chunk
  kTls,      // for the client's part of the TLS handshake
};

// What of TLS is worth telling.
struct TlsFacts {
  std::string text;  // version and cipher: "TLSv1.3 TLS_AES_256_GCM_SHA384"
  std::string peer;  // the name in the client's certificate, if that counts
  bool binds = false;  // a login can be bound to it
};

// Whether TLS can begin behind STARTTLS.
enum class TlsStart : std::uint8_t {
  kReady,
  kBytesBehind,  // something came behind the command, in clear text: whoever sent it, it does not count
  kBusy,         // not now
};

class Protocol {
 public:
  // Of a command line with its CR LF; RFC 5321 4.5.3.1.4 asks for 512, and for more with
  // parameters.
  static constexpr std::size_t kMaxLine = 2048;
  static constexpr std::size_t kMaxLoginLine = 12'288;  // of an exchange, RFC 4954 4
  static constexpr std::uint32_t kMaxLogins = 3;        // refused; then the session ends
  static constexpr std::size_t kMaxDiscard = 64 * 1024;  // of a longer one, then the session ends
  static constexpr std::uint32_t kMaxErrors = 20;        // the next bad command ends the session
  // Commands since the last message that was taken, but for recipients and chunks that were taken: NOOP, RSET,
  // VRFY, MAIL that leads nowhere, refused recipients. The next one ends the session.
  static constexpr std::uint32_t kMaxFruitless = 5'000;
  static constexpr std::uint32_t kMaxReceived = 100;     // more are a loop (RFC 5321 6.3)
  static constexpr std::uint64_t kFloodFactor = 4;  // times the size limit, then the session ends
  static constexpr std::uint64_t kMaxChunk = 1ULL << 40;  // no message is as large
  static constexpr std::size_t kChunkPiece = 64 * 1024;   // of it, handed to the sink at once

  // `service` and `sink` outlive the machine. `client` is none for a Unix socket, whose peers count
  // as this host itself (config::kThisHost) when rights are decided.
  Protocol(const Service& service, std::optional<base::IpAddress> client, MessageSink& sink);
  Protocol(const Protocol&) = delete;
  Protocol& operator=(const Protocol&) = delete;

  // Before the greeting: this is whom a proxy is connected for.
  void proxied(const base::IpAddress& client);
  // Greets. Once, before all else.
  void start();
  // In place of start(), at a Unix socket: who that is, login_answered() says, and then it is greeted.
  void await_user();
  // In place of start(): says 421 and closes.
  void turn_away(std::string_view why);
  // Returns how many of `bytes` are done with. Fewer than all only as said above.
  [[nodiscard]] std::size_t input(std::string_view bytes);
  // The sink takes body bytes again.
  void resume();
  // The word on the message of the last end(): "250 2.0.0 Ok: queued as ID", or the reply as it is
  // (421 also closes).
  void accepted(base::MessageId id);
  void refused(const mail::Reply& reply);
  // The word on the recipient of the last ask(): the reply that its RCPT gets, or null: it is there.
  void answered(const mail::Reply* refusal);
  // The word on the queue of the last start_queue(): the reply that its ETRN gets.
  void started(const mail::Reply& reply);
  // The answer to kTurn; `alone`: nothing came behind the command.
  void start_turn(bool alone);
  // The word on the queues of the last turn_session(): the reply that its ATRN gets; `alone`: nothing came meanwhile.
  void turned(const mail::Reply& reply, bool alone);
  // The word on the last step of a login.
  void login_answered(LoginStep step);
  // The account of this session may not be used any more: says 421 and closes, after the reply to a
  // message that is whole.
  void end_login();
  // The answer to kTls. Unless it is kReady and want() is kTls still, no TLS follows.
  void start_tls(TlsStart start);
  // TLS stands; the first time at the start of a session where it is implicit, in place of start().
  void secured(TlsFacts facts);
  // The timer that timeout() named ran out: says 421 and closes.
  void timed_out();
  // Says 421 and closes: at once between commands, after the reply to a message that is on its way
  // in.
  void shutdown();
  // From now on another generation of the configuration; an open transaction goes on.
  void reconfigure(const Service& service) noexcept { service_ = &service; }

  // Replies that wait to be written; the owner takes them and clears the string.
  [[nodiscard]] std::string& output() noexcept { return output_; }
  [[nodiscard]] Want want() const noexcept;
  [[nodiscard]] TimeoutKind timeout() const noexcept;
  // Messages accepted in this session.
  [[nodiscard]] std::uint32_t messages() const noexcept { return messages_; }
  // Set while TLS stands.
  [[nodiscard]] const std::optional<TlsFacts>& tls() const noexcept { return tls_; }
  // Whose session this is; none for a Unix socket.
  [[nodiscard]] const std::optional<config::Origin>& origin() const noexcept { return origin_; }
  // As whom the client has logged in; empty: it has not.
  [[nodiscard]] const std::string& account() const noexcept { return account_; }
  // Of a line, with its end.
  [[nodiscard]] std::size_t longest_line() const noexcept {
    return state_ == State::kLogin ? kMaxLoginLine : kMaxLine;
  }
  // The client's name in its last HELO or EHLO; empty before.
  [[nodiscard]] const std::string& hello() const noexcept { return hello_; }

 private:
  enum class State : std::uint8_t {
    kStart, kReady, kMail, kRcpt, kChunks, kSpoiled,  // the columns of the table
    kBody, kChunk, kResult, kTls, kTurn, kLogin, kClosed
  };
  enum class Action : std::uint8_t;
  static Action action(mail::Verb verb, State state);

  // Lines.
  std::size_t read_line(std::string_view bytes);
  std::size_t discard_line(std::string_view bytes);
  void run(std::string_view line);
  // Commands.
  void perform(Action action, mail::Command& command);
  void on_hello(mail::Command& command);
  void on_mail(mail::Command& command);
  void on_rcpt(mail::Command& command);
  void take_recipient(Recipient recipient);
  void on_data();
  void on_bdat(const mail::Command& command);
  void on_start_tls();
  void refuse_start_tls();
  void on_auth(const mail::Command& command);
  void refuse_auth();
  void take_response(std::string_view line);
  void user_known(LoginStep step);
  void give_up_login() noexcept;
  void forget_login();
  [[nodiscard]] bool offers_auth() const noexcept;
  [[nodiscard]] bool offers(sasl::Mechanism mechanism) const noexcept;
  [[nodiscard]] std::string auth_feature() const;
  [[nodiscard]] bool serves() const;
  [[nodiscard]] bool is_heard(mail::Verb verb) const;
  void greet();
  void on_xclient(mail::Command& command);
  void on_xforward(mail::Command& command);
  void forget_introductions();
  [[nodiscard]] bool may_xclient() const;
  [[nodiscard]] bool speaks_for_others() const;
  [[nodiscard]] bool may_xforward() const;
  [[nodiscard]] std::string offer_introductions() const;
  [[nodiscard]] const std::string* denied(const mail::Address& recipient) const;
  [[nodiscard]] std::string_view nameless();
  [[nodiscard]] bool offers_etrn() const;
  [[nodiscard]] bool may_etrn() const;
  void on_etrn(const mail::Command& command);
  [[nodiscard]] bool knows_atrn() const noexcept;
  [[nodiscard]] bool offers_atrn() const noexcept;
  void on_atrn(const mail::Command& command);
  [[nodiscard]] bool offers_tls() const noexcept;
  [[nodiscard]] bool lacks_tls() const noexcept;  // and takes no mail before
  [[nodiscard]] bool shakes_hands() const noexcept;
  void begin();
  [[nodiscard]] bool session_is_full(const mail::Command& command);
  [[nodiscard]] bool is_qualified(const mail::Domain& domain) const;
  [[nodiscard]] std::optional<mail::Address> address_of(mail::Command& command);
  [[nodiscard]] bool may_relay() const;
  [[nodiscard]] std::string limits_feature() const;
  // Bodies.
  void begin_body(bool by_chunks);
  [[nodiscard]] const mail::BodyScanner& scanned() const noexcept;
  std::size_t read_body(std::string_view bytes);
  void finish_body();
  void hand_over();
  [[nodiscard]] bool goes_round() const;
  [[nodiscard]] std::uint64_t size_limit() const noexcept;
  [[nodiscard]] bool flooded() const noexcept;
  [[nodiscard]] bool too_large() const noexcept;
  [[nodiscard]] bool over_session() const noexcept;
  void give_up_body();
  // Chunks.
  [[nodiscard]] std::string_view refusal_of_chunk(std::uint64_t size) const noexcept;
  std::size_t read_chunk(std::string_view bytes);
  void store_piece(std::string_view piece);
  void spoil(std::string_view refusal);
  void finish_chunk();
  void refuse_chunk();
  // Replies.
  void say(std::string_view line);
  void say_named(std::string_view code, std::string_view text);
  void fail(std::string_view line);
  void refuse(mail::Verb verb, std::string_view address, std::string_view line);
  void close_with(std::string_view line);
  void end_transaction();
  void after_message();

  const Service* service_;
  std::optional<config::Origin> origin_;
  std::string client_name_;                      // as XCLIENT says
  std::unique_ptr<ClientAttributes> forwarded_;  // of the next message
  MessageSink& sink_;
  std::string output_;
  State state_ = State::kStart;
  Envelope envelope_;
  std::uint64_t expanded_ = 0;  // of its recipients, once aliases are replaced
  std::optional<Recipient> asked_;  // waits for answered()
  mail::DataReader reader_;
  mail::ChunkReader chunks_;
  // The chunk that is being read.
  struct Chunk {
    std::uint64_t size = 0;
    std::uint64_t left = 0;
    bool last = false;
    State before = State::kStart;  // where its BDAT was said
    std::string_view refusal;      // static text; empty: it is taken
  };
  Chunk chunk_;
  std::uint64_t chunked_ = 0;  // of all chunks of this transaction, refused ones too
  std::string hello_;
  std::uint64_t session_bytes_ = 0;  // of bodies, as they came
  std::size_t discarded_ = 0;        // of a line that is too long; 0: none
  bool discarded_cr_ = false;        // its last byte was a CR
  std::uint32_t messages_ = 0;
  std::uint32_t errors_ = 0;
  std::uint32_t fruitless_ = 0;
  bool started_ = false;
  bool esmtp_ = false;
  bool command_seen_ = false;
  bool storing_ = false;  // the sink still wants this body
  bool by_chunks_ = false;
  bool paused_ = false;
  bool body_complete_ = false;  // its end was seen while paused
  bool turned_away_ = false;    // the greeting was 554
  bool stopping_ = false;       // shutdown() came during a message
  bool ending_ = false;         // end_login() came while its result was waited for
  bool agreed_tls_ = false;     // the 220 to STARTTLS was said
  std::optional<TlsFacts> tls_;
  std::string account_;          // empty: nobody has logged in
  bool login_asked_ = false;     // login_answered() is owed
  bool starting_ = false;        // started() is owed
  std::vector<std::string> to_turn_;  // queues that ATRN named
  bool turn_asked_ = false;           // turned() is owed
  bool turned_ = false;
  std::uint32_t refused_logins_ = 0;
};

}  // namespace postern::smtpd
