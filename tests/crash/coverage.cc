#include "tests/crash/coverage.h"

#include <fmt/format.h>

#include <map>

#include "tests/crash/frames.h"

namespace postern::crash {
namespace {

// The innermost function of a store, a deliverer or a story; not the layer that does the calls.
std::string site_name(const Site& site, const Frames& frames) {
  for (void* address : site) {
    const auto at = frames.find(address);
    if (at == frames.end()) continue;
    for (const auto& [function, file, line] : at->second) {
      const auto begin = function.find("postern::");
      if (begin == std::string::npos || function.starts_with("postern::os::") ||
          function.find("Recorder") != std::string::npos ||
          function.find("retry_interrupted") != std::string::npos ||
          function.starts_with("std::") || function.starts_with("auto "))
        continue;
      return function.substr(begin + 9, function.find('(', begin) - begin - 9);
    }
  }
  return "?";
}

}  // namespace

std::string file_kind(const std::string& path) {
  if (path.starts_with("mail/drop")) return "drop";
  if (path.starts_with("mail")) return "Maildir";
  if (path.starts_with("spool/journal/")) return "segment";
  if (path.starts_with("spool/large/")) return "large body";
  if (path.starts_with("spool/badmail/")) return "badmail";
  if (path.starts_with("spool/control.json")) return "blocks";
  if (path == "spool/index-lock") return "index lock";
  if (path.starts_with("spool/index")) return "index";
  if (path.starts_with("spool/history")) return "history";
  if (path.starts_with("spool/reserve")) return "reserve";
  if (path.starts_with("spool/imports")) return "imports";
  if (path.starts_with("spool/damaged")) return "damaged";
  if (path.starts_with("spool/orphans")) return "orphans";
  if (path == "spool") return "the spool";
  return path.substr(path.find('/') + 1);
}

std::vector<OperationClass> classes_of(const std::vector<Recording>& recordings) {
  const auto frames = frames_of(recordings);
  std::map<std::pair<std::string, std::string>, OperationClass> classes;
  for (std::uint32_t which = 0; which < recordings.size(); ++which) {
    const auto& recording = recordings[which];
    std::vector<std::string> sites;
    for (const auto& site : recording.sites) sites.push_back(site_name(site, frames));
    for (std::uint32_t n = 0; n < recording.operations.size(); ++n) {
      const auto& operation = recording.operations[n];
      const auto what = fmt::format("{} {}", name(operation.kind), file_kind(operation.path));
      auto& one = classes[{what, sites[operation.site]}];
      one.what = what;
      one.site = sites[operation.site];
      one.members.emplace_back(which, n);
    }
  }
  std::vector<OperationClass> all;
  for (auto& [key, one] : classes) all.push_back(std::move(one));
  return all;
}

}  // namespace postern::crash
