#include "common/config/parse.h"

#include "common/config/alias_expansion.h"
#include "common/config/build.h"
#include "common/config/combine.h"
#include "common/config/document.h"
#include "common/config/report.h"
#include "common/config/structure.h"

namespace postern::config {

std::expected<Config, std::vector<Mistake>> load(const std::string& path) {
  Document document;
  Report report(document);
  if (!read_document(path, document, report)) return std::unexpected(report.take());
  check_structure(document, report);
  auto config = build(document, report);
  if (report.empty()) expand_aliases(config, report);
  if (report.empty()) check_combinations(config, report);
  if (!report.empty()) return std::unexpected(report.take());
  return config;
}

}  // namespace postern::config
