// Envelope: what MAIL, RCPT and the hello before them said about one message.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/config/rights.h"
#include "common/ipc/types.h"
#include "common/mail/address.h"
#include "common/mail/dsn.h"
#include "common/mail/trace.h"

namespace postern::smtpd {

struct Recipient {
  // As the client named it. Where `decision` rewrites it (postmaster), queued does so too: it
  // decides on this address again.
  mail::Address address;
  config::Decision decision;  // kLocal or kRelay
  mail::Notify notify;
  mail::OriginalRecipient orcpt;
};

struct Envelope {
  mail::ReversePath reverse_path;
  std::vector<Recipient> recipients;
  std::string hello;  // a valid hello name; empty where none was required and none was said
  mail::WithProtocol with = mail::WithProtocol::kSmtp;
  std::string account;   // as whom the client has logged in; empty: it has not
  std::string client_name;  // as XCLIENT or the DNS says; empty: unknown
  std::string forwarded;    // as XFORWARD says, for people; empty: nothing
  std::optional<ipc::FirstClient> first;  // likewise, for the next hop
  std::string tls;       // version and cipher; empty: clear text
  std::string tls_peer;  // the name in the client's certificate, if that counts
  std::uint64_t declared_size = 0;  // SIZE=; 0: not said
  bool eight_bit = false;           // BODY=8BITMIME or BINARYMIME, or SMTPUTF8; or a large body has such bytes
  bool any_bytes = false;           // BODY=BINARYMIME
  bool smtputf8 = false;
  mail::Return ret = mail::Return::kUnsaid;
  mail::EnvelopeId envid;
  bool require_tls = false;  // REQUIRETLS was said
};

// What the scanner found out about a body.
struct BodyFacts {
  std::uint64_t wire_size = 0;  // bytes handed to the sink
  std::uint64_t size = 0;       // without stuffed dots
  bool stuffed = false;         // some line begins with a stuffed dot
  bool binary = false;          // it can only leave as BINARYMIME
  bool has_date = false;        // as a field of the header
  bool has_message_id = false;
};

}  // namespace postern::smtpd
