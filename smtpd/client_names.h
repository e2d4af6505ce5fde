// ClientNames: which hosts our clients are, as a relay found out for us (ipc::AskName). Looked up when a client
// comes, while it speaks; whoever wants to know it takes what is known by then. Remembered as long as it is true,
// at least kLeast and at most kMost; of what nobody could say, kUnclear. What was true before is taken until the next
// answer, so that a client whose name is slow to be found is known when it comes again.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "smtpd/queue_link.h"

namespace postern::smtpd {

class ClientNames {
 public:
  static constexpr std::size_t kMostKnown = 20'000;
  static constexpr std::size_t kMostOpen = 500;  // questions
  static constexpr base::Millis kLeast{60'000};
  static constexpr base::Millis kMost{3'600'000};
  static constexpr base::Millis kUnclear{30'000};

  struct Known {
    ipc::NameState state = ipc::NameState::kUnclear;
    std::string name;
  };

  // Both outlive this.
  ClientNames(QueueLink& link, const base::Clock& clock) : link_(link), clock_(clock) {}
  ~ClientNames() { *alive_ = false; }
  ClientNames(const ClientNames&) = delete;
  ClientNames& operator=(const ClientNames&) = delete;

  // false: nobody is looked up.
  void use(bool wanted) noexcept { wanted_ = wanted; }
  // Begins to, unless it is known, asked for, or this host.
  void look_up(const base::IpAddress& client);
  // What is known by now; null: nothing yet.
  [[nodiscard]] const Known* find(const base::IpAddress& client) const;

 private:
  struct Entry {
    bool open = false;
    std::optional<Known> known;
    base::SteadyTime expires;
  };
  void named(const base::IpAddress& client, const ipc::NameKnown& answer);
  void make_room();

  QueueLink& link_;
  const base::Clock& clock_;
  bool wanted_ = false;
  std::size_t open_ = 0;
  std::map<base::IpAddress, Entry> entries_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::smtpd
