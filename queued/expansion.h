// From the recipients that a client named to those that a message has: aliases are replaced by all that they stand
// for, each Maildir once (and each extension of it, which may be a folder), each other address once. What becomes of the sender's wishes for
// reports is RFC 3461's to say (5.2.7):
//
// - An alias for one recipient hands on NOTIFY and ORCPT, and nothing is reported of itself; but where another name
//   brought that recipient before, whose success is reported under that one, its own is expanded.
// - Of an alias for several the recipients keep ORCPT, and NOTIFY but for success; if that was asked for, the alias
//   itself is a recipient too, which ends at once and is reported as expanded (5.2.7.3).
// - Mail for a list (an alias with an owner) has arrived there, and is reported as delivered. Its members get a message
//   of the list: the owner is its sender, and nothing that the first sender asked for is handed on (5.2.7.1). The
//   null sender stays, lest a notice cause another: so to that the list is an alias. An alias for one list is
//   reported as that list.
//
// Where a recipient was rewritten and nobody had named an original one, it is named (5.2.1 d). Pure.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/config/rights.h"
#include "queued/record.h"

namespace postern::queued {

// As it was named, and what was decided about it: kLocal or kRelay.
struct Named {
  mail::Address address;
  mail::Notify notify;
  mail::OriginalRecipient orcpt;
  config::Decision decision;
};

// By what is an address one recipient with others? (config::RightsIndex::key)
using KeyOf = std::function<std::string(const mail::Address&)>;

// Numbered from 0 on, in the order in which they were named. Who is named several times is one recipient, with all
// that was asked for; who is named itself and on a list is no member for this message.
[[nodiscard]] std::vector<RecipientRecord> expand(std::vector<Named> named, bool null_sender, const KeyOf& key_of);

// Of an ORCPT that nobody said: "rfc822;team@example.org".
[[nodiscard]] mail::OriginalRecipient original_of(const mail::Address& named);

}  // namespace postern::queued
