#include "parent/mailboxes.h"

#include <algorithm>
#include <utility>

namespace postern::parent {
namespace {
constexpr std::uint32_t kStopSeconds = 2;  // its own time to finish
constexpr base::Millis kLook{200};         // at those that are to end
}  // namespace

Mailboxes::Mailboxes(event::Loop& loop, LogPump& log, Answer answer, event::Callback ended, MailboxLimits limits)
    : loop_(loop),
      log_(log),
      answer_(std::move(answer)),
      ended_(std::move(ended)),
      limits_(limits),
      slow_(loop, [this]() noexcept { end_slow(); }) {}

Mailboxes::~Mailboxes() { *alive_ = false; }

Mailboxes::Process* Mailboxes::of(const Child& child) noexcept {
  const auto at = std::find_if(processes_.begin(), processes_.end(),
                               [&](const auto& process) { return process->child.get() == &child; });
  return at == processes_.end() ? nullptr : at->get();
}

Mailboxes::Process* Mailboxes::of(const std::string& mailbox) noexcept {
  const auto at = std::find_if(processes_.begin(), processes_.end(),
                               [&](const auto& process) { return process->mailbox == mailbox; });
  return at == processes_.end() ? nullptr : at->get();
}

// One that is there already is of no more use to who asks for another.
void Mailboxes::ask(base::RequestId request, std::string mailbox, Child::Spec spec) {
  if (auto* const earlier = of(mailbox)) stop(*earlier);
  waiting_.push_back({request, std::move(mailbox), std::move(spec)});
  serve_waiting();
}

void Mailboxes::drop(base::RequestId request) {
  const auto waits = std::find_if(waiting_.begin(), waiting_.end(),
                                  [&](const Wanted& wanted) { return wanted.request == request; });
  if (waits != waiting_.end()) {
    waiting_.erase(waits);
    return answer_({request, "it was asked for in vain"}, {});
  }
  for (auto& process : processes_)
    if (process->request == request) stop(*process);
}

void Mailboxes::forget_asker() {
  waiting_.clear();
  for (auto& process : processes_) {
    process->answered = true;
    stop(*process);
  }
}

void Mailboxes::serve_waiting() {
  for (std::size_t i = 0; i < waiting_.size() && processes_.size() < limits_.most;) {
    if (of(waiting_[i].mailbox) != nullptr) {
      ++i;
      continue;
    }
    auto wanted = std::move(waiting_[i]);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    start(std::move(wanted));
  }
}

void Mailboxes::start(Wanted wanted) {
  auto& process = *processes_.emplace_back(std::make_unique<Process>());
  process.request = wanted.request;
  process.mailbox = std::move(wanted.mailbox);
  process.child = std::make_unique<Child>(loop_, log_, std::move(wanted.spec), *this);
  process.child->start();
}

void Mailboxes::stop(Process& process) {
  if (std::exchange(process.stopping, true)) return;
  tell(process, "its process was stopped", {});
  process.since = base::system_clock().steady();
  process.child->stop(kStopSeconds);
  if (!slow_.running()) slow_.start(kLook);
}

void Mailboxes::tell(Process& process, std::string error, base::UniqueFd channel) {
  if (std::exchange(process.answered, true)) return;
  answer_({process.request, std::move(error)}, std::move(channel));
}

void Mailboxes::on_child_ready(Child& child) {
  auto& process = *of(child);
  auto pair = ipc::make_channel_pair();
  child.link().send(ipc::Peer{ipc::Role::kLocal, 0, {}}, std::move(pair.b));
  tell(process, {}, std::move(pair.a));
}

void Mailboxes::on_child_unable(Child& child, const std::string& why) {
  auto& process = *of(child);
  tell(process, why, {});
  stop(process);
}

// Its own call is still on the stack.
void Mailboxes::on_child_dead(Child& child) {
  tell(*of(child), "its process ended at its start", {});
  loop_.defer([this, alive = alive_, dead = &child]() noexcept {
    if (!*alive) return;
    std::erase_if(processes_, [dead](const auto& process) { return process->child.get() == dead; });
    serve_waiting();
    ended_();
  });
}

void Mailboxes::reap() noexcept {
  for (auto& process : processes_) process->child->reap();
}

void Mailboxes::kill() noexcept {
  for (auto& process : processes_) process->child->kill();
}

// A user may have stopped the process that files for him.
void Mailboxes::end_slow() noexcept {
  const auto now = base::system_clock().steady();
  bool more = false;
  for (auto& process : processes_) {
    if (!process->stopping) continue;
    more = true;
    if (now - process->since >= limits_.patience) process->child->kill();
  }
  if (more) slow_.start(kLook);
}

}  // namespace postern::parent
