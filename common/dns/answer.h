// Answers of the DNS as values, and the pure reading of a response into one of them (RFC 1035 4.1).
// A response is a stranger's text: whatever does not parse is a temporary error, never half an
// answer, and everything in it is bounded.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ip.h"
#include "common/mail/domain.h"

namespace postern::dns {

inline constexpr std::size_t kMaxRecords = 512;   // records of a response that are looked at
inline constexpr std::size_t kMaxMx = 100;        // MX records that are kept, the best ones
inline constexpr std::size_t kMaxAddresses = 20;  // of one host and family
inline constexpr int kMaxAliases = 16;            // CNAMEs in a row
inline constexpr std::size_t kMaxTlsa = 50;       // TLSA records of one host
inline constexpr std::size_t kMaxNames = 5;       // of one address, that are kept
inline constexpr std::size_t kMaxTxt = 100;       // TXT records of one name

enum class Status : std::uint8_t {
  kRecords,    // there is at least one record
  kNoData,     // the name exists, a record of this type does not
  kNoDomain,   // NXDOMAIN: nothing at all by this name
  kTemporary,  // no answer, or none that can be believed; ask again later
};

struct MxRecord {
  std::uint16_t preference = 0;
  // Empty: the root ("."), which says that no mail is taken (RFC 7505).
  mail::Domain host;
  friend auto operator<=>(const MxRecord&, const MxRecord&) noexcept = default;
};

struct MxAnswer {
  Status status = Status::kTemporary;
  std::vector<MxRecord> records;  // by rising preference
  bool unusable = false;          // there were also records that name no host ("bad host.")
  base::Millis ttl{0};            // of records: the smallest
  std::string trouble;            // of a temporary error: a few words
  bool secure = false;            // the name server vouches for it (RFC 4035 3.2.3), whatever it says
};

struct AddressAnswer {
  Status status = Status::kTemporary;
  std::vector<base::IpAddress> addresses;  // in the order of the answer
  base::Millis ttl{0};
  std::string trouble;
  bool secure = false;
  std::string alias_of;  // the name that the addresses stand at, if that is another
};

struct TlsaRecord {  // RFC 6698 2.1
  std::uint8_t usage = 0;
  std::uint8_t selector = 0;
  std::uint8_t matching = 0;
  std::string data;
  friend auto operator<=>(const TlsaRecord&, const TlsaRecord&) noexcept = default;
};

struct TlsaAnswer {
  Status status = Status::kTemporary;
  std::vector<TlsaRecord> records;  // ordered, each once
  base::Millis ttl{0};
  std::string trouble;
  bool secure = false;
};

struct NamesAnswer {  // of an address
  Status status = Status::kTemporary;
  std::vector<mail::Domain> names;  // in the order of the answer, each once
  base::Millis ttl{0};
  std::string trouble;
  bool secure = false;
};

struct TxtAnswer {
  Status status = Status::kTemporary;
  std::vector<std::string> texts;  // of each record: its strings, joined; any bytes
  base::Millis ttl{0};
  std::string trouble;
  bool secure = false;
};

// Reads `response`, an answer to a question for the MX, or the addresses of `family`, of `name`.
[[nodiscard]] MxAnswer read_mx(std::string_view response, const mail::Domain& name);
[[nodiscard]] AddressAnswer read_addresses(std::string_view response, const mail::Domain& name,
                                           base::IpFamily family);
// "1.2.0.192.in-addr.arpa": where the names of an address stand (RFC 1035 3.5, RFC 3596 2.5).
[[nodiscard]] std::string reverse_name(const base::IpAddress& address);
// `name`: a reverse_name(). Names that no host can have are left out.
[[nodiscard]] NamesAnswer read_names(std::string_view response, std::string_view name);
// `name`: "_25._tcp.mx.example.org", in lower case.
[[nodiscard]] TlsaAnswer read_tlsa(std::string_view response, std::string_view name);
// `name`: likewise.
[[nodiscard]] TxtAnswer read_txt(std::string_view response, std::string_view name);

}  // namespace postern::dns
