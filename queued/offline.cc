#include "queued/offline.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/text.h"
#include "common/ipc/channel.h"
#include "common/log/log.h"
#include "common/os/process.h"
#include "common/os/sandbox.h"
#include "queued/blocks.h"
#include "queued/lmdb_index.h"
#include "queued/local_store.h"
#include "queued/spool_check.h"
#include "queued/spool_desk.h"
#include "queued/spool_lock.h"
#include "queued/exits.h"

namespace postern::queued {
namespace {

constexpr std::uint64_t kOpenFiles = 1024;

struct Wish {
  bool check = false;
  std::string spool;
  std::string hostname;
  LocalStoreOptions store;
  std::uint64_t stop_intake = 0;
};

std::optional<Wish> parse(const std::vector<std::string>& words) {
  if (words.size() == 2 && words[0] == "check") return Wish{true, words[1], {}, {}, 0};
  if (words.size() != 7 || (words[0] != "export" && words[0] != "import")) return std::nullopt;
  const auto segment = base::parse_number(words[3]), reserve = base::parse_number(words[4]),
             stop = base::parse_number(words[5]), gap = base::parse_number(words[6]);
  if (!segment || !reserve || !stop || !gap) return std::nullopt;
  Wish wish{false, words[1], words[2], {}, *stop};
  wish.store.segment_size = *segment;
  wish.store.reserve = *reserve;
  wish.store.max_gap = base::Millis(static_cast<std::int64_t>(*gap));
  return wish;
}

// A store that nobody else uses.
class StandingHost final : public TransferHost {
 public:
  StandingHost(LocalStore& store, const Wish& wish)
      : store_(store), wish_(wish), blocks_(blocks_of(store)) {}

  Store& store() override { return store_; }
  const std::string& hostname() const override { return wish_.hostname; }
  std::uint64_t least_free() const override { return wish_.stop_intake; }
  void when_loaded(Done loaded) override {
    if (loaded_) return loaded();
    waiting_.push_back(std::move(loaded));
  }
  void loaded() {
    loaded_ = true;
    for (auto& done : std::exchange(waiting_, {})) done();
  }
  void hold(std::vector<base::MessageId> ids, std::string why, Done held) override {
    store_.fetch(ids, [this, ids, why = std::move(why), held = std::move(held)]() mutable noexcept {
      for (const auto id : ids)
        if (store_.find(id) != nullptr) store_.note(HoldRecord{id, why, store_.clock().now()});
      store_.settle(std::move(held));
    });
  }
  void release(std::vector<base::MessageId> ids, Done released) override {
    hold(std::move(ids), {}, std::move(released));
  }
  // Routes are not known here: a queue is taken for its domain, and outbound mail for all of it.
  base::Millis age(const Message& message) const override {
    const auto now = store_.clock().now();
    auto least = now - message.born;
    for (const auto& recipient : message.recipients) {
      if (!recipient.open()) continue;
      auto spans = blocks_.standstills(recipient.address.domain().text(), {}, now);
      const auto holds = message.holds(now);
      spans.insert(spans.end(), holds.begin(), holds.end());
      least = std::min(least, now - message.born - covered(std::move(spans), message.born, now));
    }
    return least;
  }
  bool in_delivery(const Message&) const override { return false; }
  void remove(const std::vector<base::MessageId>& ids) override {
    for (const auto id : ids) {
      const Message* message = store_.find(id);
      if (message == nullptr) continue;
      OutcomeRecord record;
      record.message = id;
      record.when = store_.clock().wall();
      record.clock = store_.clock().now();
      for (const auto& recipient : message->recipients)
        if (recipient.open())
          record.fates.push_back({.number = recipient.number, .fate = Fate::kRemoved});
      store_.outcome(std::move(record), nullptr, {}, {});
    }
  }
  void admit(base::MessageId) override {}

