#include "tests/crash/image.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "common/base/check.h"
#include "common/base/unique_fd.h"

namespace postern::crash {
namespace fs = std::filesystem;

void put_on_disk(const Image& image, const std::string& root) {
  std::error_code error;
  fs::remove_all(root, error);
  CHECK(fs::create_directories(root, error));
  for (const auto& [path, entry] : image) {
    const auto whole = root + "/" + path;
    if (!entry.bytes) {
      CHECK(::mkdir(whole.c_str(), 0700) == 0);
      continue;
    }
    const auto fd =
        base::UniqueFd::adopt(::open(whole.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    CHECK(fd.valid());
    const auto& bytes = *entry.bytes;
    for (std::size_t at = 0; at < bytes.size();) {
      const auto put =
          ::pwrite(fd.get(), bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
      CHECK(put > 0);
      at += static_cast<std::size_t>(put);
    }
  }
}

Image read_from_disk(const std::string& root) {
  Image image;
  for (const auto& found : fs::recursive_directory_iterator(root)) {
    auto& entry = image[found.path().string().substr(root.size() + 1)];
    if (found.is_directory()) continue;
    std::ifstream file(found.path(), std::ios::binary);
    entry.bytes = std::make_shared<const std::string>(std::istreambuf_iterator<char>(file),
                                                      std::istreambuf_iterator<char>());
    struct stat info {};
    CHECK(::stat(found.path().c_str(), &info) == 0);
    entry.modified = info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1'000'000;
  }
  return image;
}

}  // namespace postern::crash
