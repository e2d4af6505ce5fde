// Between the local deliverer and a process that files into one mailbox as its user.
#pragma once

#include "common/ipc/delivery.h"

namespace postern::ipc {

// One message for this mailbox. The body follows in FileBody until `body_size`, contiguously; or it is the file
// that comes with this frame (descriptor: read-only).
struct FileMail {
  static constexpr Type kType = Type::kFileMail;
  static constexpr Route kRoute{roles(Role::kLocal), roles(Role::kMailbox)};
  static constexpr Window kWindow{.requests = 16, .bytes = 8ULL << 20};
  static constexpr std::size_t kDescriptors = 1;
  base::RequestId request;
  base::MessageId message;
  base::WallTime arrived;
  mail::ReversePath from;
  LeaseRecipient recipient;
  bool again = false;  // an earlier process died over it, and may have filed it before
  BodyForm form = BodyForm::kStuffed;
  std::string prefix;  // as in Lease, likewise what follows
  std::uint64_t body_size = 0;
  bool large = false;
  [[nodiscard]] std::uint64_t announced() const { return large ? 0 : body_size; }
  static constexpr auto fields() {
    return fields_of(field("request", &FileMail::request), field("message", &FileMail::message),
                      field("arrived", &FileMail::arrived), field("from", &FileMail::from),
                      field("recipient", &FileMail::recipient), field("again", &FileMail::again),
                      field("form", &FileMail::form),
                      field("prefix", &FileMail::prefix, kMaxPrefix),
                      field("body_size", &FileMail::body_size), field("large", &FileMail::large));
  }
};

struct FileBody {
  static constexpr Type kType = Type::kFileBody;
  static constexpr Route kRoute{roles(Role::kLocal), roles(Role::kMailbox)};
  base::RequestId request;
  Slice bytes;
  static constexpr auto fields() {
    return fields_of(field("request", &FileBody::request),
                      field("bytes", &FileBody::bytes, kBodySlice));
  }
};

// What became of it: delivered, deferred or failed.
struct MailFiled {
  static constexpr Type kType = Type::kMailFiled;
  static constexpr Route kRoute{roles(Role::kMailbox), roles(Role::kLocal)};
  using ReplyTo = Replies<FileMail>;
  base::RequestId request;
  RecipientResult result;
  std::string trouble;  // in full, for the log; empty: none
  static constexpr auto fields() {
    return fields_of(field("request", &MailFiled::request), field("result", &MailFiled::result),
                      field("trouble", &MailFiled::trouble, kMaxText));
  }
};

}  // namespace postern::ipc
