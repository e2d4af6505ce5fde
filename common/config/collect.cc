#include "common/config/collect.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/config/hop.h"
#include "common/config/hop_login.h"
#include "common/config/names.h"
#include "common/config/sources.h"

namespace postern::config {
namespace {

constexpr base::Millis kLeastPeriod{1'000};

// The password goes to the host of this name alone, so all else than verified TLS is out of the question.
std::expected<HopSpec, std::string> parse_from(std::string_view text) {
  return parse_host(text, {.kind = HopKind::kHost, .port = kCollectPort, .tls = HopTls::kVerified});
}

class CollectReader {
 public:
  explicit CollectReader(const std::map<std::string, Where>& own) : own_(own) {}

  void read(const Section& section, Collect& collect) {
    collect.where = section.where();
    host(section, collect);
    domains(section, collect);
    section.duration("every", collect.every, false);
    if (collect.every < kLeastPeriod) section.refuse(*section.get("every"), "every", R"(expected at least "1s")");
    section.boolean("wait", collect.wait);
  }

 private:
  // Whom to call, from where, through whom and as whom.
  static void host(const Section& section, Collect& collect) {
    section.require("from", "the host that keeps our mail, like \"odmr.example.net\"");
    section.require("login", "the account that we have there");
    section.require("password_file", "the file with its password");
    section.string("from", collect.hop, parse_from);
    if (collect.hop.host.empty()) return;
    read_sources(section, collect.hop.sources);
    read_socks(section, collect.hop.socks);
    Route way;
    way.via.push_back(collect.hop);
    read_hop_login(section, way);
    collect.hop = std::move(way.via.front());
    collect.password_file = std::move(way.password_file);
    collect.password = std::move(way.password);
  }

  void domains(const Section& section, Collect& collect) {
    std::size_t length = 0;
    for (const auto* value : section.elements("domains", kMaxCollectDomains)) {
      auto domain = parse_domain(value->text);
      if (!domain) {
        section.refuse(*value, "domains", std::move(domain.error()));
      } else if (!own_.contains(domain->text())) {
        section.refuse(*value, "domains", "no [[domain]] names it: its mail would be refused here");
      } else if (std::ranges::find(collect.domains, *domain) != collect.domains.end()) {
        section.refuse(*value, "domains", "this domain is named before");
      } else {
        length += domain->text().size() + 1;
        collect.domains.push_back(*std::move(domain));
      }
    }
    if (length > kMaxCollectArgument)
      section.refuse(*section.get("domains"), "domains",
                     fmt::format("these do not fit into one command ({} characters): write several [[collect]]",
                                 kMaxCollectArgument));
  }

  const std::map<std::string, Where>& own_;
};

// Two calls for the same mail would only be in each other's way.
void check_twins(const Config& config, Report& report) {
  for (auto one = config.collects.begin(); one != config.collects.end(); ++one) {
    const auto twin = std::find_if(config.collects.begin(), one, [&](const Collect& other) {
      return !one->hop.host.empty() && other.hop.host == one->hop.host && other.hop.port == one->hop.port &&
             other.hop.login == one->hop.login && other.domains == one->domains;
    });
    if (twin != one)
      report.add(one->where, "collect.from",
                 fmt::format("the same mail is collected already at {}:{}", twin->where.file, twin->where.line));
  }
}

}  // namespace

void read_collects(std::span<const Section> sections, const std::map<std::string, Where>& own, Config& config,
                   Report& report) {
  CollectReader reader(own);
  for (const auto& section : sections) reader.read(section, config.collects.emplace_back());
  check_twins(config, report);
}

}  // namespace postern::config
