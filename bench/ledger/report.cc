#include "bench/ledger/report.h"

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <utility>

namespace postern::bench {
namespace {

std::array<std::pair<std::string_view, const Verdict::Kind*>, 5> kinds(const Verdict& v) {
  return {{{"lost", &v.lost},
           {"phantom", &v.phantom},
           {"changed", &v.changed},
           {"duplicate", &v.duplicate},
           {"queued", &v.queued}}};
}

}  // namespace

std::string human(const Verdict& v) {
  auto text = fmt::format(
      "acknowledged {}: delivered {}, failed with a notice {}, still queued {}, lost {}\n"
      "refused {}, unsent {}, unknown {}, of which {} arrived\n"
      "phantom {}, changed {}, duplicate {}, strange {}\n",
      v.acknowledged, v.delivered, v.noticed, v.queued.count, v.lost.count, v.refused, v.unsent,
      v.unknown, v.unknown_delivered, v.phantom.count, v.changed.count, v.duplicate.count,
      v.strange);
  if (v.bad_lines > 0)
    fmt::format_to(std::back_inserter(text), "{} lines of the ledgers cannot be read\n",
                   v.bad_lines);
  for (const auto& [name, kind] : kinds(v))
    for (const auto& example : kind->examples)
      fmt::format_to(std::back_inserter(text), "{}: {}\n", name, example);
  return text;
}

// Examples are names, templates and addresses as ledgers hold them: nothing in them needs an escape
// but backslash and quote.
std::string json(const Verdict& v) {
  auto text = fmt::format(
      "{{\"v\":1,\"good\":{},\"acknowledged\":{},\"delivered\":{},\"noticed\":{},\"refused\":{},"
      "\"unsent\":{},\"unknown\":{},\"unknown_delivered\":{},\"strange\":{},\"bad_lines\":{}",
      v.good(), v.acknowledged, v.delivered, v.noticed, v.refused, v.unsent, v.unknown,
      v.unknown_delivered, v.strange, v.bad_lines);
  for (const auto& [name, kind] : kinds(v))
    fmt::format_to(std::back_inserter(text), ",\"{}\":{}", name, kind->count);
  for (const auto& [name, kind] : kinds(v)) {
    fmt::format_to(std::back_inserter(text), ",\"{}_examples\":[", name);
    for (std::size_t i = 0; i < kind->examples.size(); ++i) {
      text += i == 0 ? "\"" : ",\"";
      for (const char c : kind->examples[i]) {
        if (c == '"' || c == '\\') text += '\\';
        text += c;
      }
      text += '"';
    }
    text += ']';
  }
  return text + "}\n";
}

}  // namespace postern::bench
