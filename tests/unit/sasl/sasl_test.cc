// What the password file keeps: hashes, SCRAM verifiers, names. Known answers of RFC 4648 and RFC 7677.
#include <gtest/gtest.h>

#include "common/base/base64.h"
#include "common/sasl/account.h"
#include "common/sasl/password_hash.h"
#include "common/sasl/scram_text.h"
#include "common/sasl/scram_verifier.h"
#include "common/tls/digest.h"

namespace postern::sasl {
namespace {

std::string hex(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += {kHex[byte >> 4], kHex[byte & 15]};
  }
  return text;
}

TEST(Base64, KnownAnswers) {  // RFC 4648 10
  const std::pair<std::string, std::string> known[] = {
      {"", ""},           {"f", "Zg=="},         {"fo", "Zm8="},        {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : known) {
    EXPECT_EQ(base::to_base64(bytes), text);
    EXPECT_EQ(base::parse_base64(text), bytes);
  }
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(base::parse_base64(base::to_base64(all)), all);
}

TEST(Base64, OneSpellingOnly) {
  for (const char* text : {"Z", "Zg", "Zg=", "Zg===", "=", "====", "Zh==", "Zm9=", "Zm 9", "Zm9v\n",
                           "Zg==Zg==", "Zm9v=", "Zm-_", "Zm9v===="})
    EXPECT_FALSE(base::parse_base64(text)) << text;
}

TEST(Digest, KnownAnswers) {
  EXPECT_EQ(hex(tls::sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(tls::hmac_sha256("Jefe", "what do ya want for nothing?")),  // RFC 4231 4.3
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hex(tls::pbkdf2_sha256("passwd", "salt", 1)),  // RFC 7914 11
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
}

TEST(ScramVerifier, OfThePasswordAsInRfc7677) {
  const auto salt = *base::parse_base64("W22ZaJ0SNY7soEsUEjb6gQ==");
  const auto made = ScramVerifier::make("pencil", salt, 4096);
  // As PostgreSQL and others write it for these.
  EXPECT_EQ(made.text(),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
            "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
  EXPECT_TRUE(made.accepts("pencil"));
  EXPECT_FALSE(made.accepts("Pencil"));
  const auto parsed = ScramVerifier::parse(made.text());
  ASSERT_TRUE(parsed) << parsed.error();
  EXPECT_EQ(parsed->text(), made.text());
}

TEST(ScramVerifier, IsReadStrictly) {
  const auto good = ScramVerifier::make("pencil", "0123456789abcdef", 4096).text();
  ASSERT_TRUE(ScramVerifier::parse(good));
  for (const auto& bad : {std::string(), good.substr(1), good + "A", good.substr(0, good.size() - 1),
                          std::string("SCRAM-SHA-256$"), std::string("SCRAM-SHA-256$4096:$:"),
                          std::string("SCRAM-SHA-1$4096:QQ==$QQ==:QQ=="),
                          std::string("SCRAM-SHA-256$4096:QQ==$QQ==:QQ==")})
    EXPECT_FALSE(ScramVerifier::parse(bad)) << bad;
  auto few = good;
  few.replace(few.find("4096"), 4, "4095");
  EXPECT_EQ(ScramVerifier::parse(few).error(), "expected from 4096 to 10000000 iterations");
}

TEST(PasswordHash, OfCrypt) {
  const auto hash = make_hash("correct horse");
  ASSERT_TRUE(hash.starts_with("$y$")) << hash;
  EXPECT_EQ(wrong_with_hash(hash), "");
  EXPECT_NE(make_hash("correct horse"), hash);  // the salt is another
  EXPECT_TRUE(hash_accepts(hash, "correct horse"));
  EXPECT_FALSE(hash_accepts(hash, "correct horse "));
  EXPECT_FALSE(hash_accepts(hash, std::string("correct horse\0x", 15)));
  // The SHA-crypt specification's own example.
  const std::string sha512 =
      "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
  EXPECT_EQ(wrong_with_hash(sha512), "");
  EXPECT_TRUE(hash_accepts(sha512, "Hello world!"));
  EXPECT_FALSE(hash_accepts(sha512, "Hello world"));
}

TEST(PasswordHash, WeakOnesAndOtherTextsAreRefused) {
  for (const char* bad : {"", "secret", "*", "!", "$1$abcdefgh$pVzlLGkSXWHcdmFOQxWBT/", "aZGbcdE.fghij",
                          "$y$j9T$", "$6$saltstring$", "{PLAIN}secret"})
    EXPECT_NE(wrong_with_hash(bad), "") << bad;
}

TEST(ScramText, NamesAreWrittenInOneWay) {  // RFC 5802 5.1
  EXPECT_EQ(escaped("a,b=c"), "a=2Cb=3Dc");
  EXPECT_EQ(unescaped(escaped("a,b=c")), "a,b=c");
  for (const char* bad : {"=", "a=", "=2", "=2c", "=3d", "=41"}) EXPECT_FALSE(unescaped(bad)) << bad;
}

TEST(ScramText, Attributes) {
  std::string_view text = "r=x,s=,i=4096";
  EXPECT_EQ(value_of(take_attribute(text), 'r'), "x");
  EXPECT_EQ(value_of(take_attribute(text), 's'), "");
  EXPECT_FALSE(value_of("r", 'r'));
  EXPECT_FALSE(value_of(take_attribute(text), 'r'));
  EXPECT_EQ(text, "");
  EXPECT_TRUE(is_nonce("abc!~"));
  EXPECT_FALSE(is_nonce(""));
  EXPECT_FALSE(is_nonce("a,b"));
  EXPECT_FALSE(is_nonce("abc", 2));
}

TEST(ScramKeys, KnownAnswer) {  // RFC 7677 3
  const auto salt = base::parse_base64("W22ZaJ0SNY7soEsUEjb6gQ==").value();
  const auto keys = ScramKeys::make("pencil", salt, 4096);
  EXPECT_EQ(keys.stored, tls::sha256(keys.client));
  EXPECT_EQ(keys.server, ScramVerifier::make("pencil", salt, 4096).server_key);
  EXPECT_EQ(keys.stored, ScramVerifier::make("pencil", salt, 4096).stored_key);
}

TEST(Account, NamesAndPasswords) {
  for (const char* good : {"bob", "bob@example.org", "o'hara", "a-b_c.d+e"})
    EXPECT_EQ(wrong_with_account(good), "") << good;
  for (const auto& bad : {std::string(), std::string("a b"), std::string("a:b"), std::string("#a"),
                          std::string("b\xC3\xBCro"), std::string("a\n"), std::string(129, 'a')})
    EXPECT_NE(wrong_with_account(bad), "") << bad;
  EXPECT_EQ(wrong_with_password("correct horse battery staple"), "");
  for (const auto& bad : {std::string(), std::string("tab\t"), std::string("gr\xC3\xBC\xC3\x9F"),
                          std::string(513, 'a')})
    EXPECT_NE(wrong_with_password(bad), "") << bad;
}

}  // namespace
}  // namespace postern::sasl
