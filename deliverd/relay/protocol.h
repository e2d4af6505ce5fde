// Client: the SMTP client as a pure machine (RFC 5321, 1870, 2920, 3030, 3207, 3461, 4954, 6152, 6531, 8689,
// 9422), which speaks LMTP as well (RFC 2033): bytes of the next hop in, commands out, and an event where its owner has
// to act. It knows neither sockets nor clocks.
//
//   state      sent                 2yz        3yz       4yz            5yz
//   greeting   -                    EHLO       over      over           over
//   ehlo       EHLO                 ready *    over      over           HELO
//   helo       HELO                 ready *    over      over           over
//   starttls   STARTTLS             tls        over      ready **       ready **
//   tls        (handshake)          -> ehlo, or greeting where TLS comes first
//   auth       AUTH, answers        ready      auth       over           over ***
//   xclient    XCLIENT              -> ehlo    over      over           over
//   noop       NOOP                 ready      over      over           over
//   rset       RSET                 -> xforward over     over           over
//   xforward   XFORWARD, each       -> mail    over      -> mail        -> mail
//   mail       MAIL                 -> rcpt    over      all deferred   all failed
//   rcpt       RCPT, each           accepted   over      deferred       failed
//   data       DATA                 over       body      deferred       failed
//   body       (body in flight)     over       over      deferred, over failed, over
//   dot        body and "."         delivered  over      deferred       failed
//              or BDAT and body     (as in body, while some of it has not left)
//   empty dot  "."                  finished   finished  finished       finished
//   quit       QUIT                 over       over      over           over
//
// * Where TLS is wanted and offered: starttls; where it must be and is not: over. Then, where we have to log in:
// auth, but only in TLS. ** Where it must be: over. *** 504: the next mechanism, if one is left. What goes wrong in
// auth defers: it is our affair, and no message's.
// What was said in clear is forgotten in TLS (RFC 3207 4.2), and a byte behind the reply to STARTTLS is
// somebody else's: over.
// XCLIENT is said where a session is to be a client's: then it begins anew, with the client's hello and in the TLS that
// is there, and carries that client's message alone. XFORWARD is said of messages whose client is told of, and else
// passed over; it is for people's eyes, so a refusal keeps no mail here.
// Anywhere: 421, a malformed reply, silence and the end of the connection are "over", as is a code
// of no known class. Over in "dot" without an answer is `unknown`: the message may have arrived.
// Where the next hop offers PIPELINING, [RSET] [XFORWARD...] MAIL RCPT... DATA is one write, so "data" may answer
// 354 although no recipient was accepted: then a lone dot ends it. Nothing is sent behind a dot
// before its reply.
//
// In LMTP it says LHLO, and without that nothing. Behind the dot each recipient that was accepted has a reply of its
// own, in their order. What it decides stays, however the session ends: only those without a reply are `unknown`
// then. 421 is the reply to one of them. So is what it says into the message: the others are deferred, for nobody has
// refused them. The message goes by DATA, as how many replies there are to a BDAT that is refused nobody says, and there
// is no empty dot, which would have none.
//
// A probe ends after its last RCPT: what was accepted there counts as delivered, and only RCPT can fail.
// A message that lies in memory goes by one BDAT where CHUNKING is offered, behind the replies to
// RCPT: then a count ends it, not a line that a careless peer might see elsewhere. It is not sent
// earlier: a peer that refuses the command and takes the body for commands would do what its sender
// wrote there. A binary message goes by one BDAT, too, wherever it lies.
//
// SMTPUTF8 is said only with a message that needs it (RFC 6531 3.2), as its sender's address, its header or a
// recipient of this transaction may; where the next hop does not offer it, what needs it fails.
//
// A message that requires TLS goes to a next hop alone that is known, and promises in TLS to require it too. What comes
// from nobody is a notice of such a message, and goes to any: with REQUIRETLS where that may be said (RFC 8689 5).
//
// Recipients beyond what the next hop takes in one transaction are neither accepted nor refused:
// they come back as `returned`, untried, for a transaction of their own. So do those of further domains than it takes
// in one session; where that leaves none, the session is spent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/ipc/delivery.h"
#include "common/mail/dsn.h"
#include "common/mail/reply.h"
#include "common/mail/reply_reader.h"
#include "deliverd/relay/client_state.h"
#include "deliverd/relay/features.h"
#include "deliverd/relay/introduction.h"
#include "deliverd/relay/login.h"

