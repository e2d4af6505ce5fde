// crashtest: records what Postern does on disk, builds the states that a power cut could leave,
// lets the real recovery run on each, and checks what was promised.
//
//   crashtest [--states N] [--seed S] [--state S:N] [--processes P] [--operations] [--faults]
//
// --operations lists what was recorded; --faults shows, in a build that can make them, that each
// planted fault is found. Exit: 0 when nothing was wrong and every class of operations was covered.
#include <fcntl.h>
#include <fmt/format.h>
#include <getopt.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "common/base/check.h"
#include "common/base/fault.h"
#include "common/base/text.h"
#include "common/log/log.h"
#include "tests/crash/call_sites.h"
#include "tests/crash/coverage.h"
#include "tests/crash/crew.h"
#include "tests/crash/judge.h"

namespace postern::crash {
namespace {

constexpr std::uint64_t kShown = 20;  // complaints

struct Options {
  std::uint64_t states = 12'000;
  std::uint64_t seed = 1;
  std::optional<std::uint64_t> only;
  unsigned processes = 2;
  bool operations = false;
  bool faults = false;
};

// The planted faults, in words, and the verdict that each must bring about: another complaint is not
// enough, nor is a program that dies of it.
struct Planted {
  fault::Fault fault;
  std::string_view what, verdict;
};
constexpr Planted kFaults[] = {
    {fault::Fault::kAckBeforeFlush, "acknowledged before the flush", "I1:"},
    {fault::Fault::kNoDirectoryFlush, "a large body's folder is not flushed", "I1:"},
    {fault::Fault::kIndexNoSync, "LMDB with NOSYNC", "a false alarm: the index is set aside"},
    {fault::Fault::kOutcomeAckedEarly, "an outcome acknowledged before it is in the journal", "I3:"},
    {fault::Fault::kCheckpointAhead, "a checkpoint past the flushed sequence number", "I1:"},
    {fault::Fault::kSegmentReusedEarly, "a segment reused too early", "I1:"},
    {fault::Fault::kOldEpochAccepted, "a record of an earlier epoch accepted", "I3:"},
    {fault::Fault::kRecordInBodyCounted, "a record inside a body accepted after damage", "I2:"},
    {fault::Fault::kLargeUnlinkedEarly, "a large file unlinked too early", "I1:"},
    {fault::Fault::kRefusedUnasked, "4yz said without queued's word", "I2:"},
    {fault::Fault::kBlocksNameUnflushed, "the folder of control.json is not flushed", "I5:"},
    {fault::Fault::kIndexNameUnflushed, "the folder of a new index is not flushed", "I1:"},
    {fault::Fault::kMailNameUnflushed, "a Maildir's folder is not flushed", "I4:"},
    {fault::Fault::kBadmailUnflushed, "a copy in badmail is not flushed", "I1:"},
    {fault::Fault::kCopyChanged, "a body changed when it is copied forward", "I6:"},
};
static_assert(std::size(kFaults) == static_cast<std::size_t>(fault::kLastFault));

// A folder of this process's own, in memory if there is room.
class Folder {
 public:
  Folder() {
    std::error_code error;
    const auto room = std::filesystem::space("/dev/shm", error);
    const bool shm = !error && room.available > (256ULL << 20);
    path_ = fmt::format("{}/postern-crash-{}", shm ? "/dev/shm" : "/var/tmp", ::getpid());
    std::filesystem::create_directories(path_);
    path_ = std::filesystem::canonical(path_).string();
  }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// What was recorded, in one number: the same states come only from the same operations.
std::uint64_t fingerprint(const std::vector<Recording>& recordings) {
  std::uint64_t sum = 0;
  for (const auto& recording : recordings)
    for (const auto& operation : recording.operations)
      sum = chance(sum, static_cast<std::uint64_t>(operation.kind),
                   operation.offset * 31 + (operation.bytes ? operation.bytes->size() : 0));
  return sum;
}

bool report_coverage(const std::vector<Recording>& recordings, const CrewResult& result) {
  std::size_t covered = 0;
  const auto classes = classes_of(recordings);
  for (const auto& one : classes) {
    std::size_t both = 0;
    for (const auto& [which, operation] : one.members)
      both += result.judged[which][operation] && result.judged[which][operation + 1];
    covered += both > 0;
    fmt::print("  {:<28} {:<46} {:>5} of {:>5}{}\n", one.what, one.site, both, one.members.size(),
               both > 0 ? "" : "  NOT COVERED");
  }
  fmt::print("{} of {} kinds of operations had a state before and after\n", covered,
             classes.size());
  return covered == classes.size();
}

bool report_call_sites(const std::vector<Recording>& recordings) {
  const auto sites = compare_call_sites(recordings);
  for (const auto& complaint : sites.complaints) fmt::print("  {}\n", complaint);
  fmt::print("{} places in the code change the disk: {} recorded, {} excused\n", sites.found,
             sites.recorded, sites.excused);
  return sites.complaints.empty();
}

int judge_one(const std::vector<Recording>& recordings, const Options& options,
              const std::string& root) {
  // Every state up to its number is chosen alike, however many are wanted.
  std::uint64_t enough = *options.only + 1;
  for (const auto& recording : recordings) enough += 4 * recording.operations.size() + 4;
  for (const auto& state : choose_states(recordings, options.seed, enough)) {
    if (state.number != *options.only) continue;
    fmt::print("{}\n", describe(state, recordings));
    Judge judge(recordings, root);
    const auto complaints = judge.judge(state);
    for (const auto& complaint : complaints) fmt::print("  {}\n", complaint);
    fmt::print("{} violations\n", complaints.size());
    return complaints.empty() ? 0 : 1;
  }
  return 64;
}

std::vector<Recording> record_all(const std::string& root, std::uint64_t seed) {
  std::vector<Recording> recordings;
  recordings.push_back(record_store_story(root + "/story", seed));
  recordings.push_back(record_engine_story(root + "/story", seed));
  recordings.push_back(record_upkeep_story(root + "/story", seed));
  for (const auto& recording : recordings) {
    fmt::print("{} story: {} messages, {} operations\n", recording.story,
               recording.ledger.letters(), recording.operations.size());
    if (!recording.failed.empty()) fmt::print("  it broke off: {}\n", recording.failed);
  }
  return recordings;
}

int run(const Options& options) {
  const Folder folder;
  const auto recordings = record_all(folder.path(), options.seed);
  const bool broken = std::any_of(recordings.begin(), recordings.end(),
                                  [](const auto& r) { return !r.failed.empty(); });
  fmt::print("seed {}, operations {:016x}\n", options.seed, fingerprint(recordings));
  if (options.operations)
    for (const auto& recording : recordings)
      for (std::size_t n = 0; n < recording.operations.size(); ++n)
        fmt::print("{} {} {} {} +{}\n", n, name(recording.operations[n].kind),
                   recording.operations[n].path, recording.operations[n].offset,
                   recording.operations[n].bytes ? recording.operations[n].bytes->size() : 0);
  std::fflush(stdout);
  if (options.only) return judge_one(recordings, options, folder.path() + "/state");

  const auto begun = std::chrono::steady_clock::now();
  CrewOptions crew{.root = folder.path(), .processes = options.processes};
  std::uint64_t shown = 0;
  const auto result = judge_all(recordings, choose_states(recordings, options.seed, options.states),
                                crew, [&](const State& state, const std::string& text) {
                                  if (++shown > kShown) return false;
                                  fmt::print("{}:{} {}\n    {}\n", options.seed, state.number, text,
                                             describe(state, recordings));
                                  std::fflush(stdout);
                                  return false;
                                });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  const bool covered = report_coverage(recordings, result);
  const bool all_places = report_call_sites(recordings);
  fmt::print("{} states, {} recoveries in {:.0f} s ({:.0f} states a second), {} violations\n",
             result.states, result.recoveries, took.count(),
             static_cast<double>(result.states) / took.count(), result.violations);
  return result.violations == 0 && covered && all_places && !broken ? 0 : 1;
}

#ifdef POSTERN_FAULTS

// A verdict on a state that is cut twice names it behind the number of operations.
bool is_verdict(const std::string& text, std::string_view verdict) {
  return text.starts_with(verdict) || text.find(fmt::format(": {}", verdict)) != std::string::npos;
}

// How many states of the seed's story it took; 0: it was not found.
std::uint64_t states_until_found(const Planted& planted, const Options& options, std::uint64_t seed) {
  const Folder folder;
  const auto recordings = record_all(folder.path(), seed);
  const CrewOptions crew{.root = folder.path(), .processes = options.processes};
  bool found = false;
  std::string other;
  const auto result = judge_all(recordings, choose_states(recordings, seed, options.states), crew,
                                [&](const State& state, const std::string& text) {
                                  const auto said = fmt::format("{}:{} {}", seed, state.number, text);
                                  if (!is_verdict(text, planted.verdict)) {
                                    if (other.empty()) other = said;
                                    return false;
                                  }
                                  if (!std::exchange(found, true)) fmt::print("    {}\n", said);
                                  return true;
                                });
  if (!found && !other.empty()) fmt::print("    not \"{}\", but {}\n", planted.verdict, other);
  return found ? std::max<std::uint64_t>(1, result.states) : 0;
}

// In a process of its own, for a fault may well end it. Not every story comes by the moment at which it
// matters, so a few are told.
bool is_found(const Planted& planted, const Options& options) {
  constexpr std::uint64_t kStories = 5;
  fault::g_planted = planted.fault;
  for (auto seed = options.seed; seed < options.seed + kStories; ++seed) {
    const auto states = states_until_found(planted, options, seed);
    if (states > 0) {
      fmt::print("    found after {} states\n", states);
      return true;
    }
    fmt::print("    NOT FOUND in this story\n");
    std::fflush(stdout);
  }
  return false;
}

int find_faults(const Options& options) {
  std::size_t found = 0;
  for (const auto& planted : kFaults) {
    fmt::print("{}\n", planted.what);
    std::fflush(stdout);
    const auto pid = ::fork();
    CHECK(pid >= 0);
    if (pid == 0) {
      const bool was_found = is_found(planted, options);
      std::fflush(stdout);
      std::_Exit(was_found ? 0 : 1);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    if (WIFSIGNALED(status)) fmt::print("    NOT FOUND: the story died of it\n");
    found += WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  fmt::print("{} of {} planted faults found, each by the verdict that it must bring about\n", found,
             std::size(kFaults));
  return found == std::size(kFaults) ? 0 : 1;
}

#else

int find_faults(const Options&) {
  fmt::print(stderr, "crashtest: this build has no faults (-Dfaults=true)\n");
  return 64;
}

#endif

[[noreturn]] void usage() {
  fmt::print(stderr,
             "usage: crashtest [--states N] [--seed S] [--state S:N] [--processes P] "
             "[--operations] [--faults]\n");
  std::exit(64);
}

std::uint64_t number(std::string_view text) {
  const auto value = base::parse_number(text);
  if (!value) usage();
  return *value;
}

Options parse(int argc, char** argv) {
  static const option kOptions[] = {{"states", required_argument, nullptr, 'n'},
                                    {"seed", required_argument, nullptr, 's'},
                                    {"state", required_argument, nullptr, 'o'},
                                    {"processes", required_argument, nullptr, 'p'},
                                    {"operations", no_argument, nullptr, 'l'},
                                    {"faults", no_argument, nullptr, 'f'},
                                    {}};
  Options options;
  for (int c = 0; (c = ::getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    const std::string_view value = optarg == nullptr ? "" : optarg;
    if (c == 'n') {
      options.states = number(value);
    } else if (c == 's') {
      options.seed = number(value);
    } else if (c == 'o') {
      const auto colon = value.find(':');
      if (colon == std::string_view::npos) usage();
      options.seed = number(value.substr(0, colon));
      options.only = number(value.substr(colon + 1));
    } else if (c == 'p') {
      options.processes = static_cast<unsigned>(std::max<std::uint64_t>(1, number(value)));
    } else if (c == 'l') {
      options.operations = true;
    } else if (c == 'f') {
      options.faults = true;
    } else {
      usage();
    }
  }
  return options;
}

// Where things lie in memory decides in which order some are done: always the same, or a state's
// number would mean another state the next time. Where that is not allowed, only the numbers
// suffer.
void always_lie_alike(char** argv) {
  const int now = ::personality(0xffffffff);
  if (now < 0 || (now & ADDR_NO_RANDOMIZE) != 0) return;
  if (::personality(static_cast<unsigned long>(now) | ADDR_NO_RANDOMIZE) >= 0)
    ::execv("/proc/self/exe", argv);
}

}  // namespace
}  // namespace postern::crash

int main(int argc, char** argv) {
  postern::crash::always_lie_alike(argv);
  const auto options = postern::crash::parse(argc, argv);
  // What the store logs of a state is said by its complaints.
  postern::log::open(postern::base::UniqueFd::adopt(::open("/dev/null", O_WRONLY | O_CLOEXEC)),
                     postern::log::Format::kText, postern::log::Level::kError);
  return options.faults ? postern::crash::find_faults(options) : postern::crash::run(options);
}
