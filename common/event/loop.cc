#include "common/event/loop.h"

#include <event2/event.h>
#include <sys/eventfd.h>

#include <utility>

#include "common/base/check.h"
#include "common/log/log.h"

namespace postern::event {

Loop::Loop() {
  event_config* config = ::event_config_new();
  CHECK(config != nullptr);
  // No change list: it would take a socket out of epoll only after its descriptor was closed, which
  // leaves a listener that other processes share in epoll for ever.
  ::event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
  base_ = ::event_base_new_with_config(config);
  ::event_config_free(config);
  CHECK(base_ != nullptr);
}

Loop::~Loop() {
  deferred_.clear();
  ::event_base_free(base_);
}

void Loop::run() {
  while (!stopped_) run_once(true);
}

void Loop::run_once(bool wait) {
  run_deferred();
  if (stopped_) return;
  // NO_EXIT_ON_EMPTY: a loop without sources waits for the signal that stops it.
  const int flags = wait ? EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY : EVLOOP_ONCE | EVLOOP_NONBLOCK;
  CHECK(::event_base_loop(base_, flags) >= 0);
  run_deferred();
  log::flush();
}

void Loop::defer(Callback task) { deferred_.push_back(std::move(task)); }

void Loop::run_deferred() {
  while (!deferred_.empty()) {
    auto tasks = std::exchange(deferred_, {});
    for (auto& task : tasks) task();
  }
}

FdEvent::FdEvent(Loop& loop, int fd, Ready ready)
    : read_(::event_new(loop.raw(), fd, EV_READ | EV_PERSIST, &FdEvent::on_read, this)),
      write_(::event_new(loop.raw(), fd, EV_WRITE | EV_PERSIST, &FdEvent::on_write, this)),
      ready_(std::move(ready)) {
  CHECK(read_ != nullptr && write_ != nullptr);
}

FdEvent::~FdEvent() {
  ::event_free(read_);
  ::event_free(write_);
}

void FdEvent::watch(bool readable, bool writable) {
  if (readable != std::exchange(readable_, readable))
    readable ? ::event_add(read_, nullptr) : ::event_del(read_);
  if (writable != std::exchange(writable_, writable))
    writable ? ::event_add(write_, nullptr) : ::event_del(write_);
}

void FdEvent::on_read(int, short, void* self) noexcept {
  static_cast<FdEvent*>(self)->ready_(true, false);
}
void FdEvent::on_write(int, short, void* self) noexcept {
  static_cast<FdEvent*>(self)->ready_(false, true);
}

Timer::Timer(Loop& loop, Callback fire)
    : event_(::event_new(loop.raw(), -1, 0, &Timer::on_timeout, this)), fire_(std::move(fire)) {
  CHECK(event_ != nullptr);
}

Timer::~Timer() { ::event_free(event_); }

void Timer::start(base::Millis delay) {
  const auto ms = delay.count() < 0 ? 0 : delay.count();
  const timeval interval{static_cast<time_t>(ms / 1000), static_cast<suseconds_t>(ms % 1000 * 1000)};
  ::event_add(event_, &interval);
  running_ = true;
}

void Timer::cancel() {
  if (std::exchange(running_, false)) ::event_del(event_);
}

void Timer::on_timeout(int, short, void* self) noexcept {
  auto& timer = *static_cast<Timer*>(self);
  timer.running_ = false;
  timer.fire_();
}

Signal::Signal(Loop& loop, int number, Callback received)
    : event_(::event_new(loop.raw(), number, EV_SIGNAL | EV_PERSIST, &Signal::on_signal, this)),
      received_(std::move(received)) {
  CHECK(event_ != nullptr && ::event_add(event_, nullptr) == 0);
}

Signal::~Signal() { ::event_free(event_); }

void Signal::on_signal(int, short, void* self) noexcept { static_cast<Signal*>(self)->received_(); }

Waker::Waker(Loop& loop, Callback woken)
    : fd_(base::UniqueFd::adopt(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))), woken_(std::move(woken)) {
  CHECK(fd_.valid());
  event_ = std::make_unique<FdEvent>(loop, fd_.get(), [this](bool, bool) noexcept {
    eventfd_t count;
    if (::eventfd_read(fd_.get(), &count) == 0) woken_();
  });
  event_->watch(true, false);
}

Waker::~Waker() = default;

void Waker::notify() noexcept { ::eventfd_write(fd_.get(), 1); }

}  // namespace postern::event