namespace postern::relay {

struct EnvelopeRecipient {
  std::string address;  // without brackets
  mail::Notify notify;
  mail::OriginalRecipient orcpt;
  bool utf8 = false;  // its address is not ASCII
};

// What one transaction needs to know of its message. A next hop that offers DSN is told what the
// sender wants to hear of it (RFC 3461 5.2.1).
struct Envelope {
  std::string from;                           // without brackets; empty: the null path
  std::vector<EnvelopeRecipient> recipients;  // at least one
  std::uint64_t size = 0;                     // bytes, of RFC 1870 where they matter to the next hop
  bool eight_bit = false;                     // there are bytes above 127 in it
  bool in_memory = false;                     // it can be sent by one BDAT
  mail::Return ret = mail::Return::kUnsaid;
  mail::EnvelopeId envid;
  bool probe = false;  // no message: only what RCPT is answered counts
  bool binary = false;  // it can only be sent by one BDAT, and as BINARYMIME
  bool utf8_from = false;    // the sender's address is not ASCII
  bool utf8_header = false;  // nor is the header, and SMTPUTF8 was said with it
  bool require_tls = false;  // REQUIRETLS was said with it
  std::string doubt;         // then: why the next hop may not be who it should be; empty: it is
  std::optional<Introduction> introduction;  // what XFORWARD tells of it; none: nothing
};

struct Verdict {  // on one recipient
  ipc::Result result = ipc::Result::kDeferred;
  ipc::FailureClass failure = ipc::FailureClass::kConnect;
  mail::Reply reply;  // code 0: our own words
  ipc::Arrival arrival = ipc::Arrival::kRelayed;  // delivered
};

// When to speak TLS.
enum class TlsUse : std::uint8_t {
  kNever,
  kIfOffered,  // and in clear where it is not, or is refused
  kAlways,     // or not at all
  kFromStart,  // before the greeting
};

enum class Dialect : std::uint8_t { kSmtp, kLmtp };

class Client {
 public:
  enum class Event : std::uint8_t {
    kNone,      // wait for more
    kTls,       // begin the handshake, then call secured() or tls_failed()
    kReady,     // the session stands: begin() or quit()
    kAlive,     // it stands still: begin(), noop() or quit()
    kBody,      // send the body and its final dot now, then call body_sent()
    kChunk,     // call chunk(), send the message behind it without its dots, then call body_sent()
    kFinished,  // verdicts() are complete: begin() or quit()
    kTurn,      // turn_reply() came. Positive: the peer is the client now, and this is over; else quit()
    kOver,      // the session is over: trouble() says why. Verdicts of a transaction are complete
  };
  struct Step {
    std::size_t used;
    Event event;
  };

  // `hostname` is what we call ourselves. `login`: no message is sent before.
  explicit Client(std::string hostname, TlsUse tls = TlsUse::kNever, Dialect dialect = Dialect::kSmtp,
                  std::optional<Login> login = std::nullopt)
      : name_(std::move(hostname)),
        tls_(tls),
        lmtp_(dialect == Dialect::kLmtp),
        login_(std::move(login)),
        state_(tls == TlsUse::kFromStart ? ClientState::kTls : ClientState::kGreeting) {}

