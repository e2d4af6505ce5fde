#include "common/dns/answer.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/unit/mail/spelled.h"
#include "packet.h"

namespace postern::dns {
namespace {

using std::chrono::seconds;

MxAnswer mx(const Packet& packet) {
  return read_mx(packet.bytes(), domain("example.org"));
}
AddressAnswer v4(const Packet& packet) {
  return read_addresses(packet.bytes(), domain("example.org"), base::IpFamily::kV4);
}

constexpr std::string_view kAddress("\xc0\x00\x02\x01", 4);

TEST(Answer, ReadsMxByPreference) {
  Packet packet("Example.ORG", kMx);
  packet.mx("EXAMPLE.org", 20, "B.example", 600).mx("example.org", 10, "a.example", 60);
  const auto answer = mx(packet);
  EXPECT_EQ(answer.status, Status::kRecords);
  EXPECT_EQ(answer.ttl, seconds(60));
  ASSERT_EQ(answer.records.size(), 2U);
  EXPECT_EQ(answer.records[0].host.text(), "a.example");
  EXPECT_EQ(answer.records[1].host.text(), "b.example");
  EXPECT_EQ(answer.records[1].preference, 20);
}

TEST(Answer, ReadsNullMx) {
  const auto answer = mx(Packet("example.org", kMx).mx("example.org", 0, ""));
  ASSERT_EQ(answer.records.size(), 1U);
  EXPECT_TRUE(answer.records[0].host.empty());
}

TEST(Answer, TellsAbsenceFromTrouble) {
  EXPECT_EQ(mx(Packet("example.org", kMx)).status, Status::kNoData);
  EXPECT_EQ(mx(Packet("example.org", kMx, 0x8183)).status, Status::kNoDomain);
  for (const unsigned rcode : {1U, 2U, 4U, 5U, 9U})
    EXPECT_EQ(mx(Packet("example.org", kMx, 0x8180 | rcode)).status, Status::kTemporary) << rcode;
  EXPECT_EQ(mx(Packet("example.org", kMx, 0x0180)).status, Status::kTemporary) << "a question";
  EXPECT_EQ(mx(Packet("example.org", kMx, 0x8380)).status, Status::kTemporary) << "truncated";
  EXPECT_EQ(read_mx("", domain("example.org")).status, Status::kTemporary);
}

// A referral is no answer: to take it for one would return mail.
TEST(Answer, AServerThatDoesNotRecurseSaysNothing) {
  EXPECT_EQ(mx(Packet("example.org", kMx, 0x8100)).status, Status::kTemporary);
  EXPECT_EQ(mx(Packet("example.org", kMx, 0x8103)).status, Status::kTemporary);
  EXPECT_EQ(mx(Packet("example.org", kMx, 0x8500)).status, Status::kNoData) << "its own zone";
  EXPECT_EQ(mx(Packet("example.org", kMx, 0x8100).mx("example.org", 1, "a.example")).status,
            Status::kRecords);
}

TEST(Answer, ATtlAboveTwoToThe31IsZero) {
  for (const std::uint32_t ttl : {0U, 0x80000000U, 0xffffffffU})
    EXPECT_EQ(mx(Packet("example.org", kMx).mx("example.org", 1, "a.example", ttl)).ttl,
              seconds(0));
  EXPECT_EQ(mx(Packet("example.org", kMx).mx("example.org", 1, "a.example", 0x7fffffff)).ttl,
            std::chrono::hours(24 * 7));
}

TEST(Answer, ReadsAddresses) {
  const auto answer = v4(Packet("example.org", kA).a("example.org", kAddress));
  ASSERT_EQ(answer.addresses.size(), 1U);
  EXPECT_EQ(base::to_string(answer.addresses[0]), "192.0.2.1");
  EXPECT_EQ(answer.ttl, seconds(300));
  Packet six("example.org", kAaaa);
  six.record("example.org", kAaaa, 300,
             std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + "\1");
  six.record("example.org", kAaaa, 300, std::string(10, '\0') + "\xff\xff" + std::string(kAddress));
  const auto both = read_addresses(six.bytes(), domain("example.org"), base::IpFamily::kV6);
  ASSERT_EQ(both.addresses.size(), 2U);
  EXPECT_EQ(base::to_string(both.addresses[0]), "2001:db8::1");
  EXPECT_EQ(base::to_string(both.addresses[1]), "192.0.2.1") << "mapped addresses are IPv4";
}

TEST(Answer, AddressesHaveReverseNames) {
  EXPECT_EQ(reverse_name(base::parse_ip("192.0.2.1").value()), "1.2.0.192.in-addr.arpa");
  EXPECT_EQ(reverse_name(base::parse_ip("2001:db8::1").value()),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
}

TEST(Answer, ReadsTheNamesOfAnAddress) {
  const std::string owner = "1.2.0.192.in-addr.arpa";
  const auto read = [&](const Packet& packet) { return read_names(packet.bytes(), owner); };
  Packet several(owner, kPtr);
  several.ptr(owner, "Mail.Example.ORG", 100).ptr(owner, "b.example", 50).ptr(owner, "mail.example.org");
  const auto answer = read(several);
  EXPECT_EQ(answer.status, Status::kRecords);
  ASSERT_EQ(answer.names.size(), 2U);
  EXPECT_EQ(answer.names[0].text(), "mail.example.org");
  EXPECT_EQ(answer.names[1].text(), "b.example");
  EXPECT_EQ(answer.ttl, seconds(50));
  // RFC 2317: a range of addresses stands elsewhere.
  Packet alias(owner, kPtr);
  alias.cname(owner, "1.0/25.2.0.192.in-addr.arpa").ptr("1.0/25.2.0.192.in-addr.arpa", "a.example");
  EXPECT_EQ(read(alias).names.size(), 1U);
  Packet many(owner, kPtr);
  for (int i = 0; i < 40; ++i) many.ptr(owner, "n" + std::to_string(i) + ".example");
  EXPECT_EQ(read(many).names.size(), kMaxNames);
  // What no host can be called is no name, and none of it reaches a log.
  Packet bad(owner, kPtr);
  bad.ptr(owner, "a\r\nX: y.example").ptr(owner, "").ptr(owner, "b\xc3\xbc.example");
  EXPECT_EQ(read(bad).status, Status::kNoData);
  EXPECT_TRUE(read(bad).names.empty());
  EXPECT_EQ(read(Packet(owner, kPtr, 0x8183)).status, Status::kNoDomain);
  EXPECT_EQ(read(Packet(owner, kPtr, 0x8182)).status, Status::kTemporary);
  Packet cut(owner, kPtr);
  cut.record(owner, kPtr, 300, "\x05" "ab");
  EXPECT_EQ(read(cut).status, Status::kTemporary);
}

TEST(Answer, FollowsAliases) {
  Packet packet("example.org", kA);
  packet.a("third.example", kAddress, 100).cname("second.example", "third.example", 50);
  packet.cname("example.org", "second.example", 70);
  const auto answer = v4(packet);
  EXPECT_EQ(answer.addresses.size(), 1U);
  EXPECT_EQ(answer.ttl, seconds(50));
}

TEST(Answer, EndsInALoopOfAliases) {
  Packet packet("example.org", kA);
  packet.cname("example.org", "b.example").cname("b.example", "example.org");
  EXPECT_EQ(v4(packet).status, Status::kNoData);
  Packet chain("example.org", kA);
  std::string name = "example.org";
  for (int i = 0; i < 40; ++i) {
    const auto next = "n" + std::to_string(i) + ".example";
    chain.cname(name, next);
    name = next;
  }
  chain.a(name, kAddress);
  EXPECT_EQ(v4(chain).status, Status::kNoData);
}

TEST(Answer, IgnoresWhatWasNotAsked) {
  Packet packet("example.org", kA);
  packet.a("victim.example", kAddress).mx("example.org", 1, "evil.example");
  packet.record("example.org", kA, 300, kAddress, 3);  // of another class
  EXPECT_EQ(v4(packet).status, Status::kNoData);
}

TEST(Answer, KeepsHostNamesClean) {
  Packet packet("example.org", kMx);
  packet.mx("example.org", 10, "bad host.example").mx("example.org", 10, "new\nline.example");
  packet.mx("example.org", 10, "-x.example").mx("example.org", 20, "good.example");
  const auto answer = mx(packet);
  ASSERT_EQ(answer.records.size(), 1U);
  EXPECT_EQ(answer.records[0].host.text(), "good.example");
  EXPECT_TRUE(answer.unusable);
}

TEST(Answer, BoundsItsLists) {
  Packet packet("example.org", kMx);
  for (unsigned i = 0; i < 400; ++i)
    packet.mx("example.org", 1000 - i, "h" + std::to_string(i) + ".example");
  const auto answer = mx(packet);
  EXPECT_EQ(answer.records.size(), kMaxMx);
  EXPECT_EQ(answer.records[0].host.text(), "h399.example") << "the best are kept";
  Packet hosts("example.org", kA);
  for (int i = 0; i < 100; ++i) hosts.a("example.org", kAddress);
  EXPECT_EQ(v4(hosts).addresses.size(), kMaxAddresses);
}

TEST(Answer, NamesThatPointInCirclesAreMalformed) {
  Packet packet("example.org", kMx);
  const auto here = static_cast<char>(packet.bytes().size());
  packet.raw(std::string("\xc0") + here + std::string("\0\x0f\0\1\0\0\1\0\0\0", 10));
  EXPECT_EQ(mx(packet).status, Status::kTemporary);
}

TEST(Answer, WrongLengthsAreMalformed) {
  EXPECT_EQ(v4(Packet("example.org", kA).a("example.org", "\x7f\x01")).status, Status::kTemporary);
  EXPECT_EQ(mx(Packet("example.org", kMx).record("example.org", kMx, 1, "\1")).status,
            Status::kTemporary);
  auto spare = std::string("\0\x0a", 2) + Packet::encoded("a.example") + "x";
  EXPECT_EQ(mx(Packet("example.org", kMx).record("example.org", kMx, 1, spare)).status,
            Status::kTemporary);
  Packet more("example.org", kMx);
  more.mx("example.org", 1, "a.example").set_answers(2);
  EXPECT_EQ(mx(more).status, Status::kTemporary);
}

TEST(Answer, SaysWhetherTheServerVouchesForIt) {
  for (const bool secure : {false, true}) {
    const unsigned flags = secure ? 0x81a0 : 0x8180;
    EXPECT_EQ(read_mx(Packet("example.org", kMx, flags).bytes(), domain("example.org")).secure, secure);
    EXPECT_EQ(read_addresses(Packet("example.org", kA, flags).a("example.org", "\1\2\3\4").bytes(),
                             domain("example.org"), base::IpFamily::kV4)
                  .secure,
              secure);
    EXPECT_EQ(read_tlsa(Packet("_25._tcp.a", kTlsa, flags | 3).bytes(), "_25._tcp.a").secure, secure);
  }
}

TEST(Answer, SaysWhatAnAliasStandsFor) {
  Packet p("mx.example", kA);
  p.cname("mx.example", "real.example").a("real.example", "\1\2\3\4");
  EXPECT_EQ(read_addresses(p.bytes(), domain("mx.example"), base::IpFamily::kV4).alias_of,
            "real.example");
  Packet direct("mx.example", kA);
  direct.a("mx.example", "\1\2\3\4");
  EXPECT_EQ(read_addresses(direct.bytes(), domain("mx.example"), base::IpFamily::kV4).alias_of, "");
}

TEST(Answer, ReadsTlsa) {
  const std::string name = "_25._tcp.mx.example";
  const std::string digest(32, 'x');
  Packet p(name, kTlsa, 0x81a0);
  p.cname(name, "dane.example").record("dane.example", kTlsa, 70, "\3\1\1" + digest);
  p.record("dane.example", kTlsa, 50, "\2\1\1" + digest);
  p.record("dane.example", kTlsa, 50, "\2\1\1" + digest);
  p.record("other.example", kTlsa, 10, "\3\1\1" + digest);
  const auto answer = read_tlsa(p.bytes(), name);
  EXPECT_EQ(answer.status, Status::kRecords);
  EXPECT_EQ(answer.records, (std::vector<TlsaRecord>{{2, 1, 1, digest}, {3, 1, 1, digest}}));
  EXPECT_EQ(answer.ttl, std::chrono::seconds(50));
}

TEST(Answer, AShortTlsaRecordIsMalformed) {
  Packet p("_25._tcp.a", kTlsa, 0x81a0);
  p.record("_25._tcp.a", kTlsa, 50, "\3\1");
  const auto answer = read_tlsa(p.bytes(), "_25._tcp.a");
  EXPECT_EQ(answer.status, Status::kTemporary);
  EXPECT_FALSE(answer.secure);
}

TEST(Answer, TlsaRecordsAreBounded) {
  Packet p("_25._tcp.a", kTlsa);
  for (int i = 0; i < 200; ++i)
    p.record("_25._tcp.a", kTlsa, 50, "\3\1\1" + std::to_string(i));
  EXPECT_EQ(read_tlsa(p.bytes(), "_25._tcp.a").records.size(), kMaxTlsa);
}

TEST(Answer, JoinsTheStringsOfATxtRecord) {
  const std::string name = "_mta-sts.example.org";
  Packet p(name, kTxt);
  p.cname(name, "there.example").record("there.example", kTxt, 70, std::string("\7v=STSv1\0\7; id=1;", 17));
  p.record("there.example", kTxt, 50, "\1x").record("other.example", kTxt, 10, "\1y");
  const auto answer = read_txt(p.bytes(), name);
  EXPECT_EQ(answer.status, Status::kRecords);
  EXPECT_EQ(answer.texts, (std::vector<std::string>{"v=STSv1; id=1;", "x"}));
  EXPECT_EQ(answer.ttl, std::chrono::seconds(50));
  EXPECT_EQ(read_txt(Packet(name, kTxt).bytes(), name).status, Status::kNoData);
  EXPECT_EQ(read_txt(Packet(name, kTxt, 0x8183).bytes(), name).status, Status::kNoDomain);
  EXPECT_EQ(read_txt(Packet(name, kTxt, 0x8182).bytes(), name).status, Status::kTemporary);
}

TEST(Answer, ATxtRecordThatIsCutIsMalformed) {
  Packet p("a.example", kTxt);
  p.record("a.example", kTxt, 50, "\3xy");
  EXPECT_EQ(read_txt(p.bytes(), "a.example").status, Status::kTemporary);
}

TEST(Answer, TxtRecordsAreBounded) {
  Packet p("a.example", kTxt);
  for (int i = 0; i < 200; ++i) p.record("a.example", kTxt, 50, "\1x");
  EXPECT_EQ(read_txt(p.bytes(), "a.example").texts.size(), kMaxTxt);
}

// A response that is cut is malformed or says less; it is never read past its end (sanitizers
// watch).
TEST(Answer, SurvivesCutsAndNoise) {
  Packet packet("example.org", kMx);
  packet.cname("example.org", "b.example")
      .mx("b.example", 10, "a.example")
      .mx("b.example", 20, "c.example");
  for (std::size_t cut = 0; cut < packet.bytes().size(); ++cut) {
    const std::string copy = packet.bytes().substr(0, cut);
    EXPECT_EQ(read_mx(copy, domain("example.org")).status, Status::kTemporary) << cut;
  }
  std::uint64_t seed = 1;
  for (int i = 0; i < 50'000; ++i) {
    std::string copy = packet.bytes();
    for (int flips = 0; flips < 4; ++flips) {
      seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
      copy[(seed >> 33) % copy.size()] = static_cast<char>(seed >> 20);
    }
    const auto answer = read_mx(copy, domain("example.org"));
    EXPECT_LE(answer.records.size(), 2U);
  }
}

// --- TLSA and TXT, and what they are told -------------------------------------------------------

constexpr const char* kOwner = "_25._tcp.mx.example";

struct Kind {
  const char* name;
  unsigned type;
  std::string data;  // of a good record
  std::function<Status(std::string_view packet)> status;
};

Kind tlsa_kind() {
  return {"TLSA", kTlsa, "\3\1\1" + std::string(32, 'x'), [](std::string_view packet) {
            const auto answer = read_tlsa(packet, kOwner);
            EXPECT_EQ(answer.status == Status::kRecords, !answer.records.empty());
            EXPECT_EQ(answer.status == Status::kTemporary, !answer.trouble.empty());
            EXPECT_FALSE(answer.status == Status::kTemporary && answer.secure);
            return answer.status;
          }};
}

Kind txt_kind() {
  return {"TXT", kTxt, "\x8v=STSv1;", [](std::string_view packet) {
            const auto answer = read_txt(packet, kOwner);
            EXPECT_EQ(answer.status == Status::kRecords, !answer.texts.empty());
            EXPECT_EQ(answer.status == Status::kTemporary, !answer.trouble.empty());
            EXPECT_FALSE(answer.status == Status::kTemporary && answer.secure);
            return answer.status;
          }};
}

class Lies : public testing::TestWithParam<Kind> {
 protected:
  // Each vouched for, as far as its server goes.
  static Packet packet(unsigned flags = 0x81a0) { return {kOwner, GetParam().type, flags}; }
  static Packet good() {
    Packet p = packet();
    p.record(kOwner, GetParam().type, 60, GetParam().data);
    return p;
  }
  static Status status(const Packet& p) { return GetParam().status(p.bytes()); }
};

TEST_P(Lies, AnHonestAnswerIsTaken) {
  EXPECT_EQ(status(good()), Status::kRecords);
  EXPECT_EQ(status(packet()), Status::kNoData);
  EXPECT_EQ(status(packet(0x81a3)), Status::kNoDomain);
}

TEST_P(Lies, TroubleIsNotAbsence) {
  for (const unsigned flags : {0x81a1U, 0x81a2U, 0x81a4U, 0x81a5U, 0x81afU})
    EXPECT_EQ(status(packet(flags)), Status::kTemporary) << "code " << (flags & 15);
  EXPECT_EQ(status(packet(0x83a0)), Status::kTemporary) << "truncated";
  EXPECT_EQ(status(packet(0x0120)), Status::kTemporary) << "a question";
  EXPECT_EQ(status(packet(0xa9a0)), Status::kTemporary) << "another operation";
  EXPECT_EQ(status(packet(0x8120)), Status::kTemporary) << "no recursion";
  EXPECT_EQ(status(packet(0x8123)), Status::kTemporary) << "no recursion";
}

TEST_P(Lies, WhatWasNotAskedIsIgnored) {
  const auto& kind = GetParam();
  Packet p = packet();
  p.record("mx.example", kind.type, 60, kind.data).record("_25._tcp.mx.example.evil", kind.type, 60, kind.data);
  p.record(kOwner, kind.type, 60, kind.data, 3).record(kOwner, kA, 60, "\xc0\1\2\1");
  p.record(kOwner, kind.type == kTxt ? kTlsa : kTxt, 60, kind.data);
  EXPECT_EQ(status(p), Status::kNoData);
}

TEST_P(Lies, AliasesEnd) {
  const auto& kind = GetParam();
  Packet self = packet();
  self.cname(kOwner, kOwner);
  EXPECT_EQ(status(self), Status::kNoData);
  Packet two = packet();
  two.cname(kOwner, "b.example").cname("b.example", kOwner);
  EXPECT_EQ(status(two), Status::kNoData);
  for (const int length : {kMaxAliases - 1, kMaxAliases + 1}) {
    Packet chain = packet();
    std::string name = kOwner;
    for (int i = 0; i < length; ++i) {
      const auto next = "n" + std::to_string(i) + ".example";
      chain.cname(name, next);
      name = next;
    }
    chain.record(name, kind.type, 60, kind.data);
    EXPECT_EQ(status(chain), length < kMaxAliases ? Status::kRecords : Status::kNoData);
  }
}

TEST_P(Lies, CountsAndLengthsThatAreNotTrueAreMalformed) {
  const auto& kind = GetParam();
  Packet more = good();
  more.set_answers(2);
  EXPECT_EQ(status(more), Status::kTemporary);
  more.set_answers(0xffff);
  EXPECT_EQ(status(more), Status::kTemporary);
  Packet beyond = good();
  beyond.bytes()[beyond.bytes().size() - kind.data.size() - 2] = '\xff';
  EXPECT_EQ(status(beyond), Status::kTemporary) << "a record of 65,000 bytes";
  Packet circle = good();
  const auto here = static_cast<char>(circle.bytes().size());
  circle.raw(std::string("\xc0") + here + std::string("\0\x34\0\1\0\0\1\0\0\0", 10));
  EXPECT_EQ(status(circle), Status::kTemporary) << "a name that points at itself";
  Packet questions = good();
  questions.bytes()[5] = '\2';
  EXPECT_EQ(status(questions), Status::kTemporary);
}

// One that is malformed spoils the rest: what else was changed on the way?
TEST_P(Lies, OneMalformedRecordSpoilsTheAnswer) {
  Packet p = good();
  p.record(kOwner, GetParam().type, 60, GetParam().type == kTxt ? "\x9" "123" : "\3");
  EXPECT_EQ(status(p), Status::kTemporary);
}

TEST_P(Lies, SurviveCutsAndNoise) {
  Packet p = good();
  p.cname("x.example", "y.example").record(kOwner, GetParam().type, 60, GetParam().data);
  for (std::size_t cut = 0; cut < p.bytes().size(); ++cut)
    EXPECT_EQ(GetParam().status(p.bytes().substr(0, cut)), Status::kTemporary) << cut;
  std::uint64_t seed = 1;
  for (int i = 0; i < 20'000; ++i) {
    std::string copy = p.bytes();
    for (int flips = 0; flips < 4; ++flips) {
      seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
      copy[(seed >> 33) % copy.size()] = static_cast<char>(seed >> 20);
    }
    static_cast<void>(GetParam().status(copy));
  }
}

INSTANTIATE_TEST_SUITE_P(Answer, Lies, testing::Values(tlsa_kind(), txt_kind()),
                         [](const auto& kind) { return std::string(kind.param.name); });

// Any bytes are a TLSA record's or a text's, and what they mean is judged where they are used.
TEST(Answer, KeepsWhatStandsInTlsaAndTxtAsItIs) {
  Packet tlsa(kOwner, kTlsa);
  tlsa.record(kOwner, kTlsa, 60, std::string("\xff\xff\xff", 3)).record(kOwner, kTlsa, 60, std::string("\0\0\0\r\n\0", 6));
  EXPECT_EQ(read_tlsa(tlsa.bytes(), kOwner).records,
            (std::vector<TlsaRecord>{{0, 0, 0, std::string("\r\n\0", 3)}, {255, 255, 255, ""}}));
  Packet txt(kOwner, kTxt);
  txt.record(kOwner, kTxt, 60, std::string("\4\r\n\0\xff", 5)).record(kOwner, kTxt, 60, "");
  EXPECT_EQ(read_txt(txt.bytes(), kOwner).texts, (std::vector<std::string>{std::string("\r\n\0\xff", 4), ""}));
}

TEST(Answer, ATextIsAsLongAsItsRecord) {
  std::string data;
  for (int i = 0; i < 200; ++i) data += "\xff" + std::string(255, 'x');
  Packet p(kOwner, kTxt);
  p.record(kOwner, kTxt, 60, data);
  EXPECT_EQ(read_txt(p.bytes(), kOwner).texts.at(0).size(), 200U * 255);
}

TEST(Answer, TtlsOfTlsaAndTxtAreBounded) {
  for (const auto& [ttl, expected] : {std::pair{0U, 0}, {0x80000000U, 0}, {0x7fffffffU, 7 * 24 * 3600}}) {
    Packet tlsa(kOwner, kTlsa), txt(kOwner, kTxt);
    tlsa.record(kOwner, kTlsa, ttl, "\3\1\1x");
    txt.record(kOwner, kTxt, ttl, "\1x");
    EXPECT_EQ(read_tlsa(tlsa.bytes(), kOwner).ttl, seconds(expected));
    EXPECT_EQ(read_txt(txt.bytes(), kOwner).ttl, seconds(expected));
  }
}

}  // namespace
}  // namespace postern::dns
