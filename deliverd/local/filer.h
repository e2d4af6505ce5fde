// Filer: who files the clerk's messages: threads of this process into mailboxes that one user owns (thread_filer.h), or
// processes of the users whose own their mailboxes are (user_filer.h).
#pragma once

#include <functional>
#include <vector>

#include "deliverd/desk.h"

namespace postern::local {

// What became of one recipient's copy.
struct Filed {
  ipc::RecipientResult result;
  std::string trouble;  // in full, for the log; empty: none
};

class Filer {
 public:
  // A copy for each recipient, in their order.
  using Done = std::move_only_function<void(std::vector<Filed> copies) noexcept>;

  virtual ~Filer() = default;
  // `done` is called on the loop, once, and never before this has returned.
  virtual void file(deliverd::Delivery delivery, Done done) = 0;
};

}  // namespace postern::local
