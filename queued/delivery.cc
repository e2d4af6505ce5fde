#include "queued/delivery.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "common/base/check.h"
#include "common/log/log.h"

namespace postern::queued {
namespace {

// With deliverers that say nothing: 2 s. In steps, of which the loop counts one at a time however late it
// comes to it: where the host stands still, what deliverers said meanwhile is read first.
constexpr base::Millis kPatience{100};
constexpr int kPatienceSteps = 20;
constexpr std::size_t kMostUnsent = 8U << 20;  // to one deliverer, before its next lease waits
constexpr base::Millis kDrainPause{2};
constexpr std::size_t kReadAhead = 64;  // messages
constexpr std::uint32_t kMaxDeaths = 2;
constexpr base::Millis kFirstReturnDelay{1'000};
constexpr std::uint32_t kMaxReturnDoublings = 6;

bool is_told_of_clients(const config::HopSpec& hop) {
  return hop.pass_client != config::PassClient::kNone;
}

// Does it take the session for that of the client that it is told of?
bool gives_rights(const config::HopSpec& hop) {
  return hop.pass_client == config::PassClient::kXclient || hop.pass_client == config::PassClient::kProxy;
}

// Whom next hops are told of; none: nobody but this host, which is another thing than a client that nobody knows.
// On whichever way: while the body is read the queue may have gone on to another.
std::optional<ipc::FirstClient> told_client(const Message& message, const std::vector<config::HopSpec>& via) {
  if (message.notice || std::ranges::none_of(via, is_told_of_clients)) return std::nullopt;
  ipc::FirstClient client;
  if (!message.client.is_unspecified()) client.address = message.client;
  client.hello = message.hello;
  const auto& first = message.first;
  if (!first) return client;
  if (*first == ipc::FirstClient{}) return std::nullopt;
  // What XFORWARD says has no rights here, and gets none there.
  if (first->address != client.address && std::ranges::any_of(via, gives_rights)) return client;
  return *first;
}

}  // namespace

Deliverer::Deliverer(Delivery& owner, DelivererId id, bool local, event::Loop& loop,
                     base::UniqueFd fd)
    : owner_(owner), id_(id), local_(local) {
  if (local)
    mailbox_ = std::make_unique<decltype(mailbox_)::element_type>(loop, std::move(fd), *this);
  else
    relay_ = std::make_unique<decltype(relay_)::element_type>(loop, std::move(fd), *this);
}

ipc::Channel& Deliverer::channel() { return local_ ? mailbox_->channel() : relay_->channel(); }
void Deliverer::on(const ipc::HeldLeases& held) { owner_.held(*this, held); }
void Deliverer::on(const ipc::HopFound& found) { owner_.hop_found(*this, found); }
void Deliverer::on(const ipc::GrantEnded& ended) { owner_.grant_ended(*this, ended); }
void Deliverer::on(const ipc::AskWork& ask) { owner_.ask(*this, ask); }
void Deliverer::on(const ipc::Outcome& outcome) { owner_.outcome(*this, outcome); }
void Deliverer::on(const ipc::Probed& probed) { owner_.probed(probed); }
void Deliverer::on(const ipc::NameKnown& known) { owner_.named(known); }
void Deliverer::on(const ipc::TurnedRound& turned, ipc::Descriptors descriptors) {
  owner_.turned(*this, turned, descriptors.empty() ? base::UniqueFd() : std::move(descriptors.front()));
}
void Deliverer::on(const ipc::Collected& collected) { owner_.collected(*this, collected); }
void Deliverer::closed() noexcept { owner_.closed(*this); }

Delivery::Delivery(event::Loop& loop, Engine& engine)
    : loop_(loop),
      engine_(engine),
      patience_(loop, [this]() noexcept { lose_patience(); }),
      drain_(loop, [this]() noexcept { send_backlog(); }) {
  engine_.set_perform([this](Action action) noexcept { perform(std::move(action)); });
  engine_.set_break([this](const LeaseInfo& lease) noexcept { break_off(lease); });
  engine_.asking().set_probe([this](const ipc::Probe& one) noexcept { return probe(one); });
  patience_.start(kPatience);
}

// --- Coming and going -------------------------------------------------------------------------------

void Delivery::connect(ipc::Role role, std::uint32_t index, base::UniqueFd fd) {
  auto& place = deliverers_[{role, index}];
  if (place) {
    lost_probes(place->id());
    lost_names(place->id());
    lost_collects(place->id());
    lost({role, index}, engine_.schedule().deliverer_down(place->id()));
  }
  place = std::make_unique<Deliverer>(*this, DelivererId(++last_id_), role == ipc::Role::kLocal,
                                      loop_, std::move(fd));
}

void Delivery::expect(std::uint32_t deliverers) {
  expected_ = deliverers;
  check_open();
}

void Delivery::check_open() {
  if (opening_ || !expected_) return;
  const auto told = std::count_if(deliverers_.begin(), deliverers_.end(),
                                  [](const auto& entry) { return entry.second->told_all; });
  if (static_cast<std::uint32_t>(told) < *expected_) return;
  waited_ = kPatienceSteps;
  patience_.start(base::Millis(0));
}

void Delivery::lose_patience() {
  if (++waited_ < kPatienceSteps) return patience_.start(kPatience);
  opening_ = true;
  adopt_all();
}

// A recipient may have been handed out anew while the failures of its first lease still waited to be told, so that two
// deliverers hold it, each with an outcome. The later one says how it stands. Later leases have higher numbers, those of a
// later life too, for it begins behind all that deliverers held.
void Delivery::adopt_all() {
  std::vector<std::pair<DelivererId, ipc::HeldLease>> all;
  std::vector<base::MessageId> ids;
  for (const auto& [key, deliverer] : deliverers_)
    for (auto& lease : std::exchange(deliverer->leases, {})) {
      ids.push_back(lease.message);
      engine_.schedule().number_behind(lease.lease);
      all.emplace_back(deliverer->id(), std::move(lease));
    }
  std::ranges::sort(all, std::greater(), [](const auto& one) { return one.second.lease; });
  engine_.store().fetch(std::move(ids), [this, all = std::move(all)]() noexcept {
    for (const auto& [id, lease] : all)
      if (Deliverer* const deliverer = find(id)) adopt(*deliverer, lease);
    engine_.store().when_sure([this]() noexcept { open(); });
  });
}

// What may not be on disk yet is not handed out: after a power cut it might go a second time.
void Delivery::open() {
  if (std::ranges::any_of(deliverers_, [](const auto& entry) { return !entry.second->leases.empty(); }))
    return adopt_all();
  open_ = true;
  for (const auto& [key, deliverer] : deliverers_) adopted(*deliverer);
  engine_.schedule().set_open(!stopping_);
  engine_.poke();
}

Deliverer* Delivery::find(DelivererId id) {
  for (const auto& [key, deliverer] : deliverers_)
    if (deliverer->id() == id) return deliverer.get();
  return nullptr;
}

void Delivery::closed(Deliverer& which) {
  if (!which.channel().trouble().empty())
    log::warning("channel.broken")
        .field("peer", which.local() ? "local" : "relay")
        .field("reason", which.channel().trouble());
  const auto id = which.id();
  const auto key = key_of(which);
  deliverers_.erase(key);
  lost_probes(id);
  lost_names(id);
  lost_collects(id);
  lost(key, engine_.schedule().deliverer_down(id));
}

Delivery::Key Delivery::key_of(const Deliverer& which) const {
  const auto at = std::find_if(deliverers_.begin(), deliverers_.end(),
                               [&](const auto& entry) { return entry.second.get() == &which; });
  CHECK(at != deliverers_.end());
  return at->first;
}

void Delivery::stop() {
  stopping_ = true;
  engine_.schedule().set_open(false);
  engine_.stop_gathering();
}

bool Delivery::idle() const {
  const bool told = std::ranges::any_of(deliverers_, [](const auto& entry) {
    return !entry.second->leases.empty() || !entry.second->early.empty();
  });
  return (open_ || (!opening_ && !told)) && engine_.schedule().leases().empty() && engine_.idle();
}

// A dead deliverer's messages may have arrived or not.
void Delivery::lost(Key key, const std::vector<LeaseInfo>& leases) {
  std::set<base::MessageId> struck;  // one death counts once, however many leases a message had
  for (const auto& lease : leases) lost_[key].insert(lease.key);
  if (stopping_) return;  // they are open in the journal, and the deliverer tells the next queued
  engine_.tell_gathered();  // it would be asked about them, and they have no lease any more
  for (const auto& lease : leases) {
    engine_.lease_over(lease, true);
    std::vector<RecipientAttempt> attempts;
    for (const auto number : lease.recipients)
      attempts.push_back(
          {number,
           {ipc::Result::kUnknown, ipc::FailureClass::kLocal,
            our_reply(4, 3, 0, "the deliverer ended during delivery; it may have arrived")}});
    engine_.conclude(lease.message, std::move(attempts), "", {}, {}, lease.by);
    struck.insert(lease.message);
  }
  for (const auto id : struck) {
    if (++mishaps_[id].deaths < kMaxDeaths) continue;
    mishaps_.erase(id);
    engine_.hold(id, "crashed the deliverer");
  }
  engine_.poke();
}

// --- What deliverers say ----------------------------------------------------------------------------

void Delivery::held(Deliverer& from, const ipc::HeldLeases& held) {
  if (from.told_all) return;
  from.told_all = held.last;
  if (!open_) {
    from.leases.insert(from.leases.end(), held.leases.begin(), held.leases.end());
    return check_open();
  }
  ++from.adopting;
  std::vector<base::MessageId> ids;
  for (const auto& lease : held.leases) ids.push_back(lease.message);
  engine_.store().fetch(std::move(ids), [this, id = from.id(), held]() noexcept {
    Deliverer* const deliverer = find(id);
    if (deliverer == nullptr) return;
    // The messages are in memory, unless they are gone.
    for (const auto& lease : held.leases) adopt(*deliverer, lease);
    if (--deliverer->adopting == 0) adopted(*deliverer);
    engine_.poke();
  });
}

// An outcome may come before the lease that it is of is adopted: it would be dropped, and the lease would never end.
void Delivery::adopted(Deliverer& from) {
  if (from.told_all) {
    lost_.erase(key_of(from));
    engine_.schedule().deliverer_up(from.id(), from.local());
  }
  for (const auto& one : std::exchange(from.early, {})) outcome(from, one);
}

// Of what was lost with a channel in this life, only this very deliverer's; of an earlier life, only
// before anything is handed out. Whoever could claim more could make other mail vanish.
bool Delivery::may_adopt(const Deliverer& from, const ipc::HeldLease& lease) const {
  const auto own = lost_.find(key_of(from));
  if (own != lost_.end() && own->second.contains({lease.epoch, lease.lease})) return true;
  return !open_ && lease.epoch != engine_.store().epoch();
}

void Delivery::adopt(Deliverer& from, const ipc::HeldLease& lease) {
  const Message* message = engine_.store().find(lease.message);
  // Of some the journal may have the outcome that this deliverer still waits to be confirmed.
  std::vector<Placed> open;
  for (const auto number : lease.recipients) {
    const auto* one = message != nullptr ? find_recipient(*message, number) : nullptr;
    if (one == nullptr || !one->open()) continue;
    auto route = engine_.router().route(one->address);
    if (std::ranges::any_of(route.destination.via,
                            [&](const auto& hop) { return is_served_locally(hop) == from.local(); }))
      open.push_back({std::move(route.queue), number});
  }
  if (!open.empty() && may_adopt(from, lease)) {
    engine_.admit(lease.message);  // it may not be in the schedule yet
    if (engine_.schedule().adopt(from.id(), {lease.epoch, lease.lease}, lease.message, open)) return;
  }
  log::warning("lease.unknown").field("id", lease.message);  // its outcome will be dropped
}

void Delivery::ask(Deliverer& from, const ipc::AskWork& ask) {
  engine_.schedule().ask(from.id(), ask.request, ask.grant);
  engine_.poke();
}

void Delivery::hop_found(Deliverer& from, const ipc::HopFound& found) {
  engine_.hop_found(from.id(), found);
  engine_.poke();
}

void Delivery::grant_ended(Deliverer& from, const ipc::GrantEnded& ended) {
  const auto grant = engine_.schedule().grant_ended(from.id(), ended.grant);
  if (!grant) return;  // of an earlier life
  // What was found out by rules that hold no more fails no mail, and nobody waits for it.
  switch (grant->outdated ? ipc::GrantEnd::kClosed : ended.end) {
    case ipc::GrantEnd::kClosed:
      break;
    case ipc::GrantEnd::kTemporary:
      engine_.hop_failed(*grant, ended.failure, ended.reply, ended.remote);
      break;
    case ipc::GrantEnd::kPermanent:
      engine_.way_failed(*grant, ended.failure, ended.reply, ended.remote);
      break;
  }
  engine_.poke();
}

void Delivery::outcome(Deliverer& from, const ipc::Outcome& outcome) {
  if (!open_ || from.adopting > 0) return from.early.push_back(outcome);
  const auto lease =
      engine_.schedule().settle(from.id(), {outcome.epoch, outcome.lease});
  auto saved = [this, id = from.id(), request = outcome.request]() noexcept {
    if (Deliverer* to = find(id)) to->channel().send(ipc::OutcomeSaved{request});
  };
  if (!lease || lease->message != outcome.message) {
    log::warning("outcome.dropped").field("id", outcome.message).field("reason", "no such lease");
    if (lease) engine_.lease_over(*lease, true);
    if (lease) returned(*lease, lease->recipients);
    return saved();
  }
  settled(*lease, outcome, std::move(saved));
  engine_.poke();
}

// Results of recipients that were not leased are ignored; leased ones without result come back.
void Delivery::settled(const LeaseInfo& lease, const ipc::Outcome& outcome,
                       event::Callback written) {
  std::vector<RecipientAttempt> attempts;
  std::vector<std::uint32_t> untried;
  bool works = false;
  bool unknown = false;
  for (const auto number : lease.recipients) {
    const auto at = std::find_if(outcome.results.begin(), outcome.results.end(),
                                 [&](const auto& result) { return result.number == number; });
    if (at == outcome.results.end() || at->result == ipc::Result::kReturned) {
      untried.push_back(number);
      continue;
    }
    works = works || at->result == ipc::Result::kDelivered || at->result == ipc::Result::kFailed;
    unknown = unknown || at->result == ipc::Result::kUnknown;
    attempts.push_back({number, {at->result, at->failure, at->reply, at->arrival}});
  }
  engine_.lease_over(lease, unknown);
  if (works) engine_.hop_works(lease, outcome.remote);
  if (!attempts.empty()) mishaps_.erase(lease.message);
  if (!untried.empty()) returned(lease, untried);
  engine_.conclude(lease.message, std::move(attempts), outcome.remote, std::move(written), outcome.tls, lease.by);
}

// The first time they are due at once; a message that nobody tries must not circle.
void Delivery::returned(const LeaseInfo& lease, const std::vector<std::uint32_t>& numbers) {
  const auto times = mishaps_[lease.message].returns++;
  base::Millis delay{0};
  if (times > 0) delay = kFirstReturnDelay * (1U << std::min(times - 1, kMaxReturnDoublings));
  engine_.put_back(lease.message, numbers, engine_.now() + delay, lease.by);
}

// --- Recipients that next hops are asked for ---------------------------------------------------------

// One deliverer asks for all of a queue, so that they share its connection.
bool Delivery::probe(const ipc::Probe& probe) {
  std::vector<Deliverer*> able;
  for (const auto& [key, deliverer] : deliverers_)
    if (deliverer->local() == is_served_locally(probe.hop)) able.push_back(deliverer.get());
  if (able.empty() || stopping_) return false;
  Deliverer& to = *able[std::hash<std::string>()(probe.queue) % able.size()];
  if (!to.channel().has_credit<ipc::Probe>()) return false;
  probes_.emplace(probe.request, to.id());
  to.channel().send(probe);
  return true;
}

void Delivery::probed(const ipc::Probed& probed) {
  if (probes_.erase(probed.request) > 0) engine_.asking().probed(probed);
}

void Delivery::lost_probes(DelivererId with) {
  std::vector<base::RequestId> lost;
  for (const auto& [request, deliverer] : probes_)
    if (deliverer == with) lost.push_back(request);
  for (const auto request : lost)
    probed({request, ipc::Result::kDeferred, our_reply(4, 3, 0, "the deliverer ended"), ""});
}

// --- Hosts that call for their mail ----------------------------------------------------------------

std::optional<base::GrantId> Delivery::call(const Schedule::Call& call, ipc::Turned turned, base::UniqueFd fd) {
  if (stopping_) return std::nullopt;
  const auto grant = engine_.schedule().call(call, engine_.now());
  if (!grant) return std::nullopt;
  Deliverer* to = find(grant->deliverer);
  CHECK(to != nullptr);
  ipc::Descriptors descriptors;
  descriptors.push_back(std::move(fd));
  to->channel().send(ipc::Grant{grant->grant, grant->queue, grant->hop, {}, std::move(turned)}, std::move(descriptors));
  return grant->grant;
}

// --- Names of clients -------------------------------------------------------------------------------

// One relay asks for an address however many smtpds want to know.
bool Delivery::ask_name(const ipc::AskName& question) {
  std::vector<Deliverer*> able;
  for (const auto& [key, deliverer] : deliverers_)
    if (!deliverer->local()) able.push_back(deliverer.get());
  if (able.empty() || stopping_) return false;
  Deliverer& to = *able[std::hash<std::string>()(base::to_string(question.client)) % able.size()];
  if (!to.channel().has_credit<ipc::AskName>()) return false;
  names_.emplace(question.request, to.id());
  to.channel().send(question);
  return true;
}

void Delivery::named(const ipc::NameKnown& known) {
  if (names_.erase(known.request) > 0) named_(known);
}

void Delivery::lost_names(DelivererId with) {
  std::vector<base::RequestId> lost;
  for (const auto& [request, deliverer] : names_)
    if (deliverer == with) lost.push_back(request);
  for (const auto request : lost) named({request, ipc::NameState::kUnclear, {}, {}});
}

// --- Hosts that keep our mail -----------------------------------------------------------------------

// The first one, so that the same one has what an earlier queued began.
bool Delivery::collect(const ipc::Collect& call) {
  const auto at = std::ranges::find_if(deliverers_, [](const auto& entry) { return !entry.second->local(); });
  if (at == deliverers_.end() || stopping_) return false;
  Deliverer& to = *at->second;
  if (!to.channel().has_credit<ipc::Collect>()) return false;
  collects_.emplace(call.request, to.id());
  to.channel().send(call);
  return true;
}

void Delivery::end_collect(const ipc::EndCollect& end) {
  const auto at = collects_.find(end.request);
  if (at == collects_.end()) return;
  if (auto* const with = find(at->second)) with->channel().send(end);
}

bool Delivery::calls(const Deliverer& which, base::RequestId request) const {
  const auto at = collects_.find(request);
  return at != collects_.end() && at->second == which.id();
}

void Delivery::turned(const Deliverer& from, const ipc::TurnedRound& turned, base::UniqueFd fd) {
  if (calls(from, turned.request)) turned_(turned, std::move(fd));
}

void Delivery::collected(const Deliverer& from, const ipc::Collected& collected) {
  if (!calls(from, collected.request)) return;
  collects_.erase(collected.request);
  collected_(collected);
}

void Delivery::lost_collects(DelivererId with) {
  std::vector<base::RequestId> lost;
  for (const auto& [request, deliverer] : collects_)
    if (deliverer == with) lost.push_back(request);
  for (const auto request : lost) {
    collects_.erase(request);
    ipc::Collected none;
    none.request = request;
    none.reply = our_reply(4, 3, 0, "the relay ended");
    collected_(none);
  }
}

// --- What the schedule decided ----------------------------------------------------------------------

void Delivery::perform(Action action) {
  if (auto* out = std::get_if<HandOut>(&action)) return hand_out(std::move(*out));
  std::visit(
      [this]<class A>(const A& a) {
        Deliverer* to = find(a.deliverer);
        if (to == nullptr) return;  // its end is on the way
        if constexpr (std::same_as<A, OpenGrant>)
          to->channel().send(ipc::Grant{a.grant, a.queue, a.hop, a.next_hop, {}});
        else if constexpr (std::same_as<A, GoAhead>)
          to->channel().send(ipc::GoAhead{a.grant});
        else if constexpr (std::same_as<A, CloseGrant>)
          to->channel().send(ipc::CancelGrant{a.grant});
        else if constexpr (std::same_as<A, SendAway>)
          to->channel().send(ipc::NoWork{a.request});
      },
      action);
}

void Delivery::hand_out(HandOut out) {
  const auto id = out.message;
  if (engine_.store().find(id) == nullptr) read_ahead(out);
  engine_.store().load(id, [this, out = std::move(out)](os::Result<LoadedBody> body) noexcept {
    if (body)
      send(out, *std::move(body));
    else
      cannot_send(out, body.error().text());
  });
}

// What stands behind it in its queue is handed out soon: of a long queue hardly anything is in memory.
void Delivery::read_ahead(const HandOut& out) {
  auto ids = engine_.schedule().messages(out.queue, out.message, kReadAhead);
  if (ids.empty()) return;
  ids.insert(ids.begin(), out.message);
  engine_.store().read_ahead(std::move(ids));
}

void Delivery::send(const HandOut& out, LoadedBody&& body) {
  Deliverer* to = find(out.deliverer);
  if (to == nullptr) return;  // the lease went with it
  const Message* message = engine_.store().find(out.message);
  if (message == nullptr) return cannot_send(out, "the message is gone");
  auto& schedule = engine_.schedule();
  const LeaseKey key{engine_.store().epoch(), out.lease};
  const auto known = schedule.leases().find(key);
  const auto* queue = schedule.find(out.queue);
  const auto is_blocked = [](const auto& one) { return one.blocked != Blocked::kNo; };
  // Blocked or held while its body was read: whoever did it may have been told that nothing goes any
  // more. A connection that is told to go, for its next hop is frozen or its account locked, gets nothing either.
  if (queue == nullptr || known == schedule.leases().end() || schedule.any_queue(known->second, is_blocked) ||
      schedule.leaves(known->second.grant) || !message->held.empty())
    return take_back(out);
  // Many large bodies at once must not be taken for a deliverer that does not read.
  if (to->channel().unsent() > kMostUnsent) {
    backlog_.push_back({out, std::move(body)});
    if (!drain_.running()) drain_.start(kDrainPause);
    return;
  }
  if (!out.looked) {
    schedule.widen(key);
    engine_.poke();
  }
  ipc::Lease lease;
  lease.request = out.request;
  lease.lease = out.lease;
  lease.epoch = key.epoch;
  lease.message = message->id;
  lease.arrived = message->arrived;
  lease.from = message->from;
  lease.eight_bit = message->eight_bit;
  lease.smtputf8 = message->smtputf8;
  lease.ret = message->ret;
  lease.envid = message->envid;
  lease.tls_wish = message->tls_wish;
  lease.client = told_client(*message, queue->destination().via);
  lease.form = message->form;
  lease.prefix = message->prefix;
  lease.body_size = message->body_size;
  lease.large = message->large;
  const Recipient* first = nullptr;
  for (const auto number : known->second.recipients) {
    const Recipient* recipient = find_recipient(*message, number);
    if (recipient == nullptr || !recipient->open()) continue;
    // A transaction has one sender. Those of another come back without result, and are next.
    if (first == nullptr) first = recipient;
    if (recipient->sender != first->sender) continue;
    ipc::LeaseRecipient entry;
    entry.number = number;
    entry.address = recipient->address;
    if (to->local())
      if (auto mailbox = engine_.router().mailbox(recipient->address)) {
        entry.user = std::move(mailbox->user);
        entry.mailbox_domain = std::move(mailbox->domain);
      }
    entry.notify = recipient->notify;
    entry.orcpt = recipient->orcpt;
    lease.recipients.push_back(std::move(entry));
  }
  if (first != nullptr && first->sender) {  // the list's own message
    lease.from = mail::ReversePath(*first->sender);
    lease.ret = mail::Return::kUnsaid;
    lease.envid = {};
  }
  // What we keep, log and return to names the true one.
  if (const auto& mask = queue->destination().masquerade; !mask.empty() && !to->local())
    lease.from = engine_.router().masked(lease.from, mask);
  ipc::Descriptors descriptors;
  if (message->large) descriptors.push_back(std::move(body.file));
  auto& channel = to->channel();
  channel.send(lease, std::move(descriptors));
  if (message->large) return;
  for (std::string_view rest = *body.bytes; !rest.empty();) {
    const auto part = rest.substr(0, ipc::kBodySlice);
    channel.send(ipc::LeaseBody{out.lease, {part}});
    rest.remove_prefix(part.size());
  }
}

void Delivery::break_off(const LeaseInfo& lease) {
  if (Deliverer* to = find(lease.deliverer); to != nullptr)
    to->channel().send(ipc::BreakOff{lease.key.lease, lease.key.epoch});
}

void Delivery::send_backlog() {
  auto waiting = std::exchange(backlog_, {});
  for (auto& one : waiting)
    engine_.store().fetch({one.out.message}, [this, unsent = std::move(one)]() mutable noexcept {
      send(unsent.out, std::move(unsent.body));
    });
}

// A body that cannot be read is never sent wrong: the message is held, the connection asks again.
void Delivery::cannot_send(const HandOut& out, const std::string& why) {
  engine_.hold(out.message, "its body cannot be read: " + why);
  take_back(out);
}

// What was not sent yet comes back as it was, and its connection asks again.
void Delivery::take_back(const HandOut& out) {
  auto& schedule = engine_.schedule();
  const LeaseKey key{engine_.store().epoch(), out.lease};
  const auto at = schedule.leases().find(key);
  base::GrantId grant;
  if (at != schedule.leases().end()) {
    grant = at->second.grant;
    const auto by = at->second.by;
    if (const auto lease = schedule.settle(out.deliverer, key)) engine_.lease_over(*lease, false);
    engine_.put_back(out.message, out.recipients, engine_.now(), by);
  }
  schedule.ask(out.deliverer, out.request, grant);
  engine_.poke();
}

}  // namespace postern::queued
