// FakeControl: the control tool's end of a channel, and a rig of an engine with one that may do
// all.
#pragma once

#include "tests/unit/queued/engine_rig.h"

namespace postern::queued {

struct FakeControl {
  using Connection = ipc::Connection<FakeControl, ipc::Role::kControl, ipc::Role::kQueued>;
  void on(const ipc::Status& m) { status.push_back(m); }
  void on(const ipc::QueueRows& m) { queues.push_back(m); }
  void on(const ipc::MessageRows& m) { messages.push_back(m); }
  void on(const ipc::Shown& m) { shown.push_back(m); }
  void on(const ipc::BodyPart& m) {
    parts.push_back(m);
    body += m.bytes.bytes;
  }
  void on(const ipc::BlockRows& m) { blocks.push_back(m); }
  void on(const ipc::HistoryRows& m) { history.push_back(m); }
  void on(const ipc::Explained& m) { explained.push_back(m); }
  void on(const ipc::QueueExplained& m) { queues_explained.push_back(m); }
  void on(const ipc::SpoolFindings& m) { findings.push_back(m); }
  void on(const ipc::ExportPart& m) { exits.push_back(m.exit); }
  void on(const ipc::SpoolDone& m) { exits.push_back(m.exit); }
  void on(const ipc::Quiet& m) { quiet.push_back(m); }
  void on(const ipc::Done& m) { done.push_back(m); }
  void closed() noexcept {}
  std::unique_ptr<Connection> connection;
  std::vector<ipc::Status> status;
  std::vector<ipc::QueueRows> queues;
  std::vector<ipc::MessageRows> messages;
  std::vector<ipc::Shown> shown;
  std::vector<ipc::BodyPart> parts;
  std::string body;
  std::vector<ipc::BlockRows> blocks;
  std::vector<ipc::HistoryRows> history;
  std::vector<ipc::Explained> explained;
  std::vector<ipc::QueueExplained> queues_explained;
  std::vector<ipc::SpoolFindings> findings;
  std::vector<int> exits;  // of what is about the spool as a whole
  std::vector<ipc::Quiet> quiet;
  std::vector<ipc::Done> done;
};

struct ControlRig : EngineRig {
  void start() {
    begin();
    serve(tool, ControlLevel::kAdmin);
  }
  void serve(FakeControl& client, ControlLevel level) {
    auto pair = ipc::make_channel_pair();
    client.connection = std::make_unique<FakeControl::Connection>(*loop, std::move(pair.a), client);
    control->serve(std::move(pair.b), level, "anna");
    turn();
  }
  template <class M>
  void tell(FakeControl& client, M message) {
    message.request = base::RequestId(++request);
    client.connection->send(message);
    for (int n = 0; n < 30; ++n) turn(1);
  }
  // A command's exit status and text.
  template <class M>
  std::string run(M message) {
    const auto before = tool.done.size();
    tell(tool, std::move(message));
    for (int n = 0; n < 300 && tool.done.size() == before; ++n) turn(1);
    if (tool.done.size() == before) return "nothing";
    return std::to_string(tool.done.back().exit) + " " + tool.done.back().text;
  }
  FakeControl tool;
  std::uint64_t request = 0;
};

}  // namespace postern::queued
