// A queued of the test's own at the other end of smtpd's channel, a clock that stands still, and a
// client on a socket pair: what the I/O side of smtpd needs around it, in one process and without
// waiting.
#pragma once

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

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

  FakeQueued(event::Loop& loop, base::UniqueFd fd)
      : connection_(std::make_unique<Connection>(loop, std::move(fd), *this)) {}

  void on(const ipc::Submit& m) { transactions.push_back({m, {}, {}}); }
  void on(const ipc::SubmitRecipients& m) {
    CHECK(!transactions.empty() && transactions.back().submit.request == m.request);
    for (const auto& recipient : m.recipients) {
      transactions.back().recipients.emplace_back(recipient.address.text());
      transactions.back().wishes.push_back(recipient);
    }
  }
  void on(const ipc::SubmitBody& m) {
    CHECK(!transactions.empty() && transactions.back().submit.request == m.request);
    transactions.back().body += m.bytes.bytes;
  }
  void on(const ipc::AskToken& m) { asked.push_back(m); }
  void on(const ipc::OpenLarge& m) { large_asked.push_back(m.request); }
  void on(const ipc::AbandonLarge& m) { abandoned.push_back(m.large); }
  void on(const ipc::AskRecipient& m) { recipients_asked.push_back(m); }
  void on(const ipc::AskName& m) { names_asked.push_back(m); }
  void on(const ipc::StartQueue& m) { started.push_back(m); }
  void on(const ipc::TurnSession& m) { turns.push_back(m); }
  void closed() noexcept { ended = true; }

  template <class M>
  void say(const M& message) {
    connection_->send(message);
  }
  void accept(std::size_t which, std::uint64_t id) {
    say(ipc::Submitted{transactions.at(which).submit.request, base::MessageId(id), {}});
  }
  void refuse(std::size_t which, const mail::Reply& reply) {
    say(ipc::Submitted{transactions.at(which).submit.request, {}, ipc::to_ipc(reply)});
  }
  void answer_token(std::size_t which, std::uint64_t id) {
    say(ipc::TokenResult{asked.at(which).request, base::MessageId(id)});
  }
  // The end of a relay.
  base::UniqueFd turn(std::size_t which) {
    int ends[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    ipc::Descriptors descriptors;
    descriptors.push_back(base::UniqueFd::adopt(ends[0]));
    connection_->send(ipc::SessionTurned{turns.at(which).request, {250, 2, 0, 0, "Ok"}}, std::move(descriptors));
    return base::UniqueFd::adopt(ends[1]);
  }
  // The file stays readable here.
  void open_large(std::size_t which, std::uint64_t name) {
    file = base::UniqueFd::adopt(::memfd_create("body", MFD_CLOEXEC));
    open_large_as(which, name, file.get());
  }
  void open_large_as(std::size_t which, std::uint64_t name, int fd) {
    ipc::Descriptors descriptors;
    descriptors.push_back(base::UniqueFd::adopt(::dup(fd)));
    connection_->send(ipc::LargeOpened{large_asked.at(which), base::MessageId(name)},
                      std::move(descriptors));
  }
  void refuse_large(std::size_t which) {
    connection_->send(ipc::LargeOpened{large_asked.at(which), {}});
  }
  [[nodiscard]] std::string file_content() const {
    std::string bytes(static_cast<std::size_t>(::lseek(file.get(), 0, SEEK_END)), '\0');
    CHECK(::pread(file.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    return bytes;
  }

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
  LinkRig() : link(loop, clock, [this]() noexcept { ++lost; }) {
    log::set_level(log::Format::kText, log::Level::kError);
  }

  void connect() {
    auto ends = ipc::make_channel_pair();
    queued = std::make_unique<FakeQueued>(loop, std::move(ends.b));
    link.connect(std::move(ends.a));
    turn();
  }
  void break_channel() {
    queued.reset();
    turn();
  }
  void turn(int times = 8) {
    for (int i = 0; i < times; ++i) loop.run_once(false);
  }

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
                      config::Rights its_rights = sample_rights())
      : rights(std::move(its_rights)), signer(keys(mode)) {
    service.tls = mode;
    if (mode != config::TlsMode::kOff) offer_tls();
    service.limits.timeout = {
        .command = base::Millis(5'000), .data = base::Millis(20'000), .idle = base::Millis(9'000)};
    if (connected) connect();
    int ends[2];
    CHECK(::socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    client = base::UniqueFd::adopt(ends[0]);
    session = std::make_unique<Session>(context, service, base::UniqueFd::adopt(ends[1]),
                                        base::IpAddress{base::IpFamily::kV4, {192, 0, 2, 7}},
                                        ClientDesk::Place(), [this](Session*) noexcept {
                                          ++ended;
                                          session.reset();
                                        });
  }
  ~SessionRig() { session.reset(); }

  // Sends, turns the loop, and returns what the server has said since.
  std::string say(std::string_view bytes) {
    send(bytes);
    return heard();
  }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto put = ::send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put > 0) bytes.remove_prefix(static_cast<std::size_t>(put));
      turn(2);
      if (put < 0) CHECK(errno == EAGAIN);
    }
    turn();
  }
  std::string heard() {
    turn();
    std::string all;
    std::string piece(256 * 1024, '\0');
    for (ssize_t got; (got = ::recv(client.get(), piece.data(), piece.size(), 0)) >= 0;) {
      if (got == 0) {
        hung_up = true;
        break;
      }
      ++writes;
      all.append(piece, 0, static_cast<std::size_t>(got));
      turn();
    }
    return all;
  }
  // Up to and with the reply to DATA.
  void begin_message() {
    heard();
    say("EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nRCPT "
        "TO:<bob@example.org>\r\nDATA\r\n");
  }
  void leave() {
    client.reset();
    turn();
  }

  static const tls::test::Issued& issued() {
    return tls::test::Authority::instance().issue({"mx.example.org"});
  }
  static std::vector<std::string> keys(config::TlsMode mode) {
    if (mode == config::TlsMode::kOff) return {};
    return {issued().key};
  }
  void offer_tls() {
    desk.use(*tls::ServerContext::make({.certificates = {{{"mx.example.org"}, issued().chain}}},
                                       std::make_shared<tls::TicketKeys>()));
  }

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
inline std::string lines(std::size_t size) {
  std::string body;
  while (body.size() + 80 < size) body += std::string(78, 'x') + "\r\n";
  return body + std::string(size - body.size() - 2, 'y') + "\r\n";
}

}  // namespace postern::smtpd::test
