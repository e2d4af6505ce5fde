// LiveTransfer: exports and imports on a queue that runs. Owned by the daemon's control; all on the loop.
#pragma once

#include "queued/engine.h"
#include "queued/transfer_host.h"

namespace postern::queued {

class LiveTransfer final : public TransferHost {
 public:
  explicit LiveTransfer(Engine& engine) : engine_(engine) {}

  Store& store() override { return engine_.store(); }
  const std::string& hostname() const override { return engine_.config().hostname; }
  std::uint64_t least_free() const override { return engine_.config().stop_intake; }
  void when_loaded(Done loaded) override { engine_.when_loaded(std::move(loaded)); }
  void hold(std::vector<base::MessageId> ids, std::string why, Done held) override {
    each(std::move(ids), std::move(held),
         [this, why = std::move(why)](base::MessageId id) { engine_.hold(id, why); });
  }
  void release(std::vector<base::MessageId> ids, Done released) override {
    each(std::move(ids), std::move(released), [this](base::MessageId id) { engine_.end_hold(id); });
  }
  base::Millis age(const Message& message) const override { return engine_.least_age(message); }
  bool in_delivery(const Message& message) const override { return engine_.in_delivery(message); }
  void remove(const std::vector<base::MessageId>& ids) override {
    for (const auto id : ids) engine_.remove(id, "exported");
  }
  void admit(base::MessageId id) override { engine_.admit(id); }

 private:
  // One read of the index for all, and one flush.
  void each(std::vector<base::MessageId> ids, Done done, auto change) {
    engine_.store().fetch(ids, [this, ids, done = std::move(done),
                                change = std::move(change)]() mutable noexcept {
      for (const auto id : ids) change(id);
      engine_.store().settle(std::move(done));
    });
  }

  Engine& engine_;
};

}  // namespace postern::queued
