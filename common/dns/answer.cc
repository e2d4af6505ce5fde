#include "common/dns/answer.h"

#include <ares.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

#include "common/base/text.h"
#include "common/base/utf8.h"

namespace postern::dns {
namespace {

// RFC 1035 3.2.2, 4.1.1; RFC 3596 2.1.
constexpr std::uint16_t kTypeA = 1;
constexpr std::uint16_t kTypeCname = 5;
constexpr std::uint16_t kTypePtr = 12;
constexpr std::uint16_t kTypeMx = 15;
constexpr std::uint16_t kTypeTxt = 16;
constexpr std::uint16_t kTypeAaaa = 28;
constexpr std::uint16_t kTypeTlsa = 52;  // RFC 6698 7.1
constexpr std::uint16_t kClassIn = 1;
constexpr unsigned kRcodeNoError = 0;
constexpr unsigned kRcodeNoDomain = 3;
constexpr unsigned kFlagResponse = 0x8000;
constexpr unsigned kOpcode = 0x7800;  // 0 in the answer to a query
constexpr unsigned kFlagAuthoritative = 0x0400;
constexpr unsigned kFlagTruncated = 0x0200;
constexpr unsigned kFlagRecursion = 0x0080;  // is available
constexpr unsigned kFlagAuthentic = 0x0020;  // RFC 4035 3.2.3

constexpr std::size_t kMaxName = 255;  // on the wire (RFC 1035 2.3.4)

// What a name takes on the wire; "\ddd" and "\." are one byte each. c-ares does not count.
std::size_t wire_size(std::string_view text) {
  std::size_t bytes = 2;
  for (std::size_t at = 0; at < text.size(); ++at, ++bytes) {
    if (text[at] != '\\' || at + 1 == text.size()) continue;
    at += text[at + 1] >= '0' && text[at + 1] <= '9' ? 3 : 1;
  }
  return bytes;
}

// A place in a response, never behind its end.
class Cursor {
 public:
  explicit Cursor(std::string_view packet) noexcept : packet_(packet) {}

  std::optional<unsigned> u16() noexcept {
    if (packet_.size() - at_ < 2) return std::nullopt;
    const auto high = static_cast<std::uint8_t>(packet_[at_]);
    const auto low = static_cast<std::uint8_t>(packet_[at_ + 1]);
    at_ += 2;
    return static_cast<unsigned>(high << 8 | low);
  }
  std::optional<std::uint32_t> u32() noexcept {
    const auto high = u16();
    const auto low = u16();
    if (!high || !low) return std::nullopt;
    return static_cast<std::uint32_t>(*high) << 16 | *low;
  }
  std::optional<std::string_view> bytes(std::size_t size) noexcept {
    if (packet_.size() - at_ < size) return std::nullopt;
    const auto view = packet_.substr(at_, size);
    at_ += size;
    return view;
  }
  // A name in lower case without its last dot, "" for the root; what is no letter stands escaped.
  std::optional<std::string> name() {
    if (at_ >= packet_.size()) return std::nullopt;
    const auto* start = reinterpret_cast<const unsigned char*>(packet_.data());
    char* text = nullptr;
    long used = 0;
    const int result =
        ::ares_expand_name(start + at_, start, static_cast<int>(packet_.size()), &text, &used);
    if (result != ARES_SUCCESS) return std::nullopt;
    const std::unique_ptr<char, void (*)(char*)> owner(text,
                                                       [](char* p) { ::ares_free_string(p); });
    if (used <= 0 || static_cast<std::size_t>(used) > packet_.size() - at_) return std::nullopt;
    at_ += static_cast<std::size_t>(used);
    if (wire_size(text) > kMaxName) return std::nullopt;
    return base::to_lower(text);
  }
  [[nodiscard]] std::size_t at() const noexcept { return at_; }