  // Reads until an event or the end of `bytes`; commands are appended to `out`. To be called again
  // with what was not used, unless the event was kOver. `dot_left`: see lost(); a reply that comes before
  // that is none to the message.
  [[nodiscard]] Step on_input(std::string_view bytes, std::string& out, bool dot_left = true);
  // Makes the session this client's, by XCLIENT: kReady again, or kOver where the next hop does not let us. Only when
  // ready, once, and before any transaction; one message of that client may follow.
  [[nodiscard]] Event introduce(const ipc::FirstClient& client, std::string& out);
  // Only when ready. kFinished at once where the message is larger than the next hop takes.
  [[nodiscard]] Event begin(Envelope envelope, std::string& out);
  // Before the first reply: another process keeps the connection in TLS, from its beginning to its end.
  void kept_in_tls();
  // Asks whether the next hop is still there. Only when ready.
  void noop(std::string& out);
  // The two sides have agreed: all that follows is in TLS. In `tls` alone.
  void secured(std::string& out);
  // They have not; the session is over. In `tls`, or before the first reply behind it: in TLS 1.3 the server has
  // the last word on a handshake, and may say it when we take it for done.
  void tls_failed(std::string_view why);
  // The body, and after kBody the final dot, have been handed over.
  void body_sent();
  // The command in front of a message of this many bytes; only after kChunk.
  void chunk(std::uint64_t size, std::string& out);
  // Asks the peer to turn the session round (RFC 2645 5.2.1), `domains` as in its command. Only when ready.
  void turn(std::string_view domains, std::string& out);
  void quit(std::string& out);
  // The connection ended or broke, or we have to leave it, because of `why`; `dot_left`: the final
  // dot may have reached the next hop. No call but verdicts() and trouble() may follow.
  void lost(std::string_view why, bool dot_left);
  // The reply did not come within timeout(), or the body did not go.
  void timed_out(bool dot_left);
  // The body cannot be read (status 4), or must not be sent (5). The connection has to be closed
  // without a dot. Only after kBody or kChunk.
  void body_failed(mail::EnhancedCode code, std::string_view why);

  [[nodiscard]] ClientState state() const noexcept { return state_; }
  // How long to wait now (RFC 5321 4.5.3.2); in `body` for each block.
  [[nodiscard]] base::Millis timeout() const noexcept;
  [[nodiscard]] const Features& features() const noexcept { return features_; }
  [[nodiscard]] bool in_tls() const noexcept { return in_tls_; }
  // Over because TLS could not be agreed on: in clear it might go better.
  [[nodiscard]] bool tls_failed() const noexcept { return tls_failed_; }
  // What STARTTLS was answered where that was no.
  [[nodiscard]] const std::string& tls_refusal() const noexcept { return tls_refusal_; }
  // By which the next hop took us for who we are; none where we do not log in.
  [[nodiscard]] const std::optional<Login>& login() const noexcept { return login_; }
  // Why a message that requires TLS may not go by this session (RFC 8689 4.2.1), as the verdict on it; none: it may.
  [[nodiscard]] std::optional<Verdict> lack_of_tls(const Envelope& envelope) const;
  // The session is a client's.
  [[nodiscard]] bool introduced() const noexcept { return introduced_; }
  // Why the next hop was not told by XFORWARD whose client a message was; empty: it was, or did not have to be.
  [[nodiscard]] const std::string& forward_refusal() const noexcept { return forward_refusal_; }
  // How many were read.
  [[nodiscard]] std::uint64_t replies() const noexcept { return replies_; }
  [[nodiscard]] const mail::Reply& turn_reply() const noexcept { return turn_reply_; }
  // Of the last transaction, in the order of its recipients.
  [[nodiscard]] std::vector<Verdict>& verdicts() noexcept { return verdicts_; }
  // Why the session is over, as a verdict on all that it carried.
  [[nodiscard]] const Verdict& trouble() const noexcept { return trouble_; }
  // The next hop takes no further transaction in this session.
  [[nodiscard]] bool spent() const noexcept {
    return introduced_ || out_of_domains_ ||
           (features_.limits.transactions != 0 && transactions_ >= features_.limits.transactions);
  }
  // A transaction was begun, and is not finished.
  [[nodiscard]] bool in_transaction() const noexcept { return in_transaction_; }
  // The session ended before the next hop took the sender of a transaction: nothing was tried.
  [[nodiscard]] bool untouched() const noexcept { return in_transaction_ && !mail_answered_; }
  // Some of the body was, or should have been, sent in this transaction.
  [[nodiscard]] bool body_begun() const noexcept { return body_begun_; }

