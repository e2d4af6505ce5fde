#include "ctl/json.h"

#include <nlohmann/json.hpp>

#include "common/base/text.h"
#include "ctl/json_row.h"
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

Json collects(const std::vector<ipc::CollectRow>& rows) {
  auto list = Json::array();
  for (const auto& row : rows)
    list.push_back({{"from", row.from},
                    {"calling", row.calling},
                    {"serving", row.serving},
                    {"last", time(row.last)},
                    {"next", time(row.next)},
                    {"result", row.result}});
  return list;
}

Json obstacles(const std::vector<ipc::Obstacle>& list) {
  auto json = Json::array();
  for (const auto& o : list)
    json.push_back({{"blocker", ipc::name(o.blocker)}, {"name", o.name},
                    {"who", o.who},                    {"reason", o.reason},
                    {"remote", o.remote},              {"place", o.place},
                    {"freeze", o.freeze},
                    {"since", time(o.since)},          {"until", time(o.until)},
                    {"count", o.count},                {"of", o.of}});
  return json;
}

Json way(const ipc::Way& w) {
  return {{"by", name(w.by)}, {"place", w.place},   {"via", w.via},
          {"way", w.number},  {"ways", w.of},       {"hop", w.hop}};
}

Json plan(const ipc::RetryPlan& p) {
  return {{"place", p.place},
          {"failure", p.failure ? Json(ipc::name(*p.failure)) : Json()},
          {"wait_seconds", seconds(p.wait)},
          {"repeats", p.repeats}};
}

Json explanation(const ipc::Explanation& e) {
  auto addresses = Json::array();
  for (const auto& address : e.recipients) addresses.push_back(address.text());
  return {{"addresses", std::move(addresses)},
          {"alias", e.alias},
          {"queue", e.queue},
          {"state", ipc::name(e.state)},
          {"because", obstacles(e.obstacles)},
          {"next", time(e.next)},
          {"passed", e.passed},
          {"route", way(e.way)},
          {"retry", plan(e.retry)},
          {"tries", e.tries},
          {"last_try", time(e.last_try)},
          {"last_reply", e.last_reply},
          {"remote", e.remote},
          {"tls", e.tls},
          {"notice", time(e.notice)},
          {"expires", time(e.expires)},
          {"clock_stands", e.clock_stands}};
}

Json hop(const ipc::HopFacts& h) {
  return {{"name", h.name},
          {"current", h.current},
          {"connections", h.connections},
          {"opening", h.opening},
          {"idle", h.idle},
          {"limit", h.limit},
          {"interval_us", h.interval},
          {"queues", h.queues},
          {"failures", h.failures},
          {"failed", time(h.failed)},
          {"dead_until", time(h.dead_until)},
          {"last_reply", h.last_reply},
          {"remote", h.remote}};
}

Json ending(const ipc::HistoryRow& row) {
  return {{"address", row.to},     {"queue", row.queue},   {"end", ipc::name(row.end)},
          {"ended", time(row.ended)}, {"tries", row.tries}, {"remote", row.remote},
          {"reply", row.reply},    {"tls", row.tls}};
}

Json recipient(const ipc::RecipientRow& row) {
  const bool open = row.end == ipc::RecipientEnd::kOpen;
  return {{"address", row.address.text()},
          {"alias", row.alias},
          {"sender", row.sender},
          {"queue", row.queue},
          {"end", name(row.end)},
          {"state", open ? Json(name(row.state)) : Json()},
          {"why", row.why},
          {"until", time(row.until)},
          {"tries", row.tries},
          {"last_try", time(row.last_try)},
          {"next_try", time(row.next_try)},
          {"last_reply", row.last_reply},
          {"remote", row.remote},
          {"tls", row.tls}};
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
                   {"oldest", time(s.oldest)},
                   {"expire_within_24h", s.expiring ? Json(*s.expiring) : Json()},
                   {"expire_counted", time(s.expiring_when)},
                   {"ready", s.ready},
                   {"uncalled", s.uncalled},   {"retry", s.retry},
                   {"off", s.off},             {"frozen", s.frozen},
                   {"held", s.held},           {"delivering", s.delivering}};
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
  json["collects"] = collects(s.collects);
  json["processes"] = processes(s.processes);
  return line(json);
}

