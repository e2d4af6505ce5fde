#include "ctl/json.h"

#include <nlohmann/json.hpp>

#include "common/base/text.h"
#include "ctl/names.h"

namespace postern::ctl {
namespace {

using Json = nlohmann::ordered_json;

Json object() {
  return {{"v", 1}};
}

Json time(base::WallTime t) {
  return t.ms == 0 ? Json() : Json(base::iso8601(t));
}

Json seconds(base::Millis span) {
  return span.count() / 1000;
}

// ASCII only, so no byte of foreign origin can steer a terminal; bytes that are no UTF-8 become
// U+FFFD.
std::string line(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace) + '\n';
}

Json processes(const std::vector<ipc::ProcessRow>& rows) {
  auto list = Json::array();
  for (const auto& row : rows)
    list.push_back({{"role", name(row.role)},
                    {"running", row.running},
                    {"wanted", row.wanted},
                    {"deaths", row.deaths}});
  return list;
}

Json recipient(const ipc::RecipientRow& row) {
  const bool open = row.end == ipc::RecipientEnd::kOpen;
  return {{"address", row.address.text()},
          {"queue", row.queue},
          {"end", name(row.end)},
          {"state", open ? Json(name(row.state)) : Json()},
          {"why", row.why},
          {"until", time(row.until)},
          {"tries", row.tries},
          {"last_try", time(row.last_try)},
          {"next_try", time(row.next_try)},
          {"last_reply", row.last_reply},
          {"remote", row.remote}};
}

}  // namespace

std::string to_json(const ipc::Status& s) {
  auto json = object();
  json["version"] = s.version;
  json["hostname"] = s.hostname;
  json["now"] = time(s.now);
  json["uptime_seconds"] = seconds(s.uptime);
  json["generation"] = s.generation.value;
  json["attention"] = s.attention;
  json["outbound"] = {{"enabled", s.outbound_enabled},   {"all", s.outbound_all},
                      {"reason", s.outbound_reason},     {"who", s.outbound_who},
                      {"since", time(s.outbound_since)}, {"in_flight", s.in_flight},
                      {"spared", s.outbound_spared}};
  json["intake"] = {{"open", s.intake_open},
                    {"disabled", s.intake_disabled},
                    {"reason", s.intake_reason},
                    {"who", s.intake_who},
                    {"since", time(s.intake_since)}};
  json["freezes"] = s.freeze_count;
  json["standing_holds"] = s.standing_holds;
  json["queue"] = {{"messages", s.messages},   {"bytes", s.bytes},
                   {"oldest", time(s.oldest)}, {"ready", s.ready},
                   {"retry", s.retry},         {"off", s.off},
                   {"frozen", s.frozen},       {"held", s.held},
                   {"delivering", s.delivering}};
  json["total"] = {{"accepted", s.accepted}, {"refused", s.refused}, {"delivered", s.delivered},
                   {"deferred", s.deferred}, {"failed", s.failed},   {"bounces", s.bounces}};
  json["minute"] = {{"accepted", s.accepted_minute},   {"refused", s.refused_minute},
                    {"delivered", s.delivered_minute}, {"deferred", s.deferred_minute},
                    {"failed", s.failed_minute},       {"bounces", s.bounces_minute}};
  json["disk"] = {{"free", s.disk_free},
                  {"stop_intake", s.stop_intake},
                  {"journal", s.journal_bytes},
                  {"large", s.large_bytes},
                  {"flushes", s.flushes},
                  {"records", s.records},
                  {"flush_p99_ms", s.flush_p99.count()}};
  json["processes"] = processes(s.processes);
  return line(json);
}

std::string to_json(const ipc::QueueRow& row) {
  auto json = object();
  json[row.hop ? "hop" : "queue"] = row.queue;
  if (row.hop) json["queues"] = row.queues;
  json["state"] = name(row.state);
  json["why"] = row.why;
  json["until"] = time(row.until);
  json["messages"] = row.messages;
  json["bytes"] = row.bytes;
  json["oldest"] = time(row.oldest);
  json["next_try"] = time(row.next_try);
  json["connections"] = row.connections;
  json["last_reply"] = row.last_reply;
  return line(json);
}

std::string to_json(const ipc::MessageRow& row) {
  auto json = object();
  json["id"] = base::to_string(row.id);
  json["state"] = name(row.state);
  json["arrived"] = time(row.arrived);
  json["next_try"] = time(row.next_try);
  json["size"] = row.size;
  json["from"] = row.from.text();
  json["to"] = row.to;
  json["recipients"] = row.recipients;
  json["why"] = row.why;
  json["until"] = time(row.until);
  return line(json);
}

std::string to_json(const ipc::BlockRow& row) {
  auto json = object();
  json["kind"] = name(row.kind);
  json["name"] = row.name;
  json["reason"] = row.reason;
  json["who"] = row.who;
  json["since"] = time(row.since);
  json["until"] = time(row.until);
  json["all"] = row.all;
  json["hop"] = row.hop;
  json["keep_clock"] = row.keep_clock;
  return line(json);
}

std::string to_json(const ipc::HistoryRow& row) {
  auto json = object();
  json["id"] = base::to_string(row.id);
  json["ended"] = time(row.ended);
  json["end"] = name(row.end);
  json["arrived"] = time(row.arrived);
  json["size"] = row.size;
  json["client"] = base::to_string(row.client);
  json["from"] = row.from.text();
  json["to"] = row.to;
  json["queue"] = row.queue;
  json["tries"] = row.tries;
  json["remote"] = row.remote;
  json["reply"] = row.reply;
  return line(json);
}

std::string to_json(base::MessageId id, const ipc::Shown& shown) {
  auto json = object();
  json["id"] = base::to_string(id);
  json["from"] = shown.from.text();
  json["hello"] = shown.hello;
  json["client"] = shown.bounce ? Json() : Json(base::to_string(shown.client));
  json["arrived"] = time(shown.arrived);
  json["expires"] = time(shown.expires);
  json["size"] = shown.size;
  json["bounce"] = shown.bounce;
  json["origin"] = shown.origin.value == 0 ? Json() : Json(base::to_string(shown.origin));
  auto recipients = Json::array();
  for (const auto& row : shown.recipients) recipients.push_back(recipient(row));
  json["recipients"] = std::move(recipients);
  return line(json);
}

std::string finding_json(const std::string& finding) {
  auto json = object();
  json["finding"] = finding;
  return line(json);
}

std::string check_json(const std::string& summary, std::uint64_t findings) {
  auto json = object();
  json["findings"] = findings;
  json["summary"] = summary;
  return line(json);
}

std::string to_json(const ipc::Done& done) {
  auto json = object();
  json["exit"] = done.exit;
  json["text"] = done.text;
  if (done.in_flight) json["in_flight"] = *done.in_flight;
  return line(json);
}

std::string to_json(const ipc::Quiet& quiet) {
  auto json = object();
  json["in_flight"] = quiet.in_flight;
  auto ids = Json::array();
  for (const auto id : quiet.may_repeat) ids.push_back(base::to_string(id));
  json["may_repeat"] = std::move(ids);
  json["may_repeat_count"] = quiet.may_repeat_count;
  return line(json);
}

}  // namespace postern::ctl
