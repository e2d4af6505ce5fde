// Drives the protocol machine as a session would, without a socket: a sink that records, and a
// connection that cuts the wire as the test likes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/config/rights.h"
#include "smtpd/auth/exchange.h"
#include "smtpd/protocol.h"

namespace postern::smtpd::test {

struct Message {
  Envelope envelope;
  BodyFacts facts;
  std::string body;
};

class RecordingSink : public MessageSink {
 public:
  const mail::Reply* intake_refusal() override { return intake ? &*intake : nullptr; }
  void begin(const Envelope&) override {
    CHECK(!open_);
    open_ = true;
    body_.clear();
  }
  Flow body(std::string_view stuffed) override {
    CHECK(open_ && !stuffed.empty());
    body_ += stuffed;
    return pause_always ? Flow::kPause : Flow::kMore;
  }
  void end(Envelope&& envelope, const BodyFacts& facts) override {
    CHECK(open_);
    open_ = false;
    messages.push_back({std::move(envelope), facts, std::move(body_)});
  }
  void abort() override {
    CHECK(open_);
    open_ = false;
    ++aborted;
  }
  void ask(const mail::Address& recipient) override { asked.push_back(recipient.text()); }
  void start_queue(const mail::Domain& queue) override { to_start = queue.text(); }
  void turn_session(std::vector<std::string> queues) override { to_turn = std::move(queues); }
  void log_in(const LoginStart& start) override {
    exchange = auth::make_exchange(start.mechanism, login_context(start.plus_offered));
    step = exchange->begin(start.initial);
  }
  void login_response(std::string_view response) override { step = exchange->respond(response); }
  void log_out() override {
    exchange.reset();
    ++logged_out;
  }
  // bob has the password "secret", however he says it.
  static auth::ExchangeContext login_context(bool plus_offered) {
    auth::ExchangeContext context;
    context.plus_offered = plus_offered;
    context.nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    context.binding.exporter = "exported";
    context.look_up = [](const std::string& account) {
      static const auto verifier = sasl::ScramVerifier::make("secret", "0123456789abcdef", 4096);
      return auth::Looked{verifier, account == "bob"};
    };
    return context;
  }
  // What auth would answer to the step.
  [[nodiscard]] LoginStep login_step() const {
    using Result = LoginStep::Result;
    if (unavailable) return {Result::kUnavailable, {}};
    if (const auto* challenge = std::get_if<auth::Challenge>(&step))
      return {Result::kChallenge, challenge->bytes};
    if (const auto* convinced = std::get_if<auth::Convinced>(&step))
      return {Result::kChallenge, convinced->bytes};
    if (const auto* proven = std::get_if<auth::Proven>(&step))
      return {Result::kAccepted, proven->account};
    const auto* check = std::get_if<auth::CheckPassword>(&step);
    if (check == nullptr || check->account != "bob" || check->password != "secret")
      return {Result::kRefused, {}};
    return {Result::kAccepted, check->account};
  }
  void refused(const Refusal& refusal) override { refusals.emplace_back(refusal.reply); }
  bool may_send(const base::IpAddress& client) override {
    senders.push_back(base::to_string(client));
    return senders.size() <= most_messages;
  }
  bool introduced(const ClientAttributes& said) override {
    introductions.push_back(text_of(said));
    return introductions.size() <= most_introductions;
  }

  ClientName client_name(const base::IpAddress&) override { return name_of_client; }

  std::optional<mail::Reply> intake;
  ClientName name_of_client = ClientName::kUnclear;
  bool pause_always = false;
  std::vector<Message> messages;
  std::vector<std::string> refusals;
  std::vector<std::string> asked;
  std::string to_start;  // a queue, until it is answered
  std::optional<std::vector<std::string>> to_turn;  // likewise
  std::vector<std::string> senders;        // who was asked for at each MAIL
  std::vector<std::string> introductions;  // by XCLIENT
  std::size_t most_messages = ~std::size_t{0};
  std::size_t most_introductions = ~std::size_t{0};
  unsigned aborted = 0;
  bool unavailable = false;  // nobody can check a password
  unsigned logged_out = 0;
  std::unique_ptr<auth::Exchange> exchange;
  auth::Step step;

 private:
  bool open_ = false;
  std::string body_;
};

// The machine and the wire's unread bytes. Messages are accepted with the ids 1, 2, ..., or all
// refused with `result`.
class Connection {
 public:
  Connection(const Service& service, std::optional<base::IpAddress> client,
             std::optional<base::IpAddress> proxied = {})
      : protocol(service, client, sink) {
    if (proxied) protocol.proxied(*proxied);
    if (service.tls == config::TlsMode::kImplicit)
      protocol.secured(sample_tls());
    else
      protocol.start();
    take_output();
  }
  static TlsFacts sample_tls() { return {"TLSv1.3 TLS_AES_256_GCM_SHA384", {}}; }

