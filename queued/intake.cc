#include "queued/intake.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "common/config/account_limits.h"
#include "common/config/senders.h"
#include "common/log/log.h"
#include "common/mail/trace.h"
#include "queued/expansion.h"
#include "queued/listings.h"
#include "queued/reserve.h"

namespace postern::queued {
namespace {

constexpr std::size_t kMaxLargeFiles = 4096;  // of one smtpd, not submitted
constexpr std::uint64_t kUnlimitedBody = 64ULL << 20;  // what is reckoned with where there is no limit
constexpr std::size_t kMostUnheard = 4096;  // of one smtpd; tokens of others are forgotten with time
constexpr std::uint64_t kMaxLag = 200'000;  // records that the index does not know yet

mail::Reply reply(std::uint16_t code, mail::EnhancedCode enhanced, std::string text) {
  return {code, enhanced, {std::move(text)}};
}

// As the client named them.
std::uint32_t recipients_of(const Submission& submission) {
  return static_cast<std::uint32_t>(submission.recipients.size());
}

// Whom next hops are told of, where there are such. With nothing in it: nobody but this host.
ipc::FirstClient first_client(const ipc::Submit& head, bool socket) {
  if (socket) return {};
  if (head.first) return *head.first;
  ipc::FirstClient first;
  if (!head.origin.client().is_unspecified()) first.address = head.origin.client();
  first.name = head.client_name;
  first.hello = head.hello;
  first.protocol = head.esmtp ? "ESMTP" : "SMTP";
  return first;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text.append(text.empty() ? "" : ",").append(name);
  return text;
}

mail::Reply disk_low() { return reply(452, {4, 3, 1}, "Insufficient system storage, try later"); }

}  // namespace

Intake::Intake(event::Loop& loop, Engine& engine)
    : loop_(loop),
      engine_(engine),
      callers_(engine, [this](const std::string& queue) noexcept { (void)start(queue); }) {
  engine_.on_blocks([this]() noexcept {
    tell_state();
    end_locked();
    callers_.review();
  });
}

void Intake::connect(std::uint32_t index, const std::vector<base::ListenerIndex>& listeners,
                     base::UniqueFd fd) {
  auto& place = submitters_[index];
  if (fd.valid()) {
    // What the former channel still holds unread is never looked at: its smtpd asks by token next.
    if (place) forget_large(*place);
    place = std::make_unique<Submitter>(*this, SubmitterId(++last_id_), loop_, std::move(fd));
    place->send(state());
    told_code_ = state().refusal.code;  // as all others were told
  }
  if (place) place->index = index;
  if (place)
    place->listeners = {listeners.begin(), listeners.end()};
  else
    submitters_.erase(index);
}

Submitter* Intake::find(SubmitterId id) {
  for (const auto& [index, submitter] : submitters_)
    if (submitter->id() == id) return submitter.get();
  return nullptr;
}

void Intake::closed(Submitter& which) {
  if (!which.channel().trouble().empty())
    log::warning("channel.broken").field("peer", "smtpd").field("reason", which.channel().trouble());
  forget_large(which);
  const auto id = which.id();
  std::erase_if(submitters_, [&](const auto& entry) { return entry.second->id() == id; });
}

void Intake::forget_large(Submitter& which) {
  for (const auto id : which.large) engine_.store().drop_large(id);
  which.large.clear();
}

void Intake::drop(Submitter& which, std::string_view why) {
  which.stop_hearing();
  log::error("channel.malformed").field("peer", "smtpd").field("reason", why);
  loop_.defer([this, id = which.id()]() noexcept {
    if (Submitter* gone = find(id)) closed(*gone);
  });
}

// --- Room -------------------------------------------------------------------------------------------

std::optional<mail::Reply> Intake::refusal() const {
  if (engine_.blocks().intake().disabled)
    return reply(421, {4, 3, 2}, "No mail is accepted now, try later");
  if (!open()) return disk_low();
  return std::nullopt;
}

ipc::Intake Intake::state() const {
  const auto why = refusal();
  return {!why, why ? ipc::to_ipc(*why) : ipc::ReplyText{}};
}

void Intake::tell_state() {
  const auto why = refusal();
  if (std::exchange(told_code_, why ? why->code : 0) == (why ? why->code : 0)) return;
  for (const auto& [index, submitter] : submitters_) submitter->send(state());
}

// Dots are stuffed, so the stored size may exceed the message's by a third.
std::uint64_t Intake::largest_body() const {
  const auto limit = engine_.config().message_size;
  return limit == 0 ? kUnlimitedBody : limit / 3 * 4 + 1024;
}

std::uint64_t Intake::in_flight() const {
  std::uint64_t files = opening_;
  for (const auto& [index, submitter] : submitters_) files += submitter->large.size();
  return files * largest_body();
}

// Why nothing can be taken now; empty: it can.
std::string Intake::find_lack() const {
  const auto health = engine_.store().health();
  if (!health.lack.empty()) return health.lack;
  const auto stop = engine_.config().stop_intake;
  if (health.free < stop)
    return fmt::format("{} MiB free, below space.stop_intake", health.free >> 20);
  // Each large file is checked for by itself; half of what is kept free is enough for the rest. Once
  // closed, a little more must be free, so that it does not open and close all the time.
  const auto spare = open() ? 0 : stop / 16;
  if (health.free < stop + std::min(in_flight(), stop / 2) + spare)
    return fmt::format("{} MiB free, space.stop_intake would be reached by what is under way",
                       health.free >> 20);
  if (health.index_map != 0 && health.index_used / 4 >= health.index_map / 5)
    return "the index is full to four fifths";
  if (health.checkpoint_lag > kMaxLag)
    return fmt::format("the index is {} records behind", health.checkpoint_lag);
  return {};
}

void Intake::check_room() {
  const bool was_open = open();
  closed_why_ = find_lack();
  if (open() == was_open) return;
  log::warning(open() ? "intake.opened" : "intake.closed").field("reason", closed_why_);
  tell_state();
}

// --- Submissions ------------------------------------------------------------------------------------

std::optional<mail::Reply> Intake::check_account(const Submission& submission) const {
  const auto& account = submission.account;
  const auto& config = engine_.config();
  const auto* limits = config::limits_of(config.accounts, account);
  if (limits == nullptr) return std::nullopt;
  const auto& from = submission.head.from;
  if (!limits->senders.empty() && !from.is_null()) {  // receipts for what was read come from nobody (RFC 8098 3)
    const auto& address = from.address();
    const auto may = [&](const std::string& name) {
      return config::may_send_as(limits->senders, account, config.default_domain, name);
    };
    if (!may(config::sender_name(address.local_part(), address.domain())) &&
        !may(engine_.router().sender_name(address)))
      return reply(550, {5, 7, 1}, fmt::format("Account {} may not send as this sender", account));
  }
  return usage_.refusal(*limits, account, recipients_of(submission), engine_.now());
}

// Null: nothing is against it; then it has the recipients that it will be kept with.
std::optional<mail::Reply> Intake::check(Submission& submission, const Submitter& from) const {
  const auto& head = submission.head;
  const auto& config = engine_.config();
  if (auto no = refusal()) return no;
  if (config.message_size != 0 && head.body_size > largest_body())
    return reply(552, {5, 3, 4}, "Message too large");
  if (config.recipients != 0 && submission.recipients.size() > config.recipients)
    return reply(452, {4, 5, 3}, "Too many recipients");
  if (head.session != base::Token{}) {
    const auto* const account = tickets_.account_of(head.session, from.index);
    // It may have been given to a queued before this one, or auth tells of it any moment.
    if (account == nullptr) return reply(451, {4, 7, 0}, "Your login is not known any more, try again");
    submission.account = *account;
  }
  std::vector<Named> named;
  named.reserve(submission.recipients.size());
  std::size_t expanded = 0;  // at most so many they become
  for (auto& recipient : submission.recipients) {
    auto decision = engine_.decide(head.listener, head.origin, recipient.address,
                                         !submission.account.empty());
    switch (decision.verdict) {
      case config::Verdict::kLocal:
      case config::Verdict::kRelay:
        break;
      case config::Verdict::kNoSuchUser:
        return reply(550, {5, 1, 1}, "No such user here");
      case config::Verdict::kRelayDenied:
        return reply(550, {5, 7, 1}, "Relay access denied");
    }
    expanded += decision.count();
    if (!engine_.store().fits(expanded, head.large.value == 0 ? head.body_size : 0))
      return reply(452, {4, 5, 3}, "Too many recipients");
    named.push_back({std::move(recipient.address), recipient.notify, std::move(recipient.orcpt),
                     std::move(decision)});
  }
  if (auto no = check_account(submission)) return no;
  if (named.size() == 1) submission.alias = named.front().decision.alias;
  submission.replaced = expand(std::move(named), head.from.is_null(),
                               [&](const mail::Address& address) { return engine_.router().key(address); });
  submission.count = submission.replaced.size();
  return std::nullopt;
}

// What may have been ordered while its file was sealed.
std::optional<mail::Reply> Intake::stopped(const Submission& submission) const {
  if (engine_.blocks().intake().disabled) return refusal();
  if (!submission.account.empty() && engine_.blocks().locked(submission.account) != nullptr)
    return reply(451, {4, 7, 0}, "Your login is not known any more, try again");
  return std::nullopt;
}

void Intake::submit(Submission submission) {
  Submitter* from = find(submission.from);
  if (from == nullptr) return;
  const auto& token = submission.head.token;
  const auto large = submission.head.large;
  if (pending_.contains(token)) return drop(*from, "a token was used twice");
  if (large.value != 0 && from->large.erase(large) == 0)
    return drop(*from, "a large file that it does not have");
  // It was lost and asked for, and comes again although it is here.
  if (const auto known = engine_.store().find_token(token)) {
    if (large.value != 0 && large != *known) engine_.store().drop_large(large);
    return engine_.store().when_sure(
        [this, id = *known, sender = submission.from, request = submission.head.request]() noexcept {
          if (Submitter* to = find(sender)) to->send(ipc::Submitted{request, id, {}});
        });
  }
  if (!from->serves(submission.head.listener)) {
    if (large.value != 0) engine_.store().drop_large(large);
    return refuse(submission, reply(550, {5, 7, 1}, "Relay access denied"));
  }
  if (const auto no = check(submission, *from)) {
    if (large.value != 0) engine_.store().drop_large(large);
    return refuse(submission, *no);
  }
  count(submission);
  pending_[token];  // from now on whoever asks for it waits
  if (large.value == 0) return store(std::move(submission), 0);
  const auto size = submission.head.body_size;
  engine_.store().seal_large(
      large, size,
      [this, submission = std::move(submission)](os::Result<std::uint32_t> crc) mutable noexcept {
        // It may be a second since it was checked, and whoever stopped such mail meanwhile was told so.
        if (const auto no = crc ? stopped(submission) : std::nullopt) {
          engine_.store().drop_large(submission.head.large);
          return refuse(submission, *no);
        }
        if (crc) return store(std::move(submission), *crc);
        log::error("large.refused")
            .field("id", submission.head.large)
            .field("reason", crc.error().text());
        engine_.store().drop_large(submission.head.large);
        refuse(submission,
               is_exhausted(crc.error())
                   ? disk_low()
                   : reply(451, {4, 3, 0}, "The message could not be stored, try again"));
      });
}

// Mail that comes in from others is nobody's here.
void Intake::count(Submission& submission) {
  if (config::limits_of(engine_.config().accounts, submission.account) == nullptr) return;
  submission.counted = engine_.now();
  usage_.add(submission.account, recipients_of(submission), *submission.counted);
}

void Intake::store(Submission submission, std::uint32_t crc) {
  const auto& head = submission.head;
  MessageRecord record;
  record.id = head.large.value != 0 ? head.large : engine_.store().new_id();
  record.token = head.token;
  record.arrived = engine_.store().clock().wall();
  record.born = engine_.now();
  record.client = head.origin.client();
  record.hello = head.hello;
  record.from = head.from;
  record.form = head.form;
  record.eight_bit = head.eight_bit;
  record.smtputf8 = head.smtputf8;
  record.ret = head.ret;
  record.envid = head.envid;
  record.tls_wish = head.tls_wish;
  record.large = head.large.value != 0;
  record.body_size = head.body_size;
  record.body_crc = crc;
  const bool socket = engine_.router().is_socket(head.listener);
  if (engine_.router().passes_clients()) record.first = first_client(head, socket);
  mail::Received received;
  received.hello = head.hello;
  if (!socket) received.client = head.origin.client();
  received.client_name = head.client_name;
  received.forwarded = head.forwarded;
  received.hostname = engine_.config().hostname;
  received.logged_in = !submission.account.empty();
  received.tls = head.tls;
  received.tls_peer = head.tls_peer;
  received.with = head.smtputf8 ? mail::WithProtocol::kUtf8Smtp
                  : head.esmtp  ? mail::WithProtocol::kEsmtp
                                : mail::WithProtocol::kSmtp;
  received.id = record.id;
  const auto& alias = submission.alias;
  if (!alias && submission.count == 1) received.only_recipient = &submission.replaced.front().address;
  // Beyond ASCII it would need SMTPUTF8 wherever it goes, though none of its recipients may (RFC 6531 3.7.3).
  if (alias && !alias->address.needs_utf8()) received.only_recipient = &alias->address;
  received.when = record.arrived;
  // So that smtpd knows it when it comes back. Where others were named too, they would learn of the alias.
  if (alias) record.prefix = fmt::format("Delivered-To: {}\r\n", mail::delivered_to(alias->address));
  record.prefix += mail::received_field(received);
  if (!submission.account.empty() && !head.has_date) record.prefix += mail::date_field(record.arrived);
  if (!submission.account.empty() && !head.has_message_id)
    record.prefix += mail::message_id_field(record.id, received.hostname);
  record.recipients = std::move(submission.replaced);
  record.held = engine_.standing_hold(record);
  record.held_since = record.born;
  const auto id = record.id;
  Bytes body = std::move(submission.body);
  engine_.store().accept(std::move(record), std::move(body),
                         [this, id, submission = std::move(submission)](bool stored) noexcept {
                           if (stored) return accepted(submission, id);
                           if (const auto large = submission.head.large; large.value != 0)
                             engine_.store().drop_large(large);
                           refuse(submission, disk_low());
                         });
}

void Intake::log_accepted(const Submission& submission, base::MessageId id) {
  const auto& head = submission.head;
  auto line = log::info("message.accepted")
                  .field("id", id)
                  .field("from", head.from.text())
                  .field("nrcpt", submission.count)
                  .field("size", head.body_size)
                  .field("client", head.origin.client());
  if (head.origin.client() != head.origin.peer) (void)std::move(line).field("peer", head.origin.peer);
  if (submission.alias) (void)std::move(line).field("alias", submission.alias->address.text());
  if (!head.client_name.empty()) (void)std::move(line).field("name", head.client_name);
  if (!head.forwarded.empty()) (void)std::move(line).field("forwarded", head.forwarded);
  if (!submission.account.empty()) (void)std::move(line).field("account", submission.account);
  if (!head.tls.empty()) (void)std::move(line).field("tls", head.tls);
  if (!head.tls_peer.empty()) (void)std::move(line).field("certificate", head.tls_peer);
  if (head.tls_wish == mail::TlsWish::kRequired) (void)std::move(line).field("requires", "tls");
}

// The record is flushed: only now anybody hears of it.
void Intake::accepted(const Submission& submission, base::MessageId id) {
  const auto& head = submission.head;
  engine_.counters().accepted.add(engine_.store().clock().steady());
  log_accepted(submission, id);
  if (const Message* message = engine_.store().find(id); message && !message->held.empty())
    log::info("message.held").field("id", id).field("reason", message->held);
  if (Submitter* to = find(submission.from)) {
    to->send(ipc::Submitted{head.request, id, {}});
    if (to->unheard.size() < kMostUnheard) to->unheard.emplace(head.request, head.token);
  }
  answer_waiting(head.token, id);
  engine_.admit(id);
}

// So nobody will ask for their tokens.
void Intake::heard(Submitter& which, base::RequestId before) {
  const auto end = which.unheard.lower_bound(before);
  for (auto at = which.unheard.begin(); at != end; ++at) engine_.store().forget_token(at->second);
  which.unheard.erase(which.unheard.begin(), end);
}

void Intake::refuse(const Submission& submission, const mail::Reply& why) {
  engine_.counters().refused.add(engine_.store().clock().steady());
  if (submission.counted)
    usage_.take_back(submission.account, recipients_of(submission), *submission.counted);
  auto line = log::info("message.refused")
                  .field("from", submission.head.from.text())
                  .field("client", submission.head.origin.client())
                  .field("reply", why.text());
  if (!submission.account.empty()) (void)std::move(line).field("account", submission.account);
  if (Submitter* to = find(submission.from))
    to->send(ipc::Submitted{submission.head.request, {}, ipc::to_ipc(why)});
  answer_waiting(submission.head.token, {});
}

void Intake::answer_waiting(const base::Token& token, base::MessageId id) {
  const auto at = pending_.find(token);
  if (at == pending_.end()) return;
  const auto waiting = std::move(at->second);
  pending_.erase(at);
  for (const auto& [from, request] : waiting)
    if (Submitter* to = find(from)) to->send(ipc::TokenResult{request, id});
}

void Intake::ask(Submitter& from, const ipc::AskToken& ask) {
  if (const auto id = engine_.store().find_token(ask.token))
    return engine_.store().when_sure(
        [this, known = *id, asker = from.id(), request = ask.request]() noexcept {
          if (Submitter* to = find(asker)) to->send(ipc::TokenResult{request, known});
        });
  if (const auto at = pending_.find(ask.token); at != pending_.end()) {
    at->second.push_back({from.id(), ask.request});
    return;
  }
  // Whoever still sends it may not finish: the answer is "never".
  for (const auto& [index, submitter] : submitters_)
    if (submitter->assembles(ask.token)) drop(*submitter, "a token is asked for while it is sent");
  from.send(ipc::TokenResult{ask.request, {}});
}

// --- Accounts ---------------------------------------------------------------------------------------

// The sessions of accounts that are locked now.
void Intake::end_locked() {
  for (const auto& lock : engine_.blocks().locks()) {
    const auto sessions = tickets_.drop_account(lock.account);
    if (sessions == 0) continue;
    log::info("account.ended").field("account", lock.account).field("sessions", sessions);
    for (const auto& [index, submitter] : submitters_) submitter->send(ipc::EndAccount{lock.account});
  }
}

// --- Large files ------------------------------------------------------------------------------------

void Intake::open_large(Submitter& from, const ipc::OpenLarge& open) {
  if (from.large.size() >= kMaxLargeFiles) return from.send(ipc::LargeOpened{open.request, {}});
  ++opening_;
  const auto room = engine_.config().stop_intake + in_flight();
  engine_.store().open_large(room, [this, id = from.id(), request = open.request](
                                       os::Result<LargeFile> file) noexcept {
    --opening_;
    Submitter* to = find(id);
    if (!file) {
      log::error("large.unopened").field("reason", file.error().text());
      if (to != nullptr) to->send(ipc::LargeOpened{request, {}});
      return;
    }
    if (to == nullptr) return engine_.store().drop_large(file->id);
    to->large.insert(file->id);
    ipc::Descriptors descriptors;
    descriptors.push_back(std::move(file->fd));
    to->send(ipc::LargeOpened{request, file->id}, std::move(descriptors));
  });
}

void Intake::abandon_large(Submitter& from, base::MessageId id) {
  if (from.large.erase(id) == 0) return drop(from, "a large file that it does not have");
  engine_.store().drop_large(id);
}

// --- Recipients ------------------------------------------------------------------------------------

// Only of domains whose next hop is to be asked: an smtpd gets no probe of anybody else.
void Intake::ask_recipient(Submitter& from, const ipc::AskRecipient& ask) {
  const auto answer = [this, id = from.id(),
                       request = ask.request](const std::optional<mail::Reply>& refusal) noexcept {
    if (Submitter* to = find(id))
      to->send(ipc::RecipientKnown{request, refusal ? ipc::to_ipc(*refusal) : ipc::ReplyText{}});
  };
  if (!engine_.router().asks(ask.address))
    return answer(reply(451, {4, 3, 0}, "This recipient cannot be asked for, try again later"));
  // As it will be delivered: the host may not know that the name stands for a domain of its own.
  const auto address = engine_.router().find(ask.address).rewritten.value_or(ask.address);
  const auto route = engine_.router().route(address);
  const auto* queue = engine_.schedule().find(route.queue);
  const bool blocked = engine_.blocks().blocked(route.queue, route.destination) != Blocked::kNo ||
                       (queue != nullptr && queue->hop() != nullptr && queue->hop()->frozen);
  engine_.asking().ask(address, route, blocked, answer);
}

// --- Names of clients -------------------------------------------------------------------------------

void Intake::ask_name(Submitter& from, const ipc::AskName& ask) {
  last_naming_ = last_naming_.next();
  naming_.emplace(last_naming_, Waiting{from.id(), ask.request});
  if (ask_name_({last_naming_, ask.client})) return;
  named({last_naming_, ipc::NameState::kUnclear, {}, {}});
}

void Intake::named(const ipc::NameKnown& known) {
  const auto at = naming_.find(known.request);
  if (at == naming_.end()) return;
  const auto waiting = at->second;
  naming_.erase(at);
  if (Submitter* to = find(waiting.from))
    to->send(ipc::NameKnown{waiting.request, known.state, known.name, known.ttl});
}

// --- Connections that were turned round --------------------------------------------------------------

// Which smtpd serves what, the parent says; connections that were turned round any of them may have been given, also
// by an earlier queued.
bool Submitter::serves(base::ListenerIndex listener) const {
  return listeners.contains(listener) || (listener == config::kTurned && owner_.has_turned());
}

// Of those that serve strangers, if there are such, one after the other.
bool Intake::serve(const ipc::ServeTurned& turned, base::UniqueFd fd) {
  std::vector<Submitter*> all, best;
  const auto& listeners = engine_.config().rights.listeners;
  for (const auto& [index, submitter] : submitters_) {
    all.push_back(submitter.get());
    if (std::ranges::any_of(submitter->listeners, [&](base::ListenerIndex listener) {
          return listener.value < listeners.size() && listeners[listener.value].service == config::Service::kMx;
        }))
      best.push_back(submitter.get());
  }
  const auto& able = best.empty() ? all : best;
  if (able.empty()) return false;
  collects_ = true;
  ipc::Descriptors descriptors;
  descriptors.push_back(std::move(fd));
  able[turn_++ % able.size()]->send(turned, std::move(descriptors));
  return true;
}

// --- Queues that clients have started ----------------------------------------------------------------

bool Intake::may_start(const Submitter& from, const ipc::StartQueue& start) const {
  if (!from.serves(start.listener)) return false;
  if (engine_.router().may_start(start.listener, start.origin)) return true;
  const auto* const account = tickets_.account_of(start.session, from.index);
  if (account == nullptr) return false;
  const auto* const limits = config::limits_of(engine_.config().accounts, *account);
  return limits != nullptr && limits->etrn;
}

// Who asks again and again has hosts tried no more often, and costs no more.
bool Intake::start(const std::string& queue) {
  const auto now = engine_.store().clock().steady();
  std::erase_if(started_, [&](const auto& one) { return now - one.second >= kStartRest; });
  if (started_.size() >= kMostStarted) return false;
  if (started_.try_emplace(queue, now).second) engine_.retry_queue(queue);
  return true;
}

// RFC 1985 5.3. What is blocked stays blocked, and its client hears nothing of that.
void Intake::start_queue(Submitter& from, const ipc::StartQueue& start) {
  const auto answer = [&](const mail::Reply& said) {
    log::info("queue.asked")
        .field("queue", start.queue)
        .field("client", start.origin.client())
        .field("reply", said.text());
    from.send(ipc::QueueStarted{start.request, ipc::to_ipc(said)});
  };
  if (!may_start(from, start))
    return answer(reply(459, {4, 7, 1}, fmt::format("Node {} not allowed", start.queue)));
  const auto waiting = engine_.schedule().volume(start.queue).messages;
  if (waiting == 0) return answer(reply(251, {2, 0, 0}, fmt::format("No messages waiting for node {}", start.queue)));
  if (!this->start(start.queue))
    return answer(reply(458, {4, 3, 0}, fmt::format("Unable to queue messages for node {}", start.queue)));
  answer(reply(253, {2, 0, 0}, fmt::format("{} pending messages for node {} started", waiting, start.queue)));
}

// RFC 2645 4. Who has logged in auth says, and what he may take the configuration.
void Intake::turn_session(Submitter& from, const ipc::TurnSession& turn) {
  const auto answer = [&](const mail::Reply& said, std::string_view account, std::string_view why,
                          ipc::Descriptors descriptors = {}) {
    auto line = log::info("queue.called")
                    .field("account", account)
                    .field("client", turn.origin.client())
                    .field("queues", joined(turn.queues))
                    .field("reply", said.text());
    if (!turn.tls.empty()) (void)std::move(line).field("tls", turn.tls);
    if (!why.empty()) (void)std::move(line).field("reason", why);
    from.send(ipc::SessionTurned{turn.request, ipc::to_ipc(said)}, std::move(descriptors));
  };
  const auto* const account =
      from.serves(turn.listener) ? tickets_.account_of(turn.session, from.index) : nullptr;
  if (account == nullptr)
    return answer(reply(451, {4, 7, 0}, "Your login is not known any more, try again"), {}, {});
  auto taken = callers_.take({*account, turn.origin.client(), turn.tls, turn.queues});
  if (!taken) return answer(taken.error().reply, *account, taken.error().why);
  ipc::Descriptors descriptors;
  descriptors.push_back(*std::move(taken));
  answer(reply(250, {2, 0, 0}, "Ok, now reversing the connection"), *account, {}, std::move(descriptors));
}

}  // namespace postern::queued
