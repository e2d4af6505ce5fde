// Exporter: one export of all that is queued, as bytes of an export file. A message is held, durably,
// before it is written, and one that is in delivery is waited for: so it does not go out twice. With
// `keep` it is written as it stands, and goes on. What comes after the beginning is not in it.
//
// Owned by a session of the control tool, which asks for one part after the other; at most two pieces of
// a large body are in memory. All on the loop.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/transfer/file.h"
#include "queued/transfer_host.h"

namespace postern::queued {

class Exporter {
 public:
  using Answer = std::move_only_function<void(const ipc::ExportPart&) noexcept>;

  Exporter(event::Loop& loop, TransferHost& host, bool keep);
  ~Exporter();
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;

  // The next part; only after the one before was answered. `answer` gets it without its request.
  void next(Answer answer);

  static constexpr base::Millis kLook{50};      // between two looks at a delivery
  static constexpr base::Millis kPatience{10'000};  // then an empty part says that we still wait

 private:
  struct Current {  // the message that is being written
    base::MessageId id;
    transfer::Envelope envelope;
    Bytes bytes;          // its body, or
    base::UniqueFd file;  // keeps a large one, should it end meanwhile
    std::uint64_t at = 0;
    std::uint32_t crc = 0;
  };

  void step();
  void fill();
  void take(const Batch& batch);
  void begin_message();
  void write_message(base::MessageId id, os::Result<LoadedBody>&& body);
  [[nodiscard]] transfer::Envelope envelope_of(const Message& message) const;
  [[nodiscard]] std::vector<transfer::Recipient> recipients_of(const Message& message) const;
  void write_piece();
  void write_bytes(std::string_view bytes);
  void leave_out(base::MessageId id, std::string_view why);
  void answer();

  TransferHost& host_;
  const bool keep_;
  base::Token file_;
  transfer::Writer writer_;
  base::MessageId upto_;   // the last one that is exported
  base::MessageId after_;  // scanned so far
  bool scanned_ = false;   // all of them
  bool ended_ = false;
  std::deque<base::MessageId> held_;  // waiting to be written
  std::size_t holds_ = 0;             // that are not durable yet
  std::unique_ptr<Current> current_;
  std::vector<std::string> notes_;
  Answer answer_;
  base::SteadyTime asked_;
  event::Timer look_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::queued
