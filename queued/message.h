// A message and its recipients as they stand in memory. Changed only by Messages::apply(), from the
// journal's records, alive and at replay alike.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/ipc/control.h"
#include "queued/record.h"

namespace postern::queued {

// The last failure, shared by the recipients that it struck together.
struct Trouble {
  ipc::FailureClass failure = ipc::FailureClass::kConnect;
  ipc::ReplyText reply;
  std::string remote;
  std::string tls;  // as in RecipientRecord
};

struct Recipient {
  mail::Address address;
  std::shared_ptr<const Trouble> trouble;  // null: nothing was tried yet
  base::WallTime last_try;
  QueueTime tried{-1};  // the same by the queue clock; -1: not known
  QueueTime next_try{0};
  std::uint32_t number = 0;
  std::uint32_t tries = 0;
  mail::Notify notify;
  bool delay_told = false;
  mail::OriginalRecipient orcpt;
  std::string alias;  // as in RecipientRecord
  std::optional<mail::Address> sender;
  Expanded expanded = Expanded::kNo;
  ipc::RecipientEnd end = ipc::RecipientEnd::kOpen;
  [[nodiscard]] bool open() const { return end == ipc::RecipientEnd::kOpen; }
  // Is its last try still going on? A next hop refused it by its policy, and it was due again before it was tried,
  // which it is after no other failure: by the second path, or from the beginning where that was lost.
  [[nodiscard]] bool goes_on() const { return tries > 0 && next_try < tried; }
  // With the one that ends now.
  [[nodiscard]] std::uint32_t tries_so_far() const { return tries + (goes_on() ? 0 : 1); }
};

// How a resident message stands to its row in the index; kept by Messages.
struct Saving {
  base::SequenceNumber last;     // the last record that changed it
  base::SequenceNumber unsaved;  // the first one that its row lacks; 0: its row is as it is
  bool has_row = false;          // in the index, or on the way there
  bool on_its_way = false;       // what it was is being written
  bool counted = false;          // in the sums over all messages
  std::uint64_t read_mark = 0;   // reads that began before its row was saved may bring an older one
};

struct Message {
  base::MessageId id;
  base::Token token;
  base::WallTime arrived;
  QueueTime born{0};
  base::IpAddress client;
  std::string hello;
  std::shared_ptr<const ipc::FirstClient> first;  // as in MessageRecord; null: nothing
  mail::ReversePath from;
  std::string prefix;             // empty until its record was read, if the message came from its row
  std::uint32_t prefix_size = 0;
  std::string held;  // why; empty: not held
  QueueTime held_since{0};
  std::vector<Span> former_holds;  // in which it did not age, one after the other
  base::MessageId origin;  // its id in the queue that it was imported from; 0: none
  std::uint64_t body_size = 0;
  std::uint32_t body_crc = 0;  // of a large body
  ipc::BodyForm form = ipc::BodyForm::kStuffed;
  bool eight_bit = false;
  bool smtputf8 = false;
  mail::Return ret = mail::Return::kUnsaid;
  mail::EnvelopeId envid;
  mail::TlsWish tls_wish = mail::TlsWish::kUnsaid;
  bool notice = false;
  bool damaged = false;
  bool large = false;
  bool moving = false;   // its copy into a newer segment is under way
  std::uint32_t uses = 0;  // reads of its body under way
  bool checked = false;  // large: size and checksum were found right in this life
  std::vector<Recipient> recipients;  // by number, rising
  std::uint32_t open = 0;             // recipients
  Place place;                        // of its newest whole record
  std::shared_ptr<const std::string> body;  // fresh ones within the budget
  Saving saving;

  [[nodiscard]] std::uint64_t size() const { return prefix_size + body_size; }
  // When its clock stood still by holds, until `now`.
  [[nodiscard]] std::vector<Span> holds(QueueTime now) const;
};

// What stands beside a message in badmail: the envelope, and why these recipients failed. The first part
// is the same for each occasion of a message, the second is added to it.
struct BadmailReason {
  std::string envelope;
  std::string failures;
};

// The recipient with this number; null: there is none.
[[nodiscard]] const Recipient* find_recipient(const Message& message, std::uint32_t number);

// The reverse-path of what goes to this recipient, and who is told of it.
[[nodiscard]] mail::ReversePath sender_of(const Message& message, const Recipient& recipient);

// A hash of who sent it, for fair turns: the client and the reverse-path, without what a sender of bulk mail
// varies from message to message ("bounces+4711@lists.example.org").
[[nodiscard]] std::uint8_t sender_hash(const Message& message);

[[nodiscard]] RecipientRecord to_record(const Recipient& recipient);
[[nodiscard]] Recipient to_recipient(RecipientRecord&& record);
// All that is left of a message, as a kState record says it.
[[nodiscard]] MessageRecord to_record(const Message& message);
// The message that such a record tells of.
[[nodiscard]] Message to_message(MessageRecord&& record, const Place& place);

}  // namespace postern::queued
