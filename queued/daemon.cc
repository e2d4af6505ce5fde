#include "queued/daemon.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "common/base/text.h"
#include "common/log/log.h"
#include "common/os/users.h"
#include "queued/lmdb_index.h"
#include "queued/spool_check.h"
#include "queued/spool_lock.h"

namespace postern::queued {
namespace {

constexpr base::Millis kTick{1'000};
constexpr base::Millis kFinishCheck{20};
constexpr std::size_t kSpared = 8, kFreezes = 5, kCollects = 8;  // in a status

log::Format to_log(config::LogFormat format) {
  return format == config::LogFormat::kJson ? log::Format::kJson : log::Format::kText;
}

log::Level to_log(config::LogLevel level) {
  switch (level) {
    case config::LogLevel::kDebug:
      return log::Level::kDebug;
    case config::LogLevel::kInfo:
      return log::Level::kInfo;
    case config::LogLevel::kWarning:
      return log::Level::kWarning;
    case config::LogLevel::kError:
      return log::Level::kError;
  }
  return log::Level::kInfo;
}

// What deliverd says of an MX that is ourselves (RFC 3463: 4.4.6, a routing loop).
bool points_to_us(const QueueRecord& wait) {
  return wait.failure == ipc::FailureClass::kDns && wait.reply.code == 0 &&
         wait.reply.subject == 4 && wait.reply.detail == 6;
}

// We are refused, for good or because of what was said; not: asked to come again, or cut off.
bool refuses_login(const QueueRecord& wait) {
  return wait.failure == ipc::FailureClass::kLogin &&
         (wait.reply.code >= 500 || (wait.reply.code == 0 && wait.reply.subject == 7));
}

}  // namespace

QueuedDaemon::~QueuedDaemon() = default;

os::Result<void> QueuedDaemon::prepare(std::string config, role::Directories directories,
                                       const ipc::Boot& boot) {
  auto decoded = ipc::decode<config::QueuedConfig>(config);
  if (!decoded) return os::failure("read the configuration from the parent", EINVAL);
  config_ = *std::move(decoded);
  generation_ = boot.generation;
  log::set_level(to_log(config_.log.format), to_log(config_.log.level));
  auto lock = lock_spool(directories.root.get(), LockMode::kMake);
  if (!lock) return std::unexpected(lock.error());
  lock_ = *std::move(lock);
  user_names_ = os::read_user_names();
  // As root the chroot does the same: LMDB opens the index by a name from here.
  if (::fchdir(directories.root.get()) != 0) return os::failure("go to the spool");
  disk_ = os::real_disk(std::move(directories.root));
  if (config_.badmail_elsewhere != directories.badmail.valid())
    return os::failure("find the directory of badmail", EINVAL);
  if (config_.badmail_elsewhere) badmail_disk_ = os::real_disk(std::move(directories.badmail));
  return {};
}

void QueuedDaemon::start(event::Loop& loop) {
  loop_ = &loop;
  started_ = base::system_clock().steady();
  if (auto known = check_versions(*disk_); !known) host_.fatal(known.error().what);
  LocalStoreOptions options;
  options.segment_size = config_.segment_size;
  options.reserve = config_.reserve;
  options.max_gap = config_.retry.max_gap;
  options.badmail = badmail_disk_.get();
  const auto open_index = [this](bool) { return LmdbIndex::open(*disk_); };
  auto opened = LocalStore::open(loop, *disk_, open_index, base::system_clock(), options,
                                 [this](const std::string& why) noexcept { host_.fatal(why); });
  if (!opened) host_.fatal(opened.error().text());
  store_ = *std::move(opened);
  log::info("store.opened").field("damage", store_->health().damage.size());
  engine_ = std::make_unique<Engine>(loop, *store_, config_);
  history_ = std::make_unique<History>(store_->worker(), *disk_, base::system_clock(),
                                       history_limits());
  engine_->set_history(history_.get());
  intake_ = std::make_unique<Intake>(loop, *engine_);
  usage_file_ = std::make_unique<UsageFile>(store_->worker(), *disk_, intake_->usage(),
                                            [this] { return engine_->now(); });
  usage_file_->load();
  ticket_desk_ = std::make_unique<TicketDesk>(
      loop, intake_->tickets(),
      [this](const std::string& account) { return engine_->blocks().locked(account) == nullptr; });
  delivery_ = std::make_unique<Delivery>(loop, *engine_);
  intake_->set_ask_name([this](const ipc::AskName& ask) noexcept { return delivery_->ask_name(ask); });
  intake_->callers().set_connect([this](const Schedule::Call& call, ipc::Turned turned, base::UniqueFd fd) noexcept {
    return delivery_->call(call, std::move(turned), std::move(fd));
  });
  delivery_->on_named([this](const ipc::NameKnown& known) noexcept { intake_->named(known); });
  start_collecting();
  control_ = std::make_unique<Control>(loop, *engine_, host_, std::move(user_names_),
                                       [this](ipc::Status& status) noexcept { fill(status); });
  engine_->start();
  intake_->check_room();
  ticker_ = std::make_unique<event::Timer>(loop, [this]() noexcept { tick(); });
  ticker_->start(kTick);
  show_state();
}

void QueuedDaemon::start_collecting() {
  collector_ = std::make_unique<Collector>(
      *loop_, base::system_clock(),
      Collector::Outlets{
          [this]() noexcept { return intake_->can_serve(); },
          [this](const ipc::Collect& call) noexcept { return delivery_->collect(call); },
          [this](const ipc::EndCollect& end) noexcept { delivery_->end_collect(end); },
          [this](const ipc::ServeTurned& turned, base::UniqueFd fd) noexcept {
            return intake_->serve(turned, std::move(fd));
          }});
  delivery_->on_collect(
      [this](const ipc::TurnedRound& turned, base::UniqueFd fd) noexcept { collector_->turned(turned, std::move(fd)); },
      [this](const ipc::Collected& collected) noexcept { collector_->collected(collected); });
  collector_->configure(config_.collects);
}

HistoryLimits QueuedDaemon::history_limits() const {
  return {config_.history_keep, config_.history_size};
}

void QueuedDaemon::tick() {
  store_->tick();
  history_->tick();
  usage_file_->tick();
  intake_->check_room();
  engine_->end_due_freezes();
  engine_->follow_dns();
  engine_->end_uncalled();
  show_state();
  ticker_->start(kTick);
}

std::expected<void, std::string> QueuedDaemon::configure(std::string config,
                                                         base::Generation generation) {
  auto decoded = ipc::decode<config::QueuedConfig>(config);
  if (!decoded) return std::unexpected("queued cannot read its configuration");
  config_ = *std::move(decoded);
  generation_ = generation;
  log::set_level(to_log(config_.log.format), to_log(config_.log.level));
  engine_->configure(config_);
  collector_->configure(config_.collects);
  history_->configure(history_limits());
  intake_->check_room();
  intake_->callers().review();
  return {};
}

void QueuedDaemon::peer(const ipc::Peer& peer, base::UniqueFd fd) {
  switch (peer.role) {
    case ipc::Role::kSmtpd:
      intake_->connect(peer.index, peer.listeners, std::move(fd));
      break;
    case ipc::Role::kRelay:
    case ipc::Role::kLocal:
      if (fd.valid()) delivery_->connect(peer.role, peer.index, std::move(fd));
      break;
    case ipc::Role::kAuth:
      if (fd.valid()) ticket_desk_->connect(std::move(fd));
      break;
    case ipc::Role::kParent:
    case ipc::Role::kQueued:
    case ipc::Role::kKey:
    case ipc::Role::kFetch:
    case ipc::Role::kMailbox:
    case ipc::Role::kControl:
      log::warning("peer.unknown").field("role", ipc::name(peer.role));
      break;
  }
}

void QueuedDaemon::listen(base::ListenerIndex, base::UniqueFd fd) { control_->listen(std::move(fd)); }

void QueuedDaemon::processes(const ipc::Processes& processes) {
  process_rows_ = processes.rows;
  std::uint32_t deliverers = 0;
  for (const auto& row : process_rows_)
    if (row.role == ipc::Role::kRelay || row.role == ipc::Role::kLocal) deliverers += row.wanted;
  delivery_->expect(deliverers);
}

// Deliveries under way are finished; everything that was said is flushed; then there is no more to do.
void QueuedDaemon::stop(event::Callback done) {
  finished_ = std::move(done);
  collector_->stop();
  delivery_->stop();
  finisher_ = std::make_unique<event::Timer>(*loop_, [this]() noexcept { finish_when_idle(); });
  finisher_->start(base::Millis(0));
}

void QueuedDaemon::finish_when_idle() {
  if (!intake_->idle() || !delivery_->idle()) return finisher_->start(kFinishCheck);
  store_->settle([this]() noexcept {
    history_->settle([this]() noexcept {
      usage_file_->settle([this]() noexcept {
        store_->withdraw();
        if (auto done = std::exchange(finished_, {})) done();
      });
    });
  });
}

// --- What people see --------------------------------------------------------------------------------

void QueuedDaemon::show_state() {
  auto text = fmt::format("{} {}", store_->count(), store_->count() == 1 ? "message" : "messages");
  if (engine_->blocks().outbound().disabled) text += ", outbound disabled";
  if (engine_->blocks().intake().disabled) text += ", intake disabled";
  if (text == shown_state_) return;
  shown_state_ = text;
  host_.set_state(text);
}

// What the operator stopped, a phrase each.
std::vector<std::string> QueuedDaemon::stopped() const {
  constexpr std::size_t kNamed = 3;
  const auto& blocks = engine_->blocks();
  const auto& freezes = blocks.freezes();
  std::vector<std::string> phrases;
  if (blocks.outbound().disabled) phrases.push_back("outbound off by " + blocks.outbound().who);
  if (blocks.intake().disabled) phrases.push_back("intake off by " + blocks.intake().who);
  for (std::size_t i = 0; i < std::min(kNamed, freezes.size()); ++i)
    phrases.push_back(
        fmt::format("{} {} frozen", freezes[i].hop ? "next hop" : "queue", freezes[i].queue));
  if (freezes.size() > kNamed)
    phrases.push_back(fmt::format("{} more freezes", freezes.size() - kNamed));
  if (const auto holds = blocks.holds().size(); holds > 0)
    phrases.push_back(fmt::format("{} standing {}", holds, holds == 1 ? "hold" : "holds"));
  const auto& locks = blocks.locks();
  for (std::size_t i = 0; i < std::min(kNamed, locks.size()); ++i)
    phrases.push_back(fmt::format("account {} locked", locks[i].account));
  if (locks.size() > kNamed)
    phrases.push_back(fmt::format("{} more accounts locked", locks.size() - kNamed));
  return phrases;
}

std::vector<std::string> QueuedDaemon::attention(const StoreHealth& health) {
  constexpr std::size_t kMost = 30, kLength = 200;
  auto phrases = stopped();
  if (!intake_->open()) phrases.push_back("intake closed: " + intake_->closed_why());
  for (const auto& sentence : health.damage) phrases.push_back("damage found: " + sentence);
  if (intake_->open() && health.free < config_.stop_intake / 4 * 5)
    phrases.push_back(fmt::format("disk low: {} MiB free", health.free >> 20));
  if (history_->dropped() > 0)
    phrases.push_back(fmt::format("{} lines of history lost", history_->dropped()));
  // Mail that would come back to us: an entry in the DNS, or our own configuration, is wrong.
  for (const auto& [queue, wait] : store_->waits())
    if (phrases.size() < kMost && points_to_us(wait))
      phrases.push_back(fmt::format("MX of {} names only this host", queue));
  for (const auto& [hop, wait] : store_->waits())
    if (phrases.size() < kMost && refuses_login(wait))
      phrases.push_back(fmt::format("login refused by {}", hop));
  if (phrases.size() > kMost) phrases.resize(kMost);
  for (auto& phrase : phrases)
    if (phrase.size() > kLength) phrase.resize(kLength);
  return phrases;
}

void QueuedDaemon::fill(ipc::Status& status) {
  const auto health = store_->health();
  const auto sum = totals(*engine_);
  const auto now = base::system_clock().steady();
  auto& counters = engine_->counters();
  const auto& outbound = engine_->blocks().outbound();
  status.version = POSTERN_VERSION;
  status.hostname = config_.hostname;
  status.now = base::system_clock().wall();
  status.uptime = now - started_;
  status.generation = generation_;
  status.attention = attention(health);
  status.outbound_enabled = !outbound.disabled;
  status.outbound_all = outbound.all;
  status.outbound_reason = outbound.reason;
  status.outbound_who = outbound.who;
  status.outbound_since = outbound.since;
  if (outbound.disabled && !outbound.all)
    status.outbound_spared = engine_->router().internal(kSpared);
  const auto& intake = engine_->blocks().intake();
  status.intake_open = intake_->open() && !intake.disabled;
  status.intake_reason = intake.disabled ? intake.reason : intake_->closed_why();
  status.intake_disabled = intake.disabled;
  status.intake_who = intake.who;
  status.intake_since = intake.since;
  const auto& freezes = engine_->blocks().freezes();
  status.freeze_count = static_cast<std::uint32_t>(freezes.size());
  for (std::size_t i = 0; i < std::min(kFreezes, freezes.size()); ++i)
    status.freezes.push_back(block_row(freezes[i]));
  status.standing_holds = static_cast<std::uint32_t>(engine_->blocks().holds().size());
  status.messages = store_->count();
  status.bytes = store_->bytes();
  if (sum.oldest.value != 0) status.oldest = arrival_of(sum.oldest);
  status.ready = sum.ready;
  status.uncalled = sum.uncalled;
  status.retry = sum.retry;
  status.off = sum.off;
  status.frozen = sum.frozen;
  status.held = sum.held;
  status.delivering = sum.delivering;
  status.in_flight = sum.in_flight;
  status.accepted = counters.accepted.total();
  status.refused = counters.refused.total();
  status.delivered = counters.delivered.total();
  status.deferred = counters.deferred.total();
  status.failed = counters.failed.total();
  status.bounces = counters.bounces.total();
  status.accepted_minute = counters.accepted.last_minute(now);
  status.refused_minute = counters.refused.last_minute(now);
  status.delivered_minute = counters.delivered.last_minute(now);
  status.deferred_minute = counters.deferred.last_minute(now);
  status.failed_minute = counters.failed.last_minute(now);
  status.bounces_minute = counters.bounces.last_minute(now);
  status.disk_free = health.free;
  status.journal_bytes = health.journal_bytes;
  status.large_bytes = health.large_bytes;
  status.stop_intake = config_.stop_intake;
  status.flushes = health.flushes;
  status.records = health.records;
  status.flush_p99 = health.flush_p99;
  status.processes = process_rows_;
  status.collects = collector_->rows(kCollects);
}

}  // namespace postern::queued