 private:
  std::string_view packet_;
  std::size_t at_ = 0;
};

struct Record {
  std::string owner;
  unsigned type = 0;
  std::uint32_t ttl = 0;
  std::string_view data;
  std::string target;  // of a CNAME, a PTR or an MX
  std::uint16_t preference = 0;
};

struct Response {
  Status status = Status::kTemporary;
  std::string trouble;
  std::vector<Record> records;
  bool secure = false;
};

std::optional<Record> read_record(Cursor& cursor, std::string_view packet) {
  Record record;
  auto owner = cursor.name();
  const auto type = cursor.u16();
  const auto klass = cursor.u16();
  const auto ttl = cursor.u32();
  const auto size = cursor.u16();
  if (!owner || !type || !klass || !ttl || !size) return std::nullopt;
  const auto begin = cursor.at();
  const auto data = cursor.bytes(*size);
  if (!data) return std::nullopt;
  record.owner = std::move(*owner);
  record.type = *klass == kClassIn ? *type : 0;
  record.ttl = *ttl;
  record.data = *data;
  if (record.type != kTypeCname && record.type != kTypePtr && record.type != kTypeMx) return record;
  // Names in the data may point back into the whole packet, but must end where the data ends.
  Cursor inside(packet.substr(0, begin + *size));
  static_cast<void>(inside.bytes(begin));
  if (record.type == kTypeMx) {
    const auto preference = inside.u16();
    if (!preference) return std::nullopt;
    record.preference = static_cast<std::uint16_t>(*preference);
  }
  auto target = inside.name();
  if (!target || inside.at() != begin + *size) return std::nullopt;
  record.target = std::move(*target);
  return record;
}

Response temporary(std::string_view trouble) {
  return {Status::kTemporary, std::string(trouble), {}, false};
}

Response read_response(std::string_view packet) {
  constexpr std::string_view kMalformed = "malformed answer from the name server";
  if (packet.size() > std::numeric_limits<std::uint16_t>::max()) return temporary(kMalformed);
  Cursor cursor(packet);
  const auto id = cursor.u16();
  const auto flags = cursor.u16();
  const auto questions = cursor.u16();
  const auto answers = cursor.u16();
  const auto rest = cursor.u32();  // authority and additional sections, which nobody reads
  if (!id || !flags || !questions || !answers || !rest) return temporary(kMalformed);
  if ((*flags & kFlagResponse) == 0 || (*flags & kOpcode) != 0 || *questions != 1)
    return temporary(kMalformed);
  if ((*flags & kFlagTruncated) != 0) return temporary("truncated answer from the name server");
  const unsigned rcode = *flags & 0xf;
  if (rcode != kRcodeNoError && rcode != kRcodeNoDomain)
    return temporary("name server failure, code " + std::to_string(rcode));
  if (!cursor.name() || !cursor.u32()) return temporary(kMalformed);
  // A server that neither knows nor asks others says nothing of what there is: it would have us
  // return mail.
  if (*answers == 0 && (*flags & (kFlagAuthoritative | kFlagRecursion)) == 0)
    return temporary("the name server does not recurse");
  Response response{rcode == kRcodeNoDomain ? Status::kNoDomain : Status::kNoData, {}, {},
                    (*flags & kFlagAuthentic) != 0};
  for (std::size_t i = 0; i < *answers && i < kMaxRecords; ++i) {
    auto record = read_record(cursor, packet);
    if (!record) return temporary(kMalformed);
    response.records.push_back(std::move(*record));
  }
  return response;
}

// The records of `type` that belong to `name` or to what it is an alias of; their smallest TTL.
struct Found {
  std::vector<const Record*> records;
  std::string_view owner;  // of these
  std::uint32_t ttl = std::numeric_limits<std::uint32_t>::max();
};

Found find(const Response& response, std::string_view name, unsigned type) {
  Found found;
  std::string_view current = name;
  for (int hops = 0; hops <= kMaxAliases; ++hops) {
    const Record* alias = nullptr;
    for (const auto& record : response.records) {
      if (record.owner != current) continue;
      if (record.type == type) {
        found.records.push_back(&record);
        found.ttl = std::min(found.ttl, record.ttl);
      } else if (record.type == kTypeCname) {
        alias = &record;
      }
    }
    found.owner = current;
    if (!found.records.empty() || alias == nullptr) return found;
    found.ttl = std::min(found.ttl, alias->ttl);
    current = alias->target;
  }
  return {};
}

base::Millis to_millis(std::uint32_t ttl) {
  constexpr std::uint32_t kMaxTtl = 7 * 24 * 3600;  // RFC 8767 4: more is not to be believed
  if (ttl > std::numeric_limits<std::int32_t>::max()) ttl = 0;  // RFC 2181 8
  return std::chrono::seconds(std::min(ttl, kMaxTtl));
}

base::IpAddress to_address(std::string_view data, base::IpFamily family) {
  base::IpAddress address{family, {}};
  std::memcpy(address.bytes.data(), data.data(), data.size());
  // Mapped into IPv6, an IPv4 address is one: the host is reached, and known, by that.
  static constexpr std::uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (family == base::IpFamily::kV6 && std::memcmp(data.data(), kMapped, sizeof kMapped) == 0) {
    address = {base::IpFamily::kV4, {}};
    std::memcpy(address.bytes.data(), data.data() + sizeof kMapped, 4);
  }
  return address;
}

// The strings of a TXT record, each with its length in front, as one (RFC 7208 3.3).
std::optional<std::string> joined_strings(std::string_view data) {
  std::string text;
  while (!data.empty()) {
    const auto size = static_cast<std::size_t>(static_cast<std::uint8_t>(data.front()));
    if (data.size() - 1 < size) return std::nullopt;
    text += data.substr(1, size);
    data.remove_prefix(1 + size);
  }
  return text;
}

}  // namespace

MxAnswer read_mx(std::string_view packet, const mail::Domain& name) {
  const auto response = read_response(packet);
  MxAnswer answer{response.status, {}, false, {}, response.trouble, response.secure};
  if (answer.status == Status::kTemporary) return answer;
  const auto found = find(response, name.text(), kTypeMx);
  if (found.records.empty()) return answer;
  answer.status = Status::kRecords;
  answer.ttl = to_millis(found.ttl);
  for (const auto* record : found.records) {
    if (record->target.empty()) {
      answer.records.push_back({record->preference, {}});
    } else if (auto host = mail::Domain::parse(record->target);
               host && !host->is_literal() && base::is_ascii(record->target)) {
      answer.records.push_back({record->preference, std::move(*host)});
    } else {
      answer.unusable = true;
    }
  }
  std::sort(answer.records.begin(), answer.records.end());
  const auto repeated = std::unique(answer.records.begin(), answer.records.end());
  answer.records.erase(repeated, answer.records.end());
  if (answer.records.size() > kMaxMx) answer.records.resize(kMaxMx);
  return answer;
}

AddressAnswer read_addresses(std::string_view packet, const mail::Domain& name,
                             base::IpFamily family) {
  const auto response = read_response(packet);
  AddressAnswer answer{response.status, {}, {}, response.trouble, response.secure, {}};
  if (answer.status == Status::kTemporary) return answer;
  const bool v4 = family == base::IpFamily::kV4;
  const auto found = find(response, name.text(), v4 ? kTypeA : kTypeAaaa);
  for (const auto* record : found.records) {
    if (record->data.size() != (v4 ? 4 : 16))
      return {Status::kTemporary, {}, {}, "malformed address from the name server", false, {}};
    if (answer.addresses.size() < kMaxAddresses)
      answer.addresses.push_back(to_address(record->data, family));
  }
  if (answer.addresses.empty()) return answer;
  answer.status = Status::kRecords;
  answer.ttl = to_millis(found.ttl);
  if (found.owner != name.text()) answer.alias_of = found.owner;
  return answer;
}

TlsaAnswer read_tlsa(std::string_view packet, std::string_view name) {
  constexpr std::size_t kHead = 3;  // usage, selector, matching type
  const auto response = read_response(packet);
  TlsaAnswer answer{response.status, {}, {}, response.trouble, response.secure};
  if (answer.status == Status::kTemporary) return answer;
  const auto found = find(response, name, kTypeTlsa);
  if (found.records.empty()) return answer;
  answer.status = Status::kRecords;
  answer.ttl = to_millis(found.ttl);
  for (const auto* record : found.records) {
    const auto data = record->data;
    if (data.size() < kHead)
      return {Status::kTemporary, {}, {}, "malformed TLSA record from the name server", false};
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(data[i]); };
    answer.records.push_back({byte(0), byte(1), byte(2), std::string(data.substr(kHead))});
  }
  std::sort(answer.records.begin(), answer.records.end());
  const auto repeated = std::unique(answer.records.begin(), answer.records.end());
  answer.records.erase(repeated, answer.records.end());
  if (answer.records.size() > kMaxTlsa) answer.records.resize(kMaxTlsa);
  return answer;
}

