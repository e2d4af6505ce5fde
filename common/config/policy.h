// [policy]: whom smtpd serves at all, and what it refuses for whom, as plain data, and the pure code that
// applies it. It takes rights away and never gives one: who may send where is the subject of rights.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ip.h"
#include "common/ipc/codec.h"

namespace postern::config {

inline constexpr std::size_t kMaxPolicyRules = 100'000;  // of one file
inline constexpr std::size_t kMaxPolicyReply = 400;      // bytes of a line

enum class PolicySubject : std::uint8_t { kClient, kHello, kSender, kRecipient };

// In lower case, as it is compared: a network ("192.0.2.0/24"); a hello's name, "*.example.net" or
// "*"; an address, "*@example.net", "*@*.example.net", "user@*", "*", or of a sender "<>".
struct PolicyRule {
  PolicySubject subject = PolicySubject::kClient;
  std::string pattern;
  std::string reply;  // a whole line, "550 5.7.1 Not from there"; empty in a list of what is allowed

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("subject", &PolicyRule::subject),
                      ipc::field("pattern", &PolicyRule::pattern, 512),
                      ipc::field("reply", &PolicyRule::reply, kMaxPolicyReply));
  }
};

// So many in so long.
struct Rate {
  std::uint32_t count = 0;  // 0: no limit
  std::uint32_t seconds = 0;

  friend bool operator==(const Rate&, const Rate&) noexcept = default;
  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("count", &Rate::count), ipc::field("seconds", &Rate::seconds));
  }
};

// What is done about the names of clients' addresses.
enum class Reverse : std::uint8_t {
  kOff,      // they are not looked up
  kNote,     // they are told in Received and the log
  kRequire,  // and who has none that leads back to it is refused
};

struct Policy {
  std::vector<base::Network> clients;      // only these, if there are any...
  std::vector<base::Network> not_clients;  // ...without these
  std::vector<PolicyRule> deny;
  std::vector<PolicyRule> allow;  // what one of these fits is not denied
  Rate rate;                      // messages of one client
  Reverse reverse = Reverse::kNote;

  static constexpr auto fields() {
    return ipc::fields_of(ipc::field("clients", &Policy::clients, 10'000),
                      ipc::field("not_clients", &Policy::not_clients, 10'000),
                      ipc::field("deny", &Policy::deny, kMaxPolicyRules),
                      ipc::field("allow", &Policy::allow, kMaxPolicyRules),
                      ipc::field("rate", &Policy::rate),
                      ipc::field("reverse", &Policy::reverse));
  }
};

// Whom and what a recipient is asked for.
struct PolicyQuestion {
  const base::IpAddress& client;
  std::string_view hello;      // empty: none was said
  std::string_view sender;     // empty: the null sender
  std::string_view recipient;
};

// Builds its own tables; immutable afterwards. The cost of a question does not grow with the lists.
class PolicyIndex {
 public:
  explicit PolicyIndex(Policy policy);
  ~PolicyIndex();
  PolicyIndex(PolicyIndex&&) noexcept;
  PolicyIndex& operator=(PolicyIndex&&) noexcept;

  // Is mail taken from this client?
  [[nodiscard]] bool serves(const base::IpAddress& client) const;
  // The reply of the first rule that denies it; null: none does, or it is allowed.
  [[nodiscard]] const std::string* refusal(const PolicyQuestion& question) const;
  [[nodiscard]] const Rate& rate() const noexcept;
  [[nodiscard]] Reverse reverse() const noexcept;

 private:
  struct Tables;
  std::unique_ptr<Tables> tables_;
};

}  // namespace postern::config

template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::config::PolicySubject> =
    postern::config::PolicySubject::kRecipient;
template <>
inline constexpr auto postern::ipc::kLastEnumerator<postern::config::Reverse> =
    postern::config::Reverse::kRequire;
