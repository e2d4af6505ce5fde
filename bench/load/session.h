// Session: one of the connections of a run, made again whenever it is lost, until nothing is left
// to do. It moves bytes between a Stream and a Client and tells the run what became of each
// message.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "bench/load/client.h"
#include "bench/load/message.h"
#include "bench/load/options.h"
#include "common/event/stream.h"

namespace postern::bench {

// What a session needs of its run; outlives it.
class SessionOwner {
 public:
  virtual ~SessionOwner() = default;
  // The next message's number, if one is due now.
  virtual std::optional<std::uint64_t> take() noexcept = 0;
  // Nothing will be due any more.
  [[nodiscard]] virtual bool finished() const noexcept = 0;
  virtual void begun(std::uint64_t number) noexcept = 0;
  // Everything begun is in the ledger's file; false: it cannot be, and no dot may leave.
  [[nodiscard]] virtual bool settle() noexcept = 0;
  // `micros`: from the final dot to its reply, where there was one.
  virtual void ended(std::uint64_t number, const Outcome& outcome,
                     std::optional<std::uint64_t> micros) noexcept = 0;
  virtual void connected() noexcept = 0;
  virtual void disconnected(std::string_view why) noexcept = 0;
  // The session has ended for good.
  virtual void done() noexcept = 0;
  // Since the run's start.
  [[nodiscard]] virtual std::uint64_t micros() const noexcept = 0;
  [[nodiscard]] virtual const Text& text(bool eight_bit) const noexcept = 0;
};

class Session final : public event::StreamOwner {
 public:
  Session(event::Loop& loop, const LoadOptions& options, SessionOwner& owner);

  void connect() noexcept;
  // An idle session looks again whether a message is due; one that still waits for a greeting looks
  // whether it is worth it.
  void look() noexcept;
  // Leaves a server that has kept silent for too long.
  void check_time() noexcept;
  // The server has greeted it, and it goes on.
  [[nodiscard]] bool stands() const noexcept { return standing_; }

 private:
  std::size_t on_input(std::string_view bytes) noexcept override;
  void on_closed(event::CloseReason reason) noexcept override;
  void on_drained() noexcept override;

  void on_event(Client::Event event) noexcept;
  void next() noexcept;
  void begin(std::uint64_t number) noexcept;
  void send_body() noexcept;
  void pump() noexcept;
  void record() noexcept;
  void leave(std::string_view why) noexcept;
  void connect_again() noexcept;
  void expect_progress() noexcept;

  event::Loop& loop_;
  const LoadOptions& options_;
  SessionOwner& owner_;
  event::Timer retry_;
  std::unique_ptr<event::Stream> stream_;
  std::optional<Client> client_;
  std::optional<Message> message_;
  std::uint64_t number_ = 0;
  std::uint64_t sent_here_ = 0;  // messages of this connection
  std::uint64_t dot_at_ = 0;     // when the final dot was handed over
  std::uint64_t deadline_ = 0;
  base::Millis backoff_{0};
  bool standing_ = false;
  bool idle_ = false;
  bool quitting_ = false;
};

}  // namespace postern::bench
