// The part of Control that hands commands on to the parent, and bodies to whoever reads mail.
#include <utility>

#include "common/log/log.h"
#include "queued/control.h"

namespace postern::queued {

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
