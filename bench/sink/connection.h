// Connection: one client of the sink: moves bytes between a Stream and a Server.
#pragma once

#include <string>
#include <vector>

#include "bench/sink/certificate.h"
#include "bench/sink/protocol.h"
#include "common/base/ip.h"
#include "common/event/stream.h"

namespace postern::bench {

class Connection;

// What a connection needs of its sink; outlives it.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  virtual void taken(const Evidence& evidence, const std::vector<std::string>& recipients,
                     bool secure) noexcept = 0;
  // What was taken is in the ledger's file; false: it cannot be, and no reply may leave.
  [[nodiscard]] virtual bool settle() noexcept = 0;
  // To be destroyed, after the stack has unwound.
  virtual void gone(Connection& connection) noexcept = 0;
};

class Connection final : public event::StreamOwner {
 public:
  // `certificate`: where STARTTLS is offered; outlives it.
  Connection(event::Loop& loop, base::UniqueFd fd, const Server::Options& options, Moods& moods,
             Certificate* certificate, ConnectionOwner& owner);
  // Greets the client.
  void start(const base::Endpoint& client) noexcept;

 private:
  std::size_t on_input(std::string_view bytes) noexcept override;
  void on_closed(event::CloseReason reason) noexcept override;
  void on_filter_open() noexcept override { server_.secured(); }
  bool act(Server::Event event) noexcept;
  void release() noexcept;
  void cut() noexcept;

  event::Stream stream_;
  Server server_;
  Certificate* certificate_;
  ConnectionOwner& owner_;
  event::Timer timer_;
  std::string replies_;  // not yet handed to the stream
  bool stalled_ = false;
  bool delayed_ = false;
  bool gone_ = false;
};

}  // namespace postern::bench
