// FakeHop: a next hop in the test's own loop. It answers command by command from a table that the
// test may change, and keeps what it got.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/ip.h"
#include "common/event/loop.h"
#include "common/event/stream.h"
#include "common/tls/session.h"

namespace postern::relay {

class FakeHop {
 public:
  // Returns the reply to a line ("" for none), or nothing for the usual one. `close` ends the
  // session behind it. The lines are commands, "<greeting>", and "<message>" behind a final dot.
  using Answer = std::function<std::optional<std::string>(const std::string& line, bool& close)>;

  explicit FakeHop(event::Loop& loop, Answer answer = {}, std::string_view address = "127.0.0.1",
                   std::uint16_t port = 0);
  ~FakeHop();

  [[nodiscard]] bool bound() const { return bound_; }
  [[nodiscard]] const base::Endpoint& endpoint() const { return endpoint_; }
  void answer(Answer answer) { answer_ = std::move(answer); }

  // From now on it can speak TLS: once more where it says STARTTLS, or `first`, before its greeting.
  void secure(std::shared_ptr<const tls::ServerContext> context, tls::Signer& signer,
              bool first = false);

  // Serves a session on a connection that it has opened itself.
  void serve(base::UniqueFd fd);

  // Says a line that nobody asked for, in the session that came last.
  void interrupt(const std::string& line);

  std::vector<std::string> lines;     // every command of all sessions
  std::vector<std::string> messages;  // with their dots, without the last one; by BDAT as they came
  std::vector<std::string> headers;   // of the PROXY protocol
  std::size_t sessions = 0;
  std::vector<std::string> peers;  // of the sessions: the addresses that they came from
  std::size_t open = 0;
  std::size_t reads = 0;
  bool chunks = false;  // takes what BDAT counts
  bool proxied = false;  // each session begins with a PROXY header, version 2
  bool slow = false;  // reads only a little of a body at a time
  std::string interruption;  // said once, while a body is coming
  bool hangs_up = false;     // behind that, with the rest unread

 private:
  struct Session;

  void accept() noexcept;
  void begin(Session& session);
  void reply(Session& session, const std::string& line);
  static std::string usual(const std::string& line);

  event::Loop& loop_;
  Answer answer_;
  std::shared_ptr<const tls::ServerContext> context_;
  tls::Signer* signer_ = nullptr;
  bool tls_first_ = false;
  base::UniqueFd socket_;
  base::Endpoint endpoint_;
  bool bound_ = false;
  std::unique_ptr<event::FdEvent> event_;
  std::vector<std::unique_ptr<Session>> sessions_;
};

}  // namespace postern::relay
