#include "common/os/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

namespace postern::os {
namespace {

constexpr int kSizeSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW;

}  // namespace

Result<SharedMemory> make_shared_memory(std::string_view name, std::size_t bytes) {
  SharedMemory memory;
  memory.writable = base::UniqueFd::adopt(
      ::memfd_create(std::string(name).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.writable.valid() || ::ftruncate(memory.writable.get(), static_cast<off_t>(bytes)) != 0)
    return failure("make a memory file");
  if (::fcntl(memory.writable.get(), F_ADD_SEALS, kSizeSeals) != 0)
    return failure("seal a memory file");
  // Only a file that is opened anew can have fewer rights.
  const auto path = fmt::format("/proc/self/fd/{}", memory.writable.get());
  memory.readable = base::UniqueFd::adopt(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!memory.readable.valid()) return failure("open a memory file for reading");
  return memory;
}

Result<Mapping> Mapping::of(int fd, std::size_t bytes, bool writable) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return failure("look at a memory file");
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSizeSeals) != kSizeSeals ||
      static_cast<std::size_t>(info.st_size) != bytes)
    return failure("map a memory file: not of the size that it should have", EPERM);
  void* const data =
      ::mmap(nullptr, bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return failure("map a memory file");
  return Mapping(data, bytes);
}

Result<Mapping> Mapping::of_own(std::size_t bytes) {
  void* const data =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return failure("get memory");
  return Mapping(data, bytes);
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace postern::os
