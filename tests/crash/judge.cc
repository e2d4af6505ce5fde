#include "tests/crash/judge.h"

#include <fmt/format.h>

#include "common/base/check.h"
#include "tests/crash/machine.h"
#include "tests/crash/store_story.h"

namespace postern::crash {
namespace {

constexpr std::uint64_t kLivesOfRecovery = 1 << 20;  // no story has as many
constexpr std::size_t kSteps = 6;                    // of the life after a recovery

// Mailboxes need no recovery: they are looked at as they are.
Image without_mail(Image image) {
  for (auto at = image.lower_bound("mail/"); at != image.end() && at->first.starts_with("mail/");)
    at = image.erase(at);
  return image;
}

// What is damaged is said once.
bool same(View first, View second) {
  first.damage.clear();
  second.damage.clear();
  return first == second;
}

std::int64_t wall_at(const Recording& recording, Position at) {
  std::int64_t wall = StoryClock::kBegin;
  for (auto n = at; n-- > 0;)
    if (recording.operations[n].kind != Kind::kSetTime) {
      wall = std::max(wall, recording.operations[n].time);
      break;
    }
  return wall + 1'000;
}

}  // namespace

void Judge::advance(const State& state) {
  if (recording_ != state.recording || at_ > state.at) {
    recording_ = state.recording;
    volume_ = std::make_unique<Volume>(recordings_[recording_].start);
    at_ = 0;
  }
  while (at_ < state.at) volume_->apply(recordings_[recording_].operations[at_++]);
}

Ledger::Complaints Judge::judge(const State& state) {
  advance(state);
  const auto& recording = recordings_[state.recording];
  auto image = volume_->build(state.choice);
  auto out = recording.ledger.check_mail(image, state.at);
  for (auto& complaint : recording.ledger.check_badmail(image, state.at, state.loss))
    out.push_back(std::move(complaint));
  image = without_mail(std::move(image));
  const auto wall = wall_at(recording, state.at);
  check_recovery(image, recording.ledger, recording.machine, state.at, state.loss, state.twice,
                 wall, out);
  if (state.again && out.empty()) cut_recovery(state, wall, out);
  return out;
}

void Judge::check_recovery(const Image& image, const Ledger& ledger, const MachineOptions& options,
                           Position at, Ledger::Loss loss, bool twice, std::int64_t wall,
                           Ledger::Complaints& out) {
  ++recoveries_;
  put_on_disk(image, root_);
  Machine machine(root_, options, wall, kLivesOfRecovery);
  if (const auto why = machine.open()) {
    out.push_back("it does not start: " + *why);
    return;
  }
  const auto view = machine.look();
  for (auto& complaint : ledger.check(view, at, loss)) out.push_back(std::move(complaint));
  const auto ask = [&](const base::Token& token) { return machine.store().find_token(token); };
  for (auto& complaint : ledger.check_tokens(view, ask, at)) out.push_back(std::move(complaint));
  const auto known = [&](const base::Token& file) { return machine.imported(file); };
  for (auto& complaint : ledger.check_imports(known, at)) out.push_back(std::move(complaint));
  if (auto why = machine.read_history()) out.push_back(*std::move(why));
  if (!twice) return;
  machine.kill();
  if (const auto why = machine.open())
    out.push_back("it does not start a second time: " + *why);
  else if (auto second = machine.look(); !same(view, std::move(second)))
    out.push_back("a second recovery finds something else");
}

// The power fails again, or for the first time after the process, while the recovery runs or soon
// after.
void Judge::cut_recovery(const State& state, std::int64_t wall, Ledger::Complaints& out) {
  const auto& recording = recordings_[state.recording];
  const auto base = state.at + 1;
  auto ledger = recording.ledger.cut(state.at);
  // What a process leaves is on its way to the disk still; what a power cut leaves is all there is.
  Volume volume =
      state.loss == Ledger::Loss::kProcess ? *volume_ : Volume(volume_->build(state.choice));
  NodePaths nodes;
  put_on_disk(without_mail(volume.build({}, &nodes)), root_);
  std::vector<Operation> operations;
  {
    Machine machine(root_, recording.machine, wall, kLivesOfRecovery + 10);
    Recorder recorder(root_, nodes, volume.nodes(), base, false);
    if (const auto why = machine.open()) {
      out.push_back("it does not start: " + *why);
      return;
    }
    ledger.settle(machine.look(), recorder.position());
    StoreStory story(machine, ledger, recorder, state.choice.seed | 1);
    story.run(kSteps);
    operations = recorder.operations();
  }
  const auto cut = static_cast<Position>(chance(state.choice.seed, 21) % (operations.size() + 1));
  for (Position n = 0; n < cut; ++n) volume.apply(operations[n]);
  Choice choice;
  choice.seed = chance(state.choice.seed, 22);
  choice.block = state.choice.block;
  choice.data = chance(choice.seed, 23) % 4 == 0 ? Choice::Data::kNone : Choice::Data::kBlocks;
  choice.names = static_cast<Choice::Names>(chance(choice.seed, 24) % 5);
  Ledger::Complaints found;
  check_recovery(without_mail(volume.build(choice)), ledger, recording.machine, base + cut,
                 Ledger::Loss::kPower, false, wall + 1'000, found);
  for (const auto& complaint : found)
    out.push_back(fmt::format("cut again, after {} operations: {}", cut, complaint));
}

}  // namespace postern::crash
