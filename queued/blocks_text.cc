// The text of the blocks: JSON with a checksum, so that a flipped bit is damage and not another block.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "common/base/crc32c.h"
#include "queued/blocks.h"

namespace postern::queued {
namespace {

using Json = nlohmann::json;
constexpr int kDeepestEver = 64;  // of any version
constexpr int kDeepest = 8;  // nesting; ours is 4 deep

// Since version 2 over the version too: a flipped bit must not look like a later one.
std::string checksum(int version, const Json& blocks) {
  auto text = blocks.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (version > 1) text += fmt::format(" {}", version);
  return fmt::format("{:08x}", base::crc32c(text));
}

constexpr std::array<std::string_view, 3> kPastKinds{"exception", "kept clock", "stopped"};

void to_json(Json& json, const Freeze& f) {
  json = {{"queue", f.queue},
          {"reason", f.reason},
          {"who", f.who},
          {"since", f.since.ms},
          {"from", f.from.count()},
          {"until", f.until.ms},
          {"keep_clock", f.keep_clock},
          {"hop", f.hop}};
}
void to_json(Json& json, const FreezeException& e) {
  json = {{"queue", e.queue},
          {"who", e.who},
          {"since", e.since.ms},
          {"from", e.from.count()},
          {"hop", e.hop}};
}
void to_json(Json& json, const Past& p) {
  json = {{"queue", p.queue},       {"hop", p.hop},
          {"all", p.all},           {"kind", kPastKinds[static_cast<std::size_t>(p.kind)]},
          {"from", p.from.count()}, {"to", p.to.count()}};
}
void to_json(Json& json, const StandingHold& h) {
  json = {{"reason", h.reason}, {"who", h.who}, {"since", h.since.ms}};
  if (!h.what.queue.empty()) json["queue"] = h.what.queue;
  if (!h.what.from.empty()) json["from"] = h.what.from;
  if (!h.what.to.empty()) json["to"] = h.what.to;
  if (h.what.client) json["client"] = base::to_string(*h.what.client);
  if (h.what.larger) json["larger"] = *h.what.larger;
  if (h.what.smaller) json["smaller"] = *h.what.smaller;
}

void to_json(Json& json, const AccountLock& l) {
  json = {{"account", l.account}, {"reason", l.reason}, {"who", l.who}, {"since", l.since.ms}};
}

template <class T>
Json list(const std::vector<T>& items) {
  Json json = Json::array();
  for (const auto& item : items) {
    Json one;
    to_json(one, item);
    json.push_back(std::move(one));
  }
  return json;
}

// Reads with a default for what is not there; the library throws on a wrong type.
QueueTime queue_time(const Json& j, const char* name) {
  return QueueTime(j.value(name, std::int64_t{0}));
}
base::WallTime wall_time(const Json& j, const char* name) {
  return {j.value(name, std::int64_t{0})};
}

Freeze read_freeze(const Json& j) {
  return {.queue = j.at("queue").get<std::string>(),
          .reason = j.value("reason", ""),
          .who = j.value("who", ""),
          .since = wall_time(j, "since"),
          .from = queue_time(j, "from"),
          .until = wall_time(j, "until"),
          .keep_clock = j.value("keep_clock", false),
          .hop = j.value("hop", false)};
}

// Version 2 did not say when it began: then the time before it stands among what is over.
FreezeException read_exception(const Json& j) {
  return {.queue = j.at("queue").get<std::string>(),
          .who = j.value("who", ""),
          .since = wall_time(j, "since"),
          .from = queue_time(j, "from"),
          .hop = j.value("hop", false)};
}

// nullopt: of a kind that is not known.
std::optional<Past> read_past(const Json& j) {
  const auto kind = j.value("kind", "stopped");
  const auto at = std::find(kPastKinds.begin(), kPastKinds.end(), kind);
  if (at == kPastKinds.end()) return std::nullopt;
  return Past{.queue = j.at("queue").get<std::string>(),
              .hop = j.value("hop", false),
              .all = j.value("all", false),
              .kind = static_cast<Past::Kind>(at - kPastKinds.begin()),
              .from = queue_time(j, "from"),
              .to = queue_time(j, "to")};
}

AccountLock read_lock(const Json& j) {
  return {.account = j.at("account").get<std::string>(),
          .reason = j.value("reason", ""),
          .who = j.value("who", ""),
          .since = wall_time(j, "since")};
}

OutboundSwitch read_outbound(const Json& j) {
  return {.disabled = j.at("disabled").get<bool>(),
          .all = j.value("all", false),
          .reason = j.value("reason", ""),
          .who = j.value("who", ""),
          .since = wall_time(j, "since"),
          .from = queue_time(j, "from")};
}

IntakeSwitch read_intake(const Json& j) {
  return {.disabled = j.at("disabled").get<bool>(),
          .reason = j.value("reason", ""),
          .who = j.value("who", ""),
          .since = wall_time(j, "since")};
}

// nullopt: it would hold all mail, or none.
std::optional<StandingHold> read_hold(const Json& j) {
  StandingHold hold;
  auto& what = hold.what;
  what.queue = j.value("queue", "");
  what.from = j.value("from", "");
  what.to = j.value("to", "");
  if (j.contains("client")) {
    what.client = base::parse_network(j.at("client").get<std::string>());
    if (!what.client) return std::nullopt;
  }
  if (j.contains("larger")) what.larger = j.at("larger").get<std::uint64_t>();
  if (j.contains("smaller")) what.smaller = j.at("smaller").get<std::uint64_t>();
  hold.reason = j.value("reason", "");
  hold.who = j.value("who", "");
  hold.since = {j.value("since", std::int64_t{0})};
  if (!can_stand(what)) return std::nullopt;
  return hold;
}

}  // namespace

std::string Blocks::to_text() const {
  Json blocks = {{"freezes", list(freezes_)},
                 {"exceptions", list(exceptions_)},
                 {"past", list(past_)},
                 {"holds", list(holds_)},
                 {"locks", list(locks_)},
                 {"outbound",
                  {{"disabled", outbound_.disabled},
                   {"all", outbound_.all},
                   {"reason", outbound_.reason},
                   {"who", outbound_.who},
                   {"since", outbound_.since.ms},
                   {"from", outbound_.from.count()}}},
                 {"intake",
                  {{"disabled", intake_.disabled},
                   {"reason", intake_.reason},
                   {"who", intake_.who},
                   {"since", intake_.since.ms}}}};
  const Json file = {{"v", kVersion}, {"sum", checksum(kVersion, blocks)}, {"blocks", blocks}};
  return file.dump(2, ' ', true, Json::error_handler_t::replace) + "\n";
}

std::expected<Blocks, std::string> Blocks::from_text(std::string_view text) {
  try {  // the library throws; nothing of it leaves this function
    const Json file = Json::parse(text, [](int depth, Json::parse_event_t, const Json&) {
      return depth <= kDeepest;  // what is deeper is left out, and the checksum says so
    });
    const auto version = file.at("v").get<int>();
    if (version < 1 || version > kVersion) return std::unexpected("its version is not known");
    const Json& blocks = file.at("blocks");
    if (file.at("sum").get<std::string>() != checksum(version, blocks))
      return std::unexpected("its checksum is wrong");
    Blocks read;
    for (const auto& j : blocks.at("freezes")) read.freezes_.push_back(read_freeze(j));
    for (const auto& j : blocks.at("exceptions")) read.exceptions_.push_back(read_exception(j));
    for (const auto& j : blocks.at(version < 3 ? "pauses" : "past")) {
      auto past = read_past(j);
      if (!past) return std::unexpected("a block that is over makes no sense");
      read.past_.push_back(*std::move(past));
    }
    for (const auto& j : version == 1 ? Json::array() : blocks.at("holds")) {
      auto hold = read_hold(j);
      if (!hold) return std::unexpected("a standing hold in it makes no sense");
      read.holds_.push_back(*std::move(hold));
    }
    for (const auto& j : version < 4 ? Json::array() : blocks.at("locks"))
      read.locks_.push_back(read_lock(j));
    read.outbound_ = read_outbound(blocks.at("outbound"));
    if (version > 2) read.intake_ = read_intake(blocks.at("intake"));
    if (read.freezes_.size() > kMax || read.exceptions_.size() > kMax || read.past_.size() > kMax ||
        read.holds_.size() > kMaxHolds || read.locks_.size() > kMaxLocks)
      return std::unexpected("it has too many entries");
    return read;
  } catch (const Json::exception& error) {
    return std::unexpected(error.what());
  }
}

int Blocks::version_of(std::string_view text) {
  try {
    const Json file = Json::parse(text, [](int depth, Json::parse_event_t, const Json&) {
      return depth <= kDeepestEver;
    });
    const auto version = file.at("v").get<int>();
    return file.at("sum").get<std::string>() == checksum(version, file.at("blocks")) ? version : 0;
  } catch (const Json::exception&) {
    return 0;
  }
}

}  // namespace postern::queued
