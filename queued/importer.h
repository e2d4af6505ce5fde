// Importer: takes the messages of one export file into the store, from its bytes, part by part. Each
// gets a new id and keeps its old one as origin, its token, its times and its recipients' state. A part
// is answered when all that it completed is flushed.
//
// It may break off at any byte and be begun again: a message whose token is in the queue is not taken
// twice. So that nothing leaves the queue meanwhile, all of them are held until the file's end; then the
// file is noted as imported, and only then those go out that are to be released.
//
// Owned by a session of the control tool. All on the loop.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "common/transfer/file.h"
#include "queued/transfer_host.h"

namespace postern::queued {

struct ImportWish {
  bool release = false;  // at the end
  bool again = false;    // even if this file was imported before
};

class Importer {
 public:
  using Answer = std::move_only_function<void(const ipc::SpoolDone&) noexcept>;

  Importer(TransferHost& host, ImportWish wish);
  ~Importer();
  Importer(const Importer&) = delete;
  Importer& operator=(const Importer&) = delete;

  // The next bytes; only after those before were answered. `answer` gets no request. After one with
  // `over` set nothing more is taken.
  void next(std::string_view bytes, bool end, Answer answer);

 private:
  struct Current {  // the message that is being read
    MessageRecord record;
    std::string body;
    base::MessageId large;  // 0: the body stays in memory
    std::uint64_t written = 0;
    bool known = false;  // it is here already
  };

  void step();
  void on(const transfer::Header& header);
  void on(const transfer::Message& message);
  void on(const transfer::Piece& piece);
  void on(const transfer::Whole&);
  void on(const transfer::Withdrawn&);
  void on(const transfer::End&);
  void read_known(base::MessageId after);
  [[nodiscard]] MessageRecord record_of(const transfer::Message& message);
  [[nodiscard]] std::string find_lack(std::uint64_t body) const;
  void open_large(std::uint64_t size);
  void seal_large();
  void accept(MessageRecord record, Bytes body);
  void accepted(bool stored, const base::Token& token);
  void drop_large();
  void finish();
  void release_some();
  void pause();   // step() goes on after resume()
  void resume();
  void fail(std::uint8_t exit, std::string why);
  void consider_answer();
  void give_answer();

  TransferHost& host_;
  const ImportWish wish_;
  bool owns_turn_ = false;  // of host_.importing
  transfer::Reader reader_;
  base::Token file_;
  std::unordered_set<base::Token> known_;  // tokens of all that is queued
  std::vector<base::MessageId> to_release_;
  std::unique_ptr<Current> current_;
  std::uint64_t pending_ = 0;  // acceptances that are not flushed
  std::uint64_t taken_ = 0, left_ = 0;
  bool paused_ = false;
  bool stepping_ = false;
  bool last_part_ = false;
  bool over_ = false;
  ipc::SpoolDone result_;
  Answer answer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::queued
