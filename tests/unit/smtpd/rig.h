// A queued of the test's own at the other end of smtpd's channel, a clock that stands still, and a
// client on a socket pair: what the I/O side of smtpd needs around it, in one process and without
// waiting.
#pragma once

#include <sys/socket.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/ipc/channel.h"
#include "common/log/log.h"
#include "smtpd/queue_link.h"
#include "smtpd/session.h"
#include "tests/unit/smtpd/harness.h"
#include "tests/unit/tls/pair.h"

namespace postern::smtpd::test {

class FakeClock final : public base::Clock {
 public:
  base::WallTime wall() const noexcept override { return {now_.ms}; }
  base::SteadyTime steady() const noexcept override { return now_; }
  void advance(base::Millis by) { now_ = now_ + by; }

 private:
  base::SteadyTime now_{1'000'000};
};

// One life of queued, as far as one smtpd sees it. It says nothing by itself.
class FakeQueued {
 public:
  using Connection = ipc::Connection<FakeQueued, ipc::Role::kQueued, ipc::Role::kSmtpd>;
  struct Transaction {
    ipc::Submit submit;
    std::vector<std::string> recipients;
    std::string body;
    std::vector<ipc::SubmitRecipient> wishes = {};
  };

  FakeQueued(event::Loop& loop, base::UniqueFd fd);
  ~FakeQueued();

  void on(const ipc::Submit& m);
  void on(const ipc::SubmitRecipients& m);
  void on(const ipc::SubmitBody& m);
  void on(const ipc::AskToken& m);
  void on(const ipc::OpenLarge& m);
  void on(const ipc::AbandonLarge& m);
  void on(const ipc::AskRecipient& m);
  void on(const ipc::AskName& m);
  void on(const ipc::StartQueue& m);
  void on(const ipc::TurnSession& m);
  void closed() noexcept;

  template <class M>
  void say(const M& message) {
    connection_->send(message);
  }
  void accept(std::size_t which, std::uint64_t id);
  void refuse(std::size_t which, const mail::Reply& reply);
  void answer_token(std::size_t which, std::uint64_t id);
  // The end of a relay.
  base::UniqueFd turn(std::size_t which);
  // The file stays readable here.
  void open_large(std::size_t which, std::uint64_t name);
  void open_large_as(std::size_t which, std::uint64_t name, int fd);
  void refuse_large(std::size_t which);
  [[nodiscard]] std::string file_content() const;

  std::vector<Transaction> transactions;
  std::vector<ipc::AskToken> asked;
  std::vector<base::RequestId> large_asked;
  std::vector<base::MessageId> abandoned;
  std::vector<ipc::AskRecipient> recipients_asked;
  std::vector<ipc::AskName> names_asked;
  std::vector<ipc::StartQueue> started;
  std::vector<ipc::TurnSession> turns;
  base::UniqueFd file;
  bool ended = false;

 private:
  std::unique_ptr<Connection> connection_;
};

// The link with its lives of queued.
struct LinkRig {
  LinkRig();
  ~LinkRig();

  void connect();
  void break_channel();
  void turn(int times = 8);

  event::Loop loop;
  FakeClock clock;
  BodyBudget budget;
  int lost = 0;
  QueueLink link;
  std::unique_ptr<FakeQueued> queued;
};

// A session with its client. `type` SOCK_SEQPACKET keeps the server's writes apart.
struct SessionRig : LinkRig {
  explicit SessionRig(int type = SOCK_STREAM, bool connected = true,
                      config::TlsMode mode = config::TlsMode::kOff,
                      config::Rights its_rights = sample_rights());
  ~SessionRig();

  // Sends, turns the loop, and returns what the server has said since.
  std::string say(std::string_view bytes);
  void send(std::string_view bytes);
  std::string heard();
  // Up to and with the reply to DATA.
  void begin_message();
  void leave();

  static const tls::test::Issued& issued();
  static std::vector<std::string> keys(config::TlsMode mode);
  void offer_tls();

  config::RightsIndex rights;
  Service service = sample_service(rights);
  tls::test::TestSigner signer;
  TlsDesk desk{signer};
  AuthLink auth{loop, clock, []() noexcept {}};
  ClientDesk clients{clock};
  ClientNames names{link, clock};
  SessionContext context{loop, clock, link, budget, desk, auth, clients, names};
  base::UniqueFd client;
  std::unique_ptr<Session> session;
  int ended = 0;
  int writes = 0;
  bool hung_up = false;
};

// A body of lines, `size` bytes, without a dot at any line's start.
std::string lines(std::size_t size);

}  // namespace postern::smtpd::test
