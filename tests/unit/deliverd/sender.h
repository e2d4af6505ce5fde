// Sender: sends messages over one connection, and keeps what became of them.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "deliverd/relay/connection.h"
#include "tls_rig.h"
#include "tests/unit/event/until.h"

namespace postern::relay {

// Sends `messages` over one connection.
class Sender final : public ConnectionOwner {
 public:
  Sender(event::Loop& loop, std::vector<Target> targets)
      : rig_(std::make_unique<TlsRig>(loop)),
        connection_(loop, "us.example", {{}, std::move(targets)}, rig_->desk, *this) {}
  Sender(event::Loop& loop, TlsRig& rig, const config::HopSpec& hop, std::vector<Target> targets)
      : connection_(loop, "us.example", {hop, std::move(targets)}, rig.desk, *this) {}

  void add(std::string body, std::vector<std::string> recipients = {"r@example.org"},
           bool large = false, ipc::BodyForm form = ipc::BodyForm::kStuffed) {
    deliverd::Delivery delivery;
    auto& lease = delivery.lease;
    lease.from = mail::ReversePath(mail::Address::parse("a@us.example").value());
    for (const auto& text : recipients)
      lease.recipients.push_back({0, mail::Address::parse(text).value(), "", "", {}, {}});
    lease.prefix = "Received: by us\r\n";
    lease.body_size = body.size();
    lease.large = large;
    lease.form = form;
    if (large) {
      delivery.file = base::UniqueFd::adopt(::memfd_create("body", MFD_CLOEXEC));
      EXPECT_EQ(::write(delivery.file.get(), body.data(), body.size()),
                static_cast<ssize_t>(body.size()));
    } else {
      delivery.body = std::move(body);
    }
    waiting_.push_back(std::move(delivery));
  }
  // The file of the message that was added last loses its end.
  void shorten_last(std::size_t size) {
    EXPECT_EQ(::ftruncate(waiting_.back().file.get(), static_cast<off_t>(size)), 0);
  }
  // SMTPUTF8, which implies 8BITMIME, was said with the message that was added last.
  void say_smtputf8() {
    auto& lease = waiting_.back().lease;
    lease.smtputf8 = lease.eight_bit = true;
  }
  // REQUIRETLS was said with it.
  void require_tls() { waiting_.back().lease.tls_wish = mail::TlsWish::kRequired; }
  // It is a notice.
  void from_nobody() { waiting_.back().lease.from = {}; }
  // The message that was added last came from this client.
  void come_from(ipc::FirstClient client) { waiting_.back().lease.client = std::move(client); }
  void start() { connection_.start(); }
  void quit() { connection_.quit(); }

  void on_ready() noexcept override {
    if (connection_.spent() || waiting_.empty()) return connection_.quit();
    auto next = std::move(waiting_.front());
    waiting_.pop_front();
    connection_.deliver(std::move(next));
  }
  void on_done(std::vector<Verdict> verdicts) noexcept override {
    auto& text = done.emplace_back();
    for (const auto& v : verdicts)
      text += std::to_string(static_cast<int>(v.result)) + " " + v.reply.text() + ";";
    note = connection_.tls();
    if (connection_.ready()) on_ready();
  }
  void on_gone(Trouble why) noexcept override {
    gone = true;
    trouble = std::move(why);
  }

  std::vector<std::string> done;
  ipc::TlsNote note;  // of the last of them
  bool gone = false;
  Trouble trouble;  // then

 private:
  std::unique_ptr<TlsRig> rig_;  // of its own, where the test has none
  std::deque<deliverd::Delivery> waiting_;
  Connection connection_;
};

}  // namespace postern::relay
