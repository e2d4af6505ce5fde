#include "tests/crash/coverage.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <map>
#include <set>

#include "common/base/check.h"

namespace postern::crash {
namespace {

// What addr2line(1) calls these addresses of this program; of an inlined one, the function around
// it too.
std::map<void*, std::vector<std::string>> names_of(const std::set<void*>& addresses) {
  Dl_info self{};
  CHECK(::dladdr(reinterpret_cast<void*>(&file_kind), &self) != 0);
  const auto base = reinterpret_cast<std::uintptr_t>(self.dli_fbase);
  std::array<char, 4096> program{};
  CHECK(::readlink("/proc/self/exe", program.data(), program.size() - 1) > 0);
  std::string command = fmt::format("addr2line -aCfi -e '{}'", program.data());
  for (void* address : addresses)
    command += fmt::format(" {:#x}", reinterpret_cast<std::uintptr_t>(address) - base - 1);
  std::map<std::uintptr_t, std::vector<std::string>> by_offset;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  CHECK(pipe != nullptr);
  std::array<char, 8192> line{};
  std::uintptr_t offset = 0;
  for (bool function = true; std::fgets(line.data(), line.size(), pipe) != nullptr;) {
    std::string text = line.data();
    text.pop_back();
    if (text.starts_with("0x")) {
      offset = std::stoull(text, nullptr, 16);
      function = true;
    } else {
      if (function) by_offset[offset].push_back(text);
      function = !function;
    }
  }
  ::pclose(pipe);
  std::map<void*, std::vector<std::string>> names;
  for (void* address : addresses)
    names[address] = by_offset[reinterpret_cast<std::uintptr_t>(address) - base - 1];
  return names;
}

bool is_ours(void* address) {
  static const void* const mine = [] {
    Dl_info info{};
    CHECK(::dladdr(reinterpret_cast<void*>(&file_kind), &info) != 0);
    return info.dli_fbase;
  }();
  Dl_info info{};
  return ::dladdr(address, &info) != 0 && info.dli_fbase == mine;
}

// The innermost function of a store, a deliverer or a story; not the layer that does the calls.
std::string site_name(const Site& site, const std::map<void*, std::vector<std::string>>& names) {
  for (void* frame : site) {
    const auto at = names.find(frame);
    if (at == names.end()) continue;
    for (const auto& function : at->second) {
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
  if (path == "spool") return "the spool";
  return path.substr(path.find('/') + 1);
}

std::vector<OperationClass> classes_of(const std::vector<Recording>& recordings) {
  std::set<void*> addresses;
  for (const auto& recording : recordings)
    for (const auto& site : recording.sites)
      for (void* address : site)
        if (is_ours(address)) addresses.insert(address);
  const auto names = names_of(addresses);
  std::map<std::pair<std::string, std::string>, OperationClass> classes;
  for (std::uint32_t which = 0; which < recordings.size(); ++which) {
    const auto& recording = recordings[which];
    std::vector<std::string> sites;
    for (const auto& site : recording.sites) sites.push_back(site_name(site, names));
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
