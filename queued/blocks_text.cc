// The text of the blocks: JSON with a checksum, so that a flipped bit is damage and not another block.
#include <fmt/format.h>

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

void to_json(Json& json, const Freeze& f) {
  json = {{"queue", f.queue},
          {"reason", f.reason},
          {"who", f.who},
          {"since", f.since.ms},
          {"from", f.from.count()}};
}
void to_json(Json& json, const FreezeException& e) {
  json = {{"queue", e.queue}, {"who", e.who}, {"since", e.since.ms}};
}
void to_json(Json& json, const Pause& p) {
  json = {{"queue", p.queue}, {"all", p.all}, {"from", p.from.count()}, {"to", p.to.count()}};
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
Freeze read_freeze(const Json& j) {
  return {j.at("queue").get<std::string>(), j.value("reason", ""), j.value("who", ""),
          {j.value("since", std::int64_t{0})}, QueueTime(j.value("from", std::int64_t{0}))};
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
                 {"pauses", list(pauses_)},
                 {"holds", list(holds_)},
                 {"outbound",
                  {{"disabled", outbound_.disabled},
                   {"all", outbound_.all},
                   {"reason", outbound_.reason},
                   {"who", outbound_.who},
                   {"since", outbound_.since.ms},
                   {"from", outbound_.from.count()}}}};
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
    for (const auto& j : blocks.at("exceptions"))
      read.exceptions_.push_back(
          {j.at("queue").get<std::string>(), j.value("who", ""), {j.value("since", std::int64_t{0})}});
    for (const auto& j : blocks.at("pauses"))
      read.pauses_.push_back({j.at("queue").get<std::string>(), j.value("all", false),
                              QueueTime(j.value("from", std::int64_t{0})),
                              QueueTime(j.value("to", std::int64_t{0}))});
    for (const auto& j : version == 1 ? Json::array() : blocks.at("holds")) {
      auto hold = read_hold(j);
      if (!hold) return std::unexpected("a standing hold in it makes no sense");
      read.holds_.push_back(*std::move(hold));
    }
    const Json& out = blocks.at("outbound");
    read.outbound_ = {out.at("disabled").get<bool>(), out.value("all", false),
                      out.value("reason", ""),        out.value("who", ""),
                      {out.value("since", std::int64_t{0})},
                      QueueTime(out.value("from", std::int64_t{0}))};
    if (read.freezes_.size() > kMax || read.exceptions_.size() > kMax ||
        read.holds_.size() > kMaxHolds)
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
