// Dovecot: the client's side of Dovecot's authentication protocol (version 1.1 and later, "auth
// protocol" of its design documents) as a pure machine: bytes in, bytes and answers out. Passwords are
// asked about with the mechanism PLAIN, whatever the client spoke.
//
//   us: VERSION 1 1, CPID pid      it: VERSION 1 x, MECH ..., DONE
//   us: AUTH id PLAIN service=smtp ... resp=base64      it: OK id user=..., or FAIL id ...
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "common/base/ip.h"
#include "smtpd/auth/checker.h"

namespace postern::smtpd::auth {

class Dovecot {
 public:
  static constexpr std::size_t kMaxLine = 8192;
  static constexpr std::size_t kMostAsked = 1'000;  // unanswered

  explicit Dovecot(std::uint32_t pid);
  struct Answer {
    std::uint32_t id = 0;
    Verdict verdict;
  };
  // All of `bytes` are done with. false: this is no Dovecot, or one of another kind; then trouble().
  [[nodiscard]] bool input(std::string_view bytes);
  // It has said what it can do.
  [[nodiscard]] bool ready() const noexcept { return ready_; }
  [[nodiscard]] bool has_room() const noexcept { return asked_.size() < kMostAsked; }
  // Once it is ready; the id that its answer will bear.
  [[nodiscard]] std::uint32_t ask(std::string_view account, std::string_view password,
                                  const base::IpAddress& client);
  [[nodiscard]] std::string take_output() { return std::exchange(output_, {}); }
  [[nodiscard]] std::vector<Answer> take_answers() { return std::exchange(answers_, {}); }
  [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }

 private:
  [[nodiscard]] bool line(std::string_view text);
  [[nodiscard]] bool answer(std::string_view verb, std::string_view rest);
  bool fail(std::string why);

  std::string output_;
  std::string kept_;  // of a line that is not complete
  std::vector<Answer> answers_;
  std::unordered_set<std::uint32_t> asked_;
  std::uint32_t last_id_ = 0;
  bool version_ = false;
  bool plain_ = false;  // it has the mechanism
  bool ready_ = false;
  std::string trouble_;
};

}  // namespace postern::smtpd::auth
