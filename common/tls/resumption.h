// Resumption: the sessions that a client may resume, by whom and under which demands they were made.
// They stay in memory, and only so many.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

struct ssl_session_st;

namespace postern::tls {

class Resumption {
 public:
  static constexpr std::size_t kMost = 2'000;  // keys; the oldest go
  struct Free {
    void operator()(ssl_session_st* session) const noexcept;
  };
  using Handle = std::unique_ptr<ssl_session_st, Free>;

  Resumption() = default;
  Resumption(const Resumption&) = delete;
  Resumption& operator=(const Resumption&) = delete;

  // In place of an earlier one of that key.
  void put(const std::string& key, Handle session);
  // Null: there is none. One of TLS 1.3 is given out once (RFC 8446 C.4).
  [[nodiscard]] Handle take(const std::string& key);
  void forget(const std::string& key) { sessions_.erase(key); }
  [[nodiscard]] std::size_t size() const noexcept { return sessions_.size(); }

 private:
  struct Kept {
    Handle session;
    std::uint64_t number = 0;  // rising
  };
  std::map<std::string, Kept> sessions_;
  std::uint64_t last_ = 0;
};

}  // namespace postern::tls
