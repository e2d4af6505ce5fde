// The file that `export` writes and `import` reads: messages as they stand in a queue, for another
// host or another version of Postern. Format version 5; 4 did not tell how tries were secured, 3 knew no
// REQUIRETLS and no first clients, 2 no aliases, and 1 no binary bodies. All are read; what gains fields says so as
// common/ipc/codec.h has it. Pure.
//
//   "POSTERN EXPORT\n" | u32 version | u32 CRC32C of both
//   frames:  u32 size of the payload | u32 type | payload | u32 CRC32C
//
//   header, then for each message: message, recipients (as many frames as they need), body (the
//   same), or somewhere before the body's end: withdrawn. At last: end, with the counts.
//
// A frame's CRC32C covers its offset in the file and the file's random id too, so a frame is good
// only where it was written, and no body can hold one. A file that was cut lacks its end. Numbers
// are little-endian; fields are encoded as in common/ipc/codec.h, in the order given here. Times of
// the queue clock, which no other host knows, are told as distances from the moment of the export.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include "common/ipc/messages.h"

namespace postern::transfer {

inline constexpr std::uint32_t kVersion = 5;
inline constexpr std::size_t kPiece = 48 * 1024;              // bytes of a body in one frame, at most
inline constexpr std::size_t kMaxPayload = 56 * 1024;
inline constexpr std::size_t kMaxRecipients = 20'000;         // of one message
inline constexpr std::size_t kRecipientsInFrame = 19;         // before version 5 there were 20, with fewer fields
inline constexpr std::uint64_t kMaxBody = 1ULL << 40;         // bytes

struct Header {
  base::Token file;     // random: names this file
  std::string host;     // that wrote it
  std::string program;  // "0.1.0"
  base::WallTime made;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("file", &Header::file), ipc::field("host", &Header::host, 255),
                      ipc::field("program", &Header::program, 64),
                      ipc::field("made", &Header::made));
  }
};

// One that is still open, with what was tried.
struct Recipient {
  std::uint32_t number = 0;
  mail::Address address;
  std::uint32_t tries = 0;
  base::WallTime last_try;
  base::Millis due{0};  // from the moment of the export on; below 0: it was due before
  ipc::FailureClass failure = ipc::FailureClass::kConnect;
  ipc::ReplyText reply;
  std::string remote;
  mail::Notify notify;
  bool delay_told = false;  // the sender knows that it is late
  mail::OriginalRecipient orcpt;
  std::string alias;  // by which it came; empty: it was named itself
  std::optional<mail::Address> sender;  // its list's owner, to whom failures are told
  std::uint8_t expanded = 0;  // 1: an alias of several, 2: a list: its sender hears that it was replaced
  std::string tls;            // as in queued/record.h
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("number", &Recipient::number),
                      ipc::field("address", &Recipient::address),
                      ipc::field("tries", &Recipient::tries),
                      ipc::field("last_try", &Recipient::last_try),
                      ipc::field("due", &Recipient::due),
                      ipc::field("failure", &Recipient::failure),
                      ipc::field("reply", &Recipient::reply),
                      ipc::field("remote", &Recipient::remote, ipc::kMaxRemote),
                      ipc::field("notify", &Recipient::notify),
                      ipc::field("delay_told", &Recipient::delay_told),
                      ipc::field("orcpt", &Recipient::orcpt),
                      ipc::field("alias", &Recipient::alias, ipc::kMaxAlias).since(3),
                      ipc::field("sender", &Recipient::sender).since(3),
                      ipc::field("expanded", &Recipient::expanded).since(3),
                      ipc::field("tls", &Recipient::tls, ipc::kMaxTls).since(5));
  }
};

