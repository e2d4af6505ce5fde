// Packet: builds DNS responses for tests, honest ones and others (RFC 1035 4.1).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postern::dns {

inline constexpr unsigned kA = 1, kCname = 5, kPtr = 12, kMx = 15, kTxt = 16, kAaaa = 28, kTlsa = 52;

class Packet {
 public:
  // Answers the question for `name` and `type` with `flags` (0x8180: a good answer).
  Packet(std::string_view name, unsigned type, unsigned flags = 0x8180) {
    u16(0x1234);
    u16(flags);
    u16(1);
    u16(0);
    u16(0);
    u16(0);
    bytes_ += encoded(name);
    u16(type);
    u16(1);
  }
  Packet& record(std::string_view owner, unsigned type, std::uint32_t ttl, std::string_view data,
                 unsigned klass = 1) {
    bytes_ += encoded(owner);
    u16(type);
    u16(klass);
    u16(ttl >> 16);
    u16(ttl & 0xffff);
    u16(static_cast<unsigned>(data.size()));
    bytes_ += data;
    return count();
  }
  Packet& mx(std::string_view owner, unsigned preference, std::string_view host,
             std::uint32_t ttl = 300) {
    std::string data{static_cast<char>(preference >> 8), static_cast<char>(preference)};
    return record(owner, kMx, ttl, data + encoded(host));
  }
  Packet& a(std::string_view owner, std::string_view four_bytes, std::uint32_t ttl = 300) {
    return record(owner, kA, ttl, four_bytes);
  }
  Packet& cname(std::string_view owner, std::string_view target, std::uint32_t ttl = 300) {
    return record(owner, kCname, ttl, encoded(target));
  }
  Packet& ptr(std::string_view owner, std::string_view target, std::uint32_t ttl = 300) {
    return record(owner, kPtr, ttl, encoded(target));
  }
  // Raw bytes behind what stands, and one more record in the header's count.
  Packet& raw(std::string_view bytes) {
    bytes_ += bytes;
    return count();
  }
  void set_answers(unsigned n) {
    bytes_[6] = static_cast<char>(n >> 8);
    bytes_[7] = static_cast<char>(n);
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] std::string& bytes() { return bytes_; }

  // "a.example" as labels; "" is the root.
  static std::string encoded(std::string_view name) {
    std::string out;
    while (!name.empty()) {
      const auto dot = name.find('.');
      const auto label = name.substr(0, dot);
      out += static_cast<char>(label.size());
      out += label;
      name.remove_prefix(dot == std::string_view::npos ? name.size() : dot + 1);
    }
    return out + '\0';
  }

 private:
  Packet& count() {
    set_answers(static_cast<unsigned>(static_cast<std::uint8_t>(bytes_[6]) << 8 |
                                      static_cast<std::uint8_t>(bytes_[7])) +
                1);
    return *this;
  }
  void u16(unsigned value) {
    bytes_ += static_cast<char>(value >> 8);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

}  // namespace postern::dns
