#include "tests/crash/frames.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "common/base/check.h"

namespace postern::crash {
namespace {

const void* base_of(const void* address) {
  Dl_info info{};
  return ::dladdr(address, &info) != 0 ? info.dli_fbase : nullptr;
}

// "FILE:LINE", with more behind it at times.
void place_of(const std::string& text, Frame& frame) {
  const auto colon = text.rfind(':');
  frame.file = text.substr(0, colon);
  if (colon == std::string::npos) return;
  for (auto at = colon + 1; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
    frame.line = frame.line * 10 + static_cast<unsigned>(text[at] - '0');
}

}  // namespace

// By addr2line(1).
Frames frames_of(const std::vector<Recording>& recordings) {
  const void* const mine = base_of(reinterpret_cast<const void*>(&frames_of));
  CHECK(mine != nullptr);
  std::set<void*> addresses;
  for (const auto& recording : recordings)
    for (const auto& site : recording.sites)
      for (void* address : site)
        if (base_of(address) == mine) addresses.insert(address);
  const auto base = reinterpret_cast<std::uintptr_t>(mine);
  std::array<char, 4096> program{};
  CHECK(::readlink("/proc/self/exe", program.data(), program.size() - 1) > 0);
  std::string command = fmt::format("addr2line -aCfi -e '{}'", program.data());
  for (void* address : addresses)
    command += fmt::format(" {:#x}", reinterpret_cast<std::uintptr_t>(address) - base - 1);
  std::map<std::uintptr_t, std::vector<Frame>> by_offset;
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
      continue;
    }
    if (function)
      by_offset[offset].push_back({text, {}, 0});
    else
      place_of(text, by_offset[offset].back());
    function = !function;
  }
  ::pclose(pipe);
  Frames frames;
  for (void* address : addresses)
    frames[address] = by_offset[reinterpret_cast<std::uintptr_t>(address) - base - 1];
  return frames;
}

}  // namespace postern::crash