  void feed(std::string_view bytes) {
    unread_ += bytes;
    for (bool moved = true; moved && !closed();) {
      const auto consumed = unread_.empty() ? 0 : protocol.input(unread_);
      CHECK(consumed <= unread_.size());
      unread_.erase(0, consumed);
      moved = consumed > 0;
      if (protocol.want() == Want::kResume) {
        protocol.resume();
        moved = true;
      }
      if (protocol.want() == Want::kTls && !tls_agreed) {
        CHECK(unread_.empty() || protocol.input(unread_) == 0);
        protocol.start_tls(!unread_.empty() ? TlsStart::kBytesBehind
                           : tls_busy       ? TlsStart::kBusy
                                            : TlsStart::kReady);
        tls_agreed = protocol.want() == Want::kTls;
        moved = !tls_agreed;
      }
      if (protocol.want() == Want::kTurn) {
        CHECK(unread_.empty() || protocol.input(unread_) == 0);
        protocol.start_turn(unread_.empty());
        moved = true;
      }
      if (protocol.want() == Want::kResult) {
        CHECK(unread_.empty() || protocol.input(unread_) == 0);
        answer();
        moved = true;
      }
      if (protocol.want() == Want::kLogin && !holds_answers) {
        CHECK(unread_.empty() || protocol.input(unread_) == 0);
        protocol.login_answered(sink.login_step());
        moved = true;
      }
      if (protocol.want() == Want::kAnswer && !holds_answers) {
        CHECK(unread_.empty() || protocol.input(unread_) == 0);
        sink.to_turn ? answer_atrn() : sink.to_start.empty() ? answer_rcpt() : answer_etrn();
        moved = true;
      }
      if (protocol.want() == Want::kTurned) unread_.clear();  // said to a relay
      if (protocol.want() == Want::kInput && !moved) CHECK(unread_.size() < protocol.longest_line());
      take_output();
    }
  }
  // The handshake that STARTTLS began is done.
  void secure(TlsFacts facts = sample_tls()) {
    CHECK(std::exchange(tls_agreed, false));
    protocol.secured(std::move(facts));
    take_output();
  }
  void take_output() {
    output += protocol.output();
    protocol.output().clear();
  }
  [[nodiscard]] bool closed() const { return protocol.want() == Want::kClose; }

  RecordingSink sink;
  Protocol protocol;
  std::string output;
  std::optional<mail::Reply> result;
  std::vector<std::string> known;  // of the recipients that it is asked for; others get `unknown`
  mail::Reply unknown{550, {5, 1, 1}, {"not known"}};
  bool holds_answers = false;
  bool tls_busy = false;
  bool tls_agreed = false;

 private:
  void answer() {
    if (result)
      protocol.refused(*result);
    else
      protocol.accepted(base::MessageId(++last_id_));
  }
  void answer_etrn() {
    const auto queue = std::exchange(sink.to_start, {});
    protocol.started(queue == "refused.example"
                         ? mail::Reply{459, {4, 7, 1}, {"Node refused.example not allowed"}}
                     : queue == "busy.example"
                         ? mail::Reply{458, {4, 3, 0}, {"Unable to queue messages for node busy.example"}}
                         : mail::Reply{250, {2, 0, 0}, {queue}});
  }
  // Of which host it is, the name of its domain says.
  void answer_atrn() {
    const auto queues = *std::exchange(sink.to_turn, std::nullopt);
    const auto first = queues.empty() ? std::string("all") : queues.front();
    std::string all;
    for (const auto& queue : queues) all += (all.empty() ? "" : ",") + queue;
    protocol.turned(first == "empty.example"    ? mail::Reply{453, {4, 0, 0}, {"You have no mail"}}
                    : first == "other.example" ? mail::Reply{450, {4, 7, 1}, {"ATRN request refused"}}
                                               : mail::Reply{250, {2, 0, 0}, {all.empty() ? first : all}},
                    true);
  }
  void answer_rcpt() {
    const bool there = std::find(known.begin(), known.end(), sink.asked.back()) != known.end();
    protocol.answered(there ? nullptr : &unknown);
  }
  std::string unread_;
  std::uint64_t last_id_ = 0;
};

// Calls `piece` with consecutive parts of `bytes`, each 1 to `most` bytes long.
template <class Piece>
void in_random_pieces(std::string_view bytes, std::size_t most, std::mt19937& random, Piece piece) {
  while (!bytes.empty()) {
    const auto size = std::min<std::size_t>(1 + random() % most, bytes.size());
    piece(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
}

// mx.example.org takes mail for alice, bob, and team (three others) of example.org, which old.example stands for;
// 10.0.0.0/8 may send anywhere.
inline config::Rights sample_rights() {
  config::Rights rights;
  rights.postmaster = mail::Address::parse("alice@example.org").value();
  rights.listeners.push_back(
      {.service = config::Service::kMx, .relay_from = {base::parse_network("10.0.0.0/8").value()}});
  config::DomainRights domain;
  domain.names = {mail::Domain::parse("example.org").value()};
  domain.users = {"alice", "bob"};
  domain.aliases.push_back({"team", mail::Address::parse("team@example.org").value(), 3, false, {}});
  rights.domains.push_back(std::move(domain));
  rights.alias_domains.push_back(
      {mail::Domain::parse("old.example").value(), mail::Domain::parse("example.org").value()});
  return rights;
}

inline Service sample_service(const config::RightsIndex& rights) {
  Service service;
  service.hostname = "mx.example.org";
  service.rights = &rights;
  return service;
}

}  // namespace postern::smtpd::test
