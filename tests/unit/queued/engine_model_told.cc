// The part of EngineModel that hears what people are told: why mail is still here, and what became of it.
#include <algorithm>
#include <string_view>

#include "queued/explain.h"
#include "tests/unit/queued/engine_model.h"

namespace postern::queued {
namespace {

bool tells(const ipc::Explanation& told, Blocker blocker) {
  return std::ranges::find(told.obstacles, blocker, &ipc::Obstacle::blocker) != told.obstacles.end();
}

bool is_under_way(const ipc::Explanation& told) {
  return tells(told, Blocker::kDelivering) || tells(told, Blocker::kConcluding);
}

}  // namespace

// --- Why mail is still here -------------------------------------------------------------------------

// What blocks a recipient is told in its order, and never with what excludes it.
void EngineModel::explain_something() {
  turns();
  const auto id = any_message();
  const Message* message = look(id);
  if (message == nullptr) return;
  for (const auto& recipient : message->recipients) {
    if (!recipient.open()) continue;
    const auto told_now = explanation(*engine, *message, recipient);
    const Name name{id, recipient.number};
    if (const auto known = ledger.find(name); known != ledger.end()) {
      expect_truth_of_calls(known->second, told_now);
      expect_truth_of_paths(name, known->second, told_now);
    }
    auto blockers = told_now.obstacles;
    std::erase_if(blockers, [](const auto& one) { return one.blocker == Blocker::kUncalled; });
    for (std::size_t i = 0; i < blockers.size(); ++i)
      for (std::size_t j = i + 1; j < blockers.size(); ++j) {
        const auto a = blockers[i].blocker, b = blockers[j].blocker;
        EXPECT_LT(std::ranges::find(kOrder, a), std::ranges::find(kOrder, b))
            << ipc::name(a) << " before " << ipc::name(b);
        EXPECT_TRUE(can_be(a, b)) << ipc::name(a) << " with " << ipc::name(b);
        pairs_told.insert({a, b});
      }
  }
}

// That its host has not called is told where that is so, in the place of all that is about connections.
void EngineModel::expect_truth_of_calls(const Entry& entry, const ipc::Explanation& told_now) {
  const bool waits = is_turned(entry.queue) && !is_under_way(told_now) && !is_called(entry.queue);
  EXPECT_EQ(tells(told_now, Blocker::kUncalled), waits) << entry.queue;
  if (!waits) return;
  const auto at = std::ranges::find(told_now.obstacles, Blocker::kUncalled, &ipc::Obstacle::blocker);
  EXPECT_TRUE(std::all_of(at + 1, told_now.obstacles.end(), [](const auto& one) { return one.blocker == Blocker::kTurn; }));
  if (at == told_now.obstacles.begin()) {
    EXPECT_EQ(told_now.state, ipc::State::kUncalled);
  }
}

// Who goes by a second path is told so, and by which reply.
void EngineModel::expect_truth_of_paths(const Name& name, const Entry& entry, const ipc::Explanation& told_now) {
  const auto* second = engine->schedule().second_of(entry.queue, name.first, name.second);
  EXPECT_EQ(told_now.way.via.find("second path") != std::string::npos, second != nullptr) << told_now.way.via;
  if (second == nullptr || is_under_way(told_now)) return;
  EXPECT_EQ(entry.refused_in, routes) << entry.address;
  EXPECT_NE(told_now.last_reply.find(".7.1 said"), std::string::npos) << told_now.last_reply;
  EXPECT_FALSE(told_now.way.via.starts_with("smtp://" + entry.refused_by)) << told_now.way.via;
}

// --- What became of it ------------------------------------------------------------------------------

// What nothing can be added to any more is read once.
void EngineModel::read_badmail() {
  std::set<base::MessageId> there;
  for (const auto& message : messages()) there.insert(message.id);
  for (const auto& file : disk.files("badmail")) {
    if (!file.ends_with(".reason")) continue;
    const auto id = base::parse_message_id(file.substr(file.find('/') + 1, file.rfind('.') - file.find('/') - 1));
    ASSERT_TRUE(id) << file;
    if (there.contains(*id)) continue;
    const auto& reason = disk.content(file);
    std::string first;
    for (auto at = reason.find("\nTo: <"); at != std::string::npos; at = reason.find("\nTo: <", at + 1)) {
      const auto begin = at + std::string_view("\nTo: <").size();
      const auto to = reason.substr(begin, reason.find('>', begin) - begin);
      if (first.empty()) first = to;
      in_badmail.insert({*id, to});
    }
    const auto text = file.substr(0, file.rfind('.')) + ".eml";
    if (reason.find("a notice of our own") != std::string::npos) told.read(*id, first, disk.content(text));
    (void)disk.unlink(file);
    if (disk.has(text)) (void)disk.unlink(text);
  }
}

void EngineModel::expect_told() {
  read_badmail();
  for (const auto& [name, entry] : ledger) {
    const auto said = told.of(entry.address);
    const auto what = base::to_string(name.first) + " to " + entry.address + " of " + entry.sender;
    const bool can = !entry.sender.empty();
    const bool failed = entry.refused || entry.expired;
    for (const auto& to : said.to) EXPECT_EQ(to, entry.sender) << what;
    EXPECT_LE(said.failed, can && entry.notify.failure()) << what;
    EXPECT_LE(said.delayed, can && entry.notify.delay()) << what;
    EXPECT_LE(said.arrived, can && entry.notify.success()) << what;
    if (entry.unsure) continue;
    EXPECT_EQ(said.failed, failed && can && entry.notify.failure()) << what;
    EXPECT_EQ(said.arrived, entry.arrived && can && entry.notify.success()) << what;
    EXPECT_TRUE(can || !failed || in_badmail.contains({name.first, entry.address})) << what;
  }
}

}  // namespace postern::queued
