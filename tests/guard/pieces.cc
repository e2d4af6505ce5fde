// The way of a message through Postern's own code in one process, without sockets and disk, so that its
// instructions can be counted: the command lines and the body through the protocol machine, the frames
// between smtpd, queued and relay encoded and decoded, rights decided twice, the store with its journal,
// and the SMTP client machine against a next hop that takes everything.
//
//   guard-pieces accept|relay MESSAGES
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/config/rights.h"
#include "common/ipc/messages.h"
#include "common/mail/trace.h"
#include "deliverd/relay/protocol.h"
#include "queued/local_store.h"
#include "smtpd/protocol.h"
#include "tests/guard/memory_disk.h"
#include "tests/unit/queued/memory_index.h"

namespace postern::guard {
namespace {

constexpr std::size_t kBodySize = 4096;
constexpr std::string_view kEnvelope =
    "MAIL FROM:<sender@client.example> SIZE=4096\r\n"
    "RCPT TO:<recipient@remote.example>\r\n"
    "DATA\r\n";

// 4 KiB with a header, in lines of 64 bytes.
std::string make_body() {
  std::string body = "From: sender@client.example\r\nSubject: the guard\r\n\r\n";
  while (body.size() + 64 <= kBodySize) body += std::string(62, 'x') + "\r\n";
  if (const auto left = kBodySize - body.size(); left >= 2) body += std::string(left - 2, 'x') + "\r\n";
  return body;
}

// Encodes as the sender does, decodes as the receiver does.
template <class M>
M carry(const M& message) {
  auto arrived = ipc::decode<M>(ipc::encode(message));
  CHECK(arrived.has_value());
  return *std::move(arrived);
}

constexpr std::uint64_t kSegment = 16 << 20;  // bytes

class FixedClock final : public base::Clock {
 public:
  base::WallTime wall() const noexcept override { return {1'780'000'000'000}; }
  base::SteadyTime steady() const noexcept override { return {1'000'000}; }
};

config::RightsIndex make_rights() {
  config::Rights rights;
  rights.listeners.push_back({config::Service::kRelay, {*base::parse_network("127.0.0.0/8")}});
  rights.postmaster = *mail::Address::parse("postmaster@example.org");
  return config::RightsIndex(std::move(rights));
}

// smtpd's session and queued's answer to it.
class Pipeline final : public smtpd::MessageSink {
 public:
  Pipeline() : rights_(make_rights()), protocol_(service(), client_, *this) {
    queued::LocalStoreOptions options;
    options.segment_size = kSegment;
    options.threaded = false;
    options.epoch = base::Epoch(7);
    const auto open_index = [](bool) -> os::Result<std::unique_ptr<queued::Index>> {
      return std::make_unique<queued::MemoryIndex>(std::make_shared<queued::MemoryRows>());
    };
    auto opened = queued::LocalStore::open(loop_, disk_, open_index, clock_, options,
                                           [](const std::string& why) noexcept {
                                             (void)std::fprintf(stderr, "%s\n", why.c_str());
                                             std::abort();
                                           });
    CHECK(opened.has_value());
    store_ = std::move(*opened);
    store_->pump();
    fill_half();
    protocol_.start();
    feed("EHLO client.example\r\n");
  }

  // One message; its id once the 250 is there.
  base::MessageId accept() {
    accepted_ = {};
    feed(kEnvelope);
    feed(body_);
    feed(".\r\n");
    store_->pump();
    CHECK(accepted_.value != 0);
    protocol_.output().clear();
    return accepted_;
  }

  queued::LocalStore& store() { return *store_; }

 private:
  const smtpd::Service& service() {
    service_.hostname = "mx.example.org";
    service_.rights = &rights_;
    return service_;
  }

  // The next segment is made while this one fills. Behind its middle that is done, and so no part of it is
  // counted as a message's.
  void fill_half() {
    constexpr std::size_t kLarge = 1 << 20;
    for (std::size_t filled = 0; filled <= kSegment / 2; filled += kLarge) {
      queued::MessageRecord record;
      record.id = store_->new_id();
      record.body_size = kLarge;
      record.recipients.push_back({.number = 0, .address = *mail::Address::parse("large@example.org")});
      store_->accept(std::move(record), std::make_shared<const std::string>(kLarge, 'x'),
                     [](bool stored) noexcept { CHECK(stored); });
      store_->pump();
    }
  }