 private:
  enum class Class : std::uint8_t { kPositive, kIntermediate, kTransient, kPermanent, kNone };
  static Class class_of(const mail::Reply& reply) noexcept;

  Event on_reply(mail::Reply reply, std::string& out, bool dot_left);
  void say_hello(std::string& out);
  Event on_hello(mail::Reply reply, Class c, std::string& out);
  Event session_stands(std::string& out);
  Event on_starttls(mail::Reply reply, Class c);
  Event log_in(std::string& out);
  Event on_auth(mail::Reply reply, Class c, std::string& out);
  Event on_xclient(mail::Reply reply, Class c, std::string& out);
  Event on_atrn(mail::Reply reply, Class c);
  void choose_forwards();
  void step_to_mail(std::string& out);
  Event on_xforward(mail::Reply reply, Class c, std::string& out);
  Event on_mail(const mail::Reply& reply, Class c, std::string& out);
  Event on_rcpt(mail::Reply reply, Class c, std::string& out);
  Event on_data(const mail::Reply& reply, Class c, std::string& out);
  Event on_dot(const mail::Reply& reply, Class c);
  void refuse_recipient(std::size_t i, mail::Reply reply, Class c);
  Event after_recipients(std::string& out);
  Event out_of_step();
  [[nodiscard]] std::optional<Verdict> refusal_of(const Envelope& envelope) const;
  void refuse_utf8_recipients();
  void choose_recipients();
  [[nodiscard]] bool may_name(std::string_view domain);
  [[nodiscard]] bool needs_utf8() const;
  [[nodiscard]] bool may_require_tls(const Envelope& envelope) const;
  void send_mail(std::string& out);
  void send_rcpt(std::size_t place, std::string& out) const;
  void ask_for_reports(std::string& out) const;
  void decide_open(const Verdict& verdict);
  // The first recipient that has no verdict yet; false: it was the last one.
  bool decide_next(const Verdict& verdict);
  Event over_amid_replies(mail::Reply reply, bool dot_left);
  [[nodiscard]] std::string_view awaits() const noexcept;
  Event finish();
  Event over(Verdict verdict);
  Event over_by_reply(mail::Reply reply);
  [[nodiscard]] ipc::FailureClass class_of_reply(const mail::Reply& reply) const noexcept;
  [[nodiscard]] static Verdict no_tls(mail::EnhancedCode code, std::string_view why);
  [[nodiscard]] static Verdict no_login(std::string_view why);
  [[nodiscard]] static Verdict no_xclient();
  [[nodiscard]] Verdict broken(std::string text, bool dot_left) const;

  std::string name_;  // what we call ourselves, or the client whose session it is
  TlsUse tls_;
  bool lmtp_;
  std::optional<Login> login_;
  mail::ReplyReader reader_;
  std::uint64_t replies_ = 0;
  ClientState state_;
  Features features_;
  Envelope envelope_;
  std::vector<Verdict> verdicts_;
  std::vector<bool> decided_;
  std::vector<std::size_t>
      asked_;                 // recipients of this transaction, by their place in the envelope
  std::size_t answered_ = 0;  // of them
  std::size_t accepted_ = 0;
  std::uint64_t transactions_ = 0;
  std::vector<std::string> domains_;  // that were named in this session, where their number is limited
  bool out_of_domains_ = false;       // no recipient of a message could be named for that
  bool in_tls_ = false;
  bool tls_failed_ = false;
  std::string tls_refusal_;
  bool introduced_ = false;
  mail::Reply turn_reply_;
  std::vector<std::string> forwards_;  // XFORWARD commands of this transaction
  std::size_t forwarded_ = 0;          // of them, answered
  std::string forward_refusal_;
  bool by_chunk_ = false;
  bool in_transaction_ = false;
  bool body_begun_ = false;
  bool mail_answered_ = false;
  bool mail_accepted_ = false;
  bool needs_rset_ = false;
  Verdict trouble_;
};

}  // namespace postern::relay