 private:
  // Damaged ones are for the next start to tell of.
  static Blocks blocks_of(const LocalStore& store) {
    if (!store.blocks_text()) return {};
    return Blocks::from_text(*store.blocks_text()).value_or(Blocks());
  }

  LocalStore& store_;
  const Wish& wish_;
  const Blocks blocks_;
  bool loaded_ = false;
  std::vector<Done> waiting_;
};

class OfflineSession {
 public:
  OfflineSession(event::Loop& loop, base::UniqueFd channel)
      : loop_(loop), connection_(loop, std::move(channel), *this) {}

 private:
  template <class Answer>
  auto answer() {
    return [this](const Answer& found) noexcept { connection_.send(found); };
  }

 public:
  // Nothing can be done; every question is told so.
  void refuse(std::uint8_t exit, std::string why) {
    exit_ = exit;
    refusal_ = std::move(why);
  }
  void serve(SpoolReport report) {
    findings_ = std::move(report.findings);
    summary_ = std::move(report.summary);
    checked_ = true;
  }
  void serve(TransferHost& host) { desk_ = std::make_unique<SpoolDesk>(loop_, host); }

  void on(const ipc::CheckSpool& ask) {
    ipc::SpoolFindings answer{.request = ask.request};
    if (!checked_) {
      answer.exit = exit_;
      answer.summary = refusal_.substr(0, ipc::kMaxText);
    } else {
      answer.findings = take_findings(findings_);
      answer.more = !findings_.empty();
      if (!answer.more) answer.summary = summary_.substr(0, ipc::kMaxText);
    }
    connection_.send(answer);
  }
  void on(const ipc::ExportSpool& ask) {
    if (!desk_)
      return connection_.send(
          ipc::ExportPart{.request = ask.request, .exit = exit_, .error = refusal_.substr(0, ipc::kMaxText)});
    desk_->export_next(ask, answer<ipc::ExportPart>());
  }
  void on(const ipc::RemoveExported& ask) {
    if (!desk_) return connection_.send(refused(ask.request));
    desk_->remove_exported(ask, answer<ipc::SpoolDone>());
  }
  void on(const ipc::ImportSpool& ask) {
    if (!desk_) return connection_.send(refused(ask.request));
    desk_->import_next(ask, answer<ipc::SpoolDone>());
  }
  // A server answers other questions too.
  template <class M>
  void on(const M&) {
    closed();
  }
  void closed() noexcept {
    if (ended) ended();
  }

  event::Callback ended;

 private:
  [[nodiscard]] ipc::SpoolDone refused(base::RequestId request) const {
    return {.request = request, .exit = exit_, .over = true, .text = refusal_.substr(0, ipc::kMaxText)};
  }

  event::Loop& loop_;
  std::uint8_t exit_ = kUsage;
  std::string refusal_ = "this is another errand";
  std::vector<std::string> findings_;
  std::string summary_;
  bool checked_ = false;
  std::unique_ptr<SpoolDesk> desk_;
  ipc::Connection<OfflineSession, ipc::Role::kQueued, ipc::Role::kControl> connection_;
};

// Everything that needs rights: the directory, the lock, the sandbox.
class Ground {
 public:
  os::Result<void> prepare(const Wish& wish) {
    auto root = base::UniqueFd::adopt(
        ::open(wish.spool.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root.valid()) return os::failure("open the spool " + wish.spool);
    struct stat info {};
    if (::fstat(root.get(), &info) != 0) return os::failure("look at the spool " + wish.spool);
    auto lock = lock_spool(root.get(), wish.check ? LockMode::kTouch : LockMode::kMake);
    if (!lock) return std::unexpected(lock.error());
    lock_ = *std::move(lock);
    const bool become = ::geteuid() == 0 && info.st_uid != 0;
    if (become && !wish.check && ::fchown(lock_.get(), info.st_uid, info.st_gid) != 0)
      return os::failure("give the spool's lock to its owner");
    if (::fchdir(root.get()) != 0) return os::failure("go to the spool");
    os::SandboxPlan plan;
    plan.kind = os::SandboxKind::kStoring;
    plan.root = root.get();
    if (become) plan.identity = os::SandboxPlan::Identity{info.st_uid, info.st_gid};
    plan.open_files = kOpenFiles;
    ::mallopt(M_ARENA_MAX, 1);
    if (auto done = os::enter_sandbox(plan); !done) return done;
    disk = os::real_disk(std::move(root));
    return {};
  }

  std::unique_ptr<os::Disk> disk;

 private:
  base::UniqueFd lock_;  // to the end
};

// A spool that was never used has no blocks; its first start would miss them.
void make_blocks(LocalStore& store) {
  if (store.blocks_text() || store.used_before()) return;
  store.save_blocks(Blocks().to_text(), [](os::Result<void>) noexcept {});
}

class Offline {
 public:
  Offline(event::Loop& loop, const Wish& wish) : loop_(loop), wish_(wish) {}