  void feed(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto used = protocol_.input(bytes);
      CHECK(used > 0);
      bytes.remove_prefix(used);
    }
    if (protocol_.want() == smtpd::Want::kInput) protocol_.output().clear();
  }

  const mail::Reply* intake_refusal() override { return nullptr; }
  void begin(const smtpd::Envelope&) override { received_.clear(); }
  smtpd::Flow body(std::string_view stuffed) override {
    received_ += stuffed;
    return smtpd::Flow::kMore;
  }
  void ask(const mail::Address&) override { CHECK(false); }
  void start_queue(const mail::Domain&) override {}
  void turn_session(std::vector<std::string>) override {}
  void abort() override { CHECK(false); }
  void log_in(const smtpd::LoginStart&) override {}
  void login_response(std::string_view) override {}
  void log_out() override {}

  // As smtpd sends it and queued takes it.
  void end(smtpd::Envelope&& envelope, const smtpd::BodyFacts&) override {
    ipc::Submit submit;
    submit.request = last_request_ = last_request_.next();
    submit.token.bytes[0] = static_cast<std::uint8_t>(last_request_.value);
    submit.token.bytes[1] = static_cast<std::uint8_t>(last_request_.value >> 8);
    submit.origin = client_;
    submit.hello = envelope.hello;
    submit.esmtp = true;
    submit.from = envelope.reverse_path;
    submit.recipient_count = static_cast<std::uint32_t>(envelope.recipients.size());
    submit.body_size = received_.size();
    ipc::SubmitRecipients recipients{submit.request, {}};
    for (const auto& recipient : envelope.recipients) recipients.recipients.push_back({recipient.address, {}, {}});
    const auto slice = ipc::encode(ipc::SubmitBody{submit.request, {received_}});
    const auto part = ipc::decode<ipc::SubmitBody>(slice);
    CHECK(part.has_value());
    take(carry(submit), carry(recipients), std::make_shared<const std::string>(part->bytes.bytes));
  }

  void take(ipc::Submit submit, ipc::SubmitRecipients recipients, queued::Bytes body) {
    queued::MessageRecord record;
    record.id = store_->new_id();
    record.token = submit.token;
    record.arrived = store_->clock().wall();
    record.born = store_->clock().now();
    record.client = submit.origin.client();
    record.hello = std::move(submit.hello);
    record.from = submit.from;
    record.body_size = body->size();
    for (auto& recipient : recipients.recipients) {
      CHECK(rights_.decide(submit.listener, submit.origin, recipient.address).verdict ==
            config::Verdict::kRelay);
      record.recipients.push_back({.number = static_cast<std::uint32_t>(record.recipients.size()),
                                   .address = std::move(recipient.address)});
    }
    record.prefix = mail::received_field({record.hello, record.client, service_.hostname,
                                          mail::WithProtocol::kEsmtp, record.id,
                                          &record.recipients.front().address, record.arrived});
    ipc::Submitted word;
    word.request = submit.request;
    word.id = record.id;
    store_->accept(std::move(record), std::move(body), [this, word](bool stored) noexcept {
      CHECK(stored);
      accepted_ = carry(word).id;
      protocol_.accepted(accepted_);
    });
  }

  const base::IpAddress client_ = *base::parse_ip("127.0.0.1");
  const std::string body_ = make_body();
  FixedClock clock_;
  event::Loop loop_;
  MemoryDisk disk_;
  std::unique_ptr<queued::LocalStore> store_;
  config::RightsIndex rights_;
  smtpd::Service service_;
  smtpd::Protocol protocol_;
  std::string received_;
  base::RequestId last_request_;
  base::MessageId accepted_;
};

// queued's lease, relay's session with the next hop, and the outcome.
class Relay {
 public:
  explicit Relay(queued::LocalStore& store) : store_(store), client_("mx.example.org") {
    say("220 sink.example ESMTP\r\n", relay::Client::Event::kNone);
    say("250-sink.example\r\n250-PIPELINING\r\n250 SIZE\r\n", relay::Client::Event::kReady);
  }

