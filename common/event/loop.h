// Loop: the one event loop of a process, over libevent. FdEvent, Timer, Signal and Waker are its
// sources: they own their registration, and their callbacks are noexcept and may destroy anything but
// their own source's owner on the stack; what must die is handed to Loop::defer(), which runs after the
// stack has unwound, at the end of the turn.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/base/clock.h"
#include "common/base/unique_fd.h"

struct event;
struct event_base;

namespace postern::event {

using Callback = std::move_only_function<void() noexcept>;

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs turns until stop(). Each turn: wait, callbacks, then everything deferred (also what those
  // deferred in turn), then the turn's log lines in one write.
  void run();
  // One turn; waits for an event only if `wait`. For tests.
  void run_once(bool wait);
  void stop() noexcept { stopped_ = true; }
  [[nodiscard]] bool stopped() const noexcept { return stopped_; }

  // Runs `task` at the end of this turn.
  void defer(Callback task);
  [[nodiscard]] event_base* raw() noexcept { return base_; }

 private:
  void run_deferred();

  event_base* base_;
  std::vector<Callback> deferred_;
  bool stopped_ = false;
};

// Readiness of a descriptor that somebody else owns and that outlives this.
class FdEvent {
 public:
  using Ready = std::move_only_function<void(bool readable, bool writable) noexcept>;
  FdEvent(Loop& loop, int fd, Ready ready);
  ~FdEvent();
  FdEvent(const FdEvent&) = delete;
  FdEvent& operator=(const FdEvent&) = delete;

  // What to watch from now on; nothing is watched at first.
  void watch(bool readable, bool writable);
  [[nodiscard]] bool watches_readable() const noexcept { return readable_; }
  [[nodiscard]] bool watches_writable() const noexcept { return writable_; }

 private:
  static void on_read(int, short, void* self) noexcept;
  static void on_write(int, short, void* self) noexcept;
  ::event* read_;
  ::event* write_;
  Ready ready_;
  bool readable_ = false;
  bool writable_ = false;
};

// Fires once after a delay, unless cancelled or started again.
class Timer {
 public:
  Timer(Loop& loop, Callback fire);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void start(base::Millis delay);
  void cancel();
  [[nodiscard]] bool running() const noexcept { return running_; }

 private:
  static void on_timeout(int, short, void* self) noexcept;
  ::event* event_;
  Callback fire_;
  bool running_ = false;
};

// A POSIX signal, delivered in the loop.
class Signal {
 public:
  Signal(Loop& loop, int number, Callback received);
  ~Signal();
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

 private:
  static void on_signal(int, short, void* self) noexcept;
  ::event* event_;
  Callback received_;
};

// Wakes the loop from another thread: notify() is thread-safe, several calls may become one callback.
class Waker {
 public:
  Waker(Loop& loop, Callback woken);
  ~Waker();
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;
  void notify() noexcept;

 private:
  base::UniqueFd fd_;
  Callback woken_;
  std::unique_ptr<FdEvent> event_;
};

}  // namespace postern::event