  void run(base::UniqueFd channel) {
    Ground ground;
    auto prepared = ground.prepare(wish_);
    session_ = std::make_unique<OfflineSession>(loop_, std::move(channel));
    session_->ended = [this]() noexcept { end(); };
    if (prepared && !wish_.check) prepared = open(*ground.disk);
    if (!prepared) {
      const auto& error = prepared.error();
      session_->refuse(error.number == EBUSY ? kTemporary : kOsError,
                       "cannot " + (error.number == EBUSY || error.number == EPROTO ? error.what
                                                                                    : error.text()));
    } else if (wish_.check) {
      session_->serve(check_spool(*ground.disk, "."));
    }
    loop_.run();
    log::finish();
    ::_exit(0);  // threads end with the process; what had to be kept is on disk
  }

 private:
  os::Result<void> open(os::Disk& disk) {
    if (auto known = check_versions(disk); !known) return known;
    auto opened = LocalStore::open(
        loop_, disk, [&disk](bool) { return LmdbIndex::open(disk); }, base::system_clock(), wish_.store,
        [](const std::string& why) noexcept {
          log::error("process.fatal").field("reason", why);
          log::finish();
          ::_exit(kOsError);
        });
    if (!opened) return std::unexpected(opened.error());
    store_ = *std::move(opened);
    make_blocks(*store_);
    host_ = std::make_unique<StandingHost>(*store_, wish_);
    session_->serve(*host_);
    store_->tell_all([this](const Batch& batch) noexcept {
      if (!batch.more) host_->loaded();
    });
    ticker_ = std::make_unique<event::Timer>(loop_, [this]() noexcept { tick(); });
    tick();
    return {};
  }
  void tick() {
    store_->tick();
    ticker_->start(base::Millis(1'000));
  }
  void end() {
    if (!store_) return loop_.stop();
    store_->settle([this]() noexcept { loop_.stop(); });
  }

  event::Loop& loop_;
  const Wish& wish_;
  std::unique_ptr<LocalStore> store_;
  std::unique_ptr<StandingHost> host_;
  std::unique_ptr<OfflineSession> session_;
  std::unique_ptr<event::Timer> ticker_;
};

}  // namespace

int run_offline(int argc, char** argv) {
  const auto wish = parse({argv + 2, argv + argc});
  if (!wish || ::fcntl(os::kInheritedChannel, F_GETFD) < 0) {
    std::fprintf(stderr, "%s --offline is started by posternctl(1) only\n", argv[0]);
    return kUsage;
  }
  ::fcntl(os::kInheritedChannel, F_SETFD, FD_CLOEXEC);
  ::signal(SIGPIPE, SIG_IGN);
  log::set_level(log::Format::kText, log::Level::kError);
  os::save_title_area(argc, argv);
  os::set_title("postern: queued, offline, " + wish->spool);
  event::Loop loop;
  Offline(loop, *wish).run(base::UniqueFd::adopt(os::kInheritedChannel));
  return 0;
}

}  // namespace postern::queued