  void deliver(base::MessageId id) {
    queued::LoadedBody body;
    store_.load(id, [&body](os::Result<queued::LoadedBody> loaded) noexcept {
      if (loaded) body = *std::move(loaded);
    });
    store_.pump();
    CHECK(body.bytes != nullptr);
    const auto lease = carry(make_lease(*store_.find(id), *body.bytes));
    const auto slice = ipc::encode(ipc::LeaseBody{lease.lease, {*body.bytes}});
    const auto part = ipc::decode<ipc::LeaseBody>(slice);
    CHECK(part.has_value());
    send(lease, part->bytes.bytes);

    auto outcome = ipc::Outcome{lease.request, lease.lease, lease.epoch, id, "127.0.0.1:25", {}};
    for (const auto& verdict : client_.verdicts())
      outcome.results.push_back({static_cast<std::uint32_t>(outcome.results.size()), verdict.result,
                                 verdict.failure, ipc::to_ipc(verdict.reply)});
    finish(carry(outcome));
    CHECK(store_.find(id) == nullptr);
  }

 private:
  ipc::Lease make_lease(const queued::Message& message, const std::string& body) {
    ipc::Lease lease;
    lease.lease = last_lease_ = last_lease_.next();
    lease.request = base::RequestId(last_lease_.value);
    lease.epoch = store_.epoch();
    lease.message = message.id;
    lease.arrived = message.arrived;
    lease.from = message.from;
    for (const auto& recipient : message.recipients)
      lease.recipients.push_back({recipient.number, recipient.address, {}, {}, {}, {}});
    lease.prefix = message.prefix;
    lease.body_size = body.size();
    return lease;
  }

  void send(const ipc::Lease& lease, std::string_view body) {
    relay::Envelope envelope;
    envelope.from = lease.from.text();
    for (const auto& recipient : lease.recipients) envelope.recipients.push_back({recipient.address.text(), {}, {}});
    envelope.size = lease.prefix.size() + body.size();
    out_.clear();
    CHECK(client_.begin(std::move(envelope), out_) == relay::Client::Event::kNone);
    // RSET goes in front of all but the first.
    const bool again = out_.starts_with("RSET");
    say(again ? "250 ok\r\n250 ok\r\n250 ok\r\n354 go on\r\n" : "250 ok\r\n250 ok\r\n354 go on\r\n",
        relay::Client::Event::kBody);
    out_.append(lease.prefix).append(body).append(".\r\n");
    client_.body_sent();
    say("250 2.0.0 taken\r\n", relay::Client::Event::kFinished);
  }

  void finish(const ipc::Outcome& outcome) {
    queued::OutcomeRecord record;
    record.message = outcome.message;
    record.when = store_.clock().wall();
    record.clock = store_.clock().now();
    record.remote = outcome.remote;
    for (const auto& result : outcome.results) {
      CHECK(result.result == ipc::Result::kDelivered);
      record.fates.push_back({result.number, queued::Fate::kDelivered, {}, result.failure, result.reply});
    }
    store_.outcome(std::move(record), nullptr,
                   [request = outcome.request]() noexcept { (void)carry(ipc::OutcomeSaved{request}); }, {});
    store_.pump();
  }

  void say(std::string_view reply, relay::Client::Event wanted) {
    const auto step = client_.on_input(reply, out_);
    CHECK(step.event == wanted && step.used == reply.size());
  }

  queued::LocalStore& store_;
  relay::Client client_;
  base::LeaseId last_lease_;
  std::string out_;
};

int run(std::string_view scenario, std::uint64_t messages) {
  Pipeline pipeline;
  Relay relay(pipeline.store());
  if (scenario != "accept" && scenario != "relay") return 64;
  for (std::uint64_t i = 0; i < messages; ++i) {
    const auto id = pipeline.accept();
    if (scenario == "relay") relay.deliver(id);
  }
  return 0;
}

}  // namespace
}  // namespace postern::guard

int main(int argc, char** argv) {
  const auto messages = argc == 3 ? std::strtoull(argv[2], nullptr, 10) : 0;
  const int status = messages == 0 ? 64 : postern::guard::run(argv[1], messages);
  if (status != 0) (void)std::fprintf(stderr, "usage: guard-pieces accept|relay MESSAGES\n");
  return status;
}
