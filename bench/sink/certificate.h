// Certificate: what the sink shows whoever says STARTTLS. Its key is in this process: it protects
// nothing but a test.
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "common/event/loop.h"
#include "common/tls/key.h"
#include "common/tls/session.h"

namespace postern::bench {

class Certificate final : public tls::Signer {
 public:
  // Of two files in PEM; an error is a sentence.
  [[nodiscard]] static std::expected<std::unique_ptr<Certificate>, std::string> read(
      event::Loop& loop, const std::string& chain_file, const std::string& key_file);
  // The server's side of one connection, before the certificate is gone.
  [[nodiscard]] std::unique_ptr<tls::Session> accept() {
    return tls::Session::accept(context_, *this);
  }

 private:
  Certificate(event::Loop& loop, tls::PrivateKey key,
              std::shared_ptr<const tls::ServerContext> context)
      : loop_(loop), key_(std::move(key)), context_(std::move(context)) {}
  void sign(tls::SignRequest request, Signed done) override;

  event::Loop& loop_;
  tls::PrivateKey key_;
  std::shared_ptr<const tls::ServerContext> context_;
};

}  // namespace postern::bench
