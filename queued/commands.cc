// The part of Control that carries out commands. A block is durable, in force and quiet before it is
// reported.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/text.h"
#include "common/log/log.h"
#include "queued/control.h"

#include "queued/exits.h"

namespace postern::queued {
namespace {

constexpr base::Millis kQuietPause{50};
constexpr int kQuietChecks = 100;  // five seconds

struct Quiet {
  Quiet(event::Loop& loop) : timer(loop, [this]() noexcept { check(); }) {}
  event::Callback check;
  int checks = 0;
  event::Timer timer;
};

std::string frozen_name(const std::string& text) { return base::to_lower(base::trim(text)); }

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

void Control::when_quiet(SessionId id, base::RequestId request, std::string text,
                         InFlight in_flight_now) {
  auto quiet = std::make_shared<Quiet>(loop_);
  quiet->check = [this, id, request, text = std::move(text), quiet,
                  in_flight_now = std::move(in_flight_now)]() mutable noexcept {
    const auto in_flight = in_flight_now();
    if (in_flight > 0 && ++quiet->checks < kQuietChecks && find(id) != nullptr)
      return quiet->timer.start(kQuietPause);
    if (in_flight > 0) text += fmt::format("; still in delivery: {}", in_flight);
    done(id, request, kOk, std::move(text));
    // The timer must not end inside its own callback.
    loop_.defer([quiet]() noexcept { quiet->check = {}; });
  };
  quiet->timer.start(base::Millis(0));
}

void Control::freeze(SessionId id, const ipc::Freeze& command, const std::string& who) {
  const auto name = frozen_name(command.queue);
  const auto& queues = engine_.schedule().queues();
  const bool well_formed = !name.empty() && name.find('*', 1) == std::string::npos &&
                           (name[0] != '*' || name == "*" || (name.starts_with("*.") && name.size() > 2));
  if (!well_formed)
    return done(id, command.request, kUsage,
                "a queue is a name like example.org, a pattern like *.example.org, or local");
  const bool known =
      is_pattern(name)
          ? std::any_of(queues.begin(), queues.end(),
                        [&](const auto& entry) { return matches(name, entry.first); })
          : queues.contains(name) || engine_.router().names(name);
  if (!known && !command.future) {
    const auto near = near_names(engine_, name);
    auto text = fmt::format("there is no queue {}; --future freezes it all the same", name);
    if (!near.empty()) text += "; near it: " + joined(near);
    return done(id, command.request, kDataError, std::move(text));
  }
  Freeze freeze{name, command.reason, who, engine_.store().clock().wall(), engine_.now()};
  engine_.change_blocks(
      [freeze](Blocks& blocks) noexcept { return blocks.freeze(freeze); },
      [this, id, request = command.request, freeze](Blocks::Said said) noexcept {
        if (!said) return done(id, request, kTemporary, said.error());
        log::warning("queue.frozen")
            .field("queue", freeze.queue)
            .field("who", freeze.who)
            .field("reason", freeze.reason);
        when_quiet(id, request, *std::move(said),
                   [this]() noexcept { return engine_.schedule().blocked_leases(); });
      });
}

void Control::unfreeze(SessionId id, const ipc::Unfreeze& command, const std::string& who) {
  const auto name = frozen_name(command.queue);
  engine_.change_blocks(
      [name, who, wall = engine_.store().clock().wall(), now = engine_.now()](
          Blocks& blocks) noexcept { return blocks.unfreeze(name, who, wall, now); },
      [this, id, request = command.request, name, who](Blocks::Said said) noexcept {
        if (!said) return done(id, request, kDataError, said.error());
        log::warning("queue.unfrozen").field("queue", name).field("who", who);
        done(id, request, kOk, *std::move(said));
      });
}

void Control::switch_outbound(SessionId id, const ipc::SwitchOutbound& command,
                              const std::string& who) {
  OutboundSwitch off{true,
                     command.all,
                     command.reason,
                     who,
                     engine_.store().clock().wall(),
                     engine_.now()};
  engine_.change_blocks(
      [enable = command.enable, off, now = engine_.now()](Blocks& blocks) noexcept {
        return enable ? blocks.enable_outbound(now) : blocks.disable_outbound(off);
      },
      [this, id, request = command.request, enable = command.enable, off](
          Blocks::Said said) noexcept {
        if (!said) return done(id, request, enable ? kDataError : kTemporary, said.error());
        if (enable) {
          log::warning("outbound.enabled").field("who", off.who);
          return done(id, request, kOk, *std::move(said));
        }
        log::warning("outbound.disabled")
            .field("who", off.who)
            .field("reason", off.reason)
            .field("all", off.all);
        when_quiet(id, request, *std::move(said),
                   [this]() noexcept { return engine_.schedule().blocked_leases(); });
      });
}

void Control::reload(SessionId id, base::RequestId request, const std::string& who) {
  log::info("config.reload").field("who", who);
  host_.ask_reload([this, id, request](const ipc::Done& answer) noexcept {
    done(id, request, answer.exit, answer.text);
  });
}

void Control::stop_server(SessionId id, base::RequestId request, const std::string& who) {
  log::info("server.stop").field("who", who);
  host_.ask_stop([this, id, request](const ipc::Done& answer) noexcept {
    done(id, request, answer.exit, answer.text);
  });
}

// --- Bodies -----------------------------------------------------------------------------------------

void Control::body(SessionId id, const ipc::AskBody& ask) {
  engine_.store().load(ask.id, [this, id, ask](os::Result<LoadedBody> body) noexcept {
    if (body) return send_body(id, ask, *body);
    if (ControlSession* to = find(id)) to->send(ipc::BodyPart{.request = ask.request});
  });
}

void Control::send_body(SessionId id, const ipc::AskBody& ask, const LoadedBody& body) {
  ControlSession* to = find(id);
  const Message* message = engine_.store().find(ask.id);
  if (to == nullptr) return;
  if (message == nullptr) return to->send(ipc::BodyPart{.request = ask.request});
  ipc::BodyPart part{.request = ask.request, .found = true};
  part.total = message->size();
  part.prefix_size = message->prefix.size();
  if (ask.offset < message->prefix.size()) {
    const auto bytes = std::string_view(message->prefix).substr(ask.offset);
    part.bytes = {bytes.substr(0, ipc::kBodySlice)};
    return to->send(part);
  }
  const auto offset = ask.offset - message->prefix.size();
  if (body.bytes) {
    if (offset < body.bytes->size())
      part.bytes = {std::string_view(*body.bytes).substr(offset, ipc::kBodySlice)};
    return to->send(part);
  }
  // A large one: its pages come from the store, one at a time.
  engine_.store().load_part(ask.id, offset, ipc::kBodySlice,
                            [this, id, part](const std::string& bytes) mutable noexcept {
                              part.bytes = {bytes};
                              if (ControlSession* session = find(id)) session->send(part);
                            });
}

}  // namespace postern::queued
