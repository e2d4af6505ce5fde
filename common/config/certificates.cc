#include "common/config/certificates.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/config/names.h"
#include "common/config/toml_file.h"
#include "common/tls/chain.h"
#include "common/tls/key.h"

namespace postern::config {
namespace {

// As the roles' configurations can hold.
constexpr std::size_t kMaxCertificates = 10'000;
constexpr std::size_t kMaxNames = 1'000;
constexpr std::size_t kMaxChainFile = 1U << 20;
constexpr std::size_t kMaxKeyFile = 64U << 10;
constexpr std::size_t kMaxAuthorities = 16U << 20;
// Where systems keep them: Debian and its kin, Fedora and its, Alpine.
constexpr std::string_view kSystemAuthorities[] = {"/etc/ssl/certs/ca-certificates.crt",
                                                   "/etc/pki/tls/certs/ca-bundle.crt",
                                                   "/etc/ssl/cert.pem"};

// The content of the file that stands at `key`, and its path; empty where it cannot be read, which
// was reported.
std::string content(const Section& section, std::string_view key, std::string& path,
                    std::size_t limit) {
  section.path(key, path);
  const auto* const value = section.get(key);
  if (value == nullptr || path.empty()) return {};
  auto text = read_file(path, limit);
  if (text) return *std::move(text);
  section.refuse(*value, key, fmt::format("the file {} {}", path, text.error()));
  return {};
}

// Names in the section must be in the certificate, or clients would refuse it; without any, those
// that the certificate has count.
void read_names(const Section& section, const tls::Chain& chain, Certificate& certificate) {
  for (const auto* value : section.elements("names", kMaxNames)) {
    auto name = parse_pattern(value->text);
    if (!name || *name == "*")
      section.refuse(*value, "names",
                     R"(expected the name of a host, like "mx1.example.org" or "*.example.org")");
    else if (!chain.covers(*name))
      section.refuse(
          *value, "names",
          fmt::format("the certificate in {} does not have this name", certificate.chain_file));
    else
      certificate.names.push_back(*std::move(name));
  }
  if (section.get("names") == nullptr) certificate.names = chain.names();
}

void read_certificate(const Section& section, Certificate& certificate) {
  certificate.where = section.where();
  section.require("chain", "a file with the certificate and those that lead to its root, in PEM");
  section.require("key", "a file with its private key, in PEM");
  certificate.chain = content(section, "chain", certificate.chain_file, kMaxChainFile);
  certificate.key = content(section, "key", certificate.key_file, kMaxKeyFile);
  if (certificate.chain.empty()) return;
  const auto chain = tls::Chain::parse(certificate.chain);
  if (!chain) {
    section.refuse(*section.get("chain"), "chain",
                   fmt::format("the file {}: {}", certificate.chain_file, chain.error()));
    return;
  }
  certificate.kind = chain->kind();
  certificate.not_before = chain->not_before();
  certificate.not_after = chain->not_after();
  read_names(section, *chain, certificate);
  if (certificate.key.empty()) return;
  const auto key = tls::PrivateKey::parse(certificate.key);
  if (!key)
    section.refuse(*section.get("key"), "key",
                   fmt::format("the file {}: {}", certificate.key_file, key.error()));
  else if (key->id() != chain->key())
    section.refuse(*section.get("key"), "key",
                   fmt::format("the key in {} does not belong to the certificate in {}",
                               certificate.key_file, certificate.chain_file));
}

void read_authorities_at(const Section& section, std::string_view key, std::string& file,
                         std::string& pem) {
  const auto* const value = section.get(key);
  if (value == nullptr || value->text.empty()) return;
  pem = content(section, key, file, kMaxAuthorities);
  if (pem.empty()) return;
  if (const auto bad = tls::wrong_with_authorities(pem); !bad.empty())
    section.refuse(*value, key, fmt::format("the file {}: {}", file, bad));
}

void read_version(const Section& section, std::string_view key, tls::Version& into) {
  section.choice(key, into, {{"1.2", tls::Version::k12}, {"1.3", tls::Version::k13}});
}

}  // namespace

void read_certificates(const Section& top, Config& config, Report& report) {
  const auto sections = top.sections("certificate");
  if (sections.size() > kMaxCertificates) {
    report.add(sections[kMaxCertificates].where(), "certificate",
               fmt::format("expected at most {} such sections", kMaxCertificates));
    return;
  }
  for (const auto& section : sections)
    read_certificate(section, config.certificates.emplace_back());
  const auto section = top.section("tls");
  read_version(section, "minimum", config.tls.minimum);
  read_authorities_at(section, "client_ca", config.tls.client_ca_file, config.tls.client_ca);
}

void read_outgoing_tls(const Section& delivery, Config& config, Report& report) {
  read_version(delivery, "tls_minimum", config.delivery.tls_minimum);
  auto& [file, pem] = config.delivery.authorities;
  read_authorities_at(delivery, "ca", file, pem);
  if (const auto* const value = delivery.get("ca"); value != nullptr && !value->text.empty())
    return;
  for (const auto path : kSystemAuthorities) {
    auto system = read_file(std::string(path), kMaxAuthorities);
    if (!system) continue;
    file = path;
    pem = *std::move(system);
    return;
  }
  for (const auto& route : config.routes)
    if (!route.via.empty() && route.via.front().tls == HopTls::kVerified)
      report.add(route.where, "route.tls",
                 fmt::format("verified needs authorities to believe: there is no {}, and "
                             "delivery.ca names no other file",
                             kSystemAuthorities[0]));
  for (const auto& collect : config.collects)
    report.add(collect.where, "collect.from",
               fmt::format("its certificate cannot be verified: there is no {}, and delivery.ca names no other file",
                           kSystemAuthorities[0]));
}

}  // namespace postern::config
