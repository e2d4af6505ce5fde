#include "tests/crash/engine_story.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "common/base/check.h"

namespace postern::crash {
namespace {

mail::Address address(const std::string& text) {
  return mail::Address::parse(text).value();
}

constexpr queued::HistoryLimits kHistory{base::Millis(7LL * 24 * 3600 * 1000), 1 << 20};

config::QueuedConfig configuration() {
  config::QueuedConfig config;
  config.hostname = "mx.example.org";
  config.rights.listeners.resize(1);
  config.rights.listeners[0].relay_from = {base::parse_network("10.0.0.0/8").value()};
  config::DomainRights domain;
  domain.names = {mail::Domain::parse("example.org").value()};
  domain.users = {"ann", "bob"};
  domain.extension = "+";
  config.rights.domains.push_back(domain);
  config.rights.postmaster = address("ann@example.org");
  config.domain_hops = {{.kind = config::HopKind::kMailbox}};
  config.retry.after = {base::Millis(30'000), base::Millis(60'000)};
  config.retry.expire = base::Millis(1'000'000'000);
  return config;
}

// Lines, some of which begin with a dot.
std::string plain_text(std::uint64_t number, std::size_t size) {
  std::string text = fmt::format("Subject: number {}\r\n\r\n", number);
  for (std::uint64_t line = 0; text.size() < size; ++line)
    text += fmt::format("{}line {} of number {}\r\n", line % 5 == 0 ? "." : "", line, number);
  return text;
}

std::string stuffed(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = text.find('\n', at) + 1;
    if (text[at] == '.') out += '.';
    out.append(text, at, end - at);
    at = end;
  }
  return out;
}

}  // namespace

EngineStory::EngineStory(Machine& machine, Ledger& ledger, Recorder& recorder, std::uint64_t seed)
    : machine_(machine),
      ledger_(ledger),
      recorder_(recorder),
      random_(seed),
      link_(outside_, machine.clock, []() noexcept {}) {
  ledger_.keeps_badmail();
  const auto report_saved = [this](const Courier::Report& report) { saved(report); };
  for (const auto role : {ipc::Role::kRelay, ipc::Role::kLocal})
    couriers_.push_back(std::make_unique<Courier>(outside_, role, report_saved));
  config::LocalConfig local;
  local.hostname = "mx.example.org";
  local.path = "maildir/{domain}/{user}";
  maildir_ = local::make_mailbox(local, machine.mail(), machine.clock);
  local.kind = config::MailboxKind::kDrop;
  local.path = "drop";
  drop_ = local::make_mailbox(local, machine.mail(), machine.clock);
  recorder_.fail_next(Kind::kWrite, "spool/history/", ENOSPC);  // the head of its first file
}

EngineStory::~EngineStory() {
  intake_.reset();
  delivery_.reset();
  engine_.reset();
  history_.reset();
}

void EngineStory::begin() {
  if (ledger_.blocks().values.empty())  // the first start writes them, and reports to nobody
    ledger_.blocks().give(queued::Blocks().to_text(), recorder_.position());
  history_ = std::make_unique<queued::History>(machine_.store().worker(), machine_.spool(),
                                               machine_.clock, kHistory);
  engine_ = std::make_unique<queued::Engine>(machine_.loop(), machine_.store(), configuration());
  engine_->set_history(history_.get());
  delivery_ = std::make_unique<queued::Delivery>(machine_.loop(), *engine_);
  intake_ = std::make_unique<queued::Intake>(machine_.loop(), *engine_);
  turn_began_ = recorder_.position();
  engine_->start();
  for (auto& courier : couriers_) connect(*courier);
  delivery_->expect(static_cast<std::uint32_t>(couriers_.size()));
  auto pair = ipc::make_channel_pair();
  link_.connect(std::move(pair.a));
  intake_->connect(0, {base::ListenerIndex(0)}, std::move(pair.b));
  turn(6);
}

std::optional<std::string> EngineStory::restart() {
  // Some are on their way in: queued has them, or has not; smtpd hears no answer from this one.
  submit();
  outside_.run_once(false);
  machine_.loop().run_once(false);
  if (draw(2) == 0) machine_.store().pump();
  intake_.reset();
  delivery_.reset();
  engine_.reset();
  history_.reset();
  machine_.kill();
  leave_history();
  machine_.clock.advance(2'000);
  if (auto why = machine_.open()) return why;
  const auto view = machine_.look();
  const auto at = recorder_.position();
  observe();
  ledger_.settle(view, at);
  // smtpd keeps what has no answer yet, and sends it again.
  for (std::uint32_t n = 0; n < ledger_.letters(); ++n) {
    auto& letter = ledger_.letter(n);
    if (letter.lost == at && letter.refused == kNever) {
      letter.given = at;
      letter.lost = kNever;
    }
  }
  begin();
  return std::nullopt;
}

// What the power leaves of a history: a line that was cut; and what another day left.
void EngineStory::leave_history() {
  const auto folder = machine_.root() + "/spool/history";
  std::error_code none;
  std::string newest;
  for (const auto& file : std::filesystem::directory_iterator(folder, none))
    newest = std::max(newest, file.path().string());
  if (newest.empty()) return;
  const auto size = std::filesystem::file_size(newest);
  const auto cut = base::UniqueFd::adopt(::open(newest.c_str(), O_WRONLY | O_CLOEXEC));
  CHECK(::ftruncate(cut.get(), static_cast<off_t>(size - std::min<std::uintmax_t>(size, 9))) == 0);
  const auto old = base::UniqueFd::adopt(::open((folder + "/2020-01-01-0001.log").c_str(),
                                                O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  CHECK(old.valid());
}

void EngineStory::run_short() {
  const auto full = [this](Kind kind, const char* path) {
    recorder_.fail_next(kind, path, ENOSPC);
  };
  full(Kind::kFlush, "mail/maildir");
  // Of the attempts that fail, of one message or of several, some leave their file, others remove it, and one
  // comes over what was left.
  full(Kind::kFlush, "mail/drop/.tmp-");
  for (int i = 0; i < 3; ++i) full(Kind::kUnlink, "mail/drop/.tmp-");
  for (int i = 0; i < 3; ++i) full(Kind::kRename, "mail/drop/.tmp-");
}

// Everything that is on its way between the processes comes through.
void EngineStory::turn(int times, bool flush) {
  turn_began_ = recorder_.position();
  for (int n = 0; n < times; ++n) {
    outside_.run_once(false);
    machine_.loop().run_once(false);
    machine_.store().pump(flush);
    observe();
  }
}

// What queued did of its own accord: notices, waits.
void EngineStory::observe() {
  std::vector<std::pair<base::MessageId, std::string>> notices;
  machine_.each([&](const queued::Message& message) {
    if (message.notice && !ledger_.find(message.id))
      notices.emplace_back(message.id, message.recipients.front().address.text());
  });
  for (const auto& [id, to] : notices) see_notice(id, to);
  const auto& store = machine_.store();
  std::set<std::string> queues;
  for (const auto& [queue, wait] : store.waits()) {
    auto& known = ledger_.wait(queue);
    const auto text = std::to_string(wait.failures);
    if (known.values.empty() || known.values.back().text != text) known.give(text, turn_began_);
    queues.insert(queue);
  }
  for (auto& [queue, known] : ledger_.waits())
    if (!queues.contains(queue) && !known.values.back().text.empty()) known.give("", turn_began_);
}

void EngineStory::see_notice(base::MessageId id, const std::string& to) {
  std::string text;
  machine_.store().load(id, [&](os::Result<queued::LoadedBody> body) noexcept {
    if (body && body->bytes) text = *body->bytes;
  });
  machine_.store().pump_reads();
  std::vector<std::uint32_t> causes;
  std::erase_if(failed_, [&](const auto& entry) {
    if (text.find("rfc822; " + entry.first + "\r\n") == std::string::npos) return false;
    causes.push_back(entry.second);
    return true;
  });
  if (causes.empty()) {
    broken_ = "a notice tells of nothing that failed";
    return;
  }
  const auto number =
      ledger_.notice(id, to, std::move(causes), std::make_shared<const std::string>(text));
  originals_[number] = text;
}

void EngineStory::run(std::size_t rounds) {
  for (std::size_t n = 0; n < rounds && broken_.empty(); ++n) {
    const auto what = draw(16);
    if (what < 6) submit();
    if (what == 6) submit_large();
    if (what == 7) change_blocks();
    if (what == 8) release();
    if (what == 9) kill(*couriers_[draw(2)]);
    if (what == 10 && couriers_[0]->fail_a_grant(ipc::FailureClass::kConnect)) turn(2, false);
    turn(static_cast<int>(1 + draw(3)), draw(2) == 0);
    for (auto& courier : couriers_) serve(*courier);
    turn(static_cast<int>(1 + draw(3)), draw(2) == 0);
    machine_.clock.advance(static_cast<std::int64_t>(draw(8) == 0 ? 40'000 : 100 + draw(900)));
    recorder_.set_wall(machine_.clock.wall_ms);
    if (draw(4) == 0) machine_.store().tick();
    history_->tick();
    engine_->poke();
    // The flusher's own time has come.
    turn(1);
    ledger_.all_flushed(recorder_.position());
  }
}

// --- In
// ---------------------------------------------------------------------------------------------

std::unique_ptr<smtpd::Submission> EngineStory::compose(std::size_t size, bool refused) {
  const auto number = ++counter_;
  auto submission = std::make_unique<smtpd::Submission>();
  for (std::size_t n = 0; n < 8; ++n)
    submission->token.bytes[n] = static_cast<std::uint8_t>(number >> 8 * n);
  submission->token.bytes[15] = 1;
  submission->origin = base::parse_ip("10.1.2.3").value();
  submission->began = machine_.clock.steady();
  auto& envelope = submission->envelope;
  envelope.hello = "client.example";
  if (draw(6) != 0)
    envelope.reverse_path = mail::ReversePath(
        address(draw(2) == 0 ? "ann@example.org" : fmt::format("s{}@far9.example", number)));
  Letter letter{.token = submission->token, .from = envelope.reverse_path.text()};
  // So many in one queue are tried in several leases, whose failures wait for each other.
  const bool many = draw(12) == 0;
  const auto count = many ? ipc::kLeaseRecipients + 1 + draw(ipc::kLeaseRecipients) : 1 + draw(4);
  for (std::uint64_t n = 0; n < count; ++n) {
    const auto kind = many ? 5 : draw(6);
    auto to = fmt::format("m{}-{}@far{}.example", number, n, many ? number % 4 : draw(4));
    if (kind == 0) to = fmt::format("ann+m{}-{}@example.org", number, n);
    if (kind == 1) to = fmt::format("bob+m{}-{}@example.org", number, n);
    if (refused && n == 0) to = "nobody@example.org";
    envelope.recipients.push_back({address(to), {}});
    letter.recipients.push_back(to);
  }
  const auto plain = plain_text(number, size);
  submission->body = stuffed(plain);
  submission->body_size = submission->body.size();
  letter.body = std::make_shared<const std::string>(submission->body);
  letter.given = recorder_.position();
  const auto index = ledger_.submit(std::move(letter));
  originals_[index] = plain;
  submission->done = [this, index](smtpd::SubmissionResult result) noexcept {
    ended(index, result);
  };
  return submission;
}

void EngineStory::submit() {
  const auto count = 1 + draw(3);
  for (std::uint64_t n = 0; n < count; ++n)
    link_.submit(compose(draw(6) == 0 ? 1 + draw(12'000) : 1 + draw(1'200), draw(10) == 0));
}

// As a session does it: the file is asked for, filled, closed, and then submitted.
void EngineStory::submit_large() {
  smtpd::QueueLink::LargeFile file;
  link_.open_large(
      [&file](smtpd::QueueLink::LargeFile opened) noexcept { file = std::move(opened); });
  turn(4);
  if (!file.fd.valid()) return;
  auto submission = compose(20'000 + draw(20'000), false);
  const auto body = std::exchange(submission->body, {});
  CHECK(::write(file.fd.get(), body.data(), body.size()) == static_cast<ssize_t>(body.size()));
  file.fd.reset();
  submission->large = file.name;
  link_.submit(std::move(submission));
}

void EngineStory::ended(std::uint32_t number, const smtpd::SubmissionResult& result) noexcept {
  auto& letter = ledger_.letter(number);
  const auto at = recorder_.position();
  if (const auto* accepted = std::get_if<smtpd::Accepted>(&result)) {
    letter.told = std::min(letter.told, at);
    ledger_.knows_id(number, accepted->id);
  } else if (std::holds_alternative<smtpd::Refused>(result)) {
    letter.refused = at;
  }
}

// --- The operator
// -----------------------------------------------------------------------------------

void EngineStory::change_blocks() {
  const auto queue = fmt::format("far{}.example", draw(3));
  const auto what = draw(4);
  auto value = std::make_shared<std::size_t>(~std::size_t{0});
  engine_->change_blocks(
      [this, queue, what, value](queued::Blocks& blocks) noexcept {
        const auto wall = machine_.clock.wall();
        const auto now = machine_.store().clock().now();
        auto said =
            what == 0   ? blocks.disable_outbound({true, false, "test", "ann", wall, now})
            : what == 1 ? blocks.enable_outbound(now)
            : what == 2
                ? blocks.freeze(
                      {.queue = queue, .reason = "test", .who = "ann", .since = wall, .from = now})
                : blocks.unfreeze(queue, false, "ann", wall, now);
        if (said) *value = ledger_.blocks().give(blocks.to_text(), recorder_.position());
        return said;
      },
      [this, value](queued::Blocks::Said said) noexcept {
        if (said) ledger_.blocks().values.at(*value).promised = recorder_.position();
      });
}

void EngineStory::release() {
  std::vector<base::MessageId> some;
  machine_.each([&](const queued::Message& message) {
    if (draw(3) == 0) some.push_back(message.id);
  });
  if (some.empty()) return;
  for (const auto id : some)
    if (const auto letter = ledger_.find(id))
      ledger_.letter(*letter).held.give("", recorder_.position());
  turn_began_ = recorder_.position();
  for (const auto id : some) engine_->end_hold(id);
  engine_->retry(some);
}

}  // namespace postern::crash
