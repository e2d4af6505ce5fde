// The export file: what was written is what is read, and of a file with a cut or a wrong bit nothing
// is ever believed that was not written.
#include "common/transfer/file.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/crc32c.h"

namespace postern::transfer {
namespace {

struct Sample {
  Message message;
  std::string body;
};

Sample sample(std::uint64_t id, std::size_t recipients, std::string body) {
  Sample made;
  auto& envelope = made.message.envelope;
  envelope.id = base::MessageId(id);
  envelope.token.bytes[0] = static_cast<std::uint8_t>(id);
  envelope.token.bytes[15] = 7;
  envelope.arrived = {1'700'000'000'000};
  envelope.age = base::Millis(90'000);
  envelope.client = *base::parse_ip("192.0.2.7");
  envelope.hello = "client.example";
  envelope.from = mail::ReversePath(*mail::Address::parse("ann@example.org"));
  envelope.prefix = "Received: from client.example\r\n";
  envelope.held = id % 2 == 0 ? "by anna: look" : "";
  envelope.body_size = body.size();
  envelope.body_crc = base::crc32c(body);
  envelope.recipient_count = static_cast<std::uint32_t>(recipients);
  for (std::uint32_t number = 0; number < recipients; ++number) {
    Recipient recipient;
    recipient.number = number * 2;
    recipient.address = *mail::Address::parse("user" + std::to_string(number) + "@example.net");
    recipient.tries = number % 3;
    recipient.last_try = {1'700'000'001'000};
    recipient.due = base::Millis(static_cast<std::int64_t>(number) * 1000 - 5000);
    recipient.reply = {451, 4, 3, 0, "try later"};
    recipient.remote = "mx.example.net[192.0.2.9]:25";
    recipient.tls = "none: not offered; opportunistic: no policy";
    if (number % 2 == 1) {
      recipient.alias = "team@example.net";
      recipient.sender = mail::Address::parse("owner-team@example.net").value();
      recipient.expanded = 2;
    }
    made.message.recipients.push_back(recipient);
  }
  made.body = std::move(body);
  return made;
}

Header header() {
  Header made;
  made.file.bytes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  made.host = "old.example.org";
  made.program = "0.1.0";
  made.made = {1'700'000'002'000};
  return made;
}

void write(Writer& writer, const Sample& sample) {
  writer.message(sample.message.envelope, sample.message.recipients);
  for (std::size_t at = 0; at < sample.body.size(); at += kPiece)
    writer.body(std::string_view(sample.body).substr(at, kPiece));
}

std::string take_all(Writer& writer) {
  std::string bytes;
  while (writer.waiting() > 0) bytes += writer.take(1000);
  return bytes;
}

std::string file_of(const std::vector<Sample>& samples) {
  Writer writer(header());
  for (const auto& one : samples) write(writer, one);
  writer.end();
  return take_all(writer);
}

struct Read {
  std::vector<Sample> messages;
  std::optional<Counts> end;
  std::string error;
};

Read read(std::string_view bytes, std::size_t step) {
  Read found;
  Sample now;
  Reader reader;
  for (std::size_t at = 0; at < bytes.size() && found.error.empty(); at += step) {
    reader.feed(bytes.substr(at, step));
    for (;;) {
      auto item = reader.next();
      if (!item) {
        found.error = item.error();
        break;
      }
      if (!*item) break;
      if (auto* message = std::get_if<Message>(&**item)) now = {std::move(*message), {}};
      if (auto* piece = std::get_if<Piece>(&**item)) now.body += piece->bytes;
      if (std::holds_alternative<Whole>(**item)) found.messages.push_back(std::move(now));
      if (auto* end = std::get_if<End>(&**item)) found.end = end->counts;
    }
  }
  if (found.error.empty())
    if (auto done = reader.finish(); !done) found.error = done.error();
  return found;
}

std::string text_of(const Sample& one) {
  auto text = ipc::encode(one.message.envelope) + one.body;
  for (const auto& recipient : one.message.recipients) text += ipc::encode(recipient);
  return text;
}

void expect_same(const std::vector<Sample>& written, const std::vector<Sample>& found) {
  ASSERT_LE(found.size(), written.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(text_of(written[i]), text_of(found[i]));
}

TEST(TransferFile, GivesBackWhatWasWritten) {
  const std::vector<Sample> samples{sample(1, 1, "hello\r\n"), sample(2, 45, ""),
                                    sample(3, 3, std::string(3 * kPiece + 17, 'x'))};
  const auto bytes = file_of(samples);
  for (const std::size_t step : {std::size_t{1}, std::size_t{37}, bytes.size()}) {
    const auto found = read(bytes, step);
    EXPECT_EQ(found.error, "");
    ASSERT_EQ(found.messages.size(), samples.size());
    expect_same(samples, found.messages);
    ASSERT_TRUE(found.end);
    EXPECT_EQ(*found.end, (Counts{3, 49, 3 * kPiece + 24}));
  }
}

TEST(TransferFile, ACutFileIsNoticed) {
  const std::vector<Sample> samples{sample(1, 2, "first body\r\n"), sample(2, 1, "second\r\n")};
  const auto bytes = file_of(samples);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto found = read(std::string_view(bytes).substr(0, size), 64);
    EXPECT_NE(found.error, "") << size;
    EXPECT_FALSE(found.end) << size;
    expect_same(samples, found.messages);
  }
}

TEST(TransferFile, EveryFlippedBitIsAnErrorOrNothing) {
  const std::vector<Sample> samples{sample(1, 2, "first body\r\n"), sample(2, 1, "second\r\n")};
  const auto bytes = file_of(samples);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    const auto found = read(damaged, 4096);
    EXPECT_NE(found.error, "") << bit;
    expect_same(samples, found.messages);
  }
}

TEST(TransferFile, AFrameIsGoodOnlyWhereItWasWritten) {
  const auto one = sample(1, 1, "same body\r\n");
  const std::vector<Sample> samples{one, one};
  const auto bytes = file_of(samples);
  const auto single = file_of({one});
  constexpr std::size_t kEnd = 4 + 4 + 24 + 4;
  const auto frames = bytes.size() - single.size();  // of one message
  auto spliced = bytes.substr(0, bytes.size() - kEnd);
  spliced += bytes.substr(spliced.size() - frames);  // the second message once more
  const auto found = read(spliced, 4096);
  EXPECT_EQ(found.messages.size(), 2U);
  EXPECT_EQ(found.error, "is damaged at byte " + std::to_string(bytes.size() - kEnd));

  // Frames of another file do not fit, though they stand at the same place.
  Header other = header();
  other.file.bytes[3] = 99;
  Writer writer(other);
  write(writer, one);
  writer.end();
  const auto foreign = take_all(writer);
  ASSERT_EQ(foreign.size(), single.size());
  const auto cut = foreign.size() / 2;
  const auto mixed = foreign.substr(0, cut) + single.substr(cut);
  EXPECT_NE(read(mixed, 4096).error, "");
}

TEST(TransferFile, AWithdrawnMessageIsNone) {
  const auto kept = sample(2, 1, "kept\r\n");
  const auto gone = sample(1, 2, std::string(kPiece + 10, 'g'));
  Writer writer(header());
  writer.message(gone.message.envelope, gone.message.recipients);
  writer.body(std::string_view(gone.body).substr(0, kPiece));
  writer.withdraw();
  write(writer, kept);
  writer.end();
  const auto found = read(take_all(writer), 500);
  EXPECT_EQ(found.error, "");
  ASSERT_EQ(found.messages.size(), 1U);
  expect_same({kept}, found.messages);
  EXPECT_EQ(*found.end, (Counts{1, 1, 6}));
}

// The same bytes under another version, its checksum right.
std::string with_version(std::string bytes, unsigned version) {
  constexpr std::size_t kAt = 15;
  bytes[kAt] = static_cast<char>(version);
  const auto crc = base::crc32c(std::string_view(bytes).substr(0, kAt + 4));
  for (std::size_t i = 0; i < 4; ++i) bytes[kAt + 4 + i] = static_cast<char>(crc >> (8 * i));
  return bytes;
}

TEST(TransferFile, ALaterVersionIsNamed) {
  EXPECT_EQ(read(with_version(file_of({}), kVersion + 1), 4096).error,
            "has format version 6, and this Postern reads versions up to 5: use a newer one");
  EXPECT_EQ(read("From ann@example.org", 4096).error,
            "is no file that posternctl export wrote");
  EXPECT_NE(read(file_of({}) + "more", 4096).error.find("goes on behind its end"),
            std::string::npos);
}

// Which bytes version 5 has, for ever. Files of versions before lie in tests/e2e/kept.
TEST(TransferFile, TheFormatOfVersionFiveStays) {
  auto one = sample(5, 2, "body\r\n");
  one.message.recipients[0].tries = 2;
  one.message.envelope.tls_wish = mail::TlsWish::kRequired;
  one.message.envelope.first = {base::parse_ip("2001:db8::7"), "4321", "first.example", "hello.example", "ESMTP"};
  const auto bytes = file_of({one});
  EXPECT_EQ(bytes.size(), 754U);
  EXPECT_EQ(base::crc32c(bytes), 1291506471U);
  const auto found = read(bytes, 4096);
  EXPECT_EQ(found.error, "");
  expect_same({one}, found.messages);
}

// All of them as long as they may be, and one frame more than full.
TEST(TransferFile, RecipientsOfTheLimitsAreWrittenAndRead) {
  auto one = sample(5, kRecipientsInFrame + 1, "body\r\n");
  for (auto& recipient : one.message.recipients) {
    recipient.reply.text = std::string(mail::Reply::kMaxText, 'r');
    recipient.remote = std::string(ipc::kMaxRemote, 'm');
    recipient.tls = std::string(ipc::kMaxTls, 't');
    recipient.alias = std::string(ipc::kMaxAlias, 'a');
  }
  const auto found = read(file_of({one}), 4096);
  EXPECT_EQ(found.error, "");
  ASSERT_EQ(found.messages.size(), 1U);
  expect_same({one}, found.messages);
}

TEST(TransferFile, ABinaryBodyIsSaidToBeOne) {
  auto one = sample(5, 1, std::string("a\n..\r\0", 6));
  one.message.envelope.form = ipc::BodyForm::kBinary;
  const auto found = read(file_of({one}), 7);
  ASSERT_EQ(found.messages.size(), 1U);
  EXPECT_EQ(found.messages[0].message.envelope.form, ipc::BodyForm::kBinary);
  expect_same({one}, found.messages);
}

}  // namespace
}  // namespace postern::transfer
