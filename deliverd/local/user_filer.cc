#include "deliverd/local/user_filer.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "deliverd/local/mailbox.h"

namespace postern::local {
namespace {

constexpr std::uint64_t kMebibyte = 1U << 20;
constexpr base::Millis kMebibyteTime{1'000};

// What a process may say is what became of its user's mail, and nothing else.
Filed as_told(const ipc::LeaseRecipient& recipient, const ipc::MailFiled& filed) {
  auto result = filed.result;
  result.number = recipient.number;
  result.failure = ipc::FailureClass::kLocal;
  result.arrival = ipc::Arrival::kFinal;
  if (result.result != ipc::Result::kDelivered && result.result != ipc::Result::kFailed)
    result.result = ipc::Result::kDeferred;
  return {std::move(result), filed.trouble};
}

std::string name_of(const std::string& user, const std::string& domain) { return domain + '/' + user; }

}  // namespace

const ipc::LeaseRecipient& UserFiler::Job::recipient() const { return batch->delivery.lease.recipients[place]; }

UserFiler::Box::Box(UserFiler& filer, std::string user_name, std::string domain_name)
    : owner(filer),
      user(std::move(user_name)),
      domain(std::move(domain_name)),
      timer(filer.loop_, [this]() noexcept { owner.expired(*this); }) {}

UserFiler::UserFiler(event::Loop& loop, const base::Clock& clock, role::Host& host, UserLimits limits)
    : loop_(loop), clock_(clock), host_(host), limits_(limits) {}

UserFiler::~UserFiler() { *alive_ = false; }

void UserFiler::file(deliverd::Delivery delivery, Done done) {
  const auto count = delivery.lease.recipients.size();
  CHECK(count > 0);
  auto batch = std::make_shared<Batch>(Batch{std::move(delivery), {}, count, std::move(done)});
  batch->copies.resize(count);
  std::set<std::string> names;
  for (std::size_t i = 0; i < count; ++i) {
    auto& box = box_for(batch->delivery.lease.recipients[i]);
    box.waiting.push_back({batch, i});
    names.insert(name_of(box.user, box.domain));
  }
  for (const auto& name : names) serve(name);
}

UserFiler::Box& UserFiler::box_for(const ipc::LeaseRecipient& recipient) {
  auto& box = boxes_[name_of(recipient.user, recipient.mailbox_domain)];
  if (!box) box = std::make_unique<Box>(*this, recipient.user, recipient.mailbox_domain);
  return *box;
}

void UserFiler::serve(const std::string& name) {
  const auto at = boxes_.find(name);
  if (at == boxes_.end()) return;  // given up while others were served
  auto& box = *at->second;
  const auto paused = pauses_.find(name);
  if (paused != pauses_.end() && box.life == 0 && clock_.steady() < paused->second.until)
    return give_up(box, "its process did not answer lately");
  if (box.connection) return send_more(box);
  if (box.life == 0 && !box.in_line) start(box);
}

// The configuration's generation counts when the call that brings it is over.
void UserFiler::renew() {
  loop_.defer([this, alive = alive_]() noexcept {
    if (!*alive) return;
    std::vector<Box*> all;
    for (auto& [name, box] : boxes_)
      if (box->life != 0) all.push_back(box.get());
    for (auto* box : all) {
      if (box->life == 0) continue;  // it had to make room meanwhile
      box->outdated = true;
      if (box->filing.empty()) release(*box);
    }
    serve_line();
  });
}

// --- Processes ----------------------------------------------------------------------------------

void UserFiler::start(Box& box) {
  const auto name = name_of(box.user, box.domain);
  if (processes_ == limits_.most && !make_room()) {
    box.in_line = true;
    line_.push_back(name);
    return;
  }
  ++processes_;
  box.life = ++lives_;
  box.timer.start(limits_.patience);
  box.request = host_.ask_mailbox(
      box.user, box.domain,
      [this, alive = alive_, name, life = box.life](std::expected<base::UniqueFd, std::string> channel) noexcept {
        if (*alive) connected(name, life, std::move(channel));
      });
}

// The one that has been idle for the longest time goes.
bool UserFiler::make_room() {
  Box* idlest = nullptr;
  for (auto& [name, box] : boxes_)
    if (box->connection && box->waiting.empty() && box->filing.empty() &&
        (idlest == nullptr || box->idle_since < idlest->idle_since))
      idlest = box.get();
  if (idlest == nullptr) return false;
  release(*idlest);
  return true;
}

void UserFiler::serve_line() {
  while (!line_.empty() && (processes_ < limits_.most || make_room())) {
    const auto name = std::move(line_.front());
    line_.pop_front();
    const auto at = boxes_.find(name);
    if (at == boxes_.end() || !std::exchange(at->second->in_line, false)) continue;
    serve(name);
  }
}

// What it waited for may have been given up meanwhile, and the channel with it.
void UserFiler::connected(const std::string& name, std::uint64_t life,
                          std::expected<base::UniqueFd, std::string> channel) {
  const auto at = boxes_.find(name);
  if (at == boxes_.end() || at->second->life != life) return;
  auto& box = *at->second;
  if (!channel) {
    give_up(box, channel.error());
    return serve_line();
  }
  box.connection = std::make_unique<ipc::Connection<Box, ipc::Role::kLocal, ipc::Role::kMailbox>>(
      loop_, *std::move(channel), box);
  box.timer.cancel();
  send_more(box);
}

void UserFiler::died(Box& box) {
  if (box.life == 0) return;  // it is given up already
  doubt(box);
  for (const auto& [request, job] : std::exchange(box.filing, {}))
    defer(job, "its process ended during the delivery");
  release(box);
  serve_line();
}

// It has been idle for long enough, or it lets us wait for too long.
void UserFiler::expired(Box& box) {
  const bool idle = box.waiting.empty() && box.filing.empty();
  if (!idle) {
    doubt(box);
    pause(name_of(box.user, box.domain));
    give_up(box, box.connection ? "its process does not answer" : "its process does not start");
  } else {
    release(box);
  }
  serve_line();
}

// With what is being filed.
base::Millis UserFiler::patience(const Box& box) const {
  const auto size = box.filing.begin()->second.batch->delivery.lease.body_size;
  return limits_.patience + static_cast<std::int64_t>(size / kMebibyte) * kMebibyteTime;
}

void UserFiler::pause(const std::string& name) {
  if (pauses_.size() >= kMostDoubts) pauses_.clear();
  auto& pause = pauses_[name];
  pause.length = pause.length.count() == 0 ? limits_.first_pause : std::min(pause.length * 2, limits_.longest_pause);
  pause.until = clock_.steady() + pause.length;
}

void UserFiler::rest(Box& box) {
  if (box.outdated) {
    release(box);
  } else {
    box.idle_since = clock_.steady();
    box.timer.start(limits_.idle);
  }
  serve_line();
}

// With its process; what waits goes on with another. It may stand on the stack, so it dies at the end of the turn.
void UserFiler::release(Box& box) {
  const auto name = name_of(box.user, box.domain);
  auto node = boxes_.extract(name);
  CHECK(!node.empty() && box.filing.empty());
  if (box.life != 0) {
    --processes_;
    host_.drop_mailbox(box.request);
    box.life = 0;
  }
  box.timer.cancel();
  if (box.connection) box.connection->channel().close();
  auto waiting = std::exchange(box.waiting, {});
  loop_.defer([gone = std::move(node.mapped())]() noexcept {});
  if (waiting.empty()) return;
  box_for(waiting.front().recipient()).waiting = std::move(waiting);
  serve(name);
}

// --- Mail ---------------------------------------------------------------------------------------

void UserFiler::send_more(Box& box) {
  const bool fresh = box.filing.empty();
  while (!box.outdated && !box.waiting.empty()) {
    const auto& lease = box.waiting.front().batch->delivery.lease;
    if (!box.connection->channel().has_credit<ipc::FileMail>(lease.large ? 0 : lease.body_size)) break;
    auto job = std::move(box.waiting.front());
    box.waiting.pop_front();
    if (send(box, job))
      box.filing.emplace(last_request_, std::move(job));
    else
      defer(job, std::string("its message cannot be passed on: ") + ::strerrordesc_np(errno));
  }
  if (box.filing.empty()) return rest(box);
  if (fresh) box.timer.start(patience(box));
}

bool UserFiler::send(Box& box, const Job& job) {
  const auto& delivery = job.batch->delivery;
  const auto& lease = delivery.lease;
  ipc::Descriptors descriptors;
  if (lease.large) {
    descriptors.push_back(base::UniqueFd::adopt(::fcntl(delivery.file.get(), F_DUPFD_CLOEXEC, 0)));
    if (!descriptors.back().valid()) return false;
  }
  last_request_ = last_request_.next();
  const bool again = doubts_.contains({lease.message, job.recipient().number});
  box.connection->send(ipc::FileMail{last_request_, lease.message, lease.arrived, lease.from, job.recipient(), again,
                                     lease.form, lease.prefix, lease.body_size, lease.large},
                       std::move(descriptors));
  const std::string_view body = delivery.body;
  for (std::size_t at = 0; !lease.large && at < body.size(); at += ipc::kBodySlice)
    box.connection->send(ipc::FileBody{last_request_, {body.substr(at, ipc::kBodySlice)}});
  return true;
}

void UserFiler::filed(Box& box, const ipc::MailFiled& filed) {
  auto at = box.filing.find(filed.request);
  if (at == box.filing.end()) return;
  const auto job = std::move(at->second);
  box.filing.erase(at);
  auto copy = as_told(job.recipient(), filed);
  if (copy.result.result != ipc::Result::kDeferred) {
    doubts_.erase({job.batch->delivery.lease.message, job.recipient().number});
    pauses_.erase(name_of(box.user, box.domain));
  }
  conclude(job, std::move(copy));
  if (!box.filing.empty()) box.timer.start(patience(box));
  send_more(box);
}

void UserFiler::doubt(const Box& box) {
  for (const auto& [request, job] : box.filing) {
    if (doubts_.size() >= kMostDoubts) doubts_.erase(doubts_.begin());
    doubts_.insert({job.batch->delivery.lease.message, job.recipient().number});
  }
}

// All that is for the mailbox is deferred.
void UserFiler::give_up(Box& box, const std::string& why) {
  for (const auto& [request, job] : std::exchange(box.filing, {})) defer(job, why);
  for (const auto& job : std::exchange(box.waiting, {})) defer(job, why);
  release(box);
}

void UserFiler::defer(const Job& job, const std::string& why) {
  const auto& recipient = job.recipient();
  auto copy = deferred(recipient, "the mailbox cannot be filed into: " + why);
  copy.trouble = fmt::format("{}: {}", name_of(recipient.user, recipient.mailbox_domain), why);
  conclude(job, std::move(copy));
}

void UserFiler::conclude(const Job& job, Filed copy) {
  auto& batch = *job.batch;
  batch.copies[job.place] = std::move(copy);
  if (--batch.left > 0) return;
  loop_.defer([batch = job.batch]() noexcept { batch->done(std::move(batch->copies)); });
}

}  // namespace postern::local
