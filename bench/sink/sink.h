// Sink: the listeners of postern-sink, its connections, its ledger and its counts.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "bench/ledger/writer.h"
#include "bench/sink/connection.h"
#include "bench/sink/options.h"
#include "common/event/loop.h"
#include "common/os/error.h"

namespace postern::bench {

struct SinkCounts {
  std::uint64_t messages = 0, recipients = 0;
  std::uint64_t changed = 0, notices = 0, strange = 0;  // among them
  std::uint64_t encrypted = 0;                          // likewise, those that came by TLS
  std::uint64_t connections = 0;
  friend bool operator==(const SinkCounts&, const SinkCounts&) noexcept = default;
};

class Sink final : public ConnectionOwner {
 public:
  // `certificate`: null where STARTTLS is not offered.
  Sink(event::Loop& loop, SinkOptions options, LedgerWriter ledger,
       std::unique_ptr<Certificate> certificate);

  // Listens; from now on the kernel takes connections.
  [[nodiscard]] os::Result<void> start();
  // Reads the moods again; what is wrong with them, and then the old ones stay.
  [[nodiscard]] std::string reload() noexcept;
  [[nodiscard]] std::string summary() const;
  [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }

 private:
  struct Listener {
    base::UniqueFd fd;
    std::unique_ptr<event::FdEvent> event;
  };
  void taken(const Evidence& evidence, const std::vector<std::string>& recipients,
             bool secure) noexcept override;
  bool settle() noexcept override;
  void gone(Connection& connection) noexcept override;
  void accept_some(Listener& listener) noexcept;
  void listen_again() noexcept;
  void show() noexcept;

  event::Loop& loop_;
  SinkOptions options_;
  LedgerWriter ledger_;
  std::unique_ptr<Certificate> certificate_;  // before those who use it
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
  event::Timer progress_, listen_again_;
  SinkCounts counts_, shown_;
  std::string trouble_;
};

}  // namespace postern::bench
