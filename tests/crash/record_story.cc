#include <filesystem>

#include "common/base/check.h"
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

// Begins a recording, lets `tell` tell the story, and ends it.
Recording record(std::string name, std::uint64_t segment_size, const std::string& root, auto tell) {
  Recording recording;
  recording.story = std::move(name);
  recording.segment_size = segment_size;
  recording.start = empty_image();
  put_on_disk(recording.start, root);
  Machine machine(root, segment_size, StoryClock::kBegin, 0);
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
  return record("store", kStoreSegment, root,
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
  return record("engine", kEngineSegment, root,
                [seed](Machine& machine, Ledger& ledger, Recorder& recorder) -> std::string {
                  EngineStory story(machine, ledger, recorder, seed);
                  story.begin();
                  for (std::size_t life = 0; life < kLives && story.broken().empty(); ++life) {
                    if (life > 0)
                      if (const auto why = story.restart()) return *why;
                    story.run(kRoundsOfALife);
                  }
                  return story.broken();
                });
}

}  // namespace postern::crash
