#include "tests/unit/smtpd/rig.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace postern::smtpd::test {

FakeQueued::FakeQueued(event::Loop& loop, base::UniqueFd fd)
    : connection_(std::make_unique<Connection>(loop, std::move(fd), *this)) {}

FakeQueued::~FakeQueued() = default;

void FakeQueued::on(const ipc::Submit& m) { transactions.push_back({m, {}, {}}); }

void FakeQueued::on(const ipc::SubmitRecipients& m) {
  CHECK(!transactions.empty() && transactions.back().submit.request == m.request);
  for (const auto& recipient : m.recipients) {
    transactions.back().recipients.emplace_back(recipient.address.text());
    transactions.back().wishes.push_back(recipient);
  }
}

void FakeQueued::on(const ipc::SubmitBody& m) {
  CHECK(!transactions.empty() && transactions.back().submit.request == m.request);
  transactions.back().body += m.bytes.bytes;
}

void FakeQueued::on(const ipc::AskToken& m) { asked.push_back(m); }
void FakeQueued::on(const ipc::OpenLarge& m) { large_asked.push_back(m.request); }
void FakeQueued::on(const ipc::AbandonLarge& m) { abandoned.push_back(m.large); }
void FakeQueued::on(const ipc::AskRecipient& m) { recipients_asked.push_back(m); }
void FakeQueued::on(const ipc::AskName& m) { names_asked.push_back(m); }
void FakeQueued::on(const ipc::StartQueue& m) { started.push_back(m); }
void FakeQueued::on(const ipc::TurnSession& m) { turns.push_back(m); }
void FakeQueued::closed() noexcept { ended = true; }

void FakeQueued::accept(std::size_t which, std::uint64_t id) {
  say(ipc::Submitted{transactions.at(which).submit.request, base::MessageId(id), {}});
}

void FakeQueued::refuse(std::size_t which, const mail::Reply& reply) {
  say(ipc::Submitted{transactions.at(which).submit.request, {}, ipc::to_ipc(reply)});
}

void FakeQueued::answer_token(std::size_t which, std::uint64_t id) {
  say(ipc::TokenResult{asked.at(which).request, base::MessageId(id)});
}

base::UniqueFd FakeQueued::turn(std::size_t which) {
  int ends[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  ipc::Descriptors descriptors;
  descriptors.push_back(base::UniqueFd::adopt(ends[0]));
  connection_->send(ipc::SessionTurned{turns.at(which).request, {250, 2, 0, 0, "Ok"}}, std::move(descriptors));
  return base::UniqueFd::adopt(ends[1]);
}

void FakeQueued::open_large(std::size_t which, std::uint64_t name) {
  file = base::UniqueFd::adopt(::memfd_create("body", MFD_CLOEXEC));
  open_large_as(which, name, file.get());
}

void FakeQueued::open_large_as(std::size_t which, std::uint64_t name, int fd) {
  ipc::Descriptors descriptors;
  descriptors.push_back(base::UniqueFd::adopt(::dup(fd)));
  connection_->send(ipc::LargeOpened{large_asked.at(which), base::MessageId(name)},
                    std::move(descriptors));
}

void FakeQueued::refuse_large(std::size_t which) {
  connection_->send(ipc::LargeOpened{large_asked.at(which), {}});
}

std::string FakeQueued::file_content() const {
  std::string bytes(static_cast<std::size_t>(::lseek(file.get(), 0, SEEK_END)), '\0');
  CHECK(::pread(file.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return bytes;
}

LinkRig::LinkRig() : link(loop, clock, [this]() noexcept { ++lost; }) {
  log::set_level(log::Format::kText, log::Level::kError);
}

LinkRig::~LinkRig() = default;

void LinkRig::connect() {
  auto ends = ipc::make_channel_pair();
  queued = std::make_unique<FakeQueued>(loop, std::move(ends.b));
  link.connect(std::move(ends.a));
  turn();
}

void LinkRig::break_channel() {
  queued.reset();
  turn();
}

void LinkRig::turn(int times) {
  for (int i = 0; i < times; ++i) loop.run_once(false);
}

SessionRig::SessionRig(int type, bool connected, config::TlsMode mode, config::Rights its_rights)
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

SessionRig::~SessionRig() { session.reset(); }

std::string SessionRig::say(std::string_view bytes) {
  send(bytes);
  return heard();
}

void SessionRig::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto put = ::send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put > 0) bytes.remove_prefix(static_cast<std::size_t>(put));
    turn(2);
    if (put < 0) CHECK(errno == EAGAIN);
  }
  turn();
}

std::string SessionRig::heard() {
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

void SessionRig::begin_message() {
  heard();
  say("EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nRCPT "
      "TO:<bob@example.org>\r\nDATA\r\n");
}

void SessionRig::leave() {
  client.reset();
  turn();
}

const tls::test::Issued& SessionRig::issued() {
  return tls::test::Authority::instance().issue({"mx.example.org"});
}

std::vector<std::string> SessionRig::keys(config::TlsMode mode) {
  if (mode == config::TlsMode::kOff) return {};
  return {issued().key};
}

void SessionRig::offer_tls() {
  desk.use(*tls::ServerContext::make({.certificates = {{{"mx.example.org"}, issued().chain}}},
                                     std::make_shared<tls::TicketKeys>()));
}

std::string lines(std::size_t size) {
  std::string body;
  while (body.size() + 80 < size) body += std::string(78, 'x') + "\r\n";
  return body + std::string(size - body.size() - 2, 'y') + "\r\n";
}

}  // namespace postern::smtpd::test
