// What next hops said of recipients that they were asked for, for a while: longer where they know one
// than where they do not, for one that is made meanwhile should not be refused for long. Bounded; the
// oldest go first, and refused ones (of which anybody can invent any number) never at the cost of known
// ones. Pure.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <unordered_map>

#include "common/base/clock.h"
#include "common/mail/reply.h"

namespace postern::queued {

class RecipientCache {
 public:
  struct Limits {
    base::Millis known{3'600'000};
    base::Millis refused{300'000};
    std::size_t most_known = 50'000;
    std::size_t most_refused = 10'000;
  };
  struct Said {
    std::optional<mail::Reply> refusal;  // nothing: it is known
  };

  RecipientCache() = default;
  explicit RecipientCache(Limits limits) : limits_(limits) {}

  [[nodiscard]] std::optional<Said> find(const std::string& address, base::SteadyTime now) const;
  void keep(const std::string& address, Said said, base::SteadyTime now);
  void clear();
  [[nodiscard]] std::size_t size() const { return said_.size(); }

 private:
  struct Entry {
    Said said;
    base::SteadyTime until;
  };
  // In the order of their ends, which is that of their coming.
  using Line = std::deque<std::pair<std::string, base::SteadyTime>>;
  void make_room(Line& line, std::size_t most, base::SteadyTime now);

  Limits limits_;
  std::unordered_map<std::string, Entry> said_;
  Line known_, refused_;
};

}  // namespace postern::queued
