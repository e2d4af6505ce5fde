#include "bench/sink/certificate.h"

#include <utility>

#include "common/config/toml_file.h"

namespace postern::bench {
namespace {

constexpr std::size_t kMaxFile = 1U << 20;

}  // namespace

std::expected<std::unique_ptr<Certificate>, std::string> Certificate::read(
    event::Loop& loop, const std::string& chain_file, const std::string& key_file) {
  auto chain = config::read_file(chain_file, kMaxFile);
  if (!chain) return std::unexpected(chain_file + ": " + chain.error());
  const auto pem = config::read_file(key_file, kMaxFile);
  if (!pem) return std::unexpected(key_file + ": " + pem.error());
  auto key = tls::PrivateKey::parse(*pem);
  if (!key) return std::unexpected(key_file + ": " + key.error());
  auto context = tls::ServerContext::make({.certificates = {{{}, *std::move(chain)}}},
                                          std::make_shared<tls::TicketKeys>());
  if (!context) return std::unexpected(chain_file + ": " + context.error());
  return std::unique_ptr<Certificate>(
      new Certificate(loop, *std::move(key), *std::move(context)));
}

void Certificate::sign(tls::SignRequest request, Signed done) {
  loop_.defer([signature = key_.sign(request.scheme, request.bytes),
               done = std::move(done)]() mutable noexcept { done(std::move(signature)); });
}

}  // namespace postern::bench
