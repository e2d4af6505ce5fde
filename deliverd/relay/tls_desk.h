// TlsDesk: all that a relay process knows of TLS with others: the authorities that it believes, sessions
// that may be resumed, TLSA records. It makes the plan for a host and, later, the session that the plan
// wants.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/ipc/types.h"
#include "common/tls/session.h"
#include "deliverd/relay/tls_plan.h"
#include "deliverd/relay/tlsa_book.h"

namespace postern::relay {

class TlsDesk {
 public:
  using Done = std::move_only_function<void(Planned) noexcept>;

  // Without a call of use() it cannot begin sessions. `book`: null where no host is connected to.
  explicit TlsDesk(TlsaBook* book) : book_(book) {}

  // `roots`: PEM of authorities, or nothing. Before the sandbox for the first time, so that the library
  // has loaded all that it wants. On failure the reason, and all stays as it was.
  [[nodiscard]] static std::expected<std::shared_ptr<tls::ClientContext>, std::string> context_for(
      const std::string& roots, tls::Version minimum);
  // For sessions from now on. What was made before with another one is not resumed.
  void use(std::shared_ptr<tls::ClientContext> context) { context_ = std::move(context); }
  // Other name servers are asked from now on.
  void forget_records() { book_->clear(); }

  // `done` is called once, perhaps before this returns, unless the query died first.
  [[nodiscard]] dns::Query plan(const config::HopSpec& hop, const Target& target, Done done);
  // Null: no session can be had by this plan.
  [[nodiscard]] std::unique_ptr<tls::Session> begin(const Plan& plan, const Target& target) const;

 private:
  TlsaBook* book_;
  std::shared_ptr<tls::ClientContext> context_;
};

// What people are told of an agreed session, and of one in clear.
[[nodiscard]] ipc::TlsNote note_of(const Plan& plan, const tls::Facts& facts);
[[nodiscard]] ipc::TlsNote note_of_clear(const Plan& plan, const std::string& why);

}  // namespace postern::relay
