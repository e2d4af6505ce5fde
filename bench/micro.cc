// Benchmarks of single pieces: command parsing, the scanner of bodies, the codec, and the journal's group
// commit on a real disk. The journal's files go to $POSTERN_BENCH_DIR, or /var/tmp.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>

#include "common/base/check.h"
#include "common/base/random.h"
#include "common/ipc/messages.h"
#include "common/mail/command.h"
#include "common/mail/data_reader.h"
#include "common/os/disk.h"
#include "queued/journal.h"

namespace postern::bench {
namespace {

void parse_command(benchmark::State& state, const char* line) {
  for (auto _ : state) benchmark::DoNotOptimize(mail::parse_command(line));
}
BENCHMARK_CAPTURE(parse_command, noop, "NOOP");
BENCHMARK_CAPTURE(parse_command, ehlo, "EHLO client.example");
BENCHMARK_CAPTURE(parse_command, mail, "MAIL FROM:<sender@client.example> SIZE=4096 BODY=8BITMIME");
BENCHMARK_CAPTURE(parse_command, rcpt, "RCPT TO:<recipient@remote.example>");

// A body in lines of 64 bytes, its end mark included.
std::string make_body(std::size_t size) {
  std::string body = "From: sender@client.example\r\n\r\n";
  while (body.size() < size) body += std::string(62, 'x') + "\r\n";
  return body + ".\r\n";
}

void scan_body(benchmark::State& state) {
  const auto body = make_body(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    mail::DataReader reader;
    std::string_view rest = body;
    for (bool end = false; !end;) {
      const auto step = reader.scan(rest);
      rest.remove_prefix(step.consumed);
      end = step.end;
      benchmark::DoNotOptimize(step.body.data());
    }
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(body.size()));
}
BENCHMARK(scan_body)->Arg(4 << 10)->Arg(64 << 10)->Arg(1 << 20);

ipc::Submit make_submit() {
  ipc::Submit submit;
  submit.request = base::RequestId(1);
  submit.token = base::random_token();
  submit.origin = *base::parse_ip("192.0.2.1");
  submit.hello = "client.example";
  submit.esmtp = true;
  submit.from = mail::ReversePath(*mail::Address::parse("sender@client.example"));
  submit.recipient_count = 1;
  submit.body_size = 4096;
  return submit;
}

void encode_submit(benchmark::State& state) {
  const auto submit = make_submit();
  for (auto _ : state) benchmark::DoNotOptimize(ipc::encode(submit));
}
BENCHMARK(encode_submit);

void decode_submit(benchmark::State& state) {
  const auto bytes = ipc::encode(make_submit());
  for (auto _ : state) benchmark::DoNotOptimize(ipc::decode<ipc::Submit>(bytes));
}
BENCHMARK(decode_submit);

// A journal of two segments that take turns, in a directory that is removed at the end.
class JournalRig {
 public:
  JournalRig() {
    const char* chosen = std::getenv("POSTERN_BENCH_DIR");
    directory_ = std::string(chosen != nullptr ? chosen : "/var/tmp") + "/postern-micro-XXXXXX";
    CHECK(::mkdtemp(directory_.data()) != nullptr);
    disk_ = os::real_disk(base::UniqueFd::adopt(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY)));
    queued::JournalStart start;
    start.epoch = base::Epoch(base::random_u64() | 1);
    journal_ = std::make_unique<queued::Journal>(start, true, [this]() noexcept {
      const std::lock_guard lock(mutex_);
      news_ = true;
      changed_.notify_one();
    });
    for (const char* name : {"a", "b"}) journal_->give(make_segment(name));
  }
  ~JournalRig() {
    journal_.reset();
    disk_.reset();
    std::filesystem::remove_all(directory_);
  }
  JournalRig(const JournalRig&) = delete;
  JournalRig& operator=(const JournalRig&) = delete;

  // Appends as many urgent entries as there are waiters, and returns when all are flushed.
  void commit(std::int64_t waiters, const std::shared_ptr<const std::string>& body) {
    for (std::int64_t i = 0; i < waiters; ++i)
      journal_->append({queued::RecordType::kAccepted, std::string(200, 'f'), body, true});
    journal_->kick();
    while (flushed_ < journal_->appended()) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return news_; });
      news_ = false;
      lock.unlock();
      collect();
    }
  }
  [[nodiscard]] std::uint64_t flushes() const { return flushes_; }
  // A file like a segment that is none.
  os::File& other_file() {
    if (!other_.file) other_ = make_segment("c");
    return *other_.file;
  }

  static constexpr std::uint64_t kSegment = 64 << 20;

 private:

  queued::SegmentFile make_segment(const char* name) {
    auto file = disk_->open(name, os::OpenMode::kCreateExclusive);
    CHECK(file.has_value());
    const std::string zeros(1 << 20, '\0');
    for (std::uint64_t at = 0; at < kSegment; at += zeros.size())
      CHECK((*file)->write_at(at, zeros).has_value());
    CHECK((*file)->flush().has_value());
    return {name, *std::move(file), kSegment};
  }

  void collect() {
    auto progress = journal_->collect();
    CHECK(!progress.error);
    flushed_ = progress.flushed;
    flushes_ += progress.flushes.size();
    for (auto& opened : progress.opened) {
      if (current_.file) journal_->give(std::move(current_));
      current_ = std::move(opened.file);
    }
  }

  std::string directory_;
  std::unique_ptr<os::Disk> disk_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool news_ = false;
  std::unique_ptr<queued::Journal> journal_;
  queued::SegmentFile current_;
  queued::SegmentFile other_;
  std::uint64_t flushed_ = 0;
  std::uint64_t flushes_ = 0;
};

void journal_commit(benchmark::State& state) {
  JournalRig rig;
  const auto body = std::make_shared<const std::string>(make_body(4096));
  for (auto _ : state) rig.commit(state.range(0), body);
  const auto records = state.iterations() * state.range(0);
  state.SetItemsProcessed(records);
  state.counters["flushes_per_record"] =
      static_cast<double>(rig.flushes()) / static_cast<double>(records);
}
// Its flusher is another thread: CPU is that of both. Where it comes near to the time, CPU is the limit.
BENCHMARK(journal_commit)
    ->Arg(1)
    ->Arg(8)
    ->Arg(64)
    ->Arg(512)
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

// What the disk alone takes for the same bytes: one write and one flush, in a file that is written already.
void bare_commit(benchmark::State& state) {
  JournalRig rig;
  auto& file = rig.other_file();
  const auto size = queued::frame_size(200, 4096) * static_cast<std::size_t>(state.range(0));
  const auto bytes = make_body(queued::round_up(size));
  std::uint64_t at = 0;
  for (auto _ : state) {
    if (at + bytes.size() > JournalRig::kSegment) at = 0;
    CHECK(file.write_at(at, bytes).has_value());
    CHECK(file.flush_data().has_value());
    at += queued::round_up(bytes.size());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(bare_commit)
    ->Arg(1)
    ->Arg(8)
    ->Arg(64)
    ->Arg(512)
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace postern::bench

BENCHMARK_MAIN();
