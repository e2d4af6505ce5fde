// Submission: one transaction past its final dot, on its way to queued. It keeps the body, and the
// body's share of the budget, until queued has given its word.
#pragma once

#include <functional>
#include <string>
#include <variant>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/ip.h"
#include "common/ipc/types.h"
#include "common/mail/reply.h"
#include "smtpd/body_budget.h"
#include "smtpd/envelope.h"

namespace postern::smtpd {

// What became of a submission.
struct Accepted {
  base::MessageId id;
};
struct Refused {  // it is not, and never will be, in the journal
  mail::Reply reply;
};
struct Unknown {};  // nobody can say: close without a reply
using SubmissionResult = std::variant<Accepted, Refused, Unknown>;

struct Submission {
  base::Token token;
  base::ListenerIndex listener;
  config::Origin origin;
  base::Token session;  // by which auth and queued know the client's login
  Envelope envelope;
  ipc::BodyForm form = ipc::BodyForm::kStuffed;
  bool has_date = false;  // as a field of the header
  bool has_message_id = false;
  std::string body;  // empty where it is in a large file
  BodyShare share;   // for `body`
  std::uint64_t body_size = 0;
  base::MessageId large;   // 0: the body is here
  base::SteadyTime began;  // when the final dot came
  std::move_only_function<void(SubmissionResult) noexcept> done;
};

}  // namespace postern::smtpd
