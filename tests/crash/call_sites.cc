#include "tests/crash/call_sites.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <utility>

#include "tests/crash/frames.h"

namespace postern::crash {
namespace {

constexpr const char* kFolders[] = {"queued", "deliverd/local"};

// Places that no story comes through, by their text.
struct Excuse {
  std::string_view file, text, why;
};
constexpr Excuse kExcuses[] = {
    {"queued/compaction.cc", "(void)disk_.make_directory(\"damaged\");", "a damaged body"},
    {"queued/compaction.cc", "auto kept = disk_.open(", "a damaged body"},
    {"queued/compaction.cc", "(*kept)->write_at(0, *raw)", "a damaged body"},
    {"queued/large_files.cc", "if (file && !fd)", "no descriptor is left"},
    {"queued/local_store.cc", "(void)disk_.make_directory(\"damaged\");", "it is there: of the index"},
    {"queued/segments.cc", "(void)disk_.make_directory(\"damaged\");", "it is there: of the index"},
    {"queued/history_files.cc", "if (auto gone = disk_.unlink(path(name));", "nothing in it was promised"},
    {"queued/badmail.cc", "(void)place_.unlink(fresh);", "what a crash or a full disk left"},
    {"queued/usage_file.cc", "(void)disk_.unlink(kFresh);", "no power cut is promised to spare these counts"},
    {"queued/usage_file.cc", "auto file = disk_.open(kFresh,", "no power cut is promised to spare these counts"},
    {"queued/usage_file.cc", "write_at(0, text)", "no power cut is promised to spare these counts"},
    {"queued/usage_file.cc", "done = disk_.rename(kFresh, kUsageFile);", "no power cut is promised to spare these counts"},
};

struct Place {
  std::string file;  // below the root of the source
  unsigned line = 0;
  friend auto operator<=>(const Place&, const Place&) = default;
};

std::vector<std::pair<Place, std::string>> places_in_source() {
  static const std::regex kChange(
      R"((\.|->)(write_at|flush_data|set_modified|rename|unlink|make_directory|flush_directory)\()"
      R"(|(\.|->)flush\(\)|open\(.*OpenMode::kCreate)");
  std::vector<std::pair<Place, std::string>> places;
  for (const auto* folder : kFolders) {
    const auto path = std::string(POSTERN_SOURCE_ROOT) + "/" + folder;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      if (entry.path().extension() != ".cc" && entry.path().extension() != ".h") continue;
      std::ifstream file(entry.path());
      const auto name = fmt::format("{}/{}", folder, entry.path().filename().string());
      unsigned number = 0;
      for (std::string line; std::getline(file, line);) {
        ++number;
        if (const auto comment = line.find("//"); comment != std::string::npos)
          line.resize(comment);
        if (std::regex_search(line, kChange)) places.push_back({{name, number}, line});
      }
    }
  }
  std::sort(places.begin(), places.end());
  return places;
}

// Where the stories came through, on the way to a change of the disk.
std::set<Place> places_recorded(const std::vector<Recording>& recordings) {
  std::set<Place> places;
  for (const auto& [address, frames] : frames_of(recordings))
    for (const auto& frame : frames)
      for (const auto* folder : kFolders)
        if (const auto at = frame.file.rfind(fmt::format("/{}/", folder)); at != std::string::npos)
          places.insert({frame.file.substr(at + 1), frame.line});
  return places;
}

}  // namespace

CallSites compare_call_sites(const std::vector<Recording>& recordings) {
  CallSites result;
  const auto recorded = places_recorded(recordings);
  std::set<const Excuse*> used;
  for (const auto& [place, text] : places_in_source()) {
    ++result.found;
    const auto excuse = std::find_if(
        std::begin(kExcuses), std::end(kExcuses), [&](const Excuse& e) {
          return e.file == place.file && text.find(e.text) != std::string::npos;
        });
    const bool excused = excuse != std::end(kExcuses);
    const bool seen = recorded.contains(place);
    if (excused) used.insert(excuse);
    result.recorded += seen;
    result.excused += excused && !seen;
    const auto where = fmt::format("{}:{}", place.file, place.line);
    if (seen && excused)
      result.complaints.push_back(where + " is excused, but a story came through it");
    if (!seen && !excused)
      result.complaints.push_back(where + " changes the disk, and no story came through it:" + text);
  }
  for (const auto& excuse : kExcuses)
    if (!used.contains(&excuse))
      result.complaints.push_back(
          fmt::format("{}: what is excused is not there: {}", excuse.file, excuse.text));
  return result;
}

}  // namespace postern::crash