std::string reverse_name(const base::IpAddress& address) {
  std::string name;
  if (address.family == base::IpFamily::kV4) {
    for (int i = 3; i >= 0; --i) name += std::to_string(address.bytes[static_cast<std::size_t>(i)]) + '.';
    return name + "in-addr.arpa";
  }
  static constexpr char kHex[] = "0123456789abcdef";
  for (int i = 15; i >= 0; --i) {
    const auto byte = address.bytes[static_cast<std::size_t>(i)];
    name += {kHex[byte & 15], '.', kHex[byte >> 4], '.'};
  }
  return name + "ip6.arpa";
}

NamesAnswer read_names(std::string_view packet, std::string_view name) {
  const auto response = read_response(packet);
  NamesAnswer answer{response.status, {}, {}, response.trouble, response.secure};
  if (answer.status == Status::kTemporary) return answer;
  const auto found = find(response, name, kTypePtr);
  for (const auto* record : found.records) {
    auto host = mail::Domain::parse(record->target);
    if (answer.names.size() == kMaxNames || !host || host->is_literal() || !base::is_ascii(record->target) ||
        std::find(answer.names.begin(), answer.names.end(), *host) != answer.names.end())
      continue;
    answer.names.push_back(*std::move(host));
  }
  if (answer.names.empty()) return answer;
  answer.status = Status::kRecords;
  answer.ttl = to_millis(found.ttl);
  return answer;
}

TxtAnswer read_txt(std::string_view packet, std::string_view name) {
  const auto response = read_response(packet);
  TxtAnswer answer{response.status, {}, {}, response.trouble, response.secure};
  if (answer.status == Status::kTemporary) return answer;
  const auto found = find(response, name, kTypeTxt);
  if (found.records.empty()) return answer;
  answer.status = Status::kRecords;
  answer.ttl = to_millis(found.ttl);
  for (const auto* record : found.records) {
    auto text = joined_strings(record->data);
    if (!text)
      return {Status::kTemporary, {}, {}, "malformed TXT record from the name server", false};
    if (answer.texts.size() < kMaxTxt) answer.texts.push_back(*std::move(text));
  }
  return answer;
}

}  // namespace postern::dns
