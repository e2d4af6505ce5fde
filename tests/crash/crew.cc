#include "tests/crash/crew.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <tuple>

#include "common/base/check.h"
#include "common/base/unique_fd.h"
#include "tests/crash/judge.h"

namespace postern::crash {
namespace {

using Clock = std::chrono::steady_clock;

// What a worker lets the crew see, in memory that both have.
struct Progress {
  std::atomic<std::uint64_t> begun{0};  // states of its list, the present one too
  std::atomic<std::uint64_t> done{0};
  std::atomic<std::uint64_t> recoveries{0};
};

class Worker {
 public:
  Worker(const std::vector<Recording>& recordings, std::vector<State> states, std::string root)
      : recordings_(recordings),
        states_(std::move(states)),
        root_(std::move(root)),
        progress_(static_cast<Progress*>(::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE,
                                                MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    CHECK(progress_ != MAP_FAILED);
    new (progress_) Progress;
  }

  void start(std::size_t from) {
    int ends[2];
    CHECK(::pipe2(ends, O_CLOEXEC) == 0);
    out_ = base::UniqueFd::adopt(ends[0]);
    auto in = base::UniqueFd::adopt(ends[1]);
    progress_->begun = from;
    progress_->done = from;
    changed_ = Clock::now();
    pid_ = ::fork();
    CHECK(pid_ >= 0);
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    out_.reset();
    work(from, in.get());
    std::_Exit(0);
  }

  // Takes in what it said; false: it said its last word.
  bool listen() {
    char bytes[65536];
    const auto got = ::read(out_.get(), bytes, sizeof bytes);
    if (got > 0) said_.append(bytes, static_cast<std::size_t>(got));
    return got > 0;
  }
  // The next whole line: which state, and what.
  bool take_line(State& state, std::string& text) {
    const auto end = said_.find('\n');
    if (end == std::string::npos) return false;
    const auto space = said_.find(' ');
    state = states_[std::stoull(said_.substr(0, space))];
    text = said_.substr(space + 1, end - space - 1);
    said_.erase(0, end + 1);
    return true;
  }
  bool stuck(std::chrono::seconds patience) {
    if (const auto begun = progress_->begun.load(); begun != last_begun_) {
      last_begun_ = begun;
      changed_ = Clock::now();
    }
    return Clock::now() - changed_ > patience;
  }
  void kill() const { ::kill(pid_, SIGKILL); }
  // It has ended: how, unless it did all.
  std::string wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    if (WIFSIGNALED(status))
      return WTERMSIG(status) == SIGKILL ? "it did not come to an end"
                                         : fmt::format("it died by signal {}", WTERMSIG(status));
    return WEXITSTATUS(status) == 0 ? "" : fmt::format("it exited with {}", WEXITSTATUS(status));
  }
  [[nodiscard]] int fd() const { return out_.get(); }
  [[nodiscard]] bool running() const { return pid_ != 0; }
  [[nodiscard]] const State& present() const { return states_[progress_->begun - 1]; }
  [[nodiscard]] std::size_t begun() const { return progress_->begun; }
  [[nodiscard]] bool complete() const { return progress_->done >= states_.size(); }
  [[nodiscard]] const Progress& progress() const { return *progress_; }
  [[nodiscard]] const std::vector<State>& states() const { return states_; }

 private:
  void work(std::size_t from, int out) {
    Judge judge(recordings_, root_);
    for (auto n = from; n < states_.size(); ++n) {
      progress_->begun = n + 1;
      for (const auto& complaint : judge.judge(states_[n])) {
        const auto line = fmt::format("{} {:.600}\n", n, complaint);
        CHECK(::write(out, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
      }
      progress_->done = n + 1;
      progress_->recoveries = judge.recoveries();
    }
  }

  const std::vector<Recording>& recordings_;
  const std::vector<State> states_;
  const std::string root_;
  Progress* progress_;
  pid_t pid_ = 0;
  base::UniqueFd out_;
  std::string said_;
  std::uint64_t last_begun_ = 0;
  Clock::time_point changed_;
};

class Crew {
 public:
  Crew(const std::vector<Recording>& recordings, std::vector<State> states,
       const CrewOptions& options, const Complain& complain)
      : options_(options), complain_(complain) {
    std::sort(states.begin(), states.end(), [](const State& a, const State& b) {
      return std::tuple(a.recording, a.at, a.number) < std::tuple(b.recording, b.at, b.number);
    });
    std::vector<std::vector<State>> shares(options.processes);
    for (std::size_t n = 0; n < states.size(); ++n) shares[n % shares.size()].push_back(states[n]);
    for (auto& share : shares)
      workers_.push_back(std::make_unique<Worker>(
          recordings, std::move(share), fmt::format("{}/{}", options.root, workers_.size())));
    for (const auto& recording : recordings)
      result_.judged.emplace_back(recording.operations.size() + 1);
  }

  CrewResult run() {
    for (auto& worker : workers_) worker->start(0);
    while (turn()) continue;
    for (const auto& worker : workers_) {
      result_.states += worker->progress().done;
      result_.recoveries += worker->progress().recoveries;
      for (std::size_t n = 0; n < worker->progress().done; ++n) {
        const auto& state = worker->states()[n];
        if (state.choice.data != Choice::Data::kBlocks)
          result_.judged[state.recording][state.at] = true;
      }
    }
    return std::move(result_);
  }

 private:
  bool turn() {
    std::vector<pollfd> polls;
    for (const auto& worker : workers_)
      polls.push_back({worker->running() ? worker->fd() : -1, POLLIN, 0});
    CHECK(::poll(polls.data(), polls.size(), 1'000) >= 0);
    bool any = false;
    for (std::size_t n = 0; n < workers_.size(); ++n) {
      auto& worker = *workers_[n];
      if (!worker.running()) continue;
      const bool over = polls[n].revents != 0 && !worker.listen();
      State state;
      for (std::string text; worker.take_line(state, text);) note(state, text);
      if (worker.stuck(options_.patience) || enough_) worker.kill();
      if (over) ended(worker);
      any |= worker.running();
    }
    return any;
  }

  void note(const State& state, const std::string& text) {
    if (!noted_ || last_ != state.number) ++result_.violations;
    noted_ = true;
    last_ = state.number;
    enough_ |= complain_(state, text);
  }

  void ended(Worker& worker) {
    const auto how = worker.wait();
    if (worker.complete() || enough_) return;
    note(worker.present(), how);
    if (!enough_) worker.start(worker.begun());
  }

  const CrewOptions& options_;
  const Complain& complain_;
  std::vector<std::unique_ptr<Worker>> workers_;
  CrewResult result_;
  bool noted_ = false;
  bool enough_ = false;
  std::uint64_t last_ = 0;
};

}  // namespace

CrewResult judge_all(const std::vector<Recording>& recordings, std::vector<State> states,
                     const CrewOptions& options, const Complain& complain) {
  return Crew(recordings, std::move(states), options, complain).run();
}

}  // namespace postern::crash
