#include "tests/unit/queued/notices_rig.h"

namespace postern::queued {

NoticesTest::NoticesTest() = default;

NoticesTest::~NoticesTest() = default;

base::MessageId NoticesTest::post(const std::vector<To>& to, mail::Return ret,
                                  const std::string& text, const char* from) {
  auto record = envelope(0);
  record.from = mail::ReversePath(address(from));
  record.ret = ret;
  record.envid = mail::EnvelopeId::parse("QQ+2B1").value();
  for (const auto& one : to)
    record.recipients.push_back(
        {.number = static_cast<std::uint32_t>(record.recipients.size()),
         .address = address(one.address),
         .notify = mail::Notify::parse(one.notify).value_or(mail::Notify()),
         .orcpt = mail::OriginalRecipient::parse(one.orcpt).value_or(mail::OriginalRecipient())});
  return post(std::move(record), text);
}

base::MessageId NoticesTest::post(MessageRecord record, const std::string& text) {
  record.body_size = text.size();
  const auto id = record.id;
  store->accept(std::move(record), std::make_shared<const std::string>(text),
                [this, id](bool) noexcept { engine->admit(id); });
  turn();
  return id;
}

void NoticesTest::conclude(base::MessageId id, std::vector<Attempt> attempts,
                           const std::string& remote) {
  const auto* message = look(id);
  ASSERT_NE(message, nullptr);
  for (const auto& recipient : message->recipients)
    (void)engine->schedule().take(engine->router().route(recipient.address).queue, id);
  std::vector<RecipientAttempt> all;
  for (std::uint32_t n = 0; n < attempts.size(); ++n) all.push_back({n, std::move(attempts[n])});
  engine->conclude(id, std::move(all), remote, {});
  turn();
}

Attempt NoticesTest::failed() {
  return {ipc::Result::kFailed, {}, {550, 5, 1, 1, "no such user"}, {}};
}

Attempt NoticesTest::deferred() {
  return {ipc::Result::kDeferred, {}, {451, 4, 2, 0, "later"}, {}};
}

Attempt NoticesTest::delivered(ipc::Arrival arrival) {
  return {ipc::Result::kDelivered, {}, {250, 2, 0, 0, "ok"}, arrival};
}

std::vector<Message> NoticesTest::notices() {
  auto all = messages();
  std::erase_if(all, [](const Message& message) { return !message.notice; });
  return all;
}

std::string NoticesTest::only_notice() {
  const auto all = notices();
  EXPECT_EQ(all.size(), 1U);
  return all.size() == 1 ? body(all[0].id) : std::string();
}

bool NoticesTest::has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace postern::queued
