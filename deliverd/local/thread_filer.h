// ThreadFiler: files with a few threads of this process.
#pragma once

#include <memory>

#include "deliverd/local/filer.h"
#include "deliverd/local/mailbox.h"
#include "deliverd/local/workers.h"

namespace postern::local {

class ThreadFiler final : public Filer {
 public:
  ThreadFiler(event::Loop& loop, std::size_t threads, std::shared_ptr<Mailbox> mailbox)
      : workers_(loop, threads), mailbox_(std::move(mailbox)) {}

  // For messages from now on.
  void use(std::shared_ptr<Mailbox> mailbox) { mailbox_ = std::move(mailbox); }
  void file(deliverd::Delivery delivery, Done done) override {
    workers_.submit([mailbox = mailbox_, delivery = std::move(delivery),
                     done = std::move(done)]() mutable noexcept -> event::Callback {
      std::vector<Filed> copies;
      for (const auto& recipient : delivery.lease.recipients)
        copies.push_back(mailbox->file(delivery, recipient));
      return [done = std::move(done), copies = std::move(copies)]() mutable noexcept {
        done(std::move(copies));
      };
    });
  }

 private:
  Workers workers_;
  std::shared_ptr<Mailbox> mailbox_;
};

}  // namespace postern::local
