// What the records add up to where a notice is replaced by another, in every order in which records, flushes, rows and
// replays may come.
#include "queued/messages.h"

#include <gtest/gtest.h>

namespace postern::queued {
namespace {

using base::MessageId;
using Sequence = base::SequenceNumber;

const MessageId kMail(10), kFirst(11), kSecond(12);
const Place kPlace{1, 4096, 300};

MessageRecord record_of(MessageId id, std::uint32_t recipients) {
  MessageRecord record;
  record.id = id;
  record.notice = id != kMail;
  record.body_size = 100;
  for (std::uint32_t n = 0; n < recipients; ++n)
    record.recipients.push_back({.number = n, .address = mail::Address::parse("r@example.org").value()});
  return record;
}
OutcomeRecord delivered(std::uint32_t number, MessageId notice, std::vector<MessageId> replaces = {}) {
  OutcomeRecord record;
  record.message = kMail;
  record.fates.push_back({.number = number, .fate = Fate::kDelivered});
  record.notice = record_of(notice, 1);
  record.replaces = std::move(replaces);
  return record;
}

class ReplacedNotices : public ::testing::Test {
 protected:
  ReplacedNotices() { messages.count_all(); }
  // The records as the journal has them: the mail, a success, another success.
  void begin() { messages.put(record_of(kMail, 3), kPlace, Sequence(1)); }
  void first(bool flushed) {
    messages.apply(delivered(0, kFirst), Sequence(2));
    if (flushed) messages.put(record_of(kFirst, 1), kPlace, Sequence(2));
  }
  void second(bool flushed) {
    messages.apply(delivered(1, kSecond, {kFirst}), Sequence(3));
    if (flushed) messages.put(record_of(kSecond, 1), kPlace, Sequence(3));
  }
  void expect_second_alone() {
    EXPECT_EQ(messages.find(kFirst), nullptr);
    EXPECT_NE(messages.find(kSecond), nullptr);
    EXPECT_EQ(messages.find(kMail)->open, 1U);
    EXPECT_EQ(messages.count(), 2U);
    EXPECT_EQ(messages.in_segment(1), 2U);
    EXPECT_EQ(messages.bytes(), 200U);
    EXPECT_EQ(messages.live_bytes(), 600U);
  }
  // What a checkpoint writes, by id; nothing: the row goes.
  std::map<MessageId, bool> rows(Sequence flushed) {
    const auto changes = messages.changes(flushed, flushed, 100);
    std::map<MessageId, bool> written;
    for (const auto& row : changes.rows) written[parse_message_key(row.key).value()] = row.value.has_value();
    EXPECT_EQ(changes.covered, flushed);
    messages.saved(changes);
    return written;
  }
  Messages messages;
};

TEST_F(ReplacedNotices, EndWithTheRecordOfTheOther) {
  begin();
  first(true);
  EXPECT_EQ(messages.count(), 2U);
  second(false);
  EXPECT_EQ(messages.find(kFirst), nullptr);
  EXPECT_TRUE(messages.ended(kFirst));
  EXPECT_EQ(messages.count(), 1U);
  messages.put(record_of(kSecond, 1), kPlace, Sequence(3));
  expect_second_alone();
  EXPECT_EQ(rows(Sequence(3)), (std::map<MessageId, bool>{{kMail, true}, {kSecond, true}}));
  EXPECT_FALSE(messages.ended(kFirst));
  EXPECT_EQ(messages.changed(), 0U);
}

// Both records are on their way when the second is made.
TEST_F(ReplacedNotices, NeverBeginWhereTheirOwnRecordIsStillOnItsWay) {
  begin();
  first(false);
  second(false);
  EXPECT_EQ(messages.put(record_of(kFirst, 1), kPlace, Sequence(2)), nullptr);
  messages.put(record_of(kSecond, 1), kPlace, Sequence(3));
  expect_second_alone();
  EXPECT_EQ(rows(Sequence(3)), (std::map<MessageId, bool>{{kMail, true}, {kSecond, true}}));
  EXPECT_EQ(messages.changed(), 0U);
}

TEST_F(ReplacedNotices, TakeTheirRowsWithThem) {
  begin();
  first(true);
  EXPECT_EQ(rows(Sequence(2)), (std::map<MessageId, bool>{{kMail, true}, {kFirst, true}}));
  second(true);
  expect_second_alone();
  // Not before the record is flushed: it may be lost, and then the row is the truth.
  EXPECT_TRUE(messages.changes(Sequence(2), Sequence(2), 100).rows.empty());
  EXPECT_EQ(rows(Sequence(3)), (std::map<MessageId, bool>{{kMail, true}, {kFirst, false}, {kSecond, true}}));
}

// A replay onto rows of which some have the record, and others do not.
class ReplacedAtReplay : public ReplacedNotices, public ::testing::WithParamInterface<int> {
 protected:
  static std::string row_of(Messages& from, MessageId id) { return encode_row(*from.find(id)); }
};

TEST_P(ReplacedAtReplay, EndWhateverTheRowsKnow) {
  const bool mail_is_newer = (GetParam() & 1) != 0, mail_is_gone = (GetParam() & 2) != 0;
  const bool first_has_row = GetParam() / 4 != 0;
  const bool from_the_mark = GetParam() / 4 == 2;  // which does not pass a message without a row
  // The life before.
  begin();
  first(true);
  std::map<MessageId, std::string> kept;
  kept[kMail] = row_of(messages, kMail);
  if (first_has_row) kept[kFirst] = row_of(messages, kFirst);
  second(true);
  if (mail_is_newer) kept[kMail] = row_of(messages, kMail);
  if (mail_is_gone) kept.erase(kMail);

  messages = {};
  messages.set_source([&](MessageId id) -> std::optional<Message> {
    const auto row = kept.find(id);
    return row == kept.end() ? std::nullopt : decode_row(id, row->second);
  });
  if (!from_the_mark) {
    messages.apply(delivered(0, kFirst), Sequence(2));
    messages.put(record_of(kFirst, 1), kPlace, Sequence(2));
  }
  second(true);
  EXPECT_EQ(messages.bring_in(kFirst), nullptr);
  EXPECT_TRUE(messages.ended(kFirst));
  ASSERT_NE(messages.bring_in(kSecond), nullptr);
  if (!mail_is_gone) {
    EXPECT_EQ(messages.bring_in(kMail)->open, 1U);
  }
  const auto changes = messages.changes(Sequence(3), Sequence(3), 100);
  const auto row = std::ranges::find(changes.rows, message_key(kFirst), &IndexChange::key);
  EXPECT_EQ(row != changes.rows.end(), first_has_row);
  if (row != changes.rows.end()) {
    EXPECT_FALSE(row->value.has_value());
  }
  // Once more changes nothing.
  second(true);
  EXPECT_EQ(messages.bring_in(kFirst), nullptr);
}

INSTANTIATE_TEST_SUITE_P(EachCase, ReplacedAtReplay, ::testing::Range(0, 12));

// A checkpoint saved the end of it already: the record finds nothing.
TEST_F(ReplacedNotices, ThatAreGoneStayGone) {
  begin();
  second(true);
  EXPECT_EQ(messages.find(kFirst), nullptr);
  EXPECT_EQ(messages.count(), 2U);
  (void)rows(Sequence(3));
  EXPECT_EQ(messages.changed(), 0U);
}

}  // namespace
}  // namespace postern::queued
