#include <filesystem>

#include "common/base/check.h"
#include "queued/reserve.h"
#include "queued/segment.h"
#include "tests/crash/engine_story.h"
#include "tests/crash/store_story.h"
#include "tests/crash/story.h"
#include "tests/crash/volume.h"

namespace postern::crash {
namespace {

constexpr std::size_t kLives = 6;
constexpr std::size_t kStepsOfALife = 110;  // of the store
constexpr std::size_t kRoundsOfALife = 40;  // of the engine
// Small, so that they change often; Intake wants room for a message whose recipients all fail.
constexpr std::uint64_t kStoreSegment = 32 * 1024;
constexpr std::uint64_t kEngineSegment = 160 * 1024;
constexpr std::size_t kStepsOfUpkeep = 25;  // between what is seldom
constexpr MachineOptions kUpkeep{.segment_size = 48 * 1024,
                                 .reserve = 8 * queued::Reserve::kPieces * queued::kBlock,
                                 .compact_above = 128 * 1024};

// Begins a recording, lets `tell` tell the story, and ends it.
Recording record(std::string name, MachineOptions options, const std::string& root, auto tell) {
  Recording recording;
  recording.story = std::move(name);
  recording.machine = options;
  recording.start = empty_image();
  put_on_disk(recording.start, root);
  Machine machine(root, options, StoryClock::kBegin, 0);
  NodePaths nodes;
  const Volume volume(recording.start);
  (void)volume.build({}, &nodes);
  Recorder recorder(root, nodes, volume.nodes(), 0, true);
  recorder.set_wall(machine.clock.wall_ms);
  if (const auto why = machine.open())
    recording.failed = *why;
  else
    recording.failed = tell(machine, recording.ledger, recorder);
  if (!machine.fatal().empty()) recording.failed = machine.fatal();
  if (const auto left = recorder.left_to_fail(); !left.empty() && recording.failed.empty())
    recording.failed = "nothing tried what was to fail: " + left;
  machine.kill();
  recording.operations = recorder.operations();
  recording.sites = recorder.sites();
  return recording;
}

}  // namespace

Image empty_image() {
  Image image;
  image["mail"] = {};
  image["mail/drop"] = {};
  image["spool"] = {};
  return image;
}

Recording record_store_story(const std::string& root, std::uint64_t seed) {
  return record("store", {.segment_size = kStoreSegment}, root,
                [seed](Machine& machine, Ledger& ledger, Recorder& recorder) -> std::string {
                  StoreStory story(machine, ledger, recorder, seed);
                  for (std::size_t life = 0; life < kLives; ++life) {
                    if (life > 0)
                      if (const auto why = story.restart()) return *why;
                    story.run(kStepsOfALife);
                  }
                  return "";
                });
}

Recording record_engine_story(const std::string& root, std::uint64_t seed) {
  return record("engine", {.segment_size = kEngineSegment}, root,
                [seed](Machine& machine, Ledger& ledger, Recorder& recorder) -> std::string {
                  EngineStory story(machine, ledger, recorder, seed);
                  story.begin();
                  for (std::size_t life = 0; life < kLives && story.broken().empty(); ++life) {
                    if (life > 0)
                      if (const auto why = story.restart()) return *why;
                    if (life == 1) story.run_short();
                    story.run(kRoundsOfALife);
                  }
                  return story.broken();
                });
}

Recording record_upkeep_story(const std::string& root, std::uint64_t seed) {
  return record("upkeep", kUpkeep, root,
                [seed](Machine& machine, Ledger& ledger, Recorder& recorder) -> std::string {
                  StoreStory story(machine, ledger, recorder, seed);
                  story.run(kStepsOfUpkeep);
                  story.import_all();
                  story.run_short();
                  story.swell();
                  if (const auto why = story.restart()) return *why;
                  story.run(kStepsOfUpkeep);
                  if (const auto why = story.restart_damaged()) return *why;
                  story.run(kStepsOfUpkeep);
                  if (const auto why = story.restart()) return *why;
                  story.run(kStepsOfUpkeep);
                  return "";
                });
}

}  // namespace postern::crash
