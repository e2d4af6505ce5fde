#include "common/os/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "common/base/check.h"

extern char** environ;

namespace postern::os {
namespace {

struct TitleArea {
  char* begin = nullptr;
  std::size_t size = 0;
} title_area;

std::vector<std::string> child_environment() {
  // Messages come and go in bursts, and with them small pieces of memory. Each thread keeps so many of each size at hand
  // (7 if nothing is said): to look for them in the heap costs queued a tenth of what a delivery does.
  std::vector<std::string> environment{"TZ=UTC", "LC_ALL=C", "GLIBC_TUNABLES=glibc.malloc.tcache_count=256"};
#ifdef POSTERN_SANITIZE
  for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS"})
    if (const char* value = std::getenv(name)) environment.push_back(std::string(name) + '=' + value);
#endif
  // Room for set_title(), which may use the memory of the environment.
  environment.push_back("POSTERN_TITLE=" + std::string(160, ' '));
  return environment;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (auto& s : strings) result.push_back(s.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

Result<pid_t> spawn(const std::string& program, const std::vector<std::string>& arguments,
                    base::UniqueFd channel) {
  // posix_spawn's dup2 of a descriptor onto itself would leave it close-on-exec.
  if (channel.get() == kInheritedChannel) {
    channel = base::UniqueFd::adopt(::fcntl(channel.get(), F_DUPFD_CLOEXEC, kInheritedChannel + 1));
    if (!channel.valid()) return failure("start " + program);
  }
  std::vector<std::string> all{program};
  all.insert(all.end(), arguments.begin(), arguments.end());
  auto environment = child_environment();

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, channel.get(), kInheritedChannel);
  // Also what whoever started us left open.
  ::posix_spawn_file_actions_addclosefrom_np(&actions, kInheritedChannel + 1);
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, pointers(all).data(),
                                  pointers(environment).data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return failure("start " + program, error);
  return pid;
}

Result<std::string> program_directory() {
  char path[4096];
  const auto size = ::readlink("/proc/self/exe", path, sizeof path);
  if (size < 0) return failure("read /proc/self/exe");
  const std::string_view name(path, static_cast<std::size_t>(size));
  return std::string(name.substr(0, name.rfind('/')));
}

void save_title_area(int argc, char** argv) {
  char* end = argv[0];
  for (int i = 0; i < argc; ++i)
    if (argv[i] == end) end += std::strlen(argv[i]) + 1;
  // The environment moves away, so that its old memory can hold the title too.
  std::size_t count = 0;
  while (environ[count] != nullptr) ++count;
  auto** moved = static_cast<char**>(std::calloc(count + 1, sizeof(char*)));
  CHECK(moved != nullptr);
  for (std::size_t i = 0; i < count; ++i) {
    if (environ[i] == end) end += std::strlen(environ[i]) + 1;
    moved[i] = ::strdup(environ[i]);
  }
  environ = moved;
  title_area = {argv[0], static_cast<std::size_t>(end - argv[0])};
}

void set_title(std::string_view title) {
  if (title_area.size < 2) return;
  const auto size = std::min(title.size(), title_area.size - 1);
  std::memcpy(title_area.begin, title.data(), size);
  // A title must not end with its memory's last byte but one, or ps reads on into the environment.
  std::memset(title_area.begin + size, 0, title_area.size - size);
}

}  // namespace postern::os
