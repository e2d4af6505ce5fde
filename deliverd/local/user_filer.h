// UserFiler: files by processes of the users whose own their mailboxes are. The parent starts one for each mailbox that mail
// comes for, and this process speaks with it over a channel; it has no right to any mailbox itself.
//
// A mailbox has one process at most, all together UserLimits::most. One that is idle for long is dropped, or earlier when
// mail for another mailbox needs its place; where all have work, that mail waits. A user may do to his own process what he
// likes:
//   he ends it: what it had in hand is deferred, and on the next try it is looked at first whether it was filed;
//   he stops it: when patience is over likewise, and for a while, which doubles each time, mail for him is deferred at
//   once, so that he cannot hold up the mail of others.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>

#include "common/base/clock.h"
#include "common/role/role.h"
#include "deliverd/local/filer.h"

namespace postern::local {

struct UserLimits {
  std::size_t most = 64;  // processes; as the parent has it
  base::Millis idle{10'000};
  base::Millis patience{30'000};  // for a start, or for a message, and a second more for each MiB
  base::Millis first_pause{60'000};
  base::Millis longest_pause{3'600'000};
};

class UserFiler final : public Filer {
 public:
  static constexpr std::size_t kMostDoubts = 10'000;

  UserFiler(event::Loop& loop, const base::Clock& clock, role::Host& host, UserLimits limits = {});
  ~UserFiler() override;
  UserFiler(const UserFiler&) = delete;
  UserFiler& operator=(const UserFiler&) = delete;

  void file(deliverd::Delivery delivery, Done done) override;
  // There is a new configuration: what comes from now on goes to processes that are started with it.
  void renew();

 private:
  struct Batch {  // a message
    deliverd::Delivery delivery;
    std::vector<Filed> copies;
    std::size_t left = 0;  // of them, without a result
    Done done;
  };
  struct Job {  // its copy for one recipient
    std::shared_ptr<Batch> batch;
    std::size_t place = 0;
    [[nodiscard]] const ipc::LeaseRecipient& recipient() const;
  };
  using Copy = std::pair<base::MessageId, std::uint32_t>;  // a message, and the recipient's number in it

  // A mailbox that mail is here for, or that has a process: for the life of one process at most.
  struct Box {
    Box(UserFiler& filer, std::string user_name, std::string domain_name);
    void on(const ipc::MailFiled& filed) { owner.filed(*this, filed); }
    void closed() noexcept { owner.died(*this); }

    UserFiler& owner;
    const std::string user, domain;
    std::deque<Job> waiting;
    std::map<base::RequestId, Job> filing;  // by the process, in this order
    bool in_line = false;
    bool outdated = false;  // its process was started before the last renew()
    std::uint64_t life = 0;  // of a process that was asked for; 0: none was
    base::RequestId request;
    std::unique_ptr<ipc::Connection<Box, ipc::Role::kLocal, ipc::Role::kMailbox>> connection;
    base::SteadyTime idle_since;
    event::Timer timer;  // to the end of patience, or of idleness
  };
  struct Pause {  // of a mailbox whose process did not answer
    base::SteadyTime until;
    base::Millis length{0};
  };
  using Jobs = std::deque<Job>;

  Box& box_for(const ipc::LeaseRecipient& recipient);
  void serve(const std::string& name);
  void start(Box& box);
  void connected(const std::string& name, std::uint64_t life,
                 std::expected<base::UniqueFd, std::string> channel);
  void send_more(Box& box);
  [[nodiscard]] bool send(Box& box, const Job& job);
  void filed(Box& box, const ipc::MailFiled& filed);
  [[nodiscard]] base::Millis patience(const Box& box) const;
  void pause(const std::string& name);
  void died(Box& box);
  void expired(Box& box);
  void rest(Box& box);
  void give_up(Box& box, const std::string& why);
  void defer(const Job& job, const std::string& why);
  void doubt(const Box& box);
  void conclude(const Job& job, Filed copy);
  void release(Box& box);
  [[nodiscard]] bool make_room();
  void serve_line();

  event::Loop& loop_;
  const base::Clock& clock_;
  role::Host& host_;
  const UserLimits limits_;
  std::unordered_map<std::string, std::unique_ptr<Box>> boxes_;  // "example.org/bob"
  std::deque<std::string> line_;  // for a process, when there is no place for another
  std::size_t processes_ = 0;
  std::set<Copy> doubts_;  // that may lie in their mailbox, without a word of it
  std::unordered_map<std::string, Pause> pauses_;
  std::uint64_t lives_ = 0;
  base::RequestId last_request_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace postern::local