std::string to_json(const ipc::QueueRow& row) {
  JsonRow json;
  json.text(row.hop ? "hop" : "queue", row.queue);
  if (row.hop) json.number("queues", row.queues);
  json.text("state", name(row.state));
  json.text("why", row.why);
  json.time("until", row.until);
  json.number("messages", row.messages);
  json.number("bytes", row.bytes);
  json.time("oldest", row.oldest);
  json.time("next_try", row.next_try);
  json.number("connections", row.connections);
  json.text("last_reply", row.last_reply);
  return json.line();
}

std::string to_json(const ipc::MessageRow& row) {
  JsonRow json;
  json.text("id", base::to_string(row.id));
  json.text("state", name(row.state));
  json.time("arrived", row.arrived);
  json.time("next_try", row.next_try);
  json.number("size", row.size);
  json.text("from", row.from.text());
  json.text("to", row.to);
  json.text("alias", row.alias);
  json.number("recipients", row.recipients);
  json.text("why", row.why);
  json.time("until", row.until);
  return json.line();
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

std::string to_json(const AccountRow& row) {
  auto json = object();
  json["account"] = row.account;
  json["hash"] = row.hash.empty() ? Json() : Json(row.hash);
  json["scram"] = row.scram;
  return line(json);
}

std::string to_json(const ipc::HistoryRow& row) {
  JsonRow json;
  json.text("id", base::to_string(row.id));
  json.time("ended", row.ended);
  json.text("end", name(row.end));
  json.time("arrived", row.arrived);
  json.number("size", row.size);
  json.text("client", base::to_string(row.client));
  json.text("from", row.from.text());
  json.text("to", row.to);
  json.text("queue", row.queue);
  json.number("tries", row.tries);
  json.text("remote", row.remote);
  json.text("reply", row.reply);
  json.text("tls", row.tls);
  return json.line();
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
  json["requires_tls"] = shown.requires_tls;
  json["origin"] = shown.origin.value == 0 ? Json() : Json(base::to_string(shown.origin));
  auto recipients = Json::array();
  for (const auto& row : shown.recipients) recipients.push_back(recipient(row));
  json["recipients"] = std::move(recipients);
  return line(json);
}

std::string to_json(const MessageStory& story) {
  auto json = object();
  const auto& m = story.queued;
  const auto* past = m.found || story.ended.empty() ? nullptr : &story.ended.front();
  json["id"] = base::to_string(story.id);
  json["queued"] = m.found;
  json["from"] = past ? past->from.text() : m.from.text();
  json["client"] = m.bounce ? Json() : Json(base::to_string(past ? past->client : m.client));
  json["arrived"] = time(past ? past->arrived : m.arrived);
  json["size"] = past ? past->size : m.size;
  json["bounce"] = m.bounce;
  json["origin"] = m.origin.value == 0 ? Json() : Json(base::to_string(m.origin));
  auto list = Json::array();
  for (const auto& one : m.explanations) list.push_back(explanation(one));
  json["explanations"] = std::move(list);
  auto ended = Json::array();
  for (const auto& row : story.ended) ended.push_back(ending(row));
  json["ended"] = std::move(ended);
  return line(json);
}

std::string to_json(const ipc::QueueExplained& q) {
  auto json = object();
  json[q.is_hop ? "hop" : "queue"] = q.name;
  json["state"] = ipc::name(q.state);
  json["because"] = obstacles(q.obstacles);
  json["next"] = time(q.next);
  json["passed"] = q.passed;
  json["route"] = q.is_hop ? Json() : way(q.way);
  json["retry"] = plan(q.retry);
  json["messages"] = q.messages;
  json["bytes"] = q.bytes;
  json["oldest"] = time(q.oldest);
  json["recipients"] = {{"ready", q.ready}, {"retry", q.waiting}, {"held", q.held},
                        {"delivering", q.delivering}};
  auto hops = Json::array();
  for (const auto& one : q.hops) hops.push_back(hop(one));
  json["hops"] = std::move(hops);
  json["queues"] = q.queues;
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