struct Envelope {
  base::MessageId id;  // in the queue that it left
  base::Token token;   // of the transaction that it came by; never zero
  base::WallTime arrived;
  base::Millis age{0};  // on the queue clock, without the time that it was held
  base::IpAddress client;
  std::string hello;
  mail::ReversePath from;
  ipc::BodyForm form = ipc::BodyForm::kStuffed;
  bool eight_bit = false;
  mail::Return ret = mail::Return::kUnsaid;
  mail::EnvelopeId envid;
  bool notice = false;
  std::string held;  // why; empty: it was not held
  std::string prefix;
  std::uint64_t body_size = 0;
  std::uint32_t body_crc = 0;
  std::uint32_t recipient_count = 0;
  bool smtputf8 = false;
  mail::TlsWish tls_wish = mail::TlsWish::kUnsaid;
  std::optional<ipc::FirstClient> first;  // as in queued/record.h
  static constexpr auto fields() {
    return ipc::fields_of(
        ipc::field("id", &Envelope::id), ipc::field("token", &Envelope::token),
        ipc::field("arrived", &Envelope::arrived), ipc::field("age", &Envelope::age),
        ipc::field("client", &Envelope::client), ipc::field("hello", &Envelope::hello, 255),
        ipc::field("from", &Envelope::from), ipc::field("form", &Envelope::form),
        ipc::field("eight_bit", &Envelope::eight_bit), ipc::field("ret", &Envelope::ret),
        ipc::field("envid", &Envelope::envid), ipc::field("notice", &Envelope::notice),
        ipc::field("held", &Envelope::held, ipc::kMaxReason),
        ipc::field("prefix", &Envelope::prefix, ipc::kMaxPrefix),
        ipc::field("body_size", &Envelope::body_size),
        ipc::field("body_crc", &Envelope::body_crc),
        ipc::field("recipient_count", &Envelope::recipient_count),
        ipc::field("smtputf8", &Envelope::smtputf8).since(2),
        ipc::field("tls_wish", &Envelope::tls_wish).since(4),
        ipc::field("first", &Envelope::first).since(4));
  }
};

struct Counts {
  std::uint64_t messages = 0;  // whole ones
  std::uint64_t recipients = 0;
  std::uint64_t body_bytes = 0;
  friend bool operator==(const Counts&, const Counts&) = default;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("messages", &Counts::messages),
                      ipc::field("recipients", &Counts::recipients),
                      ipc::field("body_bytes", &Counts::body_bytes));
  }
};

class Writer {
 public:
  explicit Writer(const Header& header);

  // At least one recipient, at most kMaxRecipients; `envelope.recipient_count` is set from them.
  void message(Envelope envelope, const std::vector<Recipient>& recipients);
  // The next bytes of its body, at most kPiece.
  void body(std::string_view piece);
  // The message that is being written is none; not after its last byte.
  void withdraw();
  void end();

  // What was written and not yet taken.
  [[nodiscard]] std::size_t waiting() const { return out_.size() - taken_; }
  // Good until the next call of anything.
  [[nodiscard]] std::string_view take(std::size_t most);
  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  void frame(std::uint32_t type, std::string_view payload);

  std::string out_;
  std::size_t taken_ = 0;
  std::uint64_t offset_ = 0;  // in the file, of what follows
  base::Token file_;
  Counts counts_;
  Envelope open_;  // the message that is being written
  std::uint64_t written_ = 0;  // of its body
};

// What a file says, item by item.
struct Message {
  Envelope envelope;
  std::vector<Recipient> recipients;
};
struct Piece {  // of the body of the last message
  std::string_view bytes;
};
struct Whole {};      // the last message is complete, its body's checksum right
struct Withdrawn {};  // the last message is none
struct End {
  Counts counts;
};
using Item = std::variant<Header, Message, Piece, Whole, Withdrawn, End>;

// Reads a file whose bytes come in pieces of any size. Everything that it gives is as it was
// written; a message counts only when Whole follows. It keeps little more than the largest frame.
class Reader {
 public:
  Reader();
  // After next() gave nothing.
  void feed(std::string_view bytes);
  // nullopt: more bytes are needed. An error, a sentence without its subject ("is damaged at byte
  // 120"), is for good. A Piece is good until the next call.
  [[nodiscard]] std::expected<std::optional<Item>, std::string> next();
  // The file ends here: an error unless it may.
  [[nodiscard]] std::expected<void, std::string> finish() const;
  [[nodiscard]] const Counts& counts() const { return counts_; }  // as far as it was read

 private:
  using Next = std::expected<std::optional<Item>, std::string>;
  enum class Stage : std::uint8_t { kMagic, kHeader, kBetween, kRecipients, kBody, kWhole, kEnded };
  Next read_magic();
  Next read(std::uint32_t type, std::string_view payload);
  Next read_message(std::string_view payload);
  Next read_recipients(std::string_view payload);
  Next read_body(std::string_view payload);
  Next read_end(std::string_view payload);
  [[nodiscard]] Next message_known();
  [[nodiscard]] std::unexpected<std::string> damaged() const;

  Stage stage_ = Stage::kMagic;
  std::string kept_;
  std::size_t used_ = 0;
  std::uint64_t offset_ = 0;  // in the file, of the frame being read
  std::uint32_t version_ = kVersion;
  base::Token file_;
  Message message_;
  std::uint64_t body_read_ = 0;
  std::uint32_t body_crc_ = 0;
  Counts counts_;
  std::optional<std::string> failed_;
};

}  // namespace postern::transfer
