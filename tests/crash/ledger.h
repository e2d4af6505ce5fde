// Ledger: what was asked of Postern and what it promised, each with its place in the order of
// operations, and the comparison of a recovered state with it.
//
// Every fact has the position at which it was given to Postern: from there on it may be found. And
// it may have a position from which on it was promised: from there on it must be found. What was
// given and never promised when a process died was kept or lost, as the next start showed: settle()
// writes down which, and from there on that stands.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/crash/view.h"

namespace postern::crash {

using Position = std::uint32_t;
inline constexpr Position kNever = ~0U;

enum class End : std::uint8_t { kOpen, kDelivered, kFailed };  // of a recipient, by one outcome

// A value that is replaced whole: a wait, a hold, the blocks.
struct Register {
  struct Value {
    std::string text;
    Position given = kNever, promised = kNever, lost = kNever;
  };
  std::string initial;
  std::vector<Value> values;

  std::size_t give(std::string text, Position at);
  [[nodiscard]] bool allows(const std::string& text, Position at) const;
  void settle(const std::string& text, Position at);
  void cut(Position at);
};

struct Outcome {
  std::uint32_t message = 0, recipient = 0;
  End end = End::kOpen;
  Position given = kNever, written = kNever, flushed = kNever, lost = kNever;
  bool takes_notice = false;  // a failure of which the sender is to hear
};

struct Letter {
  base::Token token;   // all zero: a notice
  base::MessageId id;  // 0: not known yet
  std::string from;
  std::vector<std::string> recipients;
  std::shared_ptr<const std::string> body;  // as stored; null: any
  Position given = kNever, told = kNever, refused = kNever, lost = kNever;
  std::vector<std::uint32_t> causes;                 // of a notice: outcomes, by number
  std::vector<std::uint32_t> replaces;               // of a notice: outcomes of others, in whose place it is
  std::vector<std::vector<std::uint32_t>> outcomes;  // by recipient, in their order
  Register held;
};

// A copy that local delivery made.
struct Copy {
  base::MessageId id;
  std::uint32_t recipient = 0;
  std::string text;  // the file's contents
  std::int64_t modified = 0;
  Position begun = kNever, reported = kNever;
};

class Ledger {
 public:
  // What a crash did to a state: a process that ends loses nothing that was written.
  enum class Loss : std::uint8_t { kProcess, kPower };
  using Complaints = std::vector<std::string>;

  // --- Keeping it --------------------------------------------------------------------------------
  std::uint32_t submit(Letter letter);
  std::uint32_t outcome(std::uint32_t letter, std::uint32_t recipient, End end, Position at);
  // An outcome's notice, when its number is known.
  std::uint32_t notice(base::MessageId id, std::string to, std::vector<std::uint32_t> causes,
                       std::shared_ptr<const std::string> body);
  [[nodiscard]] Letter& letter(std::uint32_t number) { return letters_.at(number); }
  [[nodiscard]] const Letter& letter(std::uint32_t number) const { return letters_.at(number); }
  [[nodiscard]] Outcome& at(std::uint32_t outcome) { return outcomes_.at(outcome); }
  [[nodiscard]] std::size_t letters() const { return letters_.size(); }
  // nullopt: nobody sent it.
  [[nodiscard]] std::optional<std::uint32_t> find(const SeenMessage& seen) const;
  [[nodiscard]] std::optional<std::uint32_t> find(base::MessageId id) const;
  void knows_id(std::uint32_t letter, base::MessageId id);
  // Is this recipient's end, as far as anybody was told, still to come?
  [[nodiscard]] bool may_be_open(std::uint32_t letter, std::uint32_t recipient) const;
  // Everything that was written so far is flushed.
  void all_flushed(Position at);
  Register& wait(const std::string& queue) { return waits_[queue]; }
  std::map<std::string, Register>& waits() { return waits_; }
  Register& blocks() { return blocks_; }
  std::vector<Copy>& copies() { return copies_; }
  // Files that were imported whole: found or not, as one value.
  Register& import(const base::Token& file) { return imports_[file]; }
  // From here on the story has damaged the spool itself: it may be said so, and nothing else may
  // differ.
  void damaged(Position at) { damaged_ = std::min(damaged_, at); }
  [[nodiscard]] bool is_damaged(Position at) const { return damaged_ <= at; }

  // The story has an engine, which keeps what fails and nobody can be told of.
  void keeps_badmail() { badmail_ = true; }

  // A process died, and the next one found this.
  void settle(const View& view, Position at);
  // The ledger as it was at this position.
  [[nodiscard]] Ledger cut(Position at) const;

  // --- Asking it ---------------------------------------------------------------------------------
  // What is wrong with a state that a crash at this position left.
  [[nodiscard]] Complaints check(const View& view, Position at, Loss loss) const;
  // Answers to "what became of this token?" must agree with what is there.
  using Ask = std::function<std::optional<base::MessageId>(const base::Token&)>;
  [[nodiscard]] Complaints check_tokens(const View& view, const Ask& ask, Position at) const;
  using Known = std::function<bool(const base::Token&)>;
  [[nodiscard]] Complaints check_imports(const Known& known, Position at) const;
  // What failed and could be told to nobody lies in `spool/badmail/`, whole and with the reason.
  [[nodiscard]] Complaints check_badmail(const Image& image, Position at, Loss loss) const;
  // The mailboxes of local delivery below `mail/`.
  [[nodiscard]] Complaints check_mail(const Image& image, Position at) const;

 private:
  struct Bounds {  // how many outcomes of a recipient
    std::uint32_t must = 0, may = 0;
    bool must_end = false, may_end = false;
  };
  [[nodiscard]] bool applies(const Outcome& outcome, Position at) const;
  [[nodiscard]] bool must_apply(const Outcome& outcome, Position at, Loss loss) const;
  [[nodiscard]] Bounds bounds(const Letter& letter, std::uint32_t recipient, Position at,
                              Loss loss) const;
  void check_letter(std::uint32_t number, const SeenMessage* seen, Position at, Loss loss,
                    const std::vector<const SeenMessage*>& there, Complaints& out) const;
  void check_replaced(const Letter& letter, const std::vector<const SeenMessage*>& there,
                      Position at, Complaints& out) const;
  void check_recipient(const Letter& letter, std::uint32_t recipient, const SeenMessage* seen,
                       Position at, Loss loss, Complaints& out) const;
  void check_contents(const Letter& letter, const SeenMessage& seen, Position at,
                      Complaints& out) const;
  [[nodiscard]] std::vector<const SeenMessage*> sort_out(const View& view, Position at,
                                                         Complaints& out) const;
  [[nodiscard]] bool has_begun(const Letter& letter, const std::vector<const SeenMessage*>& there,
                               Position at) const;
  void check_badmail(const Letter& letter, std::uint32_t recipient, const Image& image,
                     Complaints& out) const;
  void settle_recipient(std::vector<std::uint32_t>& outcomes, const SeenRecipient* seen,
                        Position at);

  std::vector<Letter> letters_;
  std::vector<Outcome> outcomes_;
  std::unordered_map<base::Token, std::uint32_t> by_token_;
  std::unordered_map<base::MessageId, std::uint32_t> by_id_;
  std::map<std::string, Register> waits_;
  Register blocks_;
  std::vector<Copy> copies_;
  std::unordered_map<base::Token, Register> imports_;
  Position damaged_ = kNever;
  bool badmail_ = false;
};

}  // namespace postern::crash
