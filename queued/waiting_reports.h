// Reports that wait for others of their message, so that its sender gets one notice of all. Those of failures wait
// with their outcomes (gathering.cc); here are the two kinds whose outcomes do not wait. Pure.
//
// LateReports, of delays, are in memory alone: one that is lost is made again at the next failed attempt.
// EarlyNotices, of successes, are in the journal, for the report of a delivery cannot be made again: each is due a
// little later, and a further notice of the same go that comes before takes it in. To keep what is written in
// proportion, it takes in none that has more than twice its own reports, until nothing more is coming: so each report
// is written a few times, and the notices that wait of one go are few.
#pragma once

#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/ipc/delivery.h"
#include "queued/notices.h"

namespace postern::queued {

// Reports of all messages that wait, of each kind: as many as failures may wait.
inline constexpr std::size_t kMostWaiting = 512 * ipc::kLeaseRecipients;

struct MessageToSender {  // of which one sender is told
  base::MessageId message;
  std::string sender;
  friend auto operator<=>(const MessageToSender&, const MessageToSender&) = default;
};

struct MessageInQueue {  // to recipients of which one sender is told
  base::MessageId message;
  std::string queue;
  std::string sender;
  friend auto operator<=>(const MessageInQueue&, const MessageInQueue&) = default;
};

class LateReports {
 public:
  // A newer one takes the place of the one that waits of the same recipient.
  void add(const MessageToSender& key, Report report, QueueTime now);
  [[nodiscard]] std::vector<Report> take(const MessageToSender& key);
  [[nodiscard]] bool empty() const { return waiting_.empty(); }
  [[nodiscard]] bool wait(const MessageToSender& key) const { return waiting_.contains(key); }
  [[nodiscard]] std::vector<MessageToSender> of(base::MessageId message) const;
  // Those that began to wait at this time, or before.
  [[nodiscard]] std::vector<MessageToSender> begun_by(QueueTime time) const;
  // Those that have waited longest, where there are too many; nullopt: there are not.
  [[nodiscard]] std::optional<MessageToSender> surplus() const;
  [[nodiscard]] std::optional<QueueTime> oldest() const;
  // Of those that wait: since when; is one of this recipient among them; of how many of the message's recipients it is
  // known that nothing is coming.
  [[nodiscard]] QueueTime begun(const MessageToSender& key) const { return waiting_.at(key).since; }
  [[nodiscard]] bool has(const MessageToSender& key, std::uint32_t number) const {
    return waiting_.at(key).reports.contains(number);
  }
  [[nodiscard]] std::size_t& looked(const MessageToSender& key) { return waiting_.at(key).looked; }

 private:
  struct Waiting {
    std::map<std::uint32_t, Report> reports;  // by recipient
    QueueTime since{0};
    std::size_t looked = 0;
  };
  std::map<MessageToSender, Waiting> waiting_;
  std::size_t count_ = 0;  // reports
};

class EarlyNotices {
 public:
  static constexpr std::size_t kAny = std::numeric_limits<std::size_t>::max();

  struct Notice {
    base::MessageId id;
    std::vector<Report> reports;
    bool flushed = false;  // before that it is on its way into the journal, and nobody can have it
  };
  // When the first of these began to wait; `now`: none does.
  [[nodiscard]] QueueTime begun(const MessageInQueue& key, QueueTime now) const;
  void add(const MessageInQueue& key, Notice notice, QueueTime since);
  // The newest of these, if it has no more reports than that.
  [[nodiscard]] std::optional<Notice> take_newest(const MessageInQueue& key, std::size_t most);
  [[nodiscard]] std::vector<Notice> take(const MessageInQueue& key);
  // It can be found from now on. False: it does not wait any more.
  [[nodiscard]] bool note_flushed(const MessageInQueue& key, base::MessageId id);
  // Of this message, those that can be found.
  [[nodiscard]] std::vector<base::MessageId> flushed(base::MessageId message) const;
  [[nodiscard]] bool empty() const { return waiting_.empty(); }
  [[nodiscard]] std::vector<MessageInQueue> of(base::MessageId message) const;
  [[nodiscard]] std::vector<MessageInQueue> begun_by(QueueTime time) const;
  [[nodiscard]] std::optional<MessageInQueue> surplus() const;
  [[nodiscard]] std::optional<QueueTime> oldest() const;

 private:
  struct Waiting {
    std::vector<Notice> notices;  // oldest first
    QueueTime since{0};
  };
  std::map<MessageInQueue, Waiting> waiting_;
  std::size_t count_ = 0;  // reports
};

}  // namespace postern::queued
